"""A clip as `.npz` in AMASS convention for SMPL-H, as the Meshcapade add-on of Blender loads it.

What the add-on asks for (`meshcapade_addon/operators.py` in github.com/Meshcapade/SMPL_blender_addon): `trans`, `poses`,
`betas`, `gender` and one of `mocap_frame_rate`, `mocap_framerate`, `fps`. It turns the gender into text as it is, cuts the
rate to a whole number, refuses one below its target of 30, plays every floor(rate / target)-th frame, and takes 52
rotations of each row for SMPL-H. Its format "AMASS (Y-up)" is for files with z up, "Blender (Z-up)" for files with y up:
the words name the resting body, not the file.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from body_models import joints as jn
from experiments.export.animation import Animation
from experiments.simulation import amass

LEAST_FPS = 30
NUM_JOINTS, NUM_BETAS = 52, 16  # SMPL-H: 22 of the body, 15 of each hand


def default_fps(fps: float) -> float:
    """The least multiple of 30 that is not below `fps`, so that the add-on plays a clip as fast as it was."""
    return float(LEAST_FPS * max(1, math.ceil(fps / LEAST_FPS - 1e-6)))


def has_smpl_shape(clip: Animation) -> bool:
    """Whether the clip's shape coefficients are SMPL's."""
    return clip.body.num_vertices == jn.SMPL_NUM_VERTICES


def writable(clip: Animation, ground: bool) -> Animation:
    """The clip as this format can say it: what shapes another body means nothing to SMPL, so its mean person walks there."""
    if has_smpl_shape(clip):
        return clip
    mean = clip.shaped(np.zeros_like(clip.betas))
    return mean.grounded() if ground else mean


def write(clip: Animation, path: Path, up: str) -> None:
    """Writes one clip, `writable` by then. Hands are flat: the two hand joints of SMPL's 24 have no counterpart.

    Args:
      clip: the motion.
      path: of the file.
      up: axis of the world that points up, `z` as in AMASS, or `y`.
    """
    pose = clip.rotation_vectors[:, : amass.NUM_BODY_JOINTS].copy()
    pelvis = clip.joints[:, 0]
    if up == "z":
        turn = amass.Y_UP_FROM_Z_UP.inv()
        pose[:, 0] = (turn * Rotation.from_rotvec(pose[:, 0])).as_rotvec()
        pelvis = turn.apply(pelvis)
    poses = np.zeros((len(pose), NUM_JOINTS, 3))
    poses[:, : amass.NUM_BODY_JOINTS] = pose
    shape = np.zeros(NUM_BETAS)
    shape[: len(clip.betas)] = clip.betas[:NUM_BETAS]
    with path.open("wb") as file:
        np.savez_compressed(
            file,
            poses=poses.reshape(len(poses), -1),
            # The root turns about the resting pelvis, which stays y up in every convention.
            trans=pelvis - clip.rest_joints[0],
            betas=shape,
            gender=np.array("neutral"),
            mocap_framerate=np.array(clip.fps),
            mocap_frame_rate=np.array(clip.fps),
            up_axis=np.array(up),
            name=np.array(clip.name),
            action=np.array(clip.action),
        )
