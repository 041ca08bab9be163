"""The containers that methods write into: joblib's, torch's and NumPy's files are read, hostile and broken ones refused."""

import bz2
import collections
import gzip
import io
import lzma
import os
import pickle
import zipfile
import zlib

import joblib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.poses import joblib_files, pickles
from experiments.poses.pickles import BadPickleError, UnsafePickleError
from tests.experiments import pose_files, prior_formats

VALUE = {
    "pose": np.random.default_rng(0).normal(size=(7, 72)).astype(np.float32),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "transposed": np.arange(24).reshape(2, 3, 4).transpose(1, 0, 2),
    "strided": np.arange(10)[::3],
    "empty": np.zeros((0, 4)),
    "no_rows_of_none": np.zeros((3, 0)),
    "zero_dim": np.array(3.0),
    "bool": np.array([True, False]),
    "big_endian": np.arange(4, dtype=">f8"),
    "text": np.array(["a", "bc"]),
    "objects": np.array([1, None, "x", (2, 3)], object),
}
COMPRESSIONS = [0, 3, ("zlib", 9), ("gzip", 3), ("bz2", 3), ("lzma", 3), ("xz", 3)]


def written(tmp_path, contents, name="file.pkl"):
    path = tmp_path / name
    path.write_bytes(contents)
    return path


def refuse(path, *words, error=BadPickleError, **kwargs):
    with pytest.raises(error) as caught:
        pickles.load(path, **kwargs)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    assert len(message) < 300 + len(str(path))
    for word in words:
        assert word in message


def assert_arrays(found, expected):
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype.newbyteorder("=")
        assert found[name].shape == array.shape
        np.testing.assert_array_equal(found[name], array)


class TestJoblib:
    @pytest.mark.parametrize("compress", COMPRESSIONS)
    @pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
    def test_arrays(self, tmp_path, compress, protocol):
        joblib.dump(VALUE, tmp_path / "file.pkl", compress=compress, protocol=protocol)
        assert_arrays(pickles.load(tmp_path / "file.pkl"), VALUE)

    def test_containers_and_what_stands_between_arrays(self, tmp_path):
        people = collections.defaultdict(dict)
        people[np.int64(3)] = {"frames": np.arange(3), "joints2d": None, "conf": np.float32(0.5)}
        people["list"] = [np.ones(2), "text", [np.zeros(1)], (1, np.full(2, 5))]
        people["deque"] = collections.deque([np.ones(2), 4], maxlen=9)
        people["memmap"] = np.memmap(tmp_path / "map", "f4", "w+", shape=(2, 2))
        joblib.dump(people, tmp_path / "file.pkl")
        found = pickles.load(tmp_path / "file.pkl")
        assert type(found) is dict
        assert list(found) == [3, "list", "deque", "memmap"]
        np.testing.assert_array_equal(found[3]["frames"], [0, 1, 2])
        assert found[3]["joints2d"] is None
        assert found[3]["conf"] == 0.5
        np.testing.assert_array_equal(found["list"][0], [1, 1])
        np.testing.assert_array_equal(found["list"][2][0], [0])
        np.testing.assert_array_equal(found["list"][3][1], [5, 5])
        np.testing.assert_array_equal(found["deque"][0], [1, 1])
        assert found["deque"][1] == 4
        np.testing.assert_array_equal(found["memmap"], np.zeros((2, 2)))

    def test_before_arrays_were_aligned(self, tmp_path):
        """Joblib 1.1 and older: no padding, and no attribute that says so."""
        wrapper = prior_formats.class_named("joblib.numpy_pickle", "NumpyArrayWrapper")()
        array = np.arange(5, dtype="<f4")
        about = {"subclass": np.ndarray, "shape": (5,), "order": "C", "dtype": array.dtype, "allow_mmap": True}
        wrapper.__dict__.update(about)
        start = prior_formats.dumps(wrapper, 2, python2=False)
        assert start.endswith(b".")
        np.testing.assert_array_equal(pickles.load(written(tmp_path, start[:-1] + array.tobytes() + b".")), array)

    @pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
    def test_ordinary_pickles_compressed_or_not(self, tmp_path, protocol):
        contents = pickle.dumps(VALUE, protocol)
        for squeeze in (bytes, zlib.compress, gzip.compress, bz2.compress, lzma.compress):
            assert_arrays(pickles.load(written(tmp_path, squeeze(contents))), VALUE)

    @pytest.mark.parametrize("compress", COMPRESSIONS)
    def test_truncated(self, tmp_path, compress):
        joblib.dump({"a": np.arange(40.0), "b": np.ones(3)}, tmp_path / "whole", compress=compress)
        contents = (tmp_path / "whole").read_bytes()
        for size in {*range(0, len(contents), 7), len(contents) - 1}:
            refuse(written(tmp_path, contents[:size]), "truncated" if size else "empty")

    def test_other_formats(self, tmp_path):
        refuse(written(tmp_path, b"ZF0x3                 x"), "before version 0.10")
        old = prior_formats.class_named("joblib.numpy_pickle", "NDArrayWrapper")()
        old.__dict__.update(filename="file.pkl_01.npy", subclass=np.ndarray)
        refuse(written(tmp_path, prior_formats.dumps({"a": old}, 2, python2=False)), "before version 0.10")
        refuse(written(tmp_path, b"\x04\x22\x4d\x18rest"), "lz4")
        refuse(written(tmp_path, b"\x1f\x8brubbish"), "compression is damaged")
        refuse(tmp_path, "cannot be read")
        refuse(tmp_path / "absent.pkl", "cannot be read")

    def test_bombs(self, tmp_path):
        refuse(written(tmp_path, zlib.compress(bytes(10**6))), "more than", max_bytes=10**5)
        refuse(written(tmp_path, bytes(100)), "100 bytes are more", max_bytes=99)
        wrapper = prior_formats.class_named("joblib.numpy_pickle", "NumpyArrayWrapper")()
        for shape in ((1 << 40,), (-5,), ("x",)):
            wrapper.__dict__.update(subclass=np.ndarray, shape=shape, order="C", dtype=np.dtype("f4"))
            refuse(written(tmp_path, prior_formats.dumps(wrapper, 2, python2=False)))
        wrapper.__dict__.update(shape=(1,), dtype=np.dtype([("a", "f4")]))
        refuse(written(tmp_path, prior_formats.dumps(wrapper, 2, python2=False)), "plain numbers")

    @pytest.mark.parametrize("compress", [0, 3])
    @pytest.mark.parametrize("wrap", [lambda x: x, lambda x: {1: {"pose": np.ones(3), "betas": x}}])
    def test_hostile(self, tmp_path, monkeypatch, compress, wrap):
        monkeypatch.chdir(tmp_path)

        class Hostile:
            def __reduce__(self):
                return os.system, ("touch hacked",)

        joblib.dump(wrap(Hostile()), "file.pkl", compress=compress)
        refuse(tmp_path / "file.pkl", "system", "could run code", error=UnsafePickleError)
        assert not (tmp_path / "hacked").exists()

    def test_hostile_in_an_array_of_objects(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)

        class Hostile:
            def __reduce__(self):
                return os.system, ("touch hacked",)

        joblib.dump(np.array([Hostile()], object), "file.pkl")
        refuse(tmp_path / "file.pkl", "system", error=UnsafePickleError)
        np.save("file.npy", np.array({"pose": Hostile()}, object), allow_pickle=True)
        refuse(tmp_path / "file.npy", "system", error=UnsafePickleError)
        np.savez("file.npz", poses=np.ones(2), other=np.array([Hostile()], object))
        refuse(tmp_path / "file.npz", "other", "system", error=UnsafePickleError)
        assert not (tmp_path / "hacked").exists()

    def test_objects_of_other_classes_are_named(self, tmp_path):
        joblib.dump({"a": MyList([1])}, tmp_path / "file.pkl")
        refuse(tmp_path / "file.pkl", "MyList", error=UnsafePickleError)


class MyList(list):
    pass


def dumped(value):
    stream = io.BytesIO()
    joblib.dump(value, stream)
    return stream.getvalue()


SMALL = dumped({1: {"pose": np.ones((2, 3), np.float32), "frame_ids": np.arange(2), "joints2d": None}})


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(SMALL) - 1), st.integers(0, 255))
def test_any_damaged_byte_loads_or_is_refused(position, byte):
    contents = SMALL[:position] + bytes([byte]) + SMALL[position + 1 :]
    try:
        joblib_files.loads(contents, "some/file.pkl", max_bytes=1 << 20)
    except BadPickleError as error:
        assert "\n" not in str(error)  # noqa: PT017


class TestTorch:
    def test_nested_tensors(self, tmp_path):
        root, body = np.arange(6.0).reshape(2, 3), np.arange(126.0).reshape(2, 63)
        path = pose_files.gvhmr(tmp_path / "file.pt", root, body, np.zeros((2, 3)), np.eye(3))
        found = pickles.load(path)
        np.testing.assert_array_equal(found["smpl_params_incam"]["global_orient"], root)
        np.testing.assert_array_equal(found["smpl_params_incam"]["body_pose"], body)
        assert found["net_outputs"]["model_output"]["pred_x"].shape == (1, 2, 4)
        refuse(written(tmp_path, path.read_bytes()[:-40]), "truncated")

    def test_tensors_in_an_ordinary_pickle(self, tmp_path):
        arrays = {"f4": np.arange(6, dtype="f4").reshape(2, 3), "i8": np.arange(4), "none": np.zeros((0, 3), "f4")}
        value = {name: pose_files.pickled_tensor(array) for name, array in arrays.items()}
        assert_arrays(pickles.load(written(tmp_path, prior_formats.dumps(value, 2, python2=False))), arrays)
        assert_arrays(pickles.load(written(tmp_path, pose_files.npy_of(value), "file.npy")), arrays)

    def test_crafted_storages(self, tmp_path):
        array = np.arange(6, dtype="<f4")
        good = prior_formats.dumps({"a": pose_files.pickled_tensor(array)}, 2, python2=False)
        np.testing.assert_array_equal(pickles.load(written(tmp_path, good))["a"], array)
        assert good.count(b"94029") == 2
        refuse(written(tmp_path, good.replace(b"94029", b"94028", 1)), "known form")
        assert good.count(b"FloatStorage") == 1
        refuse(written(tmp_path, good.replace(b"FloatStorage", b"LongxStorage")), "type")
        hostile = prior_formats.Called(
            pose_files._from_bytes, (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.cos\nsystem\n.",)
        )
        tensor = prior_formats.tensor(hostile, 0, (1,), (1,))
        refuse(written(tmp_path, prior_formats.dumps({"a": tensor}, 2, python2=False)), "system")

    def test_what_torch_itself_writes(self, tmp_path):
        torch = pytest.importorskip("torch", reason="torch is not installed (requirements-oracle.txt)")
        value = {"a": torch.arange(6.0).reshape(2, 3).T, "b": torch.arange(10)[3:5], "c": torch.tensor([True, False])}
        expected = {name: tensor.numpy() for name, tensor in value.items()}
        torch.save(value, tmp_path / "file.pt")
        np.save(tmp_path / "file.npy", value)
        (tmp_path / "file.pkl").write_bytes(pickle.dumps(value))
        joblib.dump(value, tmp_path / "file.joblib", compress=3)
        for name in ("file.pt", "file.npy", "file.pkl", "file.joblib"):
            assert_arrays(pickles.load(tmp_path / name), expected)
        torch.save(value, tmp_path / "file.pt", _use_new_zipfile_serialization=False)
        refuse(tmp_path / "file.pt", "before version 1.6")


class TestNumpy:
    @pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
    def test_npz(self, tmp_path, save):
        save(tmp_path / "file.npz", **VALUE, inner=np.array({"a": np.ones(2)}, object))
        found = pickles.load(tmp_path / "file.npz")
        np.testing.assert_array_equal(found.pop("inner")["a"], [1, 1])
        swapped = {**VALUE, "big_endian": VALUE["big_endian"].astype("f8")}
        assert {name: array.tolist() for name, array in found.items()} == {n: a.tolist() for n, a in swapped.items()}

    def test_npy(self, tmp_path):
        for array in (VALUE["pose"], VALUE["fortran"], VALUE["empty"], VALUE["zero_dim"]):
            np.save(tmp_path / "file.npy", array)
            np.testing.assert_array_equal(pickles.load(tmp_path / "file.npy"), array)
        np.save(tmp_path / "file.npy", {"a": np.ones(2)})
        np.testing.assert_array_equal(pickles.load(tmp_path / "file.npy")["a"], [1, 1])

    def test_broken(self, tmp_path):
        np.save(tmp_path / "file.npy", np.arange(5.0))
        contents = (tmp_path / "file.npy").read_bytes()
        for size in (7, 20, len(contents) - 1):
            refuse(written(tmp_path, contents[:size], "file.npy"), "truncated")
        huge = contents.replace(b"(5,), }         ", b"(5000000000,), }")
        assert huge != contents
        refuse(written(tmp_path, huge, "file.npy"), "40000000000 bytes")
        np.savez(tmp_path / "file.npz", a=np.arange(5.0))
        contents = (tmp_path / "file.npz").read_bytes()
        refuse(written(tmp_path, contents[: len(contents) // 2], "file.npz"), "truncated")
        with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
            archive.writestr("readme.txt", "hello")
        refuse(tmp_path / "other.zip", "no arrays")
        with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a.npy", bytes(10**6))
        refuse(tmp_path / "bomb.npz", "bytes allowed", max_bytes=10**5)
