"""Left and right stay with their joints."""

import numpy as np
import pytest
import stick_people as sticks

from experiments.detection import sides

LEGS = np.arange(25, 33)


@pytest.fixture
def walk():
    """A body (40, 33, 2), 100 pixels high, that moves by 2 pixels a frame, its arms swinging."""
    points = np.tile(sticks.LAYOUT * [40, 100], (40, 1, 1)) + np.arange(40)[:, None, None] * [2, 0]
    swing = 12 * np.sin(np.arange(40) / 4)
    points[:, 15, 0] += swing
    points[:, 16, 0] -= swing
    return points


def swapped(points, frames, group=None):
    wrong = points.copy()
    group = np.arange(33) if group is None else group
    wrong[np.ix_(frames, group)] = points[np.ix_(frames, sides.MIRROR[group])]
    return wrong


def test_mirror_pairs():
    assert (sides.MIRROR[sides.MIRROR] == np.arange(33)).all()
    assert sides.MIRROR[0] == 0 and sides.MIRROR[[11, 16, 25, 32, 7, 9, 1]].tolist() == [12, 15, 26, 31, 8, 10, 4]
    assert (np.arange(33) != sides.MIRROR).sum() == 32


def test_nothing_to_do(walk):
    assert not sides.exchanged(walk, np.ones(40, bool)).any()


@pytest.mark.parametrize("frames", [[0], [7], [39], [10, 11, 12, 13], [3, 9, 20, 21]])
@pytest.mark.parametrize("group", [None, LEGS])
def test_some_frames(walk, frames, group):
    wrong = sides.exchanged(swapped(walk, frames, group), np.ones(40, bool))
    expected = np.zeros((40, 33), bool)
    expected[np.ix_(frames, np.arange(33) if group is None else group)] = True
    np.testing.assert_array_equal(wrong, expected)


def test_whole_body_and_legs_together(walk):
    both = swapped(swapped(walk, [5, 6]), [6, 20], LEGS)
    wrong = sides.exchanged(both, np.ones(40, bool))
    repaired = np.where(wrong[..., None], both[:, sides.MIRROR], both)
    np.testing.assert_array_equal(repaired, walk)


def test_most_frames_are_right(walk):
    """Of two ways that fit in time, the detector's, in the most frames."""
    wrong = sides.exchanged(swapped(walk, list(range(30))), np.ones(40, bool))
    assert wrong[30:].all() and not wrong[:30].any()


def test_somebody_who_turns_round_is_not_changed(walk):
    """Left and right change places over half a second, through a view from the side."""
    middle = walk.mean(1, keepdims=True)
    turn = np.cos(np.clip((np.arange(40) - 13) / 13, 0, 1) * np.pi)
    turned = walk.copy()
    turned[..., 0] = middle[..., 0] + turn[:, None] * (walk - middle)[..., 0]
    assert not sides.exchanged(turned, np.ones(40, bool)).any()


def test_frames_without_the_person_are_passed_over(walk):
    seen = np.ones(40, bool)
    seen[8:12] = False
    points = swapped(walk, [13, 14])
    points[8:12] = 0
    wrong = sides.exchanged(points, seen)
    assert np.flatnonzero(wrong[:, 11]).tolist() == [13, 14]
    assert not sides.exchanged(walk[:2], seen[:2]).any()
