"""The turned squares of pictures that the networks look at."""

from __future__ import annotations

import numpy as np

Array = np.ndarray

_BITS = 5  # of a pixel, to which places are rounded, as in OpenCV's warps, through which MediaPipe sees
_PARTS = 1 << _BITS


def square(picture: Array, centre: Array, sides: Array, rotation: float, count: int, black: bool = False) -> Array:
    """A turned rectangle of a picture as count x count pixels, float32 (count, count, 3), whole levels 0 to 255.

    Between pixels it is interpolated linearly, without regard to what is skipped, as the networks have been trained.

    Args:
      picture: RGB uint8 (H, W, 3).
      centre (2,), sides (2,): pixels; a pixel's middle has whole numbers.
      rotation: radians, clockwise as seen.
      count: pixels along a side of the result.
      black: outside the picture it is black; else as the nearest pixel.
    """
    height, width = picture.shape[:2]
    cos, sin = np.cos(rotation), np.sin(rotation)
    across, down = (np.arange(count) / count - 0.5) * np.asarray(sides, float)[:, None]
    left, right, to_left, to_right = _neighbours((across * cos)[None] - (down * sin)[:, None] + centre[0], width, black)
    top, bottom, to_top, to_bottom = _neighbours(
        (across * sin)[None] + (down * cos)[:, None] + centre[1], height, black
    )
    pixels = picture.reshape(-1, 3)

    def share(row: Array, column: Array, weight: Array) -> Array:
        levels = pixels.take((row * width + column).ravel(), axis=0).astype(np.float32)
        levels *= weight.reshape(-1, 1)
        return levels

    found = share(top, left, to_top * to_left)
    found += share(top, right, to_top * to_right)
    found += share(bottom, left, to_bottom * to_left)
    found += share(bottom, right, to_bottom * to_right)
    return np.rint(found, out=found).reshape(count, count, 3)


def _neighbours(place: Array, count: int, black: bool) -> tuple[Array, Array, Array, Array]:
    """The pixels before and after places along an axis, within 0 to count - 1, and the weight of each.

    black: pixels outside weigh nothing; else the outermost stands for them.
    """
    # Far outside, places are not told apart; they need not fit an integer.
    parts = np.rint(np.clip(place, -2, count + 1) * _PARTS).astype(np.int32)
    before, after = parts >> _BITS, (parts >> _BITS) + 1
    to_after = (parts & _PARTS - 1).astype(np.float32) / np.float32(_PARTS)
    to_before = 1 - to_after
    if black:
        to_before *= (before >= 0) & (before < count)
        to_after *= (after >= 0) & (after < count)
    return np.clip(before, 0, count - 1), np.clip(after, 0, count - 1), to_before, to_after
