"""The person of the clip is found among the people of a method's output."""

import numpy as np
import pytest

from experiments.data.dataset import DatasetError
from experiments.poses import PoseTrack, lay

# A standing person in BODY_25, 100 px wide and 300 high, diagonal 316, about the point (0, 0).
SHAPE = np.random.default_rng(0).uniform([-50, -150], [50, 150], (25, 2))
SHAPE[:4] = [[-50, -150], [50, -150], [50, 150], [-50, 150]]
SHAPE[8] = 0


def at(*points):
    """Keypoints (F, 25, 2) of a person whose middle is at these points."""
    return np.asarray(points, float)[:, None] + SHAPE


def track(frames, number, where=None, kind="joints", **fields):
    """A track whose poses are filled with `number + frame / 100`, seen at `where` (M, 2)."""
    frames = np.asarray(frames)
    pose = np.broadcast_to((number + frames / 100)[:, None, None], (len(frames), 24, 3)).copy()
    if where is not None:
        where = np.broadcast_to(np.asarray(where, float), (len(frames), 2))
        if kind == "joints":
            fields["joints_2d"] = at(*where)
        elif kind == "box":
            fields["boxes"] = np.concatenate([where - [150, 150], where + [150, 150]], 1)
        else:
            # At 4 m with a focal length of 1000, in an image of 600 by 800 whose diagonal that is.
            fields["pelvis"] = np.concatenate([(where - [300, 400]) * 4 / 1000, np.full((len(frames), 1), 4.0)], 1)
    return PoseTrack(f"person {number}", frames, pose, "VIBE", **fields)


def chosen(tracks, keypoints, confidence=None):
    """The number of the track in each frame, 0 = none; and the notes."""
    if confidence is None:
        confidence = np.ones(keypoints.shape[:2])
    pose, mask, notes = lay(tracks, keypoints, confidence, (600, 800), "out.pkl")
    assert pose.dtype == mask.dtype == np.float32
    assert set(np.unique(mask)) <= {0, 1}
    assert not pose[mask == 0].any()
    numbers = np.floor(pose[:, 0, 0] + 1e-4).astype(int)
    expected = numbers + np.arange(len(mask)) / 100
    np.testing.assert_allclose(
        pose[mask > 0], np.broadcast_to(expected[:, None, None], pose.shape)[mask > 0], atol=1e-5
    )
    return numbers.tolist(), notes


KINDS = pytest.mark.parametrize("kind", ["joints", "box", "pelvis"])


@KINDS
def test_the_nearest_person_and_not_the_longest(kind):
    keypoints = at(*[(300, 400)] * 6)
    tracks = [track(range(6), 1, (2000, 400), kind), track(range(1, 5), 2, (310, 405), kind)]
    assert chosen(tracks, keypoints) == ([0, 2, 2, 2, 2, 0], ["out.pkl: has the person in 4 of 6 frames."])
    assert chosen(tracks[::-1], keypoints)[0] == [0, 2, 2, 2, 2, 0]


@KINDS
def test_a_track_that_breaks_off_is_put_together_again(kind):
    keypoints = at(*[(300 + 10 * t, 400) for t in range(8)])
    where = [(300 + 10 * t, 400) for t in range(8)]
    tracks = [
        track(range(3), 1, where[:3], kind),
        track(range(8), 2, (1500, 400), kind),
        track(range(5, 8), 3, where[5:], kind),
    ]
    numbers, notes = chosen(tracks, keypoints)
    assert numbers == [1, 1, 1, 0, 0, 3, 3, 3]
    assert notes[0] == "out.pkl: put together from 2 tracks (person 1, person 3)."


@KINDS
def test_two_people_crossing(kind):
    """The wrong one is the nearer for the frames in which they pass; the track is kept."""
    x = np.arange(11) * 60.0
    keypoints = at(*[(v, 400) for v in x])
    mine = [(v + 20, 400) for v in x]
    other = [(600 - v + 5, 400) for v in x]
    assert chosen([track(range(11), 1, other, kind), track(range(11), 2, mine, kind)], keypoints)[0] == [2] * 11


def test_frames_without_keypoints_keep_the_track():
    keypoints = at(*[(300, 400)] * 30)
    confidence = np.ones((30, 25))
    confidence[5:25] = 0
    mine = track([*range(8), *range(20, 30)], 1, (300, 400))
    other = track(range(30), 2, (900, 400))
    assert chosen([other, mine], keypoints, confidence)[0] == [1] * 8 + [0] * 12 + [1] * 10
    confidence[:] = 0
    assert chosen([other, mine], keypoints, confidence)[0] == [2] * 30


def test_keypoints_that_are_not_seen_do_not_count():
    keypoints = at(*[(300, 400)] * 3)
    confidence = np.ones((3, 25))
    confidence[:, 5:20] = 0
    keypoints[:, 5:10] = 9000
    keypoints[:, 10:20] = np.nan
    mine = track(range(3), 1, (300, 400))
    mine.joints_2d[:, :2] = np.nan
    mine.joints_2d[1] = np.nan
    assert chosen([mine, track(range(3), 2, (700, 400))], keypoints, confidence)[0] == [1, 1, 1]


@KINDS
def test_only_the_upper_body_is_visible(kind):
    keypoints = at(*[(300, 400)] * 4)
    confidence = np.ones((4, 25))
    confidence[2:] = SHAPE[:, 1] < 0
    confidence[2:, 8] = 0
    assert chosen([track(range(4), 1, (300, 400), kind)], keypoints, confidence)[0] == [1, 1, 1, 1]


def test_nothing_says_where_they_are():
    keypoints = at(*[(300, 400)] * 6)
    tracks = [track(range(2), 1), track(range(2, 6), 2)]
    numbers, notes = chosen(tracks, keypoints)
    assert numbers == [0, 0, 2, 2, 2, 2]
    assert "2 people" in notes[0]
    assert "person 2" in notes[0]
    # Without the image's size a pelvis says nothing either.
    pose, _, _ = lay([track(range(2), 1, (300, 400), "pelvis")], keypoints, np.ones((6, 25)))
    assert pose[0, 0, 0] == 1


def test_the_camera_of_the_file_counts():
    keypoints = at(*[(300, 400)] * 4)
    # (0.4, 0, 4) is at 300 + 1000 * 0.1 = 400 for one camera and at 0 + 3000 * 0.1 = 300 for the other.
    pelvis = np.full((4, 3), [0.4, 0, 4])
    near = track(range(4), 1, pelvis=pelvis, camera=(3000, 0, 400))
    far = track(range(4), 2, pelvis=pelvis + [0.3, 0, 0], camera=(1000, 300, 400))
    assert chosen([far, near], keypoints)[0] == [1] * 4
    behind = track(range(4), 2, pelvis=-pelvis, camera=(3000, 0, 400))
    assert chosen([behind, near], keypoints)[0] == [1] * 4


class TestOtherClip:
    def refuse(self, tracks, keypoints, *words):
        with pytest.raises(DatasetError) as caught:
            lay(tracks, keypoints, np.ones(keypoints.shape[:2]), (600, 800), "out.pkl")
        assert str(caught.value).startswith("out.pkl: ")
        assert "\n" not in str(caught.value)
        for word in ("another clip", *words):
            assert word in str(caught.value)

    def test_frames_beyond_the_end(self):
        keypoints = at(*[(300, 400)] * 4)
        self.refuse([track([2, 3, 4], 1)], keypoints, "frames 2 to 4", "0 to 3")
        self.refuse([track([-1, 3], 1)], keypoints, "frames -1 to 3")
        self.refuse([track([0], 1), track([9], 2)], keypoints, "0 to 9")

    def test_another_number_of_frames(self):
        keypoints = at(*[(300, 400)] * 4)
        self.refuse([track(range(3), 1, num_frames=3)], keypoints, "3 frames", "clip has 4")
        self.refuse([track(range(3), 1, num_frames=5)], keypoints, "5 frames", "clip has 4")
        assert chosen([track(range(3), 1, num_frames=4)], keypoints)[0] == [1, 1, 1, 0]

    @KINDS
    def test_nobody_near(self, kind):
        keypoints = at(*[(300, 400)] * 4)
        self.refuse([track(range(4), 1, (1100, 400), kind)], keypoints, "px from the keypoints", "diagonal of 316 px")
        self.refuse([track(range(4), 1, (500, 400), "joints")], keypoints, "in no frame")

    def test_nobody_at_all(self):
        with pytest.raises(DatasetError, match="nobody"):
            lay([], at((0, 0)), np.ones((1, 25)))
