"""Which way up people are in pictures, and what is said of films that may be stored sideways."""

import numpy as np
import pytest

from experiments.detection import upright
from experiments.detection.landmarks import LANDMARKS

HIPS = np.array([100.0, 100.0])
LEG, TRUNK = 80.0, 50.0


def body(trunk, legs, count=10):
    """Landmarks of somebody whose trunk and legs point so many degrees clockwise from upright."""
    points = np.tile(HIPS, (33, 1))
    for name, length, angle in (("shoulder", TRUNK, trunk), ("ankle", -LEG, legs)):
        away = length * np.array([np.sin(np.radians(angle)), -np.cos(np.radians(angle))])
        for side in (-1, 1):
            points[LANDMARKS.index(f"{'left' if side > 0 else 'right'}_{name}")] = HIPS + away + side
    return np.tile(np.concatenate([points, np.ones((33, 2))], 1), (count, 1, 1))


@pytest.mark.parametrize(
    ("trunk", "legs", "turn"),
    [
        (0, 0, 0),
        (30, -30, 0),
        (-90, -90, 90),  # the head is on the left
        (-70, -120, 90),
        (90, 90, 270),
        (180, 180, 180),
        (160, 200, 180),
        (90, 0, 0),  # bends over
        (0, 90, 0),  # sits on the ground
        (-100, 0, 0),
    ],
)
def test_which_way_up(trunk, legs, turn):
    assert upright.needed(body(trunk, legs)) == (turn, 1.0 if turn else 0.0)


def test_most_frames_decide():
    some = lambda lying: np.concatenate([body(90, 90, lying), body(0, 0, 10 - lying)])
    assert upright.needed(some(5)) == (0, 0.0) and upright.needed(some(7)) == (270, 0.7)
    assert upright.needed(body(0, 0, 0)) == (0, 0.0)
    assert upright.needed(np.zeros((3, 33, 4))) == (0, 0.0)


def test_the_sentences():
    assert upright.note("x/a.mp4", "a", body(-90, -90), 0) == (
        "In x/a.mp4 the person lies across the picture in 100% of the frames; if the film is stored sideways, --turn='a=90' "
        "turns it."
    )
    # One that was turned the wrong way round, and one that need not be turned.
    assert upright.note("x/a.mp4", "a", body(180, 180), 270) == (
        "In x/a.mp4 the person stands on the head in 100% of the frames; if the film is stored upside down, --turn='a=90' "
        "turns it."
    )
    assert "--turn='a=0'" in upright.note("x/a.mp4", "a", body(90, 90), 90)
    assert upright.note("x/a.mp4", "a", body(0, 0), 90) == ""
