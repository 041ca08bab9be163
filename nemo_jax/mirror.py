"""Left-right reflection: a left-hander's video, mirrored, is a right-hander's."""

import dataclasses
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np

from body_models import joints as jn
from nemo_jax.clips import Clips

Array = jax.Array

_SHIFT = jn.MIRROR_JOINTS - np.arange(jn.NUM_JOINTS)
_TO_LEFT, _TO_RIGHT = (np.equal(_SHIFT, step)[:, None, None] for step in (-1, 1))
SIGN = np.array([-1.0, 1.0, 1.0], np.float32)
"""Of points and translations, reflected in the plane x = 0."""
_AXIS_ANGLE_SIGN = np.array([1.0, -1.0, -1.0], np.float32)


def mirror_pose(pose: Array | np.ndarray) -> Array:
    """Reflects axis-angle poses (..., 24, 3) in the plane x = 0: sides swap, rotations about y and z turn round."""
    return cast(Array, pose[..., jn.MIRROR_JOINTS, :] * _AXIS_ANGLE_SIGN)


def mirror_motion(rotation: Array, translation: Array, mirrored: Array) -> tuple[Array, Array]:
    """Reflects ONE pose in the plane x = 0 where `mirrored` () is above one half.

    rotation (24, 3, 3), translation (3,); the reflected rotation is M R M with M = diag(-1, 1, 1).
    """
    flag = mirrored > 0.5
    # Left and right joints are neighbours in SMPL's order, so a shift swaps them; its transpose needs no scatter.
    twin = jnp.where(_TO_LEFT, jnp.roll(rotation, 1, -3), jnp.where(_TO_RIGHT, jnp.roll(rotation, -1, -3), rotation))
    reflected = twin * (SIGN[:, None] * SIGN)
    return jnp.where(flag, reflected, rotation), jnp.where(flag, SIGN * translation, translation)


def mirror_clips(clips: Clips, mirrored: Array) -> Clips:
    """Reflects the instances where `mirrored` (N,) is true: image columns, sides of the joints, initial poses."""
    flag = jnp.asarray(mirrored, bool)
    width = clips.image_size[:, None, None, 0]
    flipped = clips.keypoints[:, :, jn.MIRROR_BODY_25]
    flipped = jnp.stack([width - flipped[..., 0], flipped[..., 1]], -1)
    return dataclasses.replace(
        clips,
        keypoints=jnp.where(flag[:, None, None, None], flipped, clips.keypoints),
        confidence=jnp.where(flag[:, None, None], clips.confidence[:, :, jn.MIRROR_BODY_25], clips.confidence),
        init_pose=jnp.where(flag[:, None, None, None], mirror_pose(jnp.asarray(clips.init_pose)), clips.init_pose),
    )
