"""Observations of known motions as a `Dataset`, with their truth and cameras."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments.data.dataset import Dataset, pad, stack, visible_box_size
from experiments.simulation.observations import Observation
from nemo_jax.clips import GroundTruth


def dataset(seen: Sequence[Observation], names: Sequence[str], action: str, note: str, num_betas: int) -> Dataset:
    """The observations as one action.

    Args:
      seen: one observation per instance.
      names: one per instance.
      action: what they all do.
      note: a sentence that says what was simulated.
      num_betas: shape coefficients of the body that was seen; those that a motion lacks are 0.
    """
    betas = np.zeros((len(seen), num_betas), np.float32)
    for row, observation in zip(betas, seen, strict=True):
        known = observation.motion.betas[:num_betas]
        row[: len(known)] = known
    truth: dict[str, Any] = {
        "pose": pad([s.motion.pose for s in seen]),
        "translation": pad([s.motion.translation for s in seen]),
        "betas": betas,
        "joints": pad([s.joints for s in seen]),
    }
    clips = stack([s.instance for s in seen])
    return Dataset(
        clips=clips,
        names=tuple(names),
        action=action,
        box_size=visible_box_size(np.asarray(clips.keypoints), np.asarray(clips.confidence)),
        truth=GroundTruth(**truth),
        cameras=tuple(s.camera for s in seen),
        notes=(note,),
        synthetic=True,
    )
