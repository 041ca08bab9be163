"""`--init`: the outputs of other methods found by the clips' names and laid on a dataset."""

import dataclasses

import jax
import numpy as np
import pytest

from experiments import poses
from experiments.data.dataset import Dataset, DatasetError, Instance, stack, visible_box_size
from experiments.evaluation import table
from experiments.poses import initial
from tests.experiments import pose_files

NAMES = ("swing.0", "swing é 1")
LENGTHS = (4, 6)
MIDDLE = (300, 400)
SHAPE = np.random.default_rng(0).uniform([-50, -150], [50, 150], (25, 2))
BOX = [200.0, 250, 400, 550]


@pytest.fixture
def dataset():
    """Two clips of 4 and 6 frames of a person who stands at (300, 400), with initial poses of ones in the first."""
    instances = [
        Instance(np.tile(SHAPE + MIDDLE, (count, 1, 1)), np.ones((count, 25)), (600.0, 800.0)) for count in LENGTHS
    ]
    instances[0] = dataclasses.replace(instances[0], init_pose=np.ones((4, 24, 3)))
    clips = stack(instances)
    return Dataset(
        clips=clips,
        names=NAMES,
        action="swing",
        box_size=visible_box_size(clips.keypoints, clips.confidence),
        notes=("before",),
    )


def one_of(dataset, index):
    clips = jax.tree.map(lambda leaf: leaf[index : index + 1], dataset.clips)
    names = dataset.names[index : index + 1]
    return dataclasses.replace(dataset, clips=clips, names=names, box_size=dataset.box_size[index : index + 1])


def vibe(folder, count, value, name="vibe_output.pkl", box=BOX, frames=None):
    folder.mkdir(parents=True, exist_ok=True)
    frames = range(count) if frames is None else frames
    pose = np.full((len(frames), 72), value)
    return pose_files.vibe(folder / name, {1: (pose, frames, None, [box] * len(frames))})


def test_a_folder_per_clip(tmp_path, dataset):
    vibe(tmp_path / "vibe" / NAMES[0], 4, 0.25)
    vibe(tmp_path / "vibe" / NAMES[1], 6, 0.5, frames=[0, 1, 4, 5])
    found = poses.apply(dataset, [str(tmp_path / "vibe")])
    pose, mask = found.clips.init_pose, found.clips.init_mask
    assert pose.dtype == mask.dtype == np.float32
    assert pose.shape == (2, 6, 24, 3)
    np.testing.assert_array_equal(mask, [[1, 1, 1, 1, 0, 0], [1, 1, 0, 0, 1, 1]])
    np.testing.assert_array_equal(pose[..., 5, 1], [[0.25] * 4 + [0] * 2, [0.5, 0.5, 0, 0, 0.5, 0.5]])
    assert list(found.other_poses) == ["given"]
    np.testing.assert_array_equal(found.other_poses["given"][0], dataset.clips.init_pose)
    np.testing.assert_array_equal(found.other_poses["given"][1][0], [1, 1, 1, 1, 0, 0])
    assert found.notes[0] == "before"
    assert "4 of 6 frames" in found.notes[1]
    np.testing.assert_array_equal(found.clips.keypoints, dataset.clips.keypoints)


def test_several_paths_are_rows_of_the_evaluation(tmp_path, dataset):
    for folder in ("first", "vibe", "out"):
        for name, count in zip(NAMES, LENGTHS, strict=True):
            vibe(tmp_path / folder / name, count, 0.5 if folder == "out" else 0.25)
    wham = tmp_path / "more" / "out"
    for name, count in zip(NAMES, LENGTHS, strict=True):
        (wham / name).mkdir(parents=True)
        person = (np.full((count, 72), 0.75), range(count), np.full((count, 3), [0, 0.223, 5]))
        pose_files.wham(wham / name / "wham_output.pkl", {0: person})
    paths = [tmp_path / "first", tmp_path / "vibe", tmp_path / "out", wham, tmp_path / "vibe"]
    found = poses.apply(dataset, [str(path) for path in paths])
    assert list(found.other_poses) == ["given", "vibe", "out_vibe", "out_wham", "vibe_2"]
    assert found.clips.init_pose[0, 0, 0, 0] == 0.25
    values = [found.other_poses[name][0][1, 5, 3, 2] for name in ("vibe", "out_vibe", "out_wham")]
    assert values == [0.25, 0.5, 0.75]
    assert table.methods(found) == ("init", *found.other_poses, "fit")


def test_no_path_changes_nothing(dataset):
    assert poses.apply(dataset, []) is dataset


def test_files_are_found_by_name(tmp_path, dataset):
    root = tmp_path / "all"
    root.mkdir()
    np.savez(root / f"{NAMES[0]}.npz", poses=np.zeros((4, 72)))
    _, matrices = pose_files.some_pose(0, 1)
    pose_files.phalp(root / f"demo_{NAMES[1]}.pkl", 6, [(2, 1, matrices[0], BOX, 0)])
    (root / "notes.txt").write_text("swing.0")
    (root / f"{NAMES[0]}.json").write_text("{}")
    found = poses.apply(dataset, [str(root)])
    np.testing.assert_array_equal(found.clips.init_mask, [[1, 1, 1, 1, 0, 0], [0, 0, 1, 0, 0, 0]])


def test_the_output_among_a_methods_other_files(tmp_path, dataset):
    for name, count in zip(NAMES, LENGTHS, strict=True):
        folder = tmp_path / "gvhmr" / name
        (folder / "preprocess").mkdir(parents=True)
        (folder / "preprocess" / "bbx.pt").write_bytes(b"something else")
        trans = np.full((count, 3), [0.0, 0.351, 5])
        intrinsics = np.array([[1000.0, 0, 300], [0, 1000, 400], [0, 0, 1]])
        zeros = np.zeros((count, 3)), np.zeros((count, 63))
        pose_files.gvhmr(folder / "hmr4d_results.pt", *zeros, trans, intrinsics)
        hps = tmp_path / "tram" / name / "hps"
        hps.mkdir(parents=True)
        np.save(hps.parent / "camera.npy", {"img_focal": 1000.0, "img_center": np.array([300.0, 400])})
        for person, x in enumerate((3.0, 0.0)):
            where = np.full((count, 3), [x, 0.223, 5])
            rotations = np.tile(pose_files.turn(0, 0.1 + person), (count, 24, 1, 1))
            pose_files.tram(hps / f"hps_track_{person}.npy", rotations, range(count), where)
    unknown = np.array([np.nan, 700.0], np.float32)[: len(dataset.names)]
    clips = dataclasses.replace(dataset.clips, focal_length=unknown)
    found = poses.apply(dataclasses.replace(dataset, clips=clips), [str(tmp_path / "gvhmr"), str(tmp_path / "tram")])
    # The camera of the poses counts where the clips tell none.
    np.testing.assert_array_equal(found.clips.focal_length, [1000.0, 700.0])
    assert (
        f"The focal length is that of GVHMR's poses in --init={tmp_path / 'gvhmr'}: {NAMES[0]} 1000 pixels."
        in found.notes
    )
    assert found.clips.init_mask.sum() == 10
    pose, mask = found.other_poses["tram"]
    assert mask.sum() == 10
    np.testing.assert_allclose(pose[0, 0, 0], [1.1, 0, 0], atol=1e-6)


def test_one_clip_takes_any_file_or_folder(tmp_path, dataset):
    first = one_of(dataset, 0)
    path = vibe(tmp_path / "results", 4, 0.5)
    for given in (path, tmp_path / "results", tmp_path):
        assert poses.apply(first, [str(given)]).clips.init_pose[0, 0, 0, 0] == 0.5


def test_a_file_of_one_of_several_clips(tmp_path, dataset):
    np.savez(tmp_path / f"{NAMES[1]}.npz", poses=np.zeros((6, 72)))
    found = poses.apply(dataset, [str(tmp_path / f"{NAMES[1]}.npz")])
    np.testing.assert_array_equal(found.clips.init_mask.sum(1), [0, 6])
    assert "has no file or folder for swing.0" in found.notes[-1]


def test_names_are_the_same_however_accents_are_written(tmp_path, dataset):
    decomposed = NAMES[1].replace("é", "e\u0301")
    assert decomposed != NAMES[1]
    vibe(tmp_path / decomposed, 6, 0.5)
    assert poses.apply(dataset, [str(tmp_path)]).clips.init_mask[1].sum() == 6
    assert initial.find(tmp_path / decomposed / "vibe_output.pkl", NAMES) == {name: [] for name in NAMES}


class TestBroken:
    def refuse(self, dataset, paths, *words):
        with pytest.raises(DatasetError) as caught:
            poses.apply(dataset, [str(path) for path in paths])
        assert "\n" not in str(caught.value)
        for word in words:
            assert word in str(caught.value)

    @pytest.mark.parametrize(
        ("spoil", "word"),
        [
            (lambda path: path.write_bytes(b"\x80\x04cos\nsystem\n."), "could run code"),
            (lambda path: path.write_bytes(path.read_bytes()[:500]), "truncated"),
            (lambda path: path.unlink(), "no file or folder for swing.0"),
            (lambda path: vibe(path.parent, 0, 0.5, frames=range(3, 7)), "frames 3 to 6"),
            (lambda path: vibe(path.parent, 4, 0.5, box=[1200, 0, 1400, 300]), "another clip"),
        ],
    )
    def test_one_clip_does_not_stop_the_other(self, tmp_path, dataset, spoil, word):
        bad = vibe(tmp_path / NAMES[0], 4, 0.5)
        vibe(tmp_path / NAMES[1], 6, 0.5)
        spoil(bad)
        found = poses.apply(dataset, [str(tmp_path)])
        np.testing.assert_array_equal(found.clips.init_mask.sum(1), [0, 6])
        assert not found.clips.init_pose[0].any()
        assert word in found.notes[-1]
        self.refuse(one_of(dataset, 0), [tmp_path / NAMES[0]] if bad.exists() else [tmp_path / "absent"], "--init")

    def test_nothing_there(self, tmp_path, dataset):
        self.refuse(dataset, [tmp_path / "absent"], "no such file or folder")
        self.refuse(dataset, [tmp_path], "no pose for any instance", "swing.0", "1 more")

    def test_two_outputs_for_one_clip(self, tmp_path, dataset):
        vibe(tmp_path / "a" / NAMES[0], 4, 0.5)
        vibe(tmp_path / "b" / NAMES[0], 4, 0.5)
        self.refuse(one_of(dataset, 0), [tmp_path], "2 outputs for swing.0", "1 was expected")
