"""Which axis of the world points up."""

from __future__ import annotations

import numpy as np

from experiments.simulation import amass


def turned(points: np.ndarray, up: str) -> np.ndarray:
    """Points (..., 3) of a world with y up in one with `up` y or z; z up as in AMASS, (x, y, z) becomes (x, -z, y)."""
    return points @ amass.Y_UP_FROM_Z_UP.as_matrix() if up == "z" else points
