"""Where one picture lies in another, by the grey values of all that has any texture, where corners are too few.

Lawns, tracks and ice have hardly a corner that can be found again, and yet their faint patterns, thousands of points
together, fix a similarity: turn, zoom and shift of the picture (direct alignment; Irani and Anandan, 1999).
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.ndimage import gaussian_filter, maximum_filter

from experiments.detection import optical_flow
from experiments.detection.optical_flow import Level, Pyramid

Array = np.ndarray

_CELLS, _PER_CELL = (24, 14), 14  # of a picture, across and down, and the points that are taken of each
_FAINTEST = 0.8  # grey values a pixel, out of 255
_MARGIN = 6  # pixels
_STEPS = 15
_CLOSE = 0.02  # pixels, of the level
_FEWEST = 100  # points in view
_BLOCKS = (12, 8)  # of a picture, each of which is held against what it should show
_IN_BLOCK, _LEAST_SPREAD, _LIKE = 15, 2.0, 0.7  # points; standard deviation of grey values; correlation
_FIXED_RANGE, _FIXED_EDGE, _FIXED_MARGIN = 20.0, 4.0, 15  # grey values; a pixel; width of the surroundings, pixels


@dataclasses.dataclass(frozen=True, eq=False)
class Blocks:
    """Parts of the first picture whose texture the second shows: the middle (B, 2) of each, where it is seen (B, 2), and
    whether (B,) it looks the same there."""

    points: Array
    seen: Array
    alike: Array


def fixed(pictures: Array) -> Array:
    """Where (H, W) pictures (K, H, W) of a camera that moves show the same edges all the time: emblems and scores, which are
    not of the scene. Everything with an edge is, where the camera stands still."""
    smooth = gaussian_filter(np.asarray(pictures, np.float32), (0, 1, 1))
    edges = np.hypot(*np.gradient(smooth.mean(0)))
    return maximum_filter((np.ptp(smooth, axis=0) < _FIXED_RANGE) & (edges > _FIXED_EDGE), _FIXED_MARGIN)


def textured(level: Level, free: Array) -> Array:
    """The points (P, 2) of a picture with the steepest slopes in every part of it. free (H, W): where they may be."""
    slope = np.where(free, np.hypot(level.along_x, level.along_y), 0.0)
    slope[:_MARGIN] = slope[-_MARGIN:] = slope[:, :_MARGIN] = slope[:, -_MARGIN:] = 0.0
    height, width = slope.shape
    found = []
    for rows in np.array_split(np.arange(height), _CELLS[1]):
        for columns in np.array_split(np.arange(width), _CELLS[0]):
            part = slope[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            y, x = np.unravel_index(np.argsort(part, axis=None)[-_PER_CELL:], part.shape)
            steep = part[y, x] > _FAINTEST
            found.append(np.stack([x[steep] + columns[0], y[steep] + rows[0]], -1))
    return np.concatenate(found).astype(float)


def align(first: Pyramid, second: Pyramid, points: Array, start: Array, free: Array) -> Blocks | None:
    """How the second picture shows points (P, 2) of the first, expected at `start` (P, 2) up to a similarity.

    Args:
      free (H, W): where the second picture shows the scene.

    Returns:
      None where too little of it is in view.
    """
    expected = start[:, 0] + 1j * start[:, 1]
    turn, shift = 1.0 + 0j, 0j
    for number in range(len(first) - 1, -1, -1):
        scale, level = 2.0**-number, second[number]
        wanted = optical_flow.values(first[number].picture, points * scale)
        for _ in range(_STEPS):
            found = turn * expected + shift
            at = np.stack([found.real, found.imag], -1)
            inside = _inside(at, free)
            if inside.sum() < _FEWEST:
                return None
            here = at[inside] * scale
            # About the median, so that a change of light is no displacement.
            apart = optical_flow.values(level.picture, here) - wanted[inside]
            apart -= np.median(apart)
            along_x, along_y = (optical_flow.values(slope, here) * scale for slope in (level.along_x, level.along_y))
            x, y = found[inside].real, found[inside].imag
            # Of found -> found + (a + b i) found + c + d i.
            slopes = np.stack([along_x * x + along_y * y, along_y * x - along_x * y, along_x, along_y], -1)
            limit = 3 * np.median(np.abs(apart)) + 1.0
            weighted = slopes / np.maximum(np.abs(apart) / limit, 1.0)[:, None]
            a, b, c, d = -np.linalg.lstsq(weighted.T @ slopes, weighted.T @ apart, rcond=None)[0]
            turn, shift = turn * (1 + a + 1j * b), shift * (1 + a + 1j * b) + c + 1j * d
            if np.abs((a + 1j * b) * found[inside] + c + 1j * d).max() * scale < _CLOSE:
                break
    found = turn * expected + shift
    return compared(first, second, points, np.stack([found.real, found.imag], -1), free)


def compared(first: Pyramid, second: Pyramid, points: Array, found: Array, free: Array) -> Blocks:
    """What the second picture shows at `found` (P, 2) of the first one's points (P, 2); free (H, W) as in `align`."""
    inside = _inside(found, free)
    # A level coarser, so that the grain of compression is no texture.
    number = min(1, len(first) - 1)
    one, other = (
        optical_flow.values(of[number].picture, at * 2.0**-number) for of, at in ((first, points), (second, found))
    )
    height, width = first[0].picture.shape
    column, row = (points // [width / _BLOCKS[0], height / _BLOCKS[1]]).astype(int).T
    block = column * _BLOCKS[1] + row
    there = []
    for which in np.unique(block[inside]):
        own = (block == which) & inside
        a, b = one[own] - one[own].mean(), other[own] - other[own].mean()
        if own.sum() >= _IN_BLOCK and a.std() > _LEAST_SPREAD:
            alike = (a * b).sum() > _LIKE * np.sqrt((a**2).sum() * (b**2).sum())
            there.append((points[own].mean(0), found[own].mean(0), alike))
    if not there:
        return Blocks(np.zeros((0, 2)), np.zeros((0, 2)), np.zeros(0, bool))
    return Blocks(*(np.array(values) for values in zip(*there, strict=True)))


def _inside(at: Array, free: Array) -> Array:
    height, width = free.shape
    inside = np.asarray(((at >= _MARGIN) & (at < [width - _MARGIN, height - _MARGIN])).all(-1))
    x, y = at[inside].astype(int).T
    inside[inside] = free[y, x]
    return inside
