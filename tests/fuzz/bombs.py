"""Bytes that unpack to a million times themselves."""

import bz2
import functools
import lzma
import struct
import zlib
from collections.abc import Callable
from typing import Any

from tests.fuzz import zips
from tests.fuzz.zips import Entry

_BLOCK = bytes(8 << 20)


def _deflated(start: bytes, size: int, wbits: int) -> bytes:
    """`start` and then zeros up to `size` bytes; the checksum at the end is right."""
    return _fed(zlib.compressobj(9, zlib.DEFLATED, wbits), start, size)


@functools.cache
def deflate(start: bytes, size: int) -> bytes:
    """As zip archives have it."""
    return _deflated(start, size, -15)


@functools.cache
def crc(start: bytes, size: int) -> int:
    found, left = zlib.crc32(start), size - len(start)
    while left > 0:
        found = zlib.crc32(_BLOCK[:left], found)
        left -= len(_BLOCK)
    return found


def zlib_(start: bytes, size: int) -> bytes:
    return _deflated(start, size, 15)


def gzip_(start: bytes, size: int) -> bytes:
    return _deflated(start, size, 31)


def _fed(maker: Any, start: bytes, size: int) -> bytes:
    parts = [maker.compress(start)]
    left = size - len(start)
    while left > 0:
        parts.append(maker.compress(_BLOCK[:left]))
        left -= len(_BLOCK)
    return b"".join((*parts, maker.flush()))


def bz2_(start: bytes, size: int) -> bytes:
    return _fed(bz2.BZ2Compressor(1), start, size)


def xz(start: bytes, size: int) -> bytes:
    return _fed(lzma.LZMACompressor(preset=0), start, size)


def xz_of_a_large_window(start: bytes, size: int) -> bytes:
    """Of a few bytes, whose header asks for a dictionary of 2 GB."""
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0}]
    small = lzma.compress(start[:100] or b"\x80", lzma.FORMAT_XZ, lzma.CHECK_CRC32, filters=filters)
    # The size of the dictionary is a byte of the block's header.
    block = bytearray(small[12 : 12 + (small[12] + 1) * 4])
    block[block.index(b"\x21\x01") + 2] = 38
    block[-4:] = struct.pack("<I", zlib.crc32(bytes(block[:-4])))
    return small[:12] + bytes(block) + small[12 + len(block) :]


def lzma_(start: bytes, size: int) -> bytes:
    return _fed(lzma.LZMACompressor(lzma.FORMAT_ALONE, preset=0), start, size)


SQUEEZES: dict[str, Callable[[bytes, int], bytes]] = {
    "zlib": zlib_,
    "gzip": gzip_,
    "bz2": bz2_,
    "xz": xz,
    "xz of a large window": xz_of_a_large_window,
    "lzma": lzma_,
}


def packed(*names: bytes, start: bytes = b"", size: int = 150_000_000) -> bytes:
    """A zip archive whose entries are zeros, each behind `start`."""
    size += len(start)
    entries = [Entry(name, deflate(start, size), 8, size, None, crc(start, size)) for name in names]
    return zips.archive(entries)


def npz(*names: str) -> bytes:
    """A `.npz` file of these arrays, 150 MB of zeros each."""
    return packed(*(f"{name}.npy".encode() for name in names), start=zips.npy("'|u1'", "(150000000,)", data=b""))
