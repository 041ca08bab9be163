"""The layouts of OpenPose's keypoints: where each goes in BODY_25, which of two of one length it is, and names of files."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from absl import flags as absl_flags

from body_models import joints as jn
from experiments.base import flags
from experiments.data.dataset import DatasetError
from experiments.fitting.settings import Settings
from experiments.loaders import openpose, openpose_folders, openpose_layouts, registry
from tests.experiments.openpose_trees import dataset, document, film, somebody, standing, walk, write

# Written out, as the programs' documents list them; "-" = BODY_25 has no such point.
FEET = ["left_big_toe", "left_small_toe", "left_heel", "right_big_toe", "right_small_toe", "right_heel"]
COCO = [
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow", "right_elbow",
    "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle",
]  # fmt: skip
HALPE = [
    *COCO, "-", "neck", "mid_hip", "left_big_toe", "right_big_toe", "left_small_toe", "right_small_toe", "left_heel",
    "right_heel",
]  # fmt: skip
ORDERS = {
    "body_25b": [*COCO, "-", "-", *FEET],
    "body_135": [*COCO, "-", "-", *FEET, *["-"] * 110],
    "coco_17": COCO,
    "coco_133": [*COCO, *FEET, *["-"] * 110],
    "halpe_26": HALPE,
    "halpe_136": [*HALPE, *["-"] * 110],
}


def in_order(person, order):
    """A person (25, 3) of BODY_25 in another order, with odd points where BODY_25 has none."""
    rows = [person[jn.BODY_25_NAMES.index(name)] if name != "-" else [7.0, 9.0, 0.8] for name in order]
    return np.array(rows)


@pytest.mark.parametrize("name", ORDERS)
def test_each_layout_goes_to_its_places(tmp_path, name):
    person = standing(200, 120)
    keypoints, confidence, notes = openpose.read_folder(write(tmp_path, [document(in_order(person, ORDERS[name]))] * 2))
    has = np.isin(jn.BODY_25_NAMES, ORDERS[name])
    np.testing.assert_array_equal(confidence[1] > 0, has)
    np.testing.assert_allclose(keypoints[0, has], person[has, :2])
    assert not keypoints[0, ~has].any()
    assert openpose.annotated(confidence) == tuple(np.flatnonzero(has))
    assert bool(notes) == (name == "body_25b")


def test_25_points_are_told_apart_by_the_body_and_the_flag_decides(tmp_path):
    person = standing(200, 120)
    other = write(tmp_path / "b", [document(in_order(person, ORDERS["body_25b"]))] * 2)
    keypoints, _, (note,) = openpose.read_folder(other)
    np.testing.assert_allclose(keypoints[0, 11], person[11, :2])
    assert (
        f"The 25 keypoints in {other} are read in the order of BODY_25B" in note
        and "--openpose_layout=body_25 " in note
    )
    usual = write(tmp_path / "a", [document(person)] * 2)
    for folder in (usual, other):
        as_told, _, notes = openpose.read_folder(folder, layout="body_25")
        assert notes == [] and as_told[0, 1].any()
    np.testing.assert_allclose(openpose.read_folder(usual)[0][0], person[:, :2])
    assert openpose.read_folder(other, layout="body_25b")[2] == []


@pytest.mark.parametrize(
    "lost", [(), range(9, 15), (0, 15, 16, 17, 18), (3, 4, 6, 7)], ids=["all", "legs", "head", "arms"]
)
@pytest.mark.parametrize("turned", [False, True])
def test_people_of_whom_parts_are_hidden_are_told_apart(lost, turned):
    person = standing(200, 120)
    person[list(lost), 2] = 0
    if turned:
        person[:, :2] = np.stack([person[:, 1], -person[:, 0]], -1)
    candidates = ["body_25", "body_25b"]
    assert openpose_layouts.told_apart([person], candidates) == "body_25"
    assert openpose_layouts.told_apart([in_order(person, ORDERS["body_25b"])], candidates) == "body_25b"


def test_what_is_no_body_is_body_25():
    for people in (somebody(), np.zeros((25, 3)), np.ones((25, 3)), np.full((25, 3), np.nan), somebody() * 1e300):
        assert openpose_layouts.told_apart([people], ["body_25", "body_25b"]) == "body_25"


def test_a_layout_that_is_asked_for_is_the_only_one(tmp_path):
    folder = write(tmp_path, walk(3))
    with pytest.raises(
        DatasetError,
        match=r"none of the 3 frames in .* clip_000000000000_keypoints.json \(pose_keypoints_2d has 75 numbers "
        r"\(25 keypoints, as of body_25 and body_25b\), expected 78 \(halpe_26, by --openpose_layout\)\), and so are all",
    ):
        openpose.read_folder(folder, layout="halpe_26")


def test_files_of_pose_2_sim_and_its_folders(tmp_path):
    for number, frame in enumerate(walk(3)):
        for camera in ("cam01", "cam02"):
            folder = tmp_path / "kick" / "pose" / f"{camera}_json"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{camera}.{number:04d}.json").write_text(json.dumps(frame))
    (tmp_path / "kick" / "videos").mkdir()
    film(tmp_path / "kick" / "videos" / "cam01.mp4", 3, size=(640, 480))
    assert openpose_folders.recognises(tmp_path) and openpose_folders.recognises(tmp_path / "kick")
    assert openpose_folders.actions(tmp_path) == ["kick"] and openpose_folders.actions(tmp_path / "kick") == []
    for root in (tmp_path, tmp_path / "kick"):
        data = openpose_folders.load(root, "kick", image_size=(640, 480))
        assert data.names == ("cam01", "cam02") and data.videos[0].path.endswith("cam01.mp4")
        np.testing.assert_array_equal(data.clips.keypoints[:, :, 0, 0], [[100, 101, 102]] * 2)
    apart = openpose.apply(dataset([3, 3], ["cam02", "cam01"]), tmp_path / "kick" / "pose")
    np.testing.assert_array_equal(apart.clips.keypoints[0, :, 0, 0], [100, 101, 102])


def test_other_numbered_json_is_not_taken_for_frames(tmp_path):
    for number, text in enumerate(['{"camera": 1}', "[1]", "{", "7"]):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / f"calibration_{number}.json").write_text(text)
    assert not openpose_folders.recognises(tmp_path)


def test_the_flag_goes_to_every_reader_of_such_files(tmp_path):
    person = in_order(standing(200, 120), HALPE)
    write(tmp_path / "a", [document(person)] * 2)
    data = registry.load("kick", str(tmp_path), image_size=(640, 480), openpose_layout="halpe_26")
    assert data.names == ("a",)
    with pytest.raises(DatasetError, match=r"no clip in .* by --openpose_layout"):
        registry.load("kick", str(tmp_path), image_size=(640, 480), openpose_layout="coco_17")
    with pytest.raises(DatasetError, match=r"--openpose_layout=coco_17 says nothing to clips of format synthetic"):
        registry.load("baseball_pitch", openpose_layout="coco_17")
    parsed = flags.read(
        Settings, "", ["run.py", "--action=kick", "--openpose_layout=body_25b"], absl_flags.FlagValues()
    )
    assert parsed.settings.openpose_layout == "body_25b"


def test_the_file_of_a_stranger_is_body_25b():
    root = os.environ.get("NEMO_DATA_DIR")
    folder = Path(root or "") / "faults" / "body25b" / "cam01"
    if not root or not folder.is_dir():
        pytest.skip("NEMO_DATA_DIR with faults/body25b is not there")
    keypoints, confidence, notes = openpose.read_folder(folder)
    assert any("BODY_25B" in note for note in notes)
    seen = (confidence[..., [0, 11]] > 0).all(-1)
    assert (keypoints[seen, 11, 1] > keypoints[seen, 0, 1]).all()  # ankles below noses
