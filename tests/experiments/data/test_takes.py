"""Clips of one performance: which the flag and the files name, and when each of them starts."""

import numpy as np
import pytest

from experiments.base.errors import UserError
from experiments.data import neutral, takes
from experiments.data.dataset import Dataset, stack, visible_box_size
from nemo_jax.instances import Instance


def pose(times):
    """A motion (T, 24, 3) that does not repeat: one elbow, one knee."""
    found = np.zeros((len(times), 24, 3))
    found[:, 18, 1] = np.sin(5 * times) + 0.5 * np.sin(13 * times)
    found[:, 4, 0] = np.cos(8 * times) + times
    # What is seen from elsewhere is another root.
    found[:, 0, 1] = 1.0 + times
    return found


def dataset(starts=(0.0, 0.2, -0.31), rates=(30.0, 50.0, 24.0), posed=True):
    rng = np.random.default_rng(0)
    instances = []
    for start, fps in zip(starts, rates, strict=True):
        initial = pose(start + np.arange(int(1.6 * fps)) / fps)
        initial += rng.normal(scale=0.05, size=initial.shape)
        points = rng.uniform(0, 500, (len(initial), 25, 2))
        instances.append(
            Instance(points, np.ones(points.shape[:2]), (640.0, 480.0), initial if posed else None, fps=fps)
        )
    clips = stack(instances)
    names = tuple(f"cam{n}" for n in range(len(starts)))
    box = visible_box_size(np.asarray(clips.keypoints), np.asarray(clips.confidence))
    return Dataset(clips=clips, names=names, action="kick", box_size=box)


def test_clips_start_when_their_motion_agrees():
    found = takes.with_same_take(dataset(), "all")
    assert len(set(found.clips.take)) == 1
    np.testing.assert_allclose(found.clips.offset, [0.0, 0.2, -0.31], atol=1 / 60 + 1e-6)
    assert "cam1 +0.20 s" in found.notes[-1]


@pytest.mark.parametrize(("said", "same"), [("cam0,cam2", (0, 2)), ("cam1;cam*", None), ("cam0;cam[12]", (1, 2))])
def test_groups(said, same):
    if same is None:
        with pytest.raises(UserError, match="--same_take=cam1;cam\\* has cam1 in two groups"):
            takes.with_same_take(dataset(), said)
        return
    found = takes.with_same_take(dataset(), said).clips
    assert found.take[same[0]] == found.take[same[1]] and len(set(found.take)) == 2
    # Who is alone has no other clock.
    (alone,) = {0, 1, 2} - set(same)
    assert found.offset[alone] == 0


def test_a_name_that_no_clip_has():
    with pytest.raises(UserError, match="'cam7', which is no clip"):
        takes.with_same_take(dataset(), "cam0,cam7")


def test_without_first_poses_clips_start_together():
    np.testing.assert_array_equal(takes.with_same_take(dataset(posed=False), "all").clips.offset, 0)


def test_the_neutral_format_has_takes(tmp_path):
    given = takes.with_same_take(dataset(), "cam0,cam2")
    neutral.write(given, tmp_path)
    read = neutral.load(tmp_path, "kick").clips
    np.testing.assert_array_equal(read.take, given.clips.take)
    np.testing.assert_array_equal(read.offset, given.clips.offset)
    # Files that name none are by themselves, and without any there are no takes.
    rows = [{"take": np.array(3)}, {}, {"take": np.array(3), "offset_seconds": np.array(0.5)}]
    mixed = takes.of_entries(rows, given.clips)
    assert mixed.take[0] == mixed.take[2] != mixed.take[1]
    np.testing.assert_array_equal(mixed.offset, [0, 0, 0.5])
    plain = dataset().clips
    assert takes.of_entries([{}, {}, {}], plain) is plain


def test_off_takes_none():
    given = takes.with_same_take(dataset(), "all")
    found = takes.with_same_take(given, "off").clips
    assert found.take is None and found.offset is None
