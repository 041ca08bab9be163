"""Zip archives written by hand, so that what they say of themselves can be untrue."""

import dataclasses
import struct
import zlib


@dataclasses.dataclass
class Entry:
    """data: as it stands in the archive. Sizes, checksum and offset are what the directory says of it; None: the truth."""

    name: bytes
    data: bytes
    method: int = 0
    size: int | None = None
    packed: int | None = None
    crc: int | None = None
    offset: int | None = None
    flags: int = 0
    extra: bytes = b""


def archive(
    entries: list[Entry], count: int | None = None, start: int | None = None, length: int | None = None
) -> bytes:
    """The archive; `count`, `start` and `length` are what its end says of its directory."""
    body, directory = b"", b""
    for entry in entries:
        size = len(entry.data) if entry.size is None else entry.size
        packed = len(entry.data) if entry.packed is None else entry.packed
        crc = zlib.crc32(entry.data) if entry.crc is None else entry.crc
        about = struct.pack(
            "<HHHHHIIIHH", 20, entry.flags, entry.method, 0, 33, crc, packed, size, len(entry.name), len(entry.extra)
        )
        offset = len(body) if entry.offset is None else entry.offset
        body += b"PK\x03\x04" + about + entry.name + entry.extra + entry.data
        directory += b"PK\x01\x02" + struct.pack("<H", 20) + about + struct.pack("<HHHII", 0, 0, 0, 0, offset)
        directory += entry.name + entry.extra
    end = struct.pack(
        "<HHHHIIH",
        0,
        0,
        min(len(entries) if count is None else count, 65535),
        min(len(entries) if count is None else count, 65535),
        len(directory) if length is None else length,
        len(body) if start is None else start,
        0,
    )
    return body + directory + b"PK\x05\x06" + end


def npy(
    descr: str = "'<f4'", shape: str = "(2,)", order: str = "False", data: bytes = bytes(8), version: int = 1
) -> bytes:
    """An array's file with any text in its header."""
    return header(f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}".encode(), version) + data


def header(text: bytes, version: int = 1, length: int | None = None) -> bytes:
    size = len(text) + 1 if length is None else length
    packed = struct.pack("<H", size & 0xFFFF) if version == 1 else struct.pack("<I", size)
    return b"\x93NUMPY" + bytes([version, 0]) + packed + text + b"\n"
