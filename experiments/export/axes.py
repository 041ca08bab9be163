"""Converts between worlds with y up and with z up."""

from __future__ import annotations

import numpy as np

from experiments.simulation import amass


def turned(points: np.ndarray, up: str) -> np.ndarray:
    """Converts points (..., 3) from y up to `up`, y or z; for z, as in AMASS, (x, y, z) becomes (x, -z, y)."""
    return points @ amass.Y_UP_FROM_Z_UP.as_matrix() if up == "z" else points
