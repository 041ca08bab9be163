"""Which keypoints of a dataset count as visible, and which keypoints 2D errors are measured against."""

from __future__ import annotations

import numpy as np

from experiments.data.dataset import Dataset
from nemo_jax import losses

Array = np.ndarray


def visible(dataset: Dataset, threshold: float, derived: bool = False) -> Array:
    """Keypoints (N, T, K) of confidence above the threshold in frames that exist, true there.

    Args:
      dataset: N instances. threshold: of the confidence.
      derived: keypoints that nobody measured, as they are derived from others, count too.
    """
    clips = dataset.clips
    seen = np.asarray(losses.visible(clips.confidence, clips.frame_mask, threshold)) > 0
    return seen if derived else seen & np.isin(np.arange(seen.shape[-1]), dataset.annotated)


def reference(dataset: Dataset, threshold: float) -> tuple[Array, Array, Array]:
    """What 2D errors are measured against: `reference_2d` where the dataset has it, else the clips' own keypoints.

    Returns:
      keypoints (N, T, K, 2) in pixels, their confidence (N, T, K), and which of them (N, T, K) are scored.
    """
    clips = dataset.clips
    if dataset.reference_2d is None:
        return np.asarray(clips.keypoints), np.asarray(clips.confidence), visible(dataset, threshold)
    keypoints, confidence = dataset.reference_2d
    scored = (confidence > threshold) & (np.asarray(clips.frame_mask) > 0)[..., None]
    return keypoints, confidence, scored
