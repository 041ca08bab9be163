"""Choosing a dataset, padding, boxes and held-out keypoints."""

import dataclasses

import numpy as np
import pytest

from body_models import loaders
from experiments.data import dataset, holdout
from experiments.loaders import registry
from nemo_jax import clips as clips_lib


def _instance(frames, **changes):
    fields = {"keypoints": np.ones((frames, 25, 2)), "confidence": np.ones((frames, 25)), "image_size": (64.0, 48.0)}
    return dataset.Instance(**{**fields, **changes})


def test_stack_pads_and_masks():
    pose = np.ones((2, 24, 3))
    clips = dataset.stack([_instance(2, init_pose=pose), _instance(4, fps=25.0, focal_length=900.0)])
    clips_lib.check(clips)
    np.testing.assert_array_equal(clips.frame_mask, [[1, 1, 0, 0], [1, 1, 1, 1]])
    np.testing.assert_array_equal(clips.init_mask, [[1, 1, 0, 0], [0, 0, 0, 0]])
    np.testing.assert_array_equal(clips.init_pose[0, 2:], 0.0)
    np.testing.assert_array_equal(clips.fps, [30, 25])
    assert np.isnan(clips.focal_length[0])
    assert clips.focal_length[1] == 900


def test_pad_to_a_length():
    assert dataset.pad([np.ones((2, 3))], length=5).shape == (1, 5, 3)


def test_box_of_visible_joints():
    keypoints = np.array([[[0.0, 0.0], [30.0, 40.0], [999.0, 999.0]], [[5.0, 5.0], [6.0, 6.0], [7.0, 7.0]]])
    confidence = np.array([[1.0, 0.3, 0.0], [0.0, 0.0, 0.0]])
    np.testing.assert_allclose(dataset.visible_box_size(keypoints, confidence), [50.0, 0.0])


def _clips():
    confidence = np.ones((3, 40, 25), np.float32)
    confidence[:, :, 7] = 0.0
    instances = [_instance(frames, confidence=confidence[n, :frames]) for n, frames in enumerate((40, 30, 20))]
    return dataset.stack(instances)


def test_hold_out_hides_a_tenth_of_the_visible_joints():
    clips, joints = _clips(), (0, 2, 5, 7, 9, 12)
    kept, hidden = holdout.hold_out(clips, 0.1, seed=0, joints=joints)
    assert hidden.sum() == round(0.1 * (40 + 30 + 20) * 5)
    assert hidden.any((0, 1)).nonzero()[0].tolist() == [0, 2, 5, 9, 12]
    assert not hidden[clips.frame_mask == 0].any()
    assert not kept.confidence[hidden].any()
    assert not kept.keypoints[hidden].any()
    neck = hidden[..., [2, 5]].any(-1)
    assert not kept.confidence[neck, 1].any()
    assert not hidden[..., 1].any()
    untouched = ~hidden
    untouched[..., [1, 8]] = False
    np.testing.assert_array_equal(kept.confidence[untouched], clips.confidence[untouched])
    clips_lib.check(kept)


def test_hold_out_depends_on_its_seed_alone():
    first, again, other = (holdout.hold_out(_clips(), 0.1, seed)[1] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert not holdout.hold_out(_clips(), 0.0, 0)[1].any()


@pytest.mark.parametrize("fraction", [-0.1, 1.0, float("nan")])
def test_hold_out_refuses_impossible_fractions(fraction):
    with pytest.raises(ValueError, match="held-out fraction"):
        holdout.hold_out(_clips(), fraction, 0)


def test_no_folder_is_the_synthetic_action():
    data = registry.load("baseball_pitch", max_instances=2, body=loaders.load_body())
    assert data.synthetic
    assert len(data.names) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"action": "kick"}, "--action=kick needs --videos or --data_dir"),
        (
            {"dataset": "nothing"},
            "--dataset=nothing is not a known format; choose one of synthetic, nemo_mocap, custom_video, penn_action",
        ),
        ({"dataset": "penn_action"}, "--dataset=penn_action needs --data_dir"),
        ({"dataset": "synthetic", "data_dir": "x"}, "--dataset=synthetic reads no folder"),
        ({"data_dir": "absent"}, "--data_dir=absent: there is no such folder"),
        ({"max_instances": 0}, "--max_instances=0 leaves no clip"),
    ],
)
def test_bad_choices_are_one_sentence(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(registry.DatasetError, match=message) as error:
        registry.load(**{"action": "baseball_pitch", **arguments})
    assert "\n" not in str(error.value)


def test_folders_that_are_not_data(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "A clip.MP4").touch()
    for name, message in (
        ("empty", "empty folder"),
        ("file", "is a file"),
        (".", "none of the known formats"),
        ("films", "give them with --videos="),
    ):
        with pytest.raises(registry.DatasetError, match=message):
            registry.guess(str(tmp_path / name))


def test_a_flag_that_says_nothing_to_a_format_is_refused(tmp_path):
    (tmp_path / "clip.frames").mkdir()
    with pytest.raises(
        registry.DatasetError, match=r"--pose_model=m.task says nothing .* custom_video.* --person, --ids, --fps"
    ):
        registry.load("clip", str(tmp_path), "custom_video", pose_model="m.task")
    with pytest.raises(registry.DatasetError, match="--shots=2 says nothing"):
        registry.load("clip", str(tmp_path), "custom_video", shots="2")
    with pytest.raises(registry.DatasetError, match="--ids=1 says nothing"):
        registry.load("baseball_pitch", ids="1")


def test_a_given_focal_length_fills_unknown_ones():
    data = registry.load("baseball_pitch", max_instances=2)
    known = np.asarray(data.clips.focal_length)
    given = registry.load("baseball_pitch", max_instances=2, focal_length=1234.0)
    np.testing.assert_array_equal(given.clips.focal_length, np.where(np.isnan(known), 1234.0, known))
    assert np.asarray(registry._with_focal_length(_unknown(data), 1234.0).clips.focal_length).tolist() == [
        1234.0,
        1234.0,
    ]


def _unknown(data):
    clips = dataclasses.replace(data.clips, focal_length=np.full(2, np.nan, np.float32))
    return dataclasses.replace(data, clips=clips)
