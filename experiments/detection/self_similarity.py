"""The course of a motion in the picture, and how alike two are: what tells repetitions of an action.

A pose in the picture is told by where the joints are from the middle of the hips, in lengths of the trunk, so that neither
the place nor the distance of the person counts. Two stretches of time are alike if their poses are, one after the other,
however fast each goes: the least mean square distance over all ways to walk through both (dynamic time warping, Sakoe and
Chiba, 1978), against how much the pose changes in them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy.ndimage import gaussian_filter1d, percentile_filter

from body_models import joints as jn

Array = np.ndarray

# Nose, shoulders, elbows, wrists, hips, knees, ankles of BODY_25, and each one's other side among them.
JOINTS = np.array([0, 2, 5, 3, 6, 4, 7, 9, 12, 10, 13, 11, 14])
MIRROR = np.array([0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11])
_SHOULDERS, _HIPS = [1, 2], [7, 8]

_CONFIDENT = 0.3  # below it a joint is taken from the frames around
_SMOOTHING = 0.06  # seconds, sd of the filter against jitter
_SPEED_SMOOTHING = 0.08  # seconds more, of speeds
_SIZE_WINDOW = 4.0  # seconds in which the trunk is long at least once: not turned away or bent to the camera
_SIZE_PERCENTILE = 80
SAMPLES = 24  # poses that stand for a stretch of time
_BAND = 7  # samples by which one stretch may run ahead of the other
_NOISE = 0.08  # change of a pose, in trunks, that is none


@dataclasses.dataclass(frozen=True, eq=False)
class Course:
    """A person's motion in the picture over F frames.

    points (F, 13, 2): the joints of `JOINTS` from the middle of the hips, in lengths of the trunk.
    weight (F, 13): how far each is to be believed, 0 to 1.
    speed (F,): root mean square of the joints' speeds in the picture, trunks per second.
    seen (F,): frames in which the person is seen.
    fps: frames per second.
    """

    points: Array
    weight: Array
    speed: Array
    seen: Array
    fps: float


def course(keypoints: Array, confidence: Array, fps: float) -> Course:
    """The course of keypoints.

    Args:
      keypoints (F, 25, 2): of one person, BODY_25, pixels.
      confidence (F, 25): 0 = not seen.
      fps: frames per second.
    """
    confidence = np.asarray(confidence, float)[:, JOINTS]
    count = len(confidence)
    known = confidence > _CONFIDENT
    points = np.zeros((count, len(JOINTS), 2))
    for k, joint in enumerate(JOINTS):
        frames = np.flatnonzero(known[:, k])
        if len(frames):
            for axis in range(2):
                points[:, k, axis] = np.interp(np.arange(count), frames, keypoints[frames, joint, axis])
    points = gaussian_filter1d(points, _SMOOTHING * fps, axis=0, mode="nearest")
    weight = gaussian_filter1d(np.where(known, confidence, 0.0), _SMOOTHING * fps, axis=0, mode="nearest")
    hips = points[:, _HIPS].mean(1)
    trunk = np.linalg.norm(points[:, _SHOULDERS].mean(1) - hips, axis=-1)
    window = min(2 * count - 1, round(_SIZE_WINDOW * fps) | 1)
    size = np.maximum(percentile_filter(trunk, _SIZE_PERCENTILE, window, mode="nearest"), 1e-6)
    size = np.maximum(gaussian_filter1d(size, window / 4, mode="nearest"), 1.0)
    step = np.gradient(points, axis=0) if count > 1 else np.zeros_like(points)
    squares = (weight * (step**2).sum(-1)).sum(-1) / np.maximum(weight.sum(-1), 1e-6)
    speed = gaussian_filter1d(np.sqrt(squares) * fps / size, _SPEED_SMOOTHING * fps, mode="nearest")
    return Course((points - hips[:, None]) / size[:, None, None], weight, speed, np.asarray(known.any(1)), fps)


def samples(of: Course, stretches: Sequence[tuple[int, int]]) -> tuple[Array, Array]:
    """Points (S, 24, 13, 2) and weights (S, 24, 13) evenly over each stretch, from a frame to before another."""
    ends = np.array(stretches, float).reshape(-1, 2)
    at = ends[:, :1] + (ends[:, 1:] - 1 - ends[:, :1]) * np.linspace(0, 1, SAMPLES)
    low = np.minimum(at.astype(int), len(of.points) - 1)
    high = np.minimum(low + 1, len(of.points) - 1)
    part = at - low
    points = of.points[low] + part[..., None, None] * (of.points[high] - of.points[low])
    return points, np.minimum(of.weight[low], of.weight[high])


def unlikeness(points: Array, weight: Array, others: Array, others_weight: Array, band: int = _BAND) -> Array:
    """How unlike (A, B) each of A stretches is to each of B: 0 = equal, 1 = as unlike as two poses at random of them.

    Args:
      points (A, 24, J, D), weight (A, 24, J): as `samples` has them, of any D. others, others_weight: of the B others.
      band: samples by which one may run ahead.
    """
    own, other = extent(points, weight) + _NOISE**2, extent(others, others_weight) + _NOISE**2
    result = np.zeros((len(points), len(others)))
    second, b, b2 = _flat(others, others_weight)
    for row, (p, w) in enumerate(zip(points, weight, strict=True)):
        first, a, a2 = _flat(p[None], w[None])
        shared = np.einsum("tk,nuk->ntu", a[0], b)
        squares = np.einsum("tk,nuk->ntu", a2[0], b) + np.einsum("tk,nuk->ntu", a[0], b2)
        cross = np.einsum("tk,nuk->ntu", first[0], second)
        apart = np.maximum(squares - 2 * cross, 0.0) / np.maximum(shared, 1e-6)
        result[row] = _warped(apart, band) / (own[row] + other)
    return result


def _flat(points: Array, weight: Array) -> tuple[Array, Array, Array]:
    """Weighted coordinates (S, T, J D), weights (S, T, J), weighted squares (S, T, J)."""
    weighted = weight[..., None] * points
    return weighted.reshape(*points.shape[:2], -1), weight, (weighted * points).sum(-1)


def extent(points: Array, weight: Array) -> Array:
    """Mean square (S,) of the joints' distances from their mean places in a stretch."""
    sums = np.maximum(weight.sum(1), 1e-6)
    mean = (weight[..., None] * points).sum(1) / sums[..., None]
    squares = ((points - mean[:, None]) ** 2).sum(-1)
    return (weight * squares).sum((1, 2)) / np.maximum(weight.sum((1, 2)), 1e-6)


def _warped(apart: Array, band: int) -> Array:
    """Least mean (N,) of distances (N, T, T) along a way from corner to corner; a step aside counts one, a diagonal two."""
    count = apart.shape[1]
    before = np.full((count, len(apart)), np.inf)
    for row in range(count):
        now = np.full_like(before, np.inf)
        for column in range(max(0, row - band), min(count, row + band + 1)):
            here = apart[:, row, column]
            if row == column == 0:
                now[column] = 2 * here
                continue
            best = before[column] + here
            if column:
                best = np.minimum(best, now[column - 1] + here)
                best = np.minimum(best, before[column - 1] + 2 * here)
            now[column] = best
        before = now
    return before[-1] / (2 * count)


def heights(points: Array) -> Array:
    """The heights (..., J, 1) of points (..., J, 2): what cameras on any side of a person see alike."""
    return points[..., 1:]


def mirrored(points: Array, weight: Array) -> tuple[Array, Array]:
    """The same with left and right exchanged, as `heights` of left-handers are."""
    return points[..., MIRROR, :], weight[..., MIRROR]


assert [jn.BODY_25_NAMES[k] for k in JOINTS[[0, 1, 7]]] == ["nose", "right_shoulder", "right_hip"]
