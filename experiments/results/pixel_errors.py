"""How far the fitted joints are from the input, and from what 2D errors are measured against."""

from __future__ import annotations

import jax
import numpy as np

from experiments.data.dataset import Dataset
from experiments.data.visible import reference, visible
from experiments.results.fitted_motion import FittedMotion
from nemo_jax import metrics

Array = np.ndarray


def from_input(dataset: Dataset, fitted: FittedMotion, threshold: float) -> tuple[Array, Array]:
    """Distances (N, T, K) in pixels from the keypoints that the fit was given, and which of them are visible."""
    return _distances(fitted, dataset.clips.keypoints), visible(dataset, threshold)


def from_reference(dataset: Dataset, fitted: FittedMotion, threshold: float) -> tuple[Array, Array]:
    """The same from `reference_2d` where the dataset has it, and which of them are scored."""
    keypoints, _, scored = reference(dataset, threshold)
    return _distances(fitted, keypoints), scored


def _distances(fitted: FittedMotion, keypoints: Array | jax.Array) -> Array:
    return np.asarray(_compiled(fitted.scored_2d, np.asarray(keypoints)))


_compiled = jax.jit(metrics.reprojection_errors)
