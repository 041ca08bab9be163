"""What is wrong with files and folders of the neutral format is said in one sentence."""

import dataclasses
import pickle
import re

import numpy as np
import pytest
from equal_datasets import assert_equal
from neutral_files import minimal, save

from experiments.data import neutral
from experiments.data.dataset import DatasetError

TRUTH = {
    "truth_pose": np.zeros((4, 24, 3)),
    "truth_translation": np.zeros((4, 3)),
    "truth_joints": np.zeros((4, 25, 3)),
}

CAMERA = {"world_from_camera": np.eye(3), "camera_position": np.zeros(3), "camera_focal": 1000.0}

BAD = {
    "no keypoints": ({"keypoints": None}, r"it has no keypoints; found confidence, image_size"),
    "typo": ({"focal_lenght": 3.0}, r"focal_lenght is not a key of the neutral format; did you mean focal_length"),
    "unknown": ({"zzzz": 3.0}, r"zzzz is not a key of the neutral format; docs/data.md"),
    "motion": (
        {"keypoints": None, "poses": np.zeros((3, 72)), "trans": np.zeros((3, 3))},
        r"it holds a motion \(poses, trans\) and no keypoints; `python run.py simulate",
    ),
    "joints": (
        {"keypoints": np.ones((4, 17, 2))},
        r"keypoints has shape \(4, 17, 2\), expected \(F, 25, 2\)",
    ),
    "frames": (
        {"confidence": np.ones((5, 25))},
        r"confidence has shape \(5, 25\), expected \(4, 25\) where keypoints have 4 frames",
    ),
    "third axis": ({"confidence": np.ones((4, 25, 1))}, r"confidence has shape \(4, 25, 1\), expected \(4, 25\)"),
    "no frames": (
        {"keypoints": np.ones((0, 25, 2)), "confidence": np.ones((0, 25))},
        r"keypoints have 0 frames, expected at least 1",
    ),
    "text": ({"fps": "30"}, r"fps is an array of <U2, expected numbers"),
    "complex": ({"fps": 30j}, r"fps is an array of complex128, expected numbers"),
    "objects": ({"fps": np.array([None])}, r"not a \.npz file of plain arrays.*Object arrays cannot be loaded"),
    "many": ({"fps": [30.0, 30.0]}, r"fps has shape \(2,\), expected \(\)"),
    "seen NaN": ({"keypoints": np.full((4, 25, 2), np.nan)}, r"keypoints has 200 values.*\[0, 0, 0\].*confidence 0"),
    "too large": ({"keypoints": np.full((4, 25, 2), 1e300)}, r"keypoints has 200 values that are NaN or too large"),
    "confidence NaN": ({"confidence": np.full((4, 25), np.nan)}, r"confidence has 100 values that are NaN"),
    "confidence": ({"confidence": np.full((4, 25), 87.5)}, r"confidence holds 87.5, expected numbers from 0 to 1"),
    "negative": ({"confidence": np.full((4, 25), -0.5)}, r"confidence holds -0.5, expected 0 or more"),
    "nobody": ({"confidence": np.zeros((4, 25))}, r"confidence is 0 everywhere, so nothing of the person is seen"),
    "image": ({"image_size": [0, 480]}, r"image_size holds 0, expected more than 0"),
    "fps": ({"fps": 0}, r"fps holds 0, expected more than 0"),
    "infinite": ({"focal_length": np.inf}, r"focal_length has 1 values that are NaN or too large, expected numbers"),
    "mask": ({"init_pose": np.zeros((4, 24, 3)), "init_mask": np.full(4, 0.5)}, r"init_mask holds 0.5, expected 0 or 1"),
    "mask alone": ({"init_mask": np.ones(4)}, r"it has init_mask but no init_pose\)"),
    "seen pose": (
        {"init_pose": np.full((4, 24, 3), np.nan)},
        r"init_pose has 288 values.*; mark what is missing by init_mask 0",
    ),
    "22 joints": ({"init_pose": np.zeros((4, 22, 3))}, r"init_pose has shape \(4, 22, 3\), expected \(4, 24, 3\)"),
    "half truth": ({"truth_pose": np.zeros((4, 24, 3))}, r"it has truth_pose but no truth_translation; give"),
    "half camera": ({"camera_focal": 1000.0}, r"it has camera_focal but no world_from_camera; give"),
    "reflection": (
        {"world_from_camera": np.diag([1.0, 1, -1]), "camera_position": np.zeros(3), "camera_focal": 1000.0},
        r"world_from_camera is not a rotation",
    ),
    "annotated": ({"annotated": [0, 25]}, r"annotated holds 25, expected keypoints from 0 to 24"),
    "annotated float": ({"annotated": [0.0]}, r"annotated is an array of float64, expected whole numbers"),
    "head": ({"head_point": "chin"}, r"head_point is 'chin', expected one of nose, top_of_head, head_centre"),
    "pictures": ({"frame_paths": ["a.jpg"]}, r"frame_paths names 1 pictures for 4 frames"),
    "film": ({"video_path": "a.mp4", "video_frames": [0, 2, -1, 1]}, r"video_frames go back in the film"),
    "film turn": ({"video_path": "a.mp4", "video_turn": 45}, r"video_turn is 45, expected one of 0, 90, 180, 270"),
    "film turn alone": ({"video_turn": 90}, r"it has video_turn but no video_path"),
    "film alone": ({"video_frames": [0, 1, 2, 3]}, r"it has video_frames but no video_path"),
    "method": ({"other_names": ["fit"], "other_poses": np.zeros((1, 4, 24, 3))}, r"other_names holds 'fit'"),
    "methods": (
        {"other_names": ["A"], "other_poses": np.zeros((2, 4, 24, 3))},
        r"other_poses has shape \(2, 4, 24, 3\), expected \(1, 4, 24, 3\)",
    ),
    "name": ({"name": "../x"}, r"name is '\.\./x', expected one that can name a file"),
    "action": ({"action": 3}, r"action is an array of int64, expected text"),
    "synthetic": ({"synthetic": 1}, r"synthetic is an array of int64, expected true or false"),
    "frame rate": ({"fps": 2910.0}, r"fps holds 2910, expected frames per second from 1 to 1000"),
    "huge image": ({"image_size": [640e9, 480e9]}, r"image_size holds 6.4e\+11, expected pixels from 8 to 100000"),
    "focal": ({"focal_length": 1200e9}, r"focal_length holds 1.2e\+12, expected pixels from 10 to 1e\+06"),
    "box": ({"box_size": np.full(4, 3e11)}, r"box_size holds 3e\+11, expected pixels from 0 to 1e\+06"),
    "angles": ({"init_pose": np.full((4, 24, 3), 2e9)}, r"init_pose holds 2e\+09, expected radians from -100 to 100"),
    "betas": ({**TRUTH, "truth_betas": [1e9] * 10}, r"truth_betas holds 1e\+09, expected shape coefficients from -20 to 20"),
    "far": ({**TRUTH, "truth_translation": np.full((4, 3), 1500.0)}, r"truth_translation holds 1500, expected metres from"),
    "joints far": ({**TRUTH, "truth_joints": np.full((4, 25, 3), -1e9)}, r"truth_joints holds -1e\+09, expected metres"),
    "turned": ({**TRUTH, "truth_pose": np.full((4, 24, 3), 1e9)}, r"truth_pose holds 1e\+09, expected radians"),
    "camera far": ({**CAMERA, "camera_position": [0, 0, 5e9]}, r"camera_position holds 5e\+09, expected metres"),
    "camera focal": ({**CAMERA, "camera_focal": 1e-6}, r"camera_focal holds 1e-06, expected pixels from 10"),
    "turn": ({"camera_turn": np.ones((4, 3, 3))}, r"camera_turn of frame 0 is not a rotation"),
    "turn NaN": ({"camera_turn": np.full((4, 3, 3), np.nan)}, r"camera_turn has 36 values that are NaN"),
    "turns": ({"camera_turn": np.eye(3)}, r"camera_turn has shape \(3, 3\), expected \(4, 3, 3\)"),
    "no zoom": ({"zoom": [1, 1, 0, 1.0]}, r"zoom holds 0.0, expected more than 0"),
    "zoom": ({"zoom": [1, 1, 500.0, 1]}, r"zoom holds 500, expected times the first focal length from 0.01 to 100"),
    "turn focal": ({"turn_focal": 1.0}, r"turn_focal holds 1, expected pixels from 10"),
    "length": ({"source_frames": 10**12}, r"source_frames holds 1e\+12, expected frames"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_named_and_left_out(case, tmp_path):
    changes, message = BAD[case]
    arrays = {key: value for key, value in minimal(**changes).items() if value is not None}
    path = save(tmp_path / "a" / "bad one.npz", **arrays)
    with pytest.raises(
        DatasetError, match=f"--action=a has no usable instance: {re.escape(str(path))}.*{message}"
    ) as error:
        neutral.load(tmp_path, "a")
    assert "\n" not in str(error.value)
    save(tmp_path / "a" / "good.npz", **minimal())
    dataset = neutral.load(tmp_path, "a")
    assert dataset.names == ("good",)
    (note,) = dataset.notes
    assert re.search(f"Left out, because unusable: {re.escape(str(path))}.*{message}", note)


@pytest.mark.parametrize("content", [b"", b"not a zip", "half", "npy", "member", "pickle"])
def test_files_that_are_no_npz(content, tmp_path):
    path = save(tmp_path / "x.npz", **minimal())
    if content == "half":
        path.write_bytes(path.read_bytes()[:-200])
    elif content == "npy":
        with path.open("wb") as file:
            np.save(file, np.zeros(3))
    elif content == "member":
        import zipfile

        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("readme.txt", "hello")
    elif content == "pickle":
        path.write_bytes(pickle.dumps({"keypoints": 1}))
    else:
        path.write_bytes(content)
    with pytest.raises(
        DatasetError, match=r"x\.npz \((not a \.npz file of plain arrays|readme.txt in it is not an array)"
    ):
        neutral.load(tmp_path, "a")


def test_files_with_one_fault_are_listed_together(tmp_path):
    for number in range(8):
        save(tmp_path / f"{number}.npz", poses=np.zeros((3, 72)), trans=np.zeros((3, 3)))
    with pytest.raises(DatasetError, match=r"4\.npz and 3 more \(it holds a motion") as error:
        neutral.load(tmp_path, "kick")
    assert str(error.value).count("it holds a motion") == 1


def test_files_that_disagree(tmp_path):
    save(tmp_path / "a.npz", **minimal(), head_point="head_centre")
    save(tmp_path / "b.npz", **minimal())
    save(tmp_path / "c.npz", **minimal(), name="a")
    dataset = neutral.load(tmp_path, "x")
    assert dataset.names == ("a",)
    (note,) = dataset.notes
    assert "b.npz (its head_point is nose, that of a.npz head_centre)" in note
    assert "c.npz (its name a is that of a.npz too)" in note


def test_other_units_are_doubted(tmp_path):
    save(tmp_path / "a.npz", **minimal(keypoints=np.random.default_rng(0).random((4, 25, 2))))
    save(tmp_path / "b.npz", **minimal(image_size=[48, 64]))
    reference = {"reference_keypoints": np.full((4, 25, 2), 4e9), "reference_confidence": np.ones((4, 25))}
    save(tmp_path / "c.npz", **minimal(), **reference)
    shares, swapped, *others = neutral.load(tmp_path, "x").notes
    assert "its keypoints all lie within 2 pixels of the corner; are they shares of the image" in shares
    assert "of its seen keypoints lie outside the image of width 48 and height 64" in swapped
    assert "100% of its seen reference keypoints lie outside the image of width 640" in " ".join(others)


def test_sentences_about_folders(tmp_path):
    cases = {"absent": "is nothing, not a folder", "empty": "holds no .npz files; expected kick/<instance>.npz"}
    (tmp_path / "empty").mkdir()
    for name, message in cases.items():
        with pytest.raises(DatasetError, match=message):
            neutral.load(tmp_path / name, "kick")
    save(tmp_path / "flat" / "a.npz", **minimal(), action="bow")
    save(tmp_path / "flat" / "slash" / "a.npz", **minimal())
    with pytest.raises(DatasetError, match=r"--action=kick is not in .*, which holds bow, slash; name one of these"):
        neutral.load(tmp_path / "flat", "kick")


def test_a_folder_holds_one_dataset(tiny_dataset, tmp_path):
    home = tmp_path / tiny_dataset.action
    save(home / "old.npz", **minimal())
    with pytest.raises(DatasetError, match=r"already holds other instances \(old\.npz\)"):
        neutral.write(tiny_dataset, tmp_path)
    assert [path.name for path in home.iterdir()] == ["old.npz"]
    neutral.write(tiny_dataset, tmp_path, replace=True)
    assert_equal(tiny_dataset, neutral.load(tmp_path, tiny_dataset.action))
    (tmp_path / "file").write_text("x")
    with pytest.raises(DatasetError, match=r"cannot be written \(.*\); choose another folder"):
        neutral.write(tiny_dataset, tmp_path / "file")


@pytest.mark.parametrize("name", ["", "..", "a/b", ".hidden", "a\\b", "a\0b"])
def test_names_that_are_no_file_names(name, tiny_dataset, tmp_path):
    with pytest.raises(DatasetError, match="cannot name a file"):
        neutral.write(dataclasses.replace(tiny_dataset, names=("x", name)), tmp_path)
    with pytest.raises(DatasetError, match="cannot name a file"):
        neutral.write(dataclasses.replace(tiny_dataset, action=name), tmp_path)
    assert not list(tmp_path.iterdir())
