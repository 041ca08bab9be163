"""MATLAB files: read as SciPy reads them, and hostile ones refused in part of a sentence before they take memory or time."""

import struct
import time
import tracemalloc
import zlib

import numpy as np
import pytest
import scipy.io

from experiments.base import mat_files
from experiments.base.mat_files import MatError

HEAD = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<H", 0x0100) + b"IM"


def element(kind, content):
    return struct.pack("<II", kind, len(content)) + content + bytes(-len(content) % 8)


def matrix(name=b"x", shape=(2, 3), kind=6, stored=9, values=None, flags=None):
    values = np.arange(6.0).tobytes() if values is None else values
    about = element(6, struct.pack("<II", kind, 0) if flags is None else flags)
    about += element(5, struct.pack(f"<{len(shape)}i", *shape)) + element(1, name)
    return element(14, about + element(stored, values))


def packed(content):
    squeezed = zlib.compress(content)
    return struct.pack("<II", 15, len(squeezed)) + squeezed


def read(tmp_path, content, names=("x",)):
    (tmp_path / "a.mat").write_bytes(content)
    return mat_files.read(tmp_path / "a.mat", names)


@pytest.mark.parametrize("compressed", [False, True])
def test_what_scipy_writes_is_read(tmp_path, compressed):
    rng = np.random.default_rng(0)
    kinds = ("u1", "i1", "u2", "i2", "u4", "i4", "i8", "f4", "f8")
    wanted = {f"a_{kind}": rng.uniform(0, 100, (7, 13)).astype(kind) for kind in kinds}
    wanted |= {"cube": rng.normal(size=(2, 3, 4)), "empty": np.zeros((0, 4)), "yes": np.array([[True, False]])}
    others = {"cell": np.array(["a", 1.0], object), "text": "pitch and ÄÖ", "no text": ""}
    scipy.io.savemat(tmp_path / "a.mat", {**wanted, **others}, do_compression=compressed)
    found = mat_files.read(tmp_path / "a.mat", [*wanted, "text", "no text", "absent"])
    assert found.pop("text") == "pitch and ÄÖ" and found.pop("no text") == ""
    assert found.keys() == wanted.keys()
    for name, array in wanted.items():
        np.testing.assert_array_equal(found[name], array)


def test_written_by_hand(tmp_path):
    expected = np.arange(6.0).reshape(3, 2).T
    for content in (HEAD + matrix(), HEAD + packed(matrix()), HEAD + element(99, b"abc") + matrix() + b"tail"):
        np.testing.assert_array_equal(read(tmp_path, content)["x"], expected)
    assert read(tmp_path, HEAD + matrix(b"y", values=b"")) == {}


HUGE = matrix(shape=(30_000, 30_000), values=bytes(8))
HOSTILE = {
    "empty": (b"", "empty"),
    "no file": (b"hello" * 50, "does not start as a MATLAB file"),
    "7.3": (b"MATLAB 7.3 MAT-file".ljust(124) + struct.pack("<H", 0x0200) + b"IM", "version 7.3; save it with -v7"),
    "cut": (HEAD + matrix()[:-9], "cut short"),
    "cut when packed": (HEAD + packed(matrix())[:-20], "cut short"),
    "not packed": (HEAD + element(15, b"hello, world"), "incorrect header"),
    "huge": (HEAD + HUGE, "says to have 900000000 values, and has 8 bytes"),
    "huge and packed": (HEAD + packed(HUGE), "says to have 900000000 values"),
    "product": (HEAD + matrix(shape=(2**31 - 1,) * 4), "larger than anything"),
    "negative": (HEAD + matrix(shape=(-2, -3)), "has the length -2"),
    "axes": (HEAD + matrix(shape=(1,) * 100), "100 axes"),
    "empty axes": (HEAD + matrix(shape=(0, 2**31 - 1), values=b""), "larger than anything"),
    "cell": (HEAD + matrix(kind=1), "x is a cell array"),
    "structure": (HEAD + matrix(kind=2), "x is a structure"),
    "sparse": (HEAD + matrix(kind=5), "x is a sparse matrix"),
    "class": (HEAD + matrix(kind=200), "x is of class 200"),
    "stored": (HEAD + matrix(stored=200), "says to have 6 values"),
    "text": (HEAD + matrix(kind=4, stored=9), "text of type 9"),
    "flags": (HEAD + matrix(flags=b""), "no lengths or no name"),
    "small": (HEAD + element(14, struct.pack("<HH4s", 6, 300, b"1234")), "small element says to have 300"),
    "nothing": (HEAD + element(14, b""), "no lengths or no name"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_files_are_refused(tmp_path, kind):
    content, why = HOSTILE[kind]
    with pytest.raises(MatError, match=why):
        read(tmp_path, content)


def test_bombs_are_refused_before_they_unpack(tmp_path):
    zeros = bytes(1 << 24)
    maker = zlib.compressobj(9)
    about = element(6, struct.pack("<II", 9, 0)) + element(5, struct.pack("<2i", 1 << 15, 1 << 15)) + element(1, b"x")
    size = len(about) + 8 + (1 << 30)
    start = struct.pack("<II", 14, size) + about + struct.pack("<II", 2, 1 << 30)
    squeezed = maker.compress(start) + b"".join(maker.compress(zeros) for _ in range(4)) + maker.flush()
    content = HEAD + struct.pack("<II", 15, len(squeezed)) + squeezed
    tracemalloc.start()
    begun = time.perf_counter()
    with pytest.raises(MatError, match="more memory"):
        read(tmp_path, content)
    # A hundred of them that nobody asks for are passed over.
    assert read(tmp_path, HEAD + (struct.pack("<II", 15, len(squeezed)) + squeezed) * 100, names=("y",)) == {}
    assert time.perf_counter() - begun < 5
    assert tracemalloc.get_traced_memory()[1] < 300 << 20
    tracemalloc.stop()


def test_nesting_costs_nothing(tmp_path):
    content = b""
    for _ in range(2000):
        content = matrix(kind=1, stored=14, values=content)
    with pytest.raises(MatError, match="a cell array"):
        read(tmp_path, HEAD + content)
    assert read(tmp_path, HEAD + content, names=("y",)) == {}
