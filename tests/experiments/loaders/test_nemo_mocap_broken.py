"""NeMo-MoCap with files that are missing, damaged or hostile: what is left out, and in which words."""

import json
import shutil

import joblib
import numpy as np
import pytest
from mocap_notes import ACTION, broken, notes_of

from experiments.data.dataset import DatasetError
from experiments.data.footage import BrokenClipError
from experiments.loaders import nemo_mocap, nemo_truth
from tests.experiments import prior_formats, published_layouts


def test_an_instance_without_its_truth_is_left_out(own_tree, tiny_body):
    (own_tree / "mocap" / "baseball_pitch.1.pkl").unlink()
    (note,) = broken(own_tree, tiny_body, "baseball_pitch.1")
    assert note.startswith("Left out, because unusable: baseball_pitch.1 (its motion capture ")
    assert "baseball_pitch.1.pkl is missing" in note


def test_without_any_truth_there_is_still_something_to_fit(own_tree, tiny_body):
    shutil.rmtree(own_tree / "mocap")
    dataset = nemo_mocap.load(own_tree, ACTION, body=tiny_body)
    assert len(dataset.names) == 3
    assert dataset.truth is None
    assert dataset.cameras is None
    (note,) = dataset.notes
    assert "nothing is scored in 3D" in note


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda held: {**held, "fullpose": held["fullpose"][:, :63]}, "fullpose of .* has shape"),
        (lambda held: {**held, "trans": held["trans"][:-1]}, "trans of .* has shape"),
        (lambda held: {**held, "trans": held["trans"] * np.nan}, "not finite"),
        (lambda held: {**held, "betas": held["betas"][:4]}, "betas of .* are 4 numbers, expected 10 or more"),
        (lambda held: {**held, "fullpose": held["fullpose"] * 1e9}, r"fullpose of .* holds .*e\+0\d, expected radians"),
        (lambda held: {**held, "trans": held["trans"] * 1e9}, r"trans of .* holds .*e\+0\d, expected metres from"),
        (lambda held: {**held, "betas": held["betas"] + 1e9}, r"betas of .* holds 1e\+09, expected shape coefficients"),
        (lambda held: {**held, "betas": np.array(["fat"] * 10)}, "betas of .* is not numeric"),
        (lambda held: {key: held[key] for key in ("trans", "betas")}, "has no fullpose, but trans, betas"),
        (lambda held: [held], "holds a list, expected a dict"),
    ],
)
def test_broken_motion_capture_is_named(change, expected, own_tree, tiny_body):
    file = own_tree / "mocap" / "baseball_pitch.10.pkl"
    joblib.dump(change(joblib.load(file)), file)
    with pytest.raises(BrokenClipError, match=expected) as caught:
        nemo_truth.read_mocap(file)
    (note,) = broken(own_tree, tiny_body, "baseball_pitch.10")
    assert str(caught.value) in note


def test_hostile_motion_capture_is_not_run(own_tree, tiny_body):
    (own_tree / "mocap" / "baseball_pitch.10.pkl").write_bytes(prior_formats.dumps(prior_formats.Evil()))
    (note,) = broken(own_tree, tiny_body, "baseball_pitch.10")
    assert "baseball_pitch.10.pkl" in note
    assert "os.system" in note


def test_frames_that_do_not_belong_to_the_truth(own_tree, tiny_body, made):
    folder = own_tree / "exps" / "mymocap_baseball_pitch"
    (folder / "baseball_pitch.0.mp4" / f"{len(made[0].joints):06d}.png").unlink()
    (folder / "baseball_pitch.0.mp4_openpose" / f"{len(made[0].joints):06d}_keypoints.json").unlink()
    file = own_tree / "mocap" / "baseball_pitch.1.pkl"
    held = joblib.load(file)
    joblib.dump({key: np.tile(value, (2, 1)) if np.ndim(value) == 2 else value for key, value in held.items()}, file)
    dataset = nemo_mocap.load(own_tree, ACTION, body=tiny_body)
    assert dataset.names == ("baseball_pitch.0", "baseball_pitch.10")
    poses, cut, left_out = notes_of(dataset)
    count = len(made[0].joints)
    assert f"it has poses for frames 0 to {count - 1}" in poses
    assert cut == (
        f"baseball_pitch.0 has {count - 1} pictures and {count} frames of motion capture; the first {count - 1} are used."
    )
    frames = len(made[1].joints)
    assert f"it has {frames} pictures but {2 * frames} frames of motion capture" in left_out
    np.testing.assert_allclose(dataset.truth.joints[0, : count - 1], made[0].joints[:-1], atol=1e-5)
    assert dataset.clips.frame_mask[0].sum() == count - 1


def test_more_json_than_pictures(own_tree, tiny_body, made):
    folder = own_tree / "exps" / "mymocap_baseball_pitch" / "baseball_pitch.1.mp4_openpose"
    shutil.copy(folder / "000001_keypoints.json", folder / "000400_keypoints.json")
    (note,) = broken(own_tree, tiny_body, "baseball_pitch.1")
    assert f"numbered 1 to 400, where the clip has {len(made[1].joints)}" in note


def test_json_cut_in_half_is_a_missing_frame(own_tree, tiny_body):
    folder = own_tree / "exps" / "mymocap_baseball_pitch" / "baseball_pitch.1.mp4_openpose"
    text = (folder / "000008_keypoints.json").read_text()
    (folder / "000008_keypoints.json").write_text(text[: len(text) // 2])
    (folder / "000009_keypoints.json").write_text(json.dumps({"people": []}))
    (folder / "000010_keypoints.json").unlink()
    dataset = nemo_mocap.load(own_tree, ACTION, body=tiny_body)
    assert not dataset.clips.confidence[1, 7:10].any()
    assert dataset.clips.confidence[1, :7].any(1).all()
    (note,) = notes_of(dataset)
    assert "says nothing of 3 of 10 frames" in note
    assert "000008_keypoints.json" in note


def test_missing_and_unreadable_pictures(own_tree, tiny_body, made):
    folder = own_tree / "exps" / "mymocap_baseball_pitch" / "baseball_pitch.10.mp4"
    (folder / "000001.png").write_bytes(b"nothing")
    (folder / "000003.png").unlink()
    dataset = nemo_mocap.load(own_tree, ACTION, body=tiny_body)
    assert notes_of(dataset) == []
    assert dataset.frame_paths[2][2] is None
    assert dataset.frame_paths[2][3].endswith("000004.png")
    np.testing.assert_allclose(dataset.clips.keypoints[2, 3], made[2].observed.keypoints[3], atol=1e-3)
    shutil.rmtree(folder)
    (note,) = broken(own_tree, tiny_body, "baseball_pitch.10")
    assert "neither a folder of pictures nor a film" in note


@pytest.mark.parametrize("how", ["missing", "empty", "hostile", "other clip", "damaged"])
def test_without_vibe_there_is_no_initial_pose(how, own_tree, tiny_body, made):
    file = own_tree / "exps" / "mymocap_baseball_pitch" / "baseball_pitch.1" / "vibe_output.pkl"
    if how == "missing":
        file.unlink()
    elif how == "empty":
        joblib.dump({}, file)  # VIBE found nobody
    elif how == "hostile":
        file.write_bytes(prior_formats.dumps(prior_formats.Evil()))
    elif how == "damaged":
        file.write_bytes(file.read_bytes()[:300])
    else:
        frames = np.arange(len(made[1].joints) + 40)
        joblib.dump(
            {1: published_layouts.vibe_person(np.zeros((len(frames), 72)), np.zeros((len(frames), 25, 2)), frames)},
            file,
        )
    dataset = nemo_mocap.load(own_tree, ACTION, body=tiny_body)
    assert len(dataset.names) == 3
    np.testing.assert_array_equal(dataset.clips.init_mask.any(1), [True, False, True])
    (note,) = notes_of(dataset)
    assert note.startswith("baseball_pitch.1 has no initial poses: ")


def test_a_hostile_2d_truth_and_camera(own_tree, tiny_body):
    hostile = prior_formats.dumps(prior_formats.Evil())
    folder = own_tree / "exps" / "mymocap_baseball_pitch" / "baseball_pitch.1.mp4_gt_new"
    (folder / "000001_keypoints.pkl").write_bytes(hostile)
    (note,) = broken(own_tree, tiny_body)
    assert note.startswith("baseball_pitch.1: some of its 2D truth is not used: ")
    (own_tree / "opt_cam_IMG_6289.pt").write_bytes(hostile)
    _, note = broken(own_tree, tiny_body)
    assert note.startswith("The true camera is not known: ")


def test_2d_truth_far_outside_is_not_used(own_tree, tiny_body):
    file = own_tree / "exps" / "mymocap_baseball_pitch" / "baseball_pitch.1.mp4_gt_new" / "000001_keypoints.pkl"
    joblib.dump(np.asarray(joblib.load(file)) * 1e9, file)
    (note,) = broken(own_tree, tiny_body)
    assert note.startswith("baseball_pitch.1: some of its 2D truth is not used: ")
    assert "expected pixels from -1e+06 to 1e+06" in note


def test_motion_capture_out_of_order_is_named(own_tree, tiny_body):
    file = own_tree / "mocap" / "baseball_pitch.10.pkl"
    held = joblib.load(file)
    joblib.dump({**held, "trans": held["trans"] * np.resize([1.0, 200.0], (len(held["trans"]), 1))}, file)
    (note,) = [note for note in nemo_mocap.load(own_tree, ACTION, body=tiny_body).notes if "metres per second" in note]
    assert note.startswith("baseball_pitch.10: its motion capture moves by up to ")


def camera_file(camera, focal):
    tensors, contents = [], {}
    for key, value in (("0", np.asarray(camera, np.float32)), ("1", np.asarray(focal, np.float32))):
        contents[key] = value
        tensors.append(
            prior_formats.tensor(
                prior_formats.Storage(key, value), 0, value.shape, prior_formats.row_major(value.shape)
            )
        )
    return prior_formats.archive(tuple(tensors), contents)


@pytest.mark.parametrize(
    ("contents", "expected"),
    [
        (camera_file(np.ones(6), 900.0), "holds 6 and 1 values, expected 9 numbers and a focal length"),
        (camera_file(np.ones(9), -1.0), "holds the focal length -1.0"),
        (camera_file([0, 0, 5, 1, 0, 0, 1, 0, np.nan], 900.0), "expected finite numbers"),
        (camera_file([0, 0, 5, 1, 0, 0, 1, 0, 0], 9e11), "opt_cam_IMG_6289.pt holds 9e+11, expected pixels from 10"),
        (camera_file([0, 0, 5e9, 1, 0, 0, 1, 0, 0], 900.0), "opt_cam_IMG_6289.pt holds 5e+09, expected metres from"),
        (camera_file([0, 0, 5, 1, 1, 0, 0, 0, 0], 900.0), "holds a camera without a rotation"),
        (camera_file([0, 0, -50, 1, 0, 0, 1, 0, 0], 900.0), "has the person behind the camera"),
        (b"PK\x03\x04", "damaged or truncated archive"),
        (b"", "empty"),
    ],
)
def test_broken_cameras_are_named(contents, expected, own_tree, tiny_body):
    (own_tree / "opt_cam_IMG_6289.pt").write_bytes(contents)
    dataset = nemo_mocap.load(own_tree, ACTION, body=tiny_body)
    assert dataset.cameras is None
    assert dataset.truth is not None
    (note,) = notes_of(dataset)
    assert note.startswith("The true camera is not known: ")
    assert expected in note


def test_nothing_usable_is_one_sentence(own_tree, tiny_body, tmp_path):
    with pytest.raises(DatasetError, match="is nothing, not a folder"):
        nemo_mocap.load(tmp_path / "absent", ACTION, body=tiny_body)
    with pytest.raises(DatasetError, match=r"holds no exps/mymocap_baseball_pitch"):
        nemo_mocap.load(own_tree / "mocap", ACTION, body=tiny_body)
    with pytest.raises(DatasetError, match=r"--action=kick is not in .* which holds baseball_pitch; name one of these"):
        nemo_mocap.load(own_tree, "kick", body=tiny_body)
    for folder in own_tree.rglob("*_openpose"):
        shutil.rmtree(folder)
    with pytest.raises(DatasetError, match=r"has no usable instance in .*: baseball_pitch\.0 \(there is no folder "):
        nemo_mocap.load(own_tree, ACTION, body=tiny_body)
    (own_tree / "exps" / "mymocap_kick").mkdir()
    with pytest.raises(DatasetError, match=r"has no usable instance in .*: it is empty"):
        nemo_mocap.load(own_tree, "kick", body=tiny_body)
