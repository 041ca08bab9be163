"""Student t distributions of many dimensions, as the open learned priors are made of; float64.

Squared distances d^2 are those after whitening. A height is the logarithm of a density where d is 0.
"""

from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import gammaln
from scipy.stats import f as f_distribution

from experiments.base.files import replacing

Array = np.ndarray


def whitening(scales: Array) -> Array:
    """The inverse Cholesky factor (M, D, D) of each scale matrix (M, D, D)."""
    return np.linalg.inv(np.linalg.cholesky(scales))


def heights(scales: Array, freedom: float) -> Array:
    """Logarithm (M,) of the density of each distribution, with scale matrices (M, D, D), in its middle."""
    size = scales.shape[-1]
    half_determinant = np.log(np.diagonal(np.linalg.cholesky(scales), axis1=1, axis2=2)).sum(1)
    constant = gammaln((freedom + size) / 2) - gammaln(freedom / 2) - size / 2 * np.log(freedom * np.pi)
    return constant - half_determinant


def fall(squares: Array, size: int, freedom: float) -> Array:
    """By how much (...) the logarithm of the density is below the height at squared distances (...)."""
    return (freedom + size) / 2 * np.log1p(squares / freedom)


def calibration(squares: Array, size: int, freedom: float) -> list[tuple[float, float]]:
    """Pairs of an expected share and the share of squared distances (P,) within that which should hold it.

    d^2 / D of a Student t distribution has an F distribution with D and `freedom` degrees.
    """
    expected = (0.1, 0.25, 0.5, 0.75, 0.9, 0.99)
    return [(p, float((squares / size < f_distribution.ppf(p, size, freedom)).mean())) for p in expected]


def write(path: Path, scales: Array, peaks: Array, freedom: float, **others: Array) -> None:
    """Writes a file of a learned prior: `whitening`, `log_weights` (peaks (M,), the greatest 0), `freedom`, and others."""
    arrays = {
        **others,
        "whitening": whitening(scales),
        "log_weights": peaks - peaks.max(),
        "freedom": np.float64(freedom),
    }
    with replacing(path) as temporary, temporary.open("wb") as file:
        single: dict[str, Any] = {name: np.asarray(value, np.float32) for name, value in arrays.items()}
        np.savez_compressed(file, **single)
