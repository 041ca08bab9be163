import dataclasses

import numpy as np
import pytest

from experiments.data import resample
from experiments.data.dataset import Dataset, Instance, stack
from nemo_jax.clips import GroundTruth


def dataset(lengths: list[int]) -> Dataset:
    """Clips whose keypoints hold their own frame number."""
    rng = np.random.default_rng(0)
    instances = []
    for length in lengths:
        keypoints = np.broadcast_to(np.arange(length, dtype=np.float32)[:, None, None], (length, 25, 2))
        confidence = rng.uniform(size=(length, 25))
        instances.append(Instance(keypoints=keypoints, confidence=confidence, image_size=(100, 100), fps=30.0))
    clips = stack(instances)
    n, t = clips.frame_mask.shape
    truth = GroundTruth(
        pose=np.zeros((n, t, 24, 3)),
        translation=clips.keypoints[:, :, 0, :1].repeat(3, -1),
        betas=np.zeros((n, 10)),
        joints=np.zeros((n, t, 25, 3)),
    )
    paths = tuple(tuple(f"{i}.jpg" for i in range(length)) for length in lengths)
    return Dataset(
        clips=clips,
        names=tuple(map(str, lengths)),
        action="walk",
        box_size=clips.keypoints[:, :, 0, 0],
        truth=truth,
        frame_paths=paths,
    )


@pytest.mark.parametrize("lengths", [[11, 23, 40], [7], [5, 5], [2, 90]])
def test_every_clip_gets_the_shortests_length_by_the_published_rule(lengths):
    short = resample.shortest(dataset(lengths))
    frames = min(lengths) - 1
    assert short.clips.keypoints.shape[:2] == (len(lengths), frames)
    assert (short.clips.frame_mask == 1).all()
    for row, source in enumerate(lengths):
        expected = [int(np.floor(f / frames * source)) for f in range(frames)]
        np.testing.assert_array_equal(short.clips.keypoints[row, :, 0, 0], expected)
        np.testing.assert_array_equal(short.truth.translation[row, :, 0], expected)
        np.testing.assert_array_equal(short.box_size[row], expected)
        assert short.frame_paths[row] == tuple(f"{i}.jpg" for i in expected)
        np.testing.assert_allclose(short.clips.fps[row], 30.0 * frames / source, rtol=1e-6)


def test_pictures_that_are_not_there_stay_away():
    data = dataclasses.replace(dataset([4, 6]), frame_paths=(None, ("a", None, "c", "d", "e", "f")))
    assert resample.shortest(data).frame_paths == (None, ("a", "c", "e"))


def test_other_methods_are_resampled_with_their_clips():
    whole = dataset([4, 9])
    pose = np.arange(9.0)[None, :, None, None] * np.ones((2, 1, 24, 3))
    whole = dataclasses.replace(whole, other_poses={"vibe": (pose, pose[:, :, 0, 0] > 2)})
    short = resample.shortest(whole)
    np.testing.assert_array_equal(short.other_poses["vibe"][0][1, :, 0, 0], [0, 3, 6])
    np.testing.assert_array_equal(short.other_poses["vibe"][1][1], [False, True, True])
    np.testing.assert_array_equal(short.source_frames, [4, 9])
