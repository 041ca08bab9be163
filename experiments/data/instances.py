"""One video's worth of arrays, unpadded, and how several of them become `Clips`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from body_models import joints as jn
from nemo_jax.clips import Clips

Array = np.ndarray


@dataclasses.dataclass(frozen=True)
class Instance:
    """One video of an action: the fields of `Clips` without the leading N, F frames long.

    keypoints (F, K, 2) pixels; confidence (F, K); init_pose (F, 24, 3) axis-angle and init_mask (F,), or None where
    there is no initial estimate; image_size (width, height) pixels; focal_length pixels, NaN = unknown; fps frames per
    second.
    """

    keypoints: Array
    confidence: Array
    image_size: tuple[float, float]
    init_pose: Array | None = None
    init_mask: Array | None = None
    focal_length: float = float("nan")
    fps: float = 30.0

    @property
    def num_frames(self) -> int:
        return len(self.keypoints)


def pad(arrays: Sequence[Array], length: int | None = None) -> Array:
    """Stacks arrays (F_n, ...) of different lengths into float32 (N, T, ...), zeros behind; T is the longest or
    `length`.
    """
    longest = max(len(array) for array in arrays) if length is None else length
    out = np.zeros((len(arrays), longest, *arrays[0].shape[1:]), np.float32)
    for row, array in zip(out, arrays, strict=True):
        row[: len(array)] = array
    return out


def stack(instances: Sequence[Instance]) -> Clips:
    """Pads the instances to the longest and stacks them into `Clips` of NumPy float32 arrays."""

    def pose(instance: Instance) -> Array:
        none = np.zeros((instance.num_frames, jn.NUM_JOINTS, 3))
        return none if instance.init_pose is None else instance.init_pose

    def pose_mask(instance: Instance) -> Array:
        if instance.init_pose is None:
            return np.zeros(instance.num_frames)
        return np.ones(instance.num_frames) if instance.init_mask is None else instance.init_mask

    # NumPy stands in for JAX arrays until a fit takes the clips.
    fields: dict[str, Any] = {
        "keypoints": pad([i.keypoints for i in instances]),
        "confidence": pad([i.confidence for i in instances]),
        "frame_mask": pad([np.ones(i.num_frames) for i in instances]),
        "init_pose": pad([pose(i) for i in instances]),
        "init_mask": pad([pose_mask(i) for i in instances]),
        "image_size": np.array([i.image_size for i in instances], np.float32),
        "focal_length": np.array([i.focal_length for i in instances], np.float32),
        "fps": np.array([i.fps for i in instances], np.float32),
    }
    return Clips(**fields)
