"""Where points of one picture are in another: corners, and the iterative image registration of Lucas and Kanade.

Pictures are grey and small; displacements are found from the coarsest level of a pyramid to the finest (Bouguet, Pyramidal
implementation of the Lucas Kanade feature tracker, 2000) and checked by going back (Kalal, Mikolajczyk and Matas, ICPR
2010).
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.ndimage import gaussian_filter, maximum_filter, uniform_filter

Array = np.ndarray

_LEVELS = 4  # of a pyramid; each has half the size of the one before
_SMALLEST = 24  # side of a level, pixels
_RADIUS = 5  # of the square around a point that is compared, pixels
_STEPS, _BACK_STEPS = 8, 4
_CLOSE = 0.03  # a step so short, in pixels, is the last
_RETURN = 0.7  # pixels by which the way back may miss
_LIKE = 0.75  # correlation of what is seen at both ends
_CELLS = (12, 8)  # of a picture, across and down, in each of which corners are chosen
_PER_CELL = 2
_FLAT = 3.0  # smallest eigenvalue of the structure of a corner, squared grey values out of 255
_OFFSETS = np.stack(np.meshgrid(*[np.arange(-_RADIUS, _RADIUS + 1.0)] * 2), -1).reshape(-1, 2)


@dataclasses.dataclass(frozen=True, eq=False)
class Level:
    """A picture (H, W) of grey values and its slopes along x and y."""

    picture: Array
    along_x: Array
    along_y: Array


Pyramid = list[Level]


def pyramid(picture: Array) -> Pyramid:
    """A grey picture (H, W), 0 to 255, at several sizes, the finest first."""
    levels, now = [], gaussian_filter(np.asarray(picture, np.float32), 0.7)
    while True:
        slope_y, slope_x = (np.asarray(slope) for slope in np.gradient(now))
        levels.append(Level(now, slope_x, slope_y))
        if len(levels) == _LEVELS or min(now.shape) < 2 * _SMALLEST:
            return levels
        now = gaussian_filter(now, 1.0)[::2, ::2]


def corners(level: Level, free: Array) -> Array:
    """Points (P, 2) of a picture that can be found again, the best ones of every part of it.

    free (H, W): where points may be.
    """
    size = 2 * _RADIUS + 1
    xx, yy, xy = (
        uniform_filter(product, size) for product in (level.along_x**2, level.along_y**2, level.along_x * level.along_y)
    )
    strength = (xx + yy) / 2 - np.sqrt(((xx - yy) / 2) ** 2 + xy**2)
    margin = np.zeros_like(free)
    margin[size:-size, size:-size] = True
    strength = np.where(free & margin & (strength == maximum_filter(strength, size)), strength, 0.0)
    height, width = strength.shape
    found = []
    for rows in np.array_split(np.arange(height), _CELLS[1]):
        for columns in np.array_split(np.arange(width), _CELLS[0]):
            part = strength[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            best = np.argsort(part, axis=None)[-_PER_CELL:]
            y, x = np.unravel_index(best, part.shape)
            good = part[y, x] > _FLAT
            found.append(np.stack([x[good] + columns[0], y[good] + rows[0]], -1))
    return np.concatenate(found).astype(float)


def track(first: Pyramid, second: Pyramid, points: Array, start: Array) -> tuple[Array, Array]:
    """Where points (P, 2) of the first picture are in the second, looked for about `start` (P, 2).

    Returns:
      Points (P, 2), and whether (P,) each was found: its surroundings are alike, and the way back leads home.
    """
    if not len(points):
        return np.zeros((0, 2)), np.zeros(0, bool)
    found = np.array(start, float)
    for number in range(len(first) - 1, -1, -1):
        scale = 2.0**-number
        found = _register(first[number], second[number], points * scale, found * scale, _STEPS) / scale
    back = _register(second[0], first[0], found, points.copy(), _BACK_STEPS)
    height, width = second[0].picture.shape
    inside = ((found >= _RADIUS) & (found <= [width - 1 - _RADIUS, height - 1 - _RADIUS])).all(-1)
    one, other = (_sample(of[0].picture, at) for of, at in ((first, points), (second, found)))
    one, other = one - one.mean(-1, keepdims=True), other - other.mean(-1, keepdims=True)
    alike = (one * other).sum(-1) / np.sqrt((one**2).sum(-1) * (other**2).sum(-1) + 1e-6)
    return found, inside & (alike > _LIKE) & (np.linalg.norm(back - points, axis=-1) < _RETURN)


def _register(first: Level, second: Level, points: Array, found: Array, steps: int) -> Array:
    """`found` (P, 2) moved to where the second picture shows what the first shows about `points` (P, 2)."""
    wanted, slope_x, slope_y = (_sample(of, points) for of in (first.picture, first.along_x, first.along_y))
    wanted = wanted - wanted.mean(-1, keepdims=True)
    slope_x, slope_y = (slope - slope.mean(-1, keepdims=True) for slope in (slope_x, slope_y))
    xx, yy, xy = (slope_x**2).sum(-1), (slope_y**2).sum(-1), (slope_x * slope_y).sum(-1)
    scale = np.maximum(xx * yy - xy**2, 1e-3 * (xx + yy) ** 2 + 1e-6)
    for _ in range(steps):
        seen = _sample(second.picture, found)
        # About the means, so that a change of light is no displacement.
        apart = seen - seen.mean(-1, keepdims=True) - wanted
        x, y = (apart * slope_x).sum(-1), (apart * slope_y).sum(-1)
        step = np.stack([yy * x - xy * y, xx * y - xy * x], -1) / scale[:, None]
        found = found - np.clip(step, -2 * _RADIUS, 2 * _RADIUS)
        if np.abs(step).max() < _CLOSE:
            break
    return found


def _sample(picture: Array, points: Array) -> Array:
    """Values (P, S) of a picture in the squares about points (P, 2)."""
    return values(picture, points[:, None] + _OFFSETS)


def values(picture: Array, at: Array) -> Array:
    """Values (...) of a picture at points (..., 2), between pixels by bilinear interpolation."""
    height, width = picture.shape
    x, y = np.clip(at[..., 0], 0, width - 1.001), np.clip(at[..., 1], 0, height - 1.001)
    left, top = x.astype(np.int32), y.astype(np.int32)
    dx, dy = (x - left).astype(np.float32), (y - top).astype(np.float32)
    flat, corner = picture.ravel(), top * width + left
    above = flat[corner] * (1 - dx) + flat[corner + 1] * dx
    below = flat[corner + width] * (1 - dx) + flat[corner + width + 1] * dx
    return above * (1 - dy) + below * dy
