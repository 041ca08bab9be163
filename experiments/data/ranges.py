"""What numbers a real recording can hold: wide limits, beyond which a file is damaged or in other units."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

Array = np.ndarray


@dataclasses.dataclass(frozen=True)
class Range:
    """Numbers from `least` to `most`, both included; what: in which unit, for the sentence."""

    least: float
    most: float
    what: str

    def check(self, name: str, values: Any, error: type[ValueError]) -> None:
        """Raises `error` with the sentence, which starts with `name`: one of the values is outside. NaN is not."""
        values = np.asarray(values)
        odd = values[(values < self.least) | (values > self.most)]
        if odd.size:
            raise error(f"{name} holds {odd.ravel()[0]:g}, expected {self.what} from {self.least:g} to {self.most:g}")


ANGLE = Range(-100, 100, "radians")  # axis-angle; some tools count turns on instead of starting anew
BETAS = Range(-20, 20, "shape coefficients")  # people are within 5
POSITION = Range(-1000, 1000, "metres")
FOCAL = Range(10, 1e6, "pixels")  # a fisheye's on a small image; the longest lens on a large one
HEIGHT = Range(0.5, 2.5, "metres")  # of a person
SIDE = Range(8, 100_000, "pixels")  # of an image
PIXELS = Range(-1e6, 1e6, "pixels")  # a place in or beside an image
LENGTH = Range(0, 1e6, "pixels")  # in an image
ZOOM = Range(0.01, 100, "times the first focal length")
RATE = Range(1, 1000, "frames per second")
FRAMES = Range(-1, 1e8, "frames")  # numbers of frames; -1 = none

_FASTEST = 50.0  # metres per second; a sprinter reaches 12


def choice(name: str, values: Any, error: type[ValueError]) -> None:
    """Raises `error` with the sentence, which starts with `name`: one of the values is neither 0 nor 1."""
    values = np.asarray(values)
    odd = values[(values != 0) & (values != 1)]
    if odd.size:
        raise error(f"{name} holds {odd.ravel()[0]:g}, expected 0 or 1")


def too_fast(translation: Array, fps: float) -> str | None:
    """What is odd about a path (F, 3) in metres that nobody can run, as a clause; None where nothing is."""
    steps = np.linalg.norm(np.diff(translation, axis=0), axis=-1) * fps
    if not len(steps) or np.max(steps) <= _FASTEST:
        return None
    return (
        f"moves by up to {np.max(steps):.0f} metres per second; its frames may be out of order, or its translation not in "
        "metres"
    )
