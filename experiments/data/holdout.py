"""Held-out keypoints: some visible joints are hidden from the fit, to score it on what it has not seen."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np

from body_models import joints as jn
from nemo_jax.clips import Clips

# Keypoints that datasets may derive from a pair of others: hiding one of the pair must hide these too.
DERIVED = {1: (2, 5), 8: (9, 12)}


def hold_out(
    clips: Clips, fraction: float, seed: int, joints: Iterable[int] = range(jn.NUM_KEYPOINTS)
) -> tuple[Clips, np.ndarray]:
    """Hides a random `fraction` of the visible keypoints among `joints`.

    Returns:
      clips whose confidence is 0 where a joint is hidden, and the mask (N, T, K), true there. The neck and the middle
      of the hips are hidden from the fit as well where a joint that they lie between is, but not in the mask: they are
      not scored for it.

    Raises:
      ValueError: the fraction is not in [0, 1).
    """
    if not 0 <= fraction < 1:
        raise ValueError(f"the held-out fraction is {fraction}; expected a number from 0 up to, but not including, 1")
    confidence = np.asarray(clips.confidence)
    chosen = np.isin(np.arange(confidence.shape[-1]), list(joints))
    visible = (confidence > 0) & chosen & (np.asarray(clips.frame_mask) > 0)[..., None]
    where = np.flatnonzero(visible)
    hidden = np.zeros(confidence.size, bool)
    picked = np.random.default_rng(seed).choice(where, round(fraction * len(where)), replace=False)
    hidden[picked] = True
    hidden = hidden.reshape(confidence.shape)
    blind = hidden.copy()
    for joint, pair in DERIVED.items():
        blind[..., joint] |= hidden[..., pair].any(-1)
    kept = np.where(blind, 0.0, confidence).astype(np.float32)
    # The pixels go as well: nothing downstream can look at them by mistake.
    keypoints = np.where(blind[..., None], 0.0, np.asarray(clips.keypoints)).astype(np.float32)
    fields: dict[str, Any] = {"confidence": kept, "keypoints": keypoints}
    return dataclasses.replace(clips, **fields), hidden
