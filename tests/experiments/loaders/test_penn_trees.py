"""Penn Action with OpenPose's and VIBE's files beside it, written here in the layout of the published code."""

import shutil

import joblib
import numpy as np
import pytest
from equal_datasets import assert_equal

from experiments.data import neutral
from experiments.loaders import penn_action
from nemo_jax import clips as clips_lib
from tests.experiments import prior_formats, published_layouts


@pytest.fixture(scope="module")
def made(tiny_body):
    return published_layouts.clips(tiny_body, numbers=(0, 1, 2))


@pytest.fixture(scope="module")
def complete(made, tmp_path_factory):
    """Labels, pictures, OpenPose's files and VIBE's, in a folder with spaces and other letters; not to be changed."""
    root = tmp_path_factory.mktemp("penn") / "Läufe und Würfe 野球"
    return published_layouts.penn(root, ["0001", "0002", "0003"], made)


@pytest.fixture
def own_copy(complete, tmp_path):
    return shutil.copytree(complete, tmp_path / "penn")


def test_openpose_replaces_the_annotations_and_vibe_starts_the_fit(complete, made):
    data = penn_action.load(complete, "baseball_pitch")
    clips_lib.check(data.clips)
    assert data.annotated == tuple(range(25))
    assert data.notes == ("The 2D keypoints of 3 of 3 clips are OpenPose's; the annotators' score them.",)
    for n, clip in enumerate(made):
        frames = len(clip.joints)
        np.testing.assert_allclose(data.clips.keypoints[n, :frames], clip.observed.keypoints, atol=1e-3)
        np.testing.assert_allclose(data.clips.confidence[n, :frames], clip.observed.confidence, atol=1e-6)
        np.testing.assert_array_equal(data.clips.init_mask[n, :frames], clip.observed.init_mask)
        np.testing.assert_allclose(data.clips.init_pose[n, :frames], clip.observed.init_pose, atol=1e-5)
        assert data.frame_paths[n][-1].endswith(f"0{n + 1}/{frames:06d}.jpg")
        np.testing.assert_allclose(data.box_size[n, :frames], np.hypot(190, 390), rtol=1e-6)  # the annotators' box
        own = list(penn_action.BODY_25_OF_PENN)
        np.testing.assert_allclose(
            data.reference_2d[0][n, :frames, own], clip.true_pixels[:, own].swapaxes(0, 1), atol=1e-3
        )
    assert set(np.flatnonzero(data.reference_2d[1].any((0, 1)))) == set(penn_action.BODY_25_OF_PENN)


def test_a_complete_tree_equals_the_same_clips_in_the_neutral_format(complete, tmp_path):
    data = penn_action.load(complete, "baseball_pitch")
    neutral.write(data, tmp_path)
    assert_equal(data, neutral.load(tmp_path, "baseball_pitch"))


def test_only_vibe_leaves_the_annotations(own_copy, made):
    shutil.rmtree(own_copy / "openpose")
    data = penn_action.load(own_copy, "baseball_pitch")
    assert data.notes == ()
    assert data.reference_2d is None
    assert data.annotated == tuple(sorted(penn_action.BODY_25_OF_PENN))
    np.testing.assert_array_equal(data.clips.init_mask.any(1), True)
    head = data.clips.keypoints[1, : len(made[1].joints), 0]
    np.testing.assert_allclose(head, made[1].true_pixels[:, 0], atol=1e-3)


def test_clips_without_openpose_or_vibe_keep_what_they_have(own_copy, made):
    shutil.rmtree(own_copy / "openpose" / "0002")
    joblib.dump({}, own_copy / "vibe_results" / "0003" / "vibe_output.pkl")  # VIBE found nobody
    data = penn_action.load(own_copy, "baseball_pitch")
    assert data.names == ("0001", "0002", "0003")
    frames = len(made[1].joints)
    elbow = penn_action.BODY_25_OF_PENN[3]
    np.testing.assert_allclose(data.clips.keypoints[1, :frames, elbow], made[1].true_pixels[:, elbow], atol=1e-3)
    np.testing.assert_array_equal(data.clips.confidence[1, :frames, 1], 0)  # the annotators know no neck
    np.testing.assert_array_equal(data.clips.init_mask.any(1), [True, True, False])
    detected, without_json, without_poses = data.notes
    assert without_json.startswith("The annotated joints stand for OpenPose's: 0002 (there is no folder ")
    assert without_poses.startswith("Without initial poses: 0003 (")
    assert detected.startswith("The 2D keypoints of 2 of 3 clips")


def test_json_of_another_clip_and_hostile_poses(own_copy, made):
    folder = own_copy / "openpose" / "0001"
    shutil.copy(folder / "000001_keypoints.json", folder / "000900_keypoints.json")
    (own_copy / "vibe_results" / "0002" / "vibe_output.pkl").write_bytes(prior_formats.dumps(prior_formats.Evil()))
    data = penn_action.load(own_copy, "baseball_pitch")
    assert data.names == ("0001", "0002", "0003")
    _, json_note, poses_note = data.notes
    assert f"numbered 1 to 900, where the clip has {len(made[0].joints)}" in json_note
    assert poses_note.startswith("Without initial poses: 0002 (")
    assert "os.system" in poses_note
