"""Left and right, kept apart over time.

A detector that is unsure which way somebody faces calls left what is right for some frames, of the whole body or of the
legs. In the picture nothing jumps then but the names; so the names are given by which every joint stays where it was,
and where that says nothing, as when a body is seen from the side, the detector's.
"""

from __future__ import annotations

import numpy as np

from body_models import joints as jn
from experiments.detection.landmarks import LANDMARKS

Array = np.ndarray

# The landmark on the other side of each, itself for the nose.
MIRROR = jn.mirror_order(LANDMARKS)
# What changes sides together: everything, or the legs below the hips.
_WHOLE, _LEGS = np.arange(33), np.arange(25, 33)
# What tells: shoulders to wrists, hips to ankles.
_BODY = np.array([*range(11, 17), *range(23, 29)])
_FARTHEST = 0.3  # move from frame to frame, in sizes of the person, that counts as much as any farther one
_DOUBT = 0.01  # price, in sizes, of a frame with other names than the detector's


def exchanged(landmarks: Array, seen: Array) -> Array:
    """Where (F, 33) left and right are to be exchanged: landmark k is then to be taken from `MIRROR[k]`.

    Args:
      landmarks (F, 33, 2): of one person, pixels.
      seen (F,): frames in which the person is seen.
    """
    result = np.zeros(landmarks.shape[:2], bool)
    frames = np.flatnonzero(seen)
    if len(frames) < 3:
        return result
    points = landmarks[frames].astype(float)
    size = np.median(np.linalg.norm(points.max(1) - points.min(1), axis=-1))
    for group in (_WHOLE, _LEGS):
        telling = np.intersect1d(_BODY, group)
        swap = _names(points[:, telling] / size, points[:, MIRROR[telling]] / size)
        points[swap] = points[swap][:, jn.mirror_order(LANDMARKS, group)]
        result[np.ix_(frames[swap], group)] ^= True
    return result


def _names(kept: Array, swapped: Array) -> Array:
    """Which frames (F,) to swap, so that points move least in all: the shortest path through both ways (Viterbi).

    Args:
      kept, swapped (F, K, 2): the points either way, in sizes of the person.
    """
    ways = np.stack([kept, swapped], 1)
    cost = np.array([0.0, _DOUBT])
    came_from = np.zeros((len(kept), 2), int)
    for frame in range(1, len(kept)):
        apart = np.linalg.norm(ways[frame][None] - ways[frame - 1][:, None], axis=-1)
        through = cost[:, None] + np.minimum(apart, _FARTHEST).mean(-1)
        came_from[frame] = through.argmin(0)
        cost = through.min(0) + [0.0, _DOUBT]
    way = np.zeros(len(kept), int)
    way[-1] = cost.argmin()
    for frame in range(len(kept) - 1, 0, -1):
        way[frame - 1] = came_from[frame, way[frame]]
    return way.astype(bool)
