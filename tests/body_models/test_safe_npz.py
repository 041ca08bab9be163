"""The one reader of `.npy` and `.npz` files: NumPy's own load, bombs and untrue archives are refused before they unpack."""

import io
import struct
import time
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from body_models import budget, safe_npz, safe_zip
from body_models.safe_npz import NpzError
from tests.fuzz import bombs, zips
from tests.fuzz.zips import Entry, archive, npy

MEGABYTES = 60
ARRAYS = {
    "f4": np.arange(24, dtype="f4").reshape(2, 3, 4),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "scalar": np.array(3),
    "empty": np.zeros((0, 3)),
    "no_columns": np.zeros((3, 0), "i4"),
    "bool": np.array([True, False]),
    "text": np.array(["a", "bcd"]),
    "bytes": np.array([b"a", b"bcd"]),
    "half": np.ones(3, "f2"),
    "complex": np.ones(2, "c8"),
}


def refuse(path, *words):
    """Asserts that reading all of it fails in part of one sentence, soon and in little memory."""
    start = time.process_time()
    tracemalloc.start()
    with pytest.raises(NpzError) as caught:
        safe_npz.read(path)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert time.process_time() - start < 5
    assert most < MEGABYTES << 20
    message = str(caught.value)
    assert "\n" not in message and len(message) < 300
    for word in words:
        assert word in message, message


@pytest.fixture
def written(tmp_path):
    def write(contents):
        (tmp_path / "file.npz").write_bytes(contents)
        return tmp_path / "file.npz"

    return write


class TestWhatNumpyWrites:
    @pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
    def test_npz(self, tmp_path, save):
        save(tmp_path / "file.npz", **ARRAYS)
        found = safe_npz.read(tmp_path / "file.npz")
        assert list(found) == list(ARRAYS)
        for key, array in ARRAYS.items():
            assert found[key].dtype == array.dtype and found[key].shape == array.shape
            np.testing.assert_array_equal(found[key], array)
            assert found[key].flags.writeable

    def test_npy_of_each_version(self, tmp_path):
        for version in ((1, 0), (2, 0), (3, 0)):
            with (tmp_path / "file.npy").open("wb") as file:
                np.lib.format.write_array(file, ARRAYS["fortran"], version)
            np.testing.assert_array_equal(safe_npz.read_npy(tmp_path / "file.npy"), ARRAYS["fortran"])

    def test_big_endian_becomes_the_machines(self, tmp_path):
        np.savez(tmp_path / "file.npz", a=np.arange(3, dtype=">f8"))
        assert safe_npz.read(tmp_path / "file.npz")["a"].dtype == np.dtype("=f8")

    def test_python_2_and_other_writers(self, written):
        for shape in ("(2L,)", "(2,)", "( 2 , )", "(1, 2)", "(1L, 2L)"):
            found = safe_npz.read(written(archive([Entry(b"a.npy", npy(shape=shape))])))["a"]
            assert found.size == 2
        header = zips.header(b'{"shape": (2,), "fortran_order": False, "descr": "<f4"}')
        assert safe_npz.read(written(archive([Entry(b"a.npy", header + bytes(8))])))["a"].shape == (2,)

    def test_only_what_is_asked_for_is_read(self, tmp_path):
        np.savez(tmp_path / "file.npz", a=np.ones(3), b=np.array([None], object))
        assert list(safe_npz.read(tmp_path / "file.npz", ("a", "c"))) == ["a"]
        refuse(tmp_path / "file.npz", "b in it: Object arrays cannot be loaded")

    def test_other_entries(self, tmp_path):
        with zipfile.ZipFile(tmp_path / "file.npz", "w") as made:
            made.writestr("readme.txt", "hello")
        with safe_npz.opened(tmp_path / "file.npz") as arrays:
            assert (dict(arrays), arrays.others) == ({}, ["readme.txt"])

    def test_missing_and_other_files(self, tmp_path, written):
        refuse(tmp_path / "absent.npz", "No such file")
        refuse(tmp_path, "directory")
        refuse(written(b""), "not a zip file")
        refuse(written(b"HIERARCHY"), "not a zip file")
        with pytest.raises(NpzError, match=r"does not start as a \.npy file"):
            safe_npz.read_npy(written(b"HIERARCHY"))


def bomb(count, **about):
    """An array of zeros that unpacks to `count` bytes, and says what `about` has."""
    start = npy("'|u1'", f"({count},)", data=b"")
    size = len(start) + count
    said = {"size": size, "crc": bombs.crc(start, size), **about}
    return Entry(b"a.npy", bombs.deflate(start, size), 8, **said)


class TestBombs:
    def test_zeros(self, written):
        refuse(written(archive([bomb(200 << 20)])), "unpacks to 2097", "allowed")

    def test_many_small_ones(self, written):
        one = bomb(10 << 20)
        entries = [Entry(b"%d.npy" % k, one.data, 8, one.size, None, one.crc) for k in range(15)]
        refuse(written(archive(entries)), "unpacks to 157", "allowed")

    @pytest.mark.parametrize("size", [0, 1, 100])
    def test_that_say_to_be_small(self, written, size):
        refuse(written(archive([bomb(200 << 20, size=size)])), "a in it")

    def test_of_other_compressions(self, written):
        start = npy("'|u1'", "(9000000,)", data=b"")
        packed = bombs.bz2_(start, len(start) + 9_000_000)
        refuse(written(archive([Entry(b"a.npy", packed, 12, 100)])), "method 12")
        refuse(written(archive([Entry(b"a.npy", b"", 14)])), "method 14")

    def test_entries_that_overlap(self, written):
        one = bomb(1 << 20)
        others = [Entry(b"%d.npy" % k, b"", 8, one.size, len(one.data), one.crc, 0) for k in range(3)]
        refuse(written(archive([one, *others])), "overlap")

    def test_a_list_of_entries_without_end(self, written):
        names = [Entry(b"%d" % k + b"x" * 60_000, b"") for k in range(20)]
        refuse(written(archive(names)), "list of entries")

    def test_a_file_of_its_size_may_have_it(self, written):
        assert safe_npz.read(written(archive([bomb(20 << 20)])))["a"].size == 20 << 20

    def test_the_limit_that_is_given(self, written):
        with pytest.raises(safe_npz.TooLargeError), safe_npz.opened(written(archive([bomb(1 << 20)])), 1 << 19):
            raise AssertionError


class TestUntrueArchives:
    def test_two_of_one_name(self, written):
        refuse(written(archive([Entry(b"a.npy", npy()), Entry(b"a.npy", npy())])), "two entries of one name")

    def test_encrypted(self, written):
        refuse(written(archive([Entry(b"a.npy", npy(), flags=1)])), "encrypted")

    @pytest.mark.parametrize("size", [5, 1 << 30])
    def test_stored_of_another_size(self, written, size):
        refuse(written(archive([Entry(b"a.npy", npy(), size=size)])), "says to have")

    def test_checksum(self, written):
        refuse(written(archive([Entry(b"a.npy", npy(), crc=1)])), "CRC")

    def test_larger_than_it_is(self, written):
        entry = Entry(b"a.npy", bombs.deflate(npy(), len(npy())), 8, len(npy()) + 8)
        refuse(written(archive([entry])), "a in it")

    @pytest.mark.parametrize(
        "said", [{"start": 0xFFFFFFFE}, {"length": 0xFFFFFFF0}, {"length": 1 << 20}, {"start": 0}, {"count": 9}]
    )
    def test_directories(self, written, said):
        contents = archive([Entry(b"a.npy", npy())], **said)
        if "count" in said:  # nobody looks at it
            assert list(safe_npz.read(written(contents))) == ["a"]
        else:
            refuse(written(contents))

    @pytest.mark.parametrize("value", [1 << 62, 1 << 63])
    def test_zip64(self, written, value):
        extra = struct.pack("<HHQ", 1, 8, value)
        refuse(written(archive([Entry(b"a.npy", npy(), size=0xFFFFFFFF, extra=extra)])), "")
        refuse(written(archive([Entry(b"a.npy", npy(), offset=0xFFFFFFFF, extra=extra)])), "")

    def test_names(self, written):
        refuse(written(archive([Entry(b"\nx" * 3000 + b".npy", b"")])), "in it")

    def test_truncated_anywhere(self, written):
        contents = archive([Entry(b"a.npy", npy()), Entry(b"b.npy", npy())])
        for size in range(len(contents)):
            refuse(written(contents[:size]))


class TestHeaders:
    @pytest.mark.parametrize(
        "text",
        [
            b"(" * 4000,
            b"-" * 4000 + b"1",
            b"{'descr': '<f4', 'fortran_order': False, 'shape': (" + b"-" * 3000 + b"1,), }",
            b"{'descr': " + b"[" * 3000 + b", 'fortran_order': False, 'shape': (2,), }",
            b"{'descr': '<f4', 'fortran_order': False, 'shape': (" + b"2" * 3000 + b",), }",
            b"{'descr': '<f4', 'fortran_order': False, 'shape': (" + b"2," * 1500 + b"), }",
            b"{'descr': '<f4', 'fortran_order': False, 'shape': (2**2,), }",
            b"{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'x': 1}",
            b"{'descr': '<f4', 'shape': (2,), 'shape': (2,)}",
            b"{" + b" " * 3900 + b"}",
            b"'descr'" + b" " * 3900,
            b"",
            b"\x00" * 100,
        ],
    )
    def test_are_no_programs(self, written, text):
        refuse(written(archive([Entry(b"a.npy", zips.header(text) + bytes(8))])), "a in it")

    def test_length(self, written):
        for version in (2, 3):
            refuse(written(archive([Entry(b"a.npy", zips.header(b"{}", version, 0xFFFFFFFF))])), "at most 4096")

    @pytest.mark.parametrize(
        "shape",
        ["(-1,)", "(4611686018427387904, 4)", "(0, 9223372036854775807)", "(4294967296, 0)", "(2.0,)", "2", "None",
         "(True,)", "(" + "1, " * 40 + ")", "(" + "2147483647, " * 30 + ")", "(3,)", "(1,)", "()", "(0,)"],
    )  # fmt: skip
    def test_shapes(self, written, shape):
        refuse(written(archive([Entry(b"a.npy", npy(shape=shape))])), "a in it")

    @pytest.mark.parametrize("order", ["1", "'F'", "None", "[]", "true"])
    def test_orders(self, written, order):
        refuse(written(archive([Entry(b"a.npy", npy(order=order))])), "its header is")

    @pytest.mark.parametrize(
        "descr",
        ["'|O'", "'<f3'", "'<U2000000000'", "'|S0'", "'<M8[s]'", "'f4,f4'", "'(1000000,)f4'", "[('a', '<f4')]",
         "('<f4', (9,))", "None", "3", "''", "'|V8'"],
    )  # fmt: skip
    def test_types(self, written, descr):
        refuse(written(archive([Entry(b"a.npy", npy(descr))])), "a in it")


def _small():
    stream = io.BytesIO()
    np.savez(stream, a=np.arange(3.0), b=np.array("text"))
    return stream.getvalue()


SMALL = _small()


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(SMALL) - 1), st.integers(0, 255))
def test_any_damaged_byte_loads_or_is_refused(tmp_path_factory, position, byte):
    path = tmp_path_factory.getbasetemp() / "damaged.npz"
    path.write_bytes(SMALL[:position] + bytes([byte]) + SMALL[position + 1 :])
    try:
        safe_npz.read(path)
    except NpzError as error:
        assert "\n" not in str(error)  # noqa: PT017


def test_entries_as_bytes(tmp_path):
    with zipfile.ZipFile(tmp_path / "file.zip", "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("a", b"abc")
    with safe_zip.opened(tmp_path / "file.zip") as found:
        assert ("a" in found, "b" in found, found.size("a"), found.read("a")) == (True, False, 3, b"abc")
        assert found.budget.bytes < budget.Budget(200).bytes
