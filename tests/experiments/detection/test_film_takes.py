"""Takes found in known repetitions, and nothing found where nothing repeats."""

import numpy as np
import pytest
import repeated_motions as motions
from repeated_motions import FPS

from experiments.detection import same_action, self_similarity, takes


def course(pose, seed=0, **options):
    return self_similarity.course(*motions.seen(pose, np.random.default_rng(seed), **options), FPS)


def off(found, bounds):
    """Frames by which ends of takes are off."""
    return np.array([(take.start, take.stop) for take in found.takes]) - bounds


@pytest.mark.parametrize(("side", "pause"), [(0, 0.0), (75, 0.0), (40, 0.6)])
def test_eight_squats_are_eight_takes(side, pause):
    pose, bounds = motions.squats(np.random.default_rng(side + 1), 8, pause)
    found = takes.find(course(pose, side=side))
    assert len(found.takes) == 8 and min(found.likeness) > 0.7
    assert np.abs(off(found, bounds)).max() <= 3


def test_three_squats_and_no_rest_at_the_ends():
    pose, bounds = motions.squats(np.random.default_rng(5), 3, lead=0, tail=0)
    found = takes.find(course(pose))
    assert np.abs(off(found, bounds)).max() <= 3


def test_pitches_with_rests_between_are_takes():
    pose, bounds = motions.pitches(np.random.default_rng(2), 4)
    found = takes.find(course(pose, grounded=False))
    assert len(found.takes) == 4
    # What is slow in the set position and after the throw may be rest or pitch; the throw is in each.
    for take, (start, stop) in zip(found.takes, bounds, strict=True):
        assert take.start <= start + 0.3 * (stop - start) and take.stop >= stop - 0.25 * (stop - start)
        assert take.start > start - 20 and take.stop < stop + 45


def test_one_pitch_is_left_whole():
    for seed in range(3):
        pose, _ = motions.pitches(np.random.default_rng(seed), 1)
        assert takes.find(course(pose, seed, side=40 * seed, grounded=False)).takes == (range(len(pose)),)


def test_steps_are_no_takes_unless_asked_for():
    pose = motions.steps(np.random.default_rng(3), 10)
    walk = course(pose, grounded=False)
    assert takes.find(walk).takes == (range(len(pose)),)
    assert len(takes.find(walk, 5).takes) == 5


def test_as_many_as_are_asked_for():
    pose, bounds = motions.squats(np.random.default_rng(4), 4, 0.5)
    of = course(pose)
    (whole,) = takes.find(of, 1).takes
    assert whole.start <= bounds[0][0] and whole.stop >= bounds[-1][1]
    assert len(takes.find(of, 2).takes) == 2
    assert takes.find(of, 50) is None


def test_only_long_rest_is_trimmed():
    pose, bounds = motions.squats(np.random.default_rng(6), 1, lead=3, tail=0.8)
    (take,) = takes.find(course(pose)).takes
    assert take.start == pytest.approx(bounds[0][0] - 0.5 * FPS, abs=3) and take.stop == len(pose)


def test_nobody_and_nothing():
    nobody = self_similarity.course(np.zeros((40, 25, 2)), np.zeros((40, 25)), FPS)
    assert takes.find(nobody).takes == (range(40),) and takes.find(nobody, 3) is None
    still, _ = motions.squats(np.random.default_rng(0), 0)
    assert takes.find(course(still)).takes == (range(len(still)),)
    single = self_similarity.course(np.ones((1, 25, 2)), np.ones((1, 25)), FPS)
    assert takes.find(single).takes == (range(1),)


def test_no_take_goes_over_a_gap():
    pose, bounds = motions.squats(np.random.default_rng(7), 5, 0.6)
    keypoints, confidence = motions.seen(pose, np.random.default_rng(0))
    confidence[bounds[2][0] : bounds[2][1]] = 0
    found = takes.find(self_similarity.course(keypoints, confidence, FPS))
    assert np.abs(off(found, [bounds[k] for k in (0, 1, 3, 4)])).max() <= 4


def test_one_action_from_all_sides_and_with_the_other_hand():
    throws = [motions.pitches(np.random.default_rng(seed), 1)[0] for seed in range(4)]
    of = [course(throw, side=40 * n, grounded=False) for n, throw in enumerate(throws)]
    keypoints, confidence = motions.seen(throws[0], np.random.default_rng(9), side=10)
    mirror = np.arange(25)
    for left, right in ((5, 2), (6, 3), (7, 4), (12, 9), (13, 10), (14, 11)):
        mirror[[left, right]] = right, left
    of.append(self_similarity.course((-keypoints)[:, mirror] * (1, -1), confidence[:, mirror], FPS))
    of.append(course(motions.squats(np.random.default_rng(1), 1)[0]))
    of.append(course(motions.squats(np.random.default_rng(1), 0, lead=4)[0]))
    same = same_action.alike([(each, range(len(each.speed))) for each in of])
    np.testing.assert_array_equal(same[:5, :5], True)
    np.testing.assert_array_equal(same[5:, :5], False)
    # The longest decides only where no action is shown by more.
    assert same_action.group(same, [10, 10, 10, 10, 10, 45, 45]) == [0, 1, 2, 3, 4]
    assert same_action.group(same[[0, 5]][:, [0, 5]], [10, 40]) == [1]
