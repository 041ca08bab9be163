"""A clip as `.npz` in AMASS convention for SMPL-H, as the Meshcapade add-on of Blender loads it.

The add-on (`meshcapade_addon/operators.py` in github.com/Meshcapade/SMPL_blender_addon) reads `trans`, `poses`,
`betas`, `gender` and one of `mocap_frame_rate`, `mocap_framerate`, `fps`. It converts the gender to text, truncates the
rate to a whole number, rejects a rate below its target of 30, plays every floor(rate / target)-th frame, and reads 52
rotations of each row for SMPL-H. Its format "AMASS (Y-up)" is for files with z up, "Blender (Z-up)" for files with y
up: these names describe the rest pose of the body, not the file.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from body_models import joints as jn
from experiments.export import foot_locks
from experiments.export.animation import Animation
from experiments.simulation import amass

LEAST_FPS = 30
NUM_JOINTS, NUM_BETAS = 52, 16  # SMPL-H: 22 of the body, 15 of each hand


def default_fps(fps: float) -> float:
    """The smallest multiple of 30 that is at least `fps`, so that the add-on plays a clip at its original speed."""
    return float(LEAST_FPS * max(1, math.ceil(fps / LEAST_FPS - 1e-6)))


def has_smpl_shape(clip: Animation) -> bool:
    """Whether the clip's shape coefficients are SMPL's."""
    return clip.body.num_vertices == jn.SMPL_NUM_VERTICES


def writable(clip: Animation, ground: bool) -> Animation:
    """The clip in a form that this format can represent: shape coefficients of other body models have no meaning for
    SMPL, so they are replaced by SMPL's mean shape."""
    if has_smpl_shape(clip):
        return clip
    mean = clip.shaped(np.zeros_like(clip.betas))
    if clip.contact is None:
        return mean.grounded() if ground else mean
    # Legs of another length: it stands as high above the fit's floor as the person does, and its feet stay still.
    low = clip.standing.any(-1)
    apart = (clip.lowest - mean.lowest)[low] if low.any() else clip.lowest - mean.lowest
    mean = mean.moved(np.array([0.0, float(np.median(apart)), 0.0]))
    return foot_locks.locked(mean) if clip.locked else mean


def write(clip: Animation, path: Path, up: str) -> None:
    """Writes one clip returned by `writable`. Hands are flat: the two hand joints of SMPL have no counterpart in
    SMPL-H.

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
            # The root rotates about the pelvis of the rest pose, which has y up in every convention.
            trans=pelvis - clip.rest_joints[0],
            betas=shape,
            gender=np.array("neutral"),
            mocap_framerate=np.array(clip.fps),
            mocap_frame_rate=np.array(clip.fps),
            up_axis=np.array(up),
            name=np.array(clip.name),
            action=np.array(clip.action),
        )
