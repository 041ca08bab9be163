"""Where pictures show the background: what is left beside the people who are seen."""

from __future__ import annotations

import numpy as np

Array = np.ndarray

_BODY_MARGIN = 0.12  # of a person's diagonal, around the landmarks


def free(shape: tuple[int, ...], boxes: Array) -> Array:
    """Where (H, W) nobody is."""
    free = np.ones(shape[:2], bool)
    for left, top, right, bottom in np.round(boxes).astype(int):
        free[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = False
    return free


def at(free: Array, points: Array) -> Array:
    """Which (P,) of the points (P, 2) are where `free` (H, W) is true; what is outside of it is as at its edge."""
    height, width = free.shape
    x, y = np.clip(np.nan_to_num(points), 0, [width - 1, height - 1]).astype(int).T
    return free[y, x]


def boxes_of(landmarks: Array, seen: Array, scale: float) -> Array:
    """Boxes (P, 4) around the landmarks (P', 33, 4) of the people seen (P',) in a frame, times a scale of the picture."""
    points = landmarks[seen][..., :2] * scale
    if not len(points):
        return np.zeros((0, 4))
    low, high = points.min(1), points.max(1)
    margin = _BODY_MARGIN * np.linalg.norm(high - low, axis=-1, keepdims=True)
    return np.concatenate([low - margin, high + margin], -1)
