"""Hostile `.npz` and `.npy` files: bombs, headers that are programs, archives that say untrue things of themselves."""

import io
import random
import struct
from collections.abc import Callable

import numpy as np

from tests.fuzz import bombs, zips
from tests.fuzz.cases import Case
from tests.fuzz.hostile_values import VALUES
from tests.fuzz.opcodes import file
from tests.fuzz.zips import Entry, archive, npy

READERS = ("body", "instance", "poses", "run")
_NAMES = [b"poses.npy", b"keypoints.npy", b"v_template.npy", b"kintree_table.npy", b"field/layers.npy"]
# Keys that some reader asks for.
_WANTED = ("poses", "keypoints", "confidence", "image_size", "v_template", "kintree_table", "f", "weights",
           "J_regressor", "shapedirs", "posedirs")  # fmt: skip


def _all(contents: bytes, **about: int) -> bytes:
    """An archive with the same array under every name that is asked for."""
    return archive([Entry(f"{key}.npy".encode(), contents, **about) for key in _WANTED])


def _bomb(rng: random.Random) -> bytes:
    """Zeros, each entry below 4 GB."""
    count = rng.choice([50_000_000, 300_000_000])
    start = npy("'|u1'", f"({count},)", data=b"")
    size = len(start) + count
    return _all(bombs.deflate(start, size), method=8, size=size, crc=bombs.crc(start, size))


def _bomb_of_many(rng: random.Random) -> bytes:
    start = npy("'<f4'", "(25000000,)", data=b"")
    size = len(start) + 100_000_000
    names = [*(f"{key}.npy".encode() for key in _WANTED), *(b"a%d.npy" % k for k in range(40))]
    packed, crc = bombs.deflate(start, size), bombs.crc(start, size)
    return archive([Entry(name, packed, 8, size, None, crc) for name in names])


def _bomb_that_lies(rng: random.Random) -> bytes:
    """It says to be of a few bytes."""
    count = 600_000_000
    start = npy("'<f4'", "(2,)", data=b"")
    return _all(bombs.deflate(start, count), method=8, size=rng.choice([len(start) + 8, 0, 1]))


def _bomb_of_another_method(rng: random.Random) -> bytes:
    start = npy("'|u1'", "(200000000,)", data=b"")
    size = len(start) + 200_000_000
    if rng.random() < 0.5:
        return _all(bombs.bz2_(start, size), method=12, size=rng.choice([size, 100]), crc=bombs.crc(start, size))
    # Of an LZMA stream a zip archive leaves the length out and puts a version before.
    stream = bombs.lzma_(start, size)
    packed = b"\x09\x04\x05\x00" + stream[:5] + stream[13:]
    return _all(packed, method=14, size=rng.choice([size, 100]), crc=bombs.crc(start, size))


def _header_that_is_a_program(rng: random.Random) -> bytes:
    depth = rng.choice([90, 3000, 9000, 60_000])
    texts = [
        b"(" * depth,
        b"[" * depth + b"]" * depth,
        b"-" * depth + b"1",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (" + b"-" * depth + b"1,), }",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': " + b"(" * depth + b")" * depth + b", }",
        b"{'descr': " + b"[" * depth + b"]" * depth + b", 'fortran_order': False, 'shape': (2,), }",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (" + b"2," * (depth // 2) + b"), }",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (" + b"9" * depth + b",), }",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (9**9**9,), }",
        b"{" + b"'a':{" * depth,
        b"1" + b"+1j" * depth,
        b"'" + b"a" * depth,
        b"\x00" * depth,
        b"__import__('os').system('touch hacked')",
    ]
    return _all(zips.header(rng.choice(texts), rng.choice([2, 3])) + bytes(8))


def _shape(rng: random.Random) -> bytes:
    shapes = ["(-1,)", "(2, -1)", "(4611686018427387904, 4)", "(9223372036854775807,)", "(18446744073709551617,)",
              "(0, 9223372036854775807)", "(4294967296, 0)", "(2.0,)", "('2',)", "2", "None", "(True,)", "([2],)", "(2,",
              "()", f"({'1, ' * 70})", f"({'2147483647, ' * 40})", f"({'9' * 5000},)", f"({'0, ' * 33})"]  # fmt: skip
    return _all(npy(shape=rng.choice(shapes)))


def _order(rng: random.Random) -> bytes:
    return _all(npy(order=rng.choice(["1", "'F'", "None", "[]", "9**9", "true", "True,", "(True)"])))


def _type(rng: random.Random) -> bytes:
    kinds = ["'|O'", "'O8'", "'|V8'", "'<f3'", "'<U2000000000'", "'|S2147483647'", "'|S0'", "'<M8[s]'", "'f4,f4'", "'>f16'",
             "'(1000000,)f4'", "[('a', '<f4'), ('a', '<f4')]", "[('a', ('<f4', (99999, 99999)))]", "('<f4', (1000000000,))",
             "None", "3", "''", "'<c8'", "'<f4' * 3", "'\\x00'", "{'names': ['a'], 'formats': ['f4']}",
             "[" + "('a', [" * 60 + "('b', 'f4')" + "])" * 60 + "]"]  # fmt: skip
    return _all(npy(rng.choice(kinds)))


def _lengths(rng: random.Random) -> bytes:
    good = npy()
    contents = rng.choice(
        [
            zips.header(b"{}", 2, 0xFFFFFFFF),
            zips.header(b"{}", 3, 1 << 30),
            zips.header(b"{}", 1, 0xFFFF),
            b"\x93NUMPY\x07\x00" + good[8:],
            b"\x93NUMPY",
            b"",
            good + bytes(50),
            good[: rng.randint(1, len(good) - 1)],
            b"\x93NUMPX" + good[6:],
        ]
    )
    return _all(contents)


def _untrue_sizes(rng: random.Random) -> bytes:
    good = npy()
    packed = bombs.deflate(good, len(good))
    about = rng.choice(
        [
            {"size": 1 << 31},
            {"size": 0xFFFFFFFE},
            {"size": 5},
            {"packed": 1 << 30},
            {"packed": 1},
            {"crc": 1},
            {"flags": 1},
            {"flags": 0x40},
            {"flags": 0x20},
            {"offset": 1 << 31},
            {"offset": 7},
            {"method": 99},
            {"method": 9},
        ]
    )
    if "method" in about or rng.random() < 0.5:
        return _all(good, **about)
    return _all(packed, method=8, **{"size": len(good), **about})


def _untrue_directory(rng: random.Random) -> bytes:
    entry = [Entry(b"poses.npy", npy())]
    return rng.choice(
        [
            archive(entry, count=65535),
            archive(entry, start=0),
            archive(entry, start=0xFFFFFFFE),
            archive(entry, length=0xFFFFFFF0),
            archive(entry, length=1 << 20),
            archive(entry, length=0),
            archive(entry, count=0, length=0),
            archive([Entry(b"poses.npy", npy(), size=0xFFFFFFFF, extra=struct.pack("<HHQ", 1, 8, 1 << 62))]),
            archive([Entry(b"poses.npy", npy(), size=0xFFFFFFFF, extra=struct.pack("<HHQ", 1, 60000, 1))]),
            archive([Entry(b"poses.npy", npy(), offset=0xFFFFFFFF, extra=struct.pack("<HHQ", 1, 8, 1 << 63))]),
            archive(entry)[:-22] + b"PK\x06\x06" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, 1 << 60, 1 << 60, 1 << 62, 1)
            + b"PK\x06\x07" + struct.pack("<IQI", 0, len(archive(entry)) - 22, 1)
            + b"PK\x05\x06" + struct.pack("<HHHHIIH", 0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0),
        ]
    )  # fmt: skip


def _overlapping(rng: random.Random) -> bytes:
    """Every entry is the same bytes: a small archive of hundreds of arrays (D. Fifield, A better zip bomb)."""
    count = 40_000_000
    start = npy("'|u1'", f"({count},)", data=b"")
    size = len(start) + count
    packed = bombs.deflate(start, size)
    names = [*(f"{key}.npy".encode() for key in _WANTED), *(b"a%d.npy" % k for k in range(400))]
    first = Entry(names[0], packed, 8, size, None, bombs.crc(start, size))
    others = [Entry(name, b"", 8, size, len(packed), first.crc, 0) for name in names[1:]]
    return archive([first, *others])


def _many_entries(rng: random.Random) -> bytes:
    count = rng.choice([30_000, 65_000])
    body, directory = [], []
    at = 0
    for k in range(count):
        made = archive([Entry(b"%d" % k, b"")])
        split = made.index(b"PK\x01\x02")
        entry = bytearray(made[split:-22])
        entry[42:46] = struct.pack("<I", at)
        body.append(made[:split])
        directory.append(bytes(entry))
        at += split
    contents, listed = b"".join(body), b"".join(directory)
    end = struct.pack("<HHHHIIH", 0, 0, min(count, 65535), min(count, 65535), len(listed), len(contents), 0)
    return contents + listed + b"PK\x05\x06" + end


def _names(rng: random.Random) -> bytes:
    name = rng.choice(
        [b"../../x.npy", b"/etc/x.npy", b"a" * 60_000 + b".npy", b"\x00.npy", b"\xff\xfe.npy", b".npy", b""]
    )
    flags = rng.choice([0, 0x800])
    entries = [Entry(name, npy(), flags=flags)] * rng.choice([1, 2])
    return archive([*entries, Entry(b"poses.npy", npy()), Entry(b"poses.npy", npy(shape="(1, 72)", data=bytes(288)))])


def _objects(rng: random.Random) -> bytes:
    kind = rng.choice(list(VALUES))
    return _all(npy("'|O'", rng.choice(["()", "(1,)", "(99999999999,)"]), data=file(VALUES[kind](rng))))


def _not_arrays(rng: random.Random) -> bytes:
    inner = archive([Entry(b"poses.npy", npy())])
    return archive([Entry(name, rng.choice([inner, b"", b"text", bytes(10)])) for name in _NAMES])


def _changed_bytes(rng: random.Random) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, poses=np.zeros((3, 72)), frame_ids=np.arange(3))
    contents = bytearray(stream.getvalue())
    for _ in range(rng.randint(1, 12)):
        contents[rng.randrange(len(contents))] = rng.randrange(256)
    return bytes(contents[: rng.choice([len(contents), rng.randrange(len(contents))])])


KINDS: dict[str, Callable[[random.Random], bytes]] = {
    "npz bomb": _bomb,
    "npz bomb of many": _bomb_of_many,
    "npz bomb that lies": _bomb_that_lies,
    "npz bomb of bz2, lzma": _bomb_of_another_method,
    "npy header": _header_that_is_a_program,
    "npy shape": _shape,
    "npy order": _order,
    "npy type": _type,
    "npy lengths": _lengths,
    "npy objects": _objects,
    "zip sizes": _untrue_sizes,
    "zip directory": _untrue_directory,
    "zip overlapping": _overlapping,
    "zip many entries": _many_entries,
    "zip names": _names,
    "npz of no arrays": _not_arrays,
    "npz changed bytes": _changed_bytes,
}


NAMES = list(KINDS)


def make(kind: str, rng: random.Random) -> Case:
    return Case(kind, "", KINDS[kind](rng), ".npz", READERS)
