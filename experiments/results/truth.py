"""The truth of each clip moved as a whole onto its fit, so that the two can be looked at side by side."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np

from experiments.data import padding
from experiments.data.dataset import Dataset
from experiments.results.fitted_motion import FittedMotion
from nemo_jax import metrics

Array = np.ndarray


@dataclasses.dataclass(frozen=True)
class AlignedTruth:
    """How the true world of each clip is moved onto the fit's, without scale.

    A true point x of clip n stands at rotation[n] x + translation[n]; rotation (N, 3, 3), translation (N, 3) metres.
    joints (N, T, K, 3): the true joints there. mask (N, T): frames whose truth is known.
    """

    rotation: Array
    translation: Array
    joints: Array
    mask: Array

    def place(self, instance: int, points: Array) -> Array:
        """True points (..., 3) of a clip, where they are in the fit's world."""
        return points @ self.rotation[instance].T + self.translation[instance]


def onto_fit(dataset: Dataset, fitted: FittedMotion) -> AlignedTruth | None:
    """The least-squares rotation and translation of the true joints of all frames onto the fitted ones; None without a
    truth."""
    truth = dataset.truth
    if truth is None:
        return None
    frames = np.shape(truth.joints)[1]
    exists = np.asarray(dataset.clips.frame_mask) > 0
    mask = exists & np.isfinite(truth.joints).all((-1, -2))
    known = np.where(mask[..., None, None], truth.joints, 0.0)
    given = (known, fitted.prediction.keypoints, mask.astype(np.float32))
    # Padded, so that clips of other lengths find the compiled program again.
    padded = (padding.array(values, padding.slots(frames)) for values in given)
    rotation, translation, joints = jax.device_get(_moved(*padded))
    return AlignedTruth(rotation, translation, joints[:, :frames], mask)


@jax.jit
@jax.vmap
def _moved(true: jax.Array, fitted: jax.Array, mask: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    rotation, translation = metrics.clip_transform(true, fitted, mask)
    return rotation, translation, metrics.move(true, rotation, translation)
