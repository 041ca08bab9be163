"""Which stretches of a film's shots show the same action.

Shots are filmed from different sides, and cameras stand level: they see the heights of the joints alike, and of left-handers
those of the other side. On four pitches filmed in a studio and one of them mirrored and cropped the unlikeness of heights is
0.02 to 0.35, of squats, steps and somebody who stands it is 0.5 and more from these.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from experiments.detection import self_similarity
from experiments.detection.self_similarity import Course

Array = np.ndarray

_SAME = 0.4  # unlikeness of heights up to which the action is the same
_LEAST = 0.01  # mean square change of heights, trunks squared, below which nothing is done that could be the same
_BAND = 12  # samples by which one may run ahead: shots begin and end anywhere in the action


def alike(stretches: Sequence[tuple[Course, range]]) -> Array:
    """Which (S, S) of S stretches, frames of courses, show the same action."""
    return told(unlikeness(stretches))


def told(apart: Array) -> Array:
    """The same of their unlikeness (S, S)."""
    return (apart < _SAME) | np.eye(len(apart), dtype=bool)


def unlikeness(stretches: Sequence[tuple[Course, range]]) -> Array:
    """How unlike (S, S) the heights of S stretches, frames of courses, are; infinite where one of two shows nothing."""
    sampled = [self_similarity.samples(of, [(frames.start, frames.stop)]) for of, frames in stretches]
    points = np.concatenate([points for points, _ in sampled])
    weight = np.concatenate([weight for _, weight in sampled])
    heights = self_similarity.heights(points)
    other_side = self_similarity.mirrored(heights, weight)
    apart = np.minimum(
        self_similarity.unlikeness(heights, weight, heights, weight, _BAND),
        self_similarity.unlikeness(heights, weight, *other_side, _BAND),
    )
    active = self_similarity.extent(heights, weight) > _LEAST
    return np.where(active & active[:, None], apart, np.inf)


def group(same: Array, worth: Sequence[float]) -> list[int]:
    """The numbers of the stretches that show the action of which there is most.

    Args:
      same (S, S): as `alike` has it. worth (S,): of each stretch, such as the frames in which somebody is well seen.
    """
    own = np.asarray(worth, float)
    # The one that is worth most decides between equals.
    best = max(range(len(own)), key=lambda number: (same[number] @ own, own[number]))
    return np.flatnonzero(same[best]).tolist()
