"""Interpolates clips at equal phases of the shared motion, so that they can be compared."""

from __future__ import annotations

import numpy as np

from body_models import joints as jn
from experiments.data.dataset import Dataset
from experiments.results.fitted_motion import FittedMotion
from nemo_jax import metrics

Array = np.ndarray
_MID_HIP = jn.BODY_25_NAMES.index("mid_hip")


def joints_at(dataset: Dataset, fitted: FittedMotion, instance: int, phases: Array) -> Array:
    """Fitted joints (P, 15, 3) of a clip in metres relative to the middle of its hips, interpolated at phases (P,)."""
    frames = int(np.asarray(dataset.clips.frame_mask[instance]).sum())
    joints = np.asarray(fitted.prediction.keypoints)[instance, :frames, : metrics.PAPER_JOINTS]
    own = np.asarray(fitted.prediction.phase)[instance, :frames]
    return interpolated(phases, own, joints - joints[:, _MID_HIP : _MID_HIP + 1])


def interpolated(phases: Array, own: Array, joints: Array) -> Array:
    """Joints (P, K, 3) at phases (P,), of joints (F, K, 3) at phases `own` (F,), which do not fall."""
    own = np.maximum.accumulate(own)
    flat = joints.reshape(len(joints), -1)
    return np.stack([np.interp(phases, own, values) for values in flat.T], -1).reshape(len(phases), -1, 3)
