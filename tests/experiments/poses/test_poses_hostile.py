"""Outputs of pose methods that are bombs, of another format, or hold what no method writes: one sentence, soon."""

import gzip
import os
import pickle
import time
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest

from experiments import poses
from experiments.data.dataset import DatasetError
from experiments.poses import pickles
from experiments.poses.pickles import BadPickleError
from tests.experiments import pose_files, prior_formats
from tests.fuzz import bombs, odd_entries
from tests.fuzz.opcodes import dict_, dtype, file, number, text, tuple_, wrapper

MEGABYTES = 400
LAUGHS = b")" + b"2\x86" * 45
FAULTS = Path(os.environ.get("NEMO_DATA_DIR", "/nonexistent")) / "faults"


def refuse(path, *words):
    start = time.process_time()
    tracemalloc.start()
    with pytest.raises(DatasetError) as caught:
        poses.read(path)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert time.process_time() - start < 10  # half without the tracing
    assert most < MEGABYTES << 20
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message and len(message) < 400 + len(str(path))
    for word in words:
        assert word in message, message


@pytest.fixture
def written(tmp_path):
    def write(contents, name="file.pkl"):
        (tmp_path / name).write_bytes(contents if isinstance(contents, bytes) else pickle.dumps(contents))
        return tmp_path / name

    return write


class TestCompressed:
    @pytest.mark.parametrize("squeeze", ["zlib", "gzip", "bz2", "xz", "lzma"])
    def test_bombs(self, written, squeeze):
        size = 200 << 20
        array = file(dict_((text("poses"), wrapper(tuple_(number(150_000_000)), dtype(text("u1")), text("C")))), 2)[:-2]
        refuse(written(bombs.SQUEEZES[squeeze](array, size)), "unpacking to more than")

    def test_bombs_that_are_no_pickle_are_not_unpacked(self, written):
        contents = bombs.zlib_(b"", 200 << 20)
        start = time.process_time()
        refuse(written(contents), "no such instruction")
        assert time.process_time() - start < 1

    def test_a_window_of_gigabytes(self, written):
        refuse(written(bombs.xz_of_a_large_window(file(b"}"), 0)), "compression is damaged")

    def test_compressed_twice(self, written):
        refuse(written(gzip.compress(zlib.compress(file(b"}")))), "compressed twice")

    def test_a_damaged_end(self, written):
        contents = bytearray(gzip.compress(file(b"}")))
        contents[-6] ^= 255  # of the checksum
        refuse(written(bytes(contents)), "compression is damaged")
        contents = gzip.compress(file(b"}"))
        refuse(written(contents[:-1]), "truncated")


class TestJoblibArrays:
    @pytest.mark.parametrize(
        ("shape", "kind", "words"),
        [
            (tuple_(number(1 << 47)), text("f4"), "truncated"),
            (tuple_(*[number((1 << 61) - 1)] * 20_000), text("f4"), "20000 axes"),
            (tuple_(number(-5)), text("f4"), "length -5"),
            (LAUGHS, text("f4"), "length a tuple of 2"),
            (tuple_(number(1)), LAUGHS, "type a tuple of 2"),
        ],
    )
    def test_parts(self, written, shape, kind, words):
        refuse(written(file(wrapper(shape, dtype(kind), text("C")) + bytes(64), 2)), words)

    def test_arrays_of_arrays_of_objects(self, written):
        one = b"\x80\x02" + wrapper(tuple_(number(1)), dtype(text("O8")), text("C"))
        refuse(written(one * 3000 + b"N." + b"." * 3000))


class TestTorch:
    def tensor(self, written, size, stride, key="0", count=4, contents=bytes(16)):
        storage = prior_formats.Storage(key, np.zeros(4, "f4"), count)
        value = {"poses": prior_formats.tensor(storage, 0, size, stride)}
        return written(prior_formats.archive(value, {"0": contents}), "file.pt")

    @pytest.mark.parametrize(
        ("size", "stride", "words"),
        [
            ((10**9,), (0,), "memory"),
            ((60_000, 60_000), (0, 0), "memory"),
            ((1 << 62, 1 << 62), (0, 0), "length"),
            ((1 << 40, 1 << 40), (0, 0), "larger than anything"),
            ((0, 1 << 40), (1, 1), "larger than anything"),
            ((2,) * 40, (0,) * 40, "40 axes"),
            (((1 << 61) - 1,) * 20_000, (0,) * 20_000, "20000 axes"),
            ((4,), (1, 1), "strides"),
            ((4,), "1", "strides"),
        ],
    )
    def test_strides(self, written, size, stride, words):
        refuse(self.tensor(written, size, stride), words)

    def test_a_large_step_of_few(self, written):
        path = self.tensor(written, (2, 1, 1), (3, 1 << 40, 1 << 40))
        np.testing.assert_array_equal(pickles.load(path)["poses"], np.zeros((2, 1, 1)))

    @pytest.mark.parametrize("key", [("a", ("b",)), 5, None, "x" * 300])
    def test_keys(self, written, key):
        refuse(self.tensor(written, (4,), (1,), key), "storage has the key")

    def test_one_storage_of_many_tensors_is_read_once(self, written):
        storage = prior_formats.Storage("0", np.zeros(1_000_000, "f4"))
        value = {str(k): prior_formats.tensor(storage, k, (1,), (1,)) for k in range(300)}
        path = written(prior_formats.archive(value, {"0": bytes(4_000_000)}), "file.pt")
        assert len(pickles.load(path)) == 300

    def test_a_pickle_that_unpacks_without_end(self, written):
        refuse(
            written(prior_formats.zipped(b"\x80\x02N" + bytes(65 << 20), compression=8), "file.pt"), "unpacks to more"
        )


OTHER_FORMATS = [
    (b"HIERARCHY\nROOT Hips\n{\n\tOFFSET 0.00 0.00 0.00\n", "a BVH file"),
    (b"MATLAB 5.0 MAT-file, Platform: GLNXA64, Created on: Mon Jan  1 00:00:00 2024" + bytes(60), "a MAT file"),
    (b"\x89HDF\r\n\x1a\n" + bytes(40), "an HDF5 file"),
    (b"Kaydara FBX Binary  \x00\x1a\x00" + bytes(40), "an FBX file"),
    (b"glTF\x02\x00\x00\x00" + bytes(40), "a glTF file"),
    (b"\x02P" + bytes(400), "a C3D file"),
    (b"PathFileType\t4\t(X/Y/Z)\tpose.trc\n", "an OpenSim file"),
    (b'{"version": 1.3, "people": []}', "a JSON file"),
    (b"[[0.1, 0.2], [0.3, 0.4]]", "a JSON file"),
    (b"\x00\x00\x00\x20ftypisom" + bytes(40), "an MP4"),
    (b"\x89PNG\r\n\x1a\n" + bytes(40), "a PNG picture"),
    (b"<!DOCTYPE html><html></html>", "a web page"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a Git LFS pointer"),
    (b"frame,x,y\n0,1,2\n", "a table of text"),
    (b"confidence,x,y\n0,1,2\n", "a table of text"),
    (b"joints of the person\n", "a text file"),
    (b"Bones: 24, of one person, in metres\n", "a text file"),
    (b"Poses of the person, in radians\n", "a text file"),
    (b"0.1 0.2 0.3\n0.4 0.5 0.6\n", "a text file"),
    (b"\x40\x00\x00\x00\x00\x00\x00\x00" + b'{"pose":{"dtype":"F32"}}', "a safetensors file"),
]


@pytest.mark.parametrize(("contents", "kind"), OTHER_FORMATS, ids=[kind for _, kind in OTHER_FORMATS])
@pytest.mark.parametrize("squeeze", [bytes, gzip.compress])
def test_other_formats_are_named(written, contents, kind, squeeze):
    path = written(squeeze(contents), "walk.bvh")
    refuse(path, f"this is {kind}", "expected the output of VIBE")
    with pytest.raises(BadPickleError) as caught:
        pickles.load(path)
    assert "damaged" not in str(caught.value)


def test_a_text_that_asks_for_a_name_is_still_unsafe(written):
    refuse(written(b"cos\nsystem\n(S'ls'\ntR."), "os.system", "could run code")
    refuse(written(b"(S'ls'\nios\nsystem\n."), "os.system", "could run code")


def changed(method, *path, value=None, delete=False):
    """What a method writes, with one entry changed."""
    contents = odd_entries.METHODS[method]()
    holder = contents
    for key in path[:-1]:
        holder = holder[key]
    if delete:
        del holder[path[-1]]
    else:
        holder[path[-1]] = value
    return contents


PICTURE = "img/000001.jpg"


class TestEntries:
    @pytest.mark.parametrize("method", odd_entries.METHODS)
    def test_unchanged_all_are_read(self, written, method):
        assert poses.read(written(odd_entries.METHODS[method]()))

    @pytest.mark.parametrize(
        ("contents", "words"),
        [
            (
                changed("WHAM as a library", 0, "poses_body", delete=True),
                "person 0 has no poses_body; found poses_root_cam",
            ),
            (
                changed("WHAM as a library", 0, "frame_id", delete=True),
                "person 0 has no frame_id; found poses_root_cam",
            ),
            (changed("WHAM as a library", 0, "poses_body", value=None), "poses_body is None, not an array"),
            (changed("WHAM", 0, "frame_ids", delete=True), "person 0 has no frame_ids; found pose, trans"),
            (changed("WHAM", 0, "pose", delete=True), "person 0 has no pose; found trans"),
            (changed("WHAM", 0, "trans", value=np.zeros((3, 1))), "trans has shape (3, 1); expected (frames, 3)"),
            (changed("WHAM", 0, "trans", value="far"), "trans is 'far'"),
            (changed("WHAM", 0, value=5), "found 0; expected one of these"),
            (changed("VIBE", 2, value=None), "person 2 is None, expected a dictionary with frame_ids"),
            (changed("VIBE", 1, "frame_ids", value=[0, 1, float("inf")]), "person 1 has the frame number inf"),
            (changed("VIBE", 1, "frame_ids", value=[0, 1, 10**12]), "frame number 1e+12"),
            (changed("VIBE", 1, "frame_ids", value=[0, 1, 1 << 1000]), "frame number 1.07151e+301"),
            (changed("VIBE", 1, "frame_ids", value=[0, 1, 1 << 5000]), "a number of"),
            (changed("VIBE", 1, "frame_ids", value=None), "frame numbers is None"),
            (changed("VIBE", 1, "pose", value={"a": 1}), "pose of person 1 is a dict of 1"),
            (changed("VIBE", 1, "pose", value=np.zeros((3, 72), complex)), "an array of complex128 of shape (3, 72)"),
            (changed("VIBE", 1, "pose", value=[[0.0] * 72, [0.0], []]), "whose parts do not fit"),
            (changed("VIBE", 1, "pose", value=np.full((3, 72), 1e308)), "1e+308 radians"),
            (changed("VIBE", 1, "betas", value="thin"), "betas is 'thin'"),
            (changed("VIBE", 1, "bboxes", value=[None] * 3), "bboxes is a list of 3"),
        ],
    )
    def test_of_people(self, written, contents, words):
        refuse(written(contents), words)

    @pytest.mark.parametrize(
        ("contents", "words"),
        [
            *((changed("PHALP", PICTURE, value=value), "picture 1 is") for value in (3.5, None, [1])),
            (changed("PHALP", PICTURE, value="none"), "picture 1 is 'none', expected a dictionary with tid"),
            *((changed("PHALP", PICTURE, key, value=value), f"{key} of picture 1 is")
              for key in ("tid", "smpl", "bbox") for value in (3.5, None, "none")),
            (changed("PHALP", PICTURE, "tid", delete=True), "picture 1 has no tid; found time"),
            (changed("PHALP", PICTURE, "tid", value=[1]), "picture 1 has 1 tid and 2 smpl"),
            (changed("PHALP", PICTURE, "tid", 0, value=float("inf")), "tid of picture 1 is inf, expected a whole number"),
            (changed("PHALP", PICTURE, "tid", 0, value=float("nan")), "tid of picture 1 is nan"),
            (changed("PHALP", PICTURE, "tid", 0, value=1 << 900), "tid of picture 1 is a number of 901 bits"),
            (changed("PHALP", PICTURE, "tid", 0, value=1.5), "tid of picture 1 is 1.5"),
            (changed("PHALP", PICTURE, "time", value=float("inf")), "time of picture 1 is inf"),
            (changed("PHALP", PICTURE, "time", value=None), "time of picture 1 is None"),
            (changed("PHALP", PICTURE, "tracked_time", value=[0]), "picture 1 has 2 tid and 1 tracked_time"),
            (changed("PHALP", PICTURE, "tracked_time", value=["0", "0"]), "tracked_time of picture 1 is '0'"),
            (changed("PHALP", PICTURE, "smpl", 0, value=None), "smpl of person 3 is None, expected a dictionary with"),
            (changed("PHALP", PICTURE, "smpl", 0, "body_pose", value=np.zeros((2, 3))), "(23, 3, 3) in one frame"),
            (changed("PHALP", PICTURE, "bbox", 0, value=np.zeros((2, 2))), "bbox of person 3 has shape (4,) in one frame"),
            (changed("PHALP", PICTURE, "bbox", 0, value="none"), "bbox of person 3 is 'none'"),
        ],
    )  # fmt: skip
    def test_of_phalp(self, written, contents, words):
        refuse(written(contents), words)

    @pytest.mark.parametrize(
        ("contents", "words"),
        [
            *((changed("GVHMR", "K_fullimg", value=value), "its K_fullimg")
              for value in (np.zeros((0, 3, 3)), np.zeros((3, 2, 2)), np.full((3, 3), np.nan), None, "K", [])),
            (changed("GVHMR", "smpl_params_incam", value=None), "its smpl_params_incam is None"),
            (changed("GVHMR", "smpl_params_incam", "body_pose", delete=True), "its smpl_params_incam has no body_pose"),
            (changed("GVHMR", "smpl_params_incam", "transl", value=np.zeros((3, 4))), "transl has shape (3, 4)"),
            (changed("TRAM", "frame", value="all"), "frame numbers is 'all'"),
            (changed("TRAM", "pred_rotmat", value=None), "pred_rotmat is None"),
            (changed("anybody's", "betas", value=np.zeros(100_000)), "betas of shape (100000,)"),
            (changed("anybody's", "method", value=[1]), "method is a list of 1, expected text"),
            (changed("anybody's", "mask", value="all"), "mask is 'all'"),
        ],
    )  # fmt: skip
    def test_of_one_person(self, written, contents, words):
        refuse(written(contents), words)

    def test_more_than_is_read(self, written):
        refuse(written(changed("anybody's", "poses", value=np.zeros((120_000, 72), "u1"))), "at most 8388608")
        person = odd_entries.METHODS["VIBE"]()[1]
        crowd = {k: {**person, "pose": np.zeros((60_000, 1), "u1"), "frame_ids": np.arange(60_000)} for k in range(2)}
        refuse(written(crowd), "120000 poses")
        small = {"pose": np.zeros((1, 72)), "frame_ids": [0]}
        refuse(written(dict.fromkeys(range(2001), small)), "2001 people")

    def test_keys_without_end(self, written):
        refuse(written({"k" * 1_000_000: 1, "\n": 2}), "found kkkk")
        refuse(written({"p" * 100_000: {"frame_ids": [0]}}), "person ppp")

    def test_matrices_of_many_frames(self, written):
        matrices = np.tile(np.eye(3, dtype="f4"), (5000, 24, 1, 1))
        matrices[4000, 5] = pose_files.turn(1, 0.5)
        (track,) = poses.read(written({"poses": matrices}))
        np.testing.assert_allclose(track.pose[4000, 5], [0, 0.5, 0], atol=1e-6)
        assert np.abs(track.pose).sum() < 0.6


def test_what_was_found_with_hostile_files(tmp_path):
    """Each hung, took gigabytes or ended in a trace."""
    if not FAULTS.is_dir():
        pytest.skip("NEMO_DATA_DIR has no faults")
    files = [path for path in FAULTS.iterdir() if path.suffix in (".pkl", ".gz", ".pt")]
    assert len(files) >= 8
    for path in files:
        refuse(path)
        if path.suffix == ".gz":
            (tmp_path / "unpacked.pkl").write_bytes(gzip.decompress(path.read_bytes()))
            refuse(tmp_path / "unpacked.pkl")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"betas": np.full((4, 10), 1e9)},
            "betas of the person holds 1e+09, expected shape coefficients from -20 to 20",
        ),
        ({"betas": np.full(10, -21.0)}, "betas of the person holds -21"),
        ({"joints_2d": np.full((4, 25, 2), 1e9)}, "joints_2d of the person holds 1e+09, expected pixels"),
        ({"bbox": np.full((4, 4), -1e9)}, "boxes of the person holds -1e+09, expected pixels"),
    ],
)
def test_numbers_that_nobody_has(tmp_path, changes, words):
    np.savez(tmp_path / "a.npz", **{"poses": np.zeros((4, 72)), **changes})
    refuse(tmp_path / "a.npz", words)
    # What is not known is NaN, and frames without a pose hold anything.
    known = {key: np.where(np.abs(value) > 20, np.nan, value) for key, value in changes.items()}
    np.savez(tmp_path / "a.npz", **{"poses": np.zeros((4, 72)), **known})
    assert len(poses.read(tmp_path / "a.npz")) == 1


def test_translations_that_nobody_has(written):
    incam = {"global_orient": np.zeros((4, 3)), "body_pose": np.zeros((4, 63)), "betas": np.zeros((4, 10))}
    contents = {
        "smpl_params_incam": {**incam, "transl": np.full((4, 3), 1e9)},
        "K_fullimg": np.tile(np.eye(3) * 900, (4, 1, 1)),
    }
    refuse(written(contents), "pelvis of the person holds 1e+09, expected metres from -1000 to 1000")
    contents["smpl_params_incam"]["transl"] = np.zeros((4, 3))
    assert len(poses.read(written(contents))) == 1
    contents["K_fullimg"] = contents["K_fullimg"] * 1e9
    refuse(written(contents), "the focal length beside the person holds 9e+11, expected pixels")
