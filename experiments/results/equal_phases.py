"""Clips at the same moments of the shared motion, so that they can be compared."""

from __future__ import annotations

import numpy as np

from body_models import joints as jn
from experiments.data.dataset import Dataset
from experiments.results.fitted_motion import FittedMotion
from nemo_jax import metrics

Array = np.ndarray
_MID_HIP = jn.BODY_25_NAMES.index("mid_hip")


def joints_at(dataset: Dataset, fitted: FittedMotion, instance: int, phases: Array) -> Array:
    """Fitted joints (P, 15, 3) of a clip in metres against the middle of its hips, interpolated at phases (P,)."""
    frames = int(np.asarray(dataset.clips.frame_mask[instance]).sum())
    joints = np.asarray(fitted.prediction.keypoints)[instance, :frames, : metrics.PAPER_JOINTS]
    flat = (joints - joints[:, _MID_HIP : _MID_HIP + 1]).reshape(frames, -1)
    own = np.maximum.accumulate(np.asarray(fitted.prediction.phase)[instance, :frames])
    return np.stack([np.interp(phases, own, values) for values in flat.T], -1).reshape(len(phases), -1, 3)
