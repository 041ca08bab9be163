"""A clip as GLB that is prepared for conversion to FBX, for use in Mixamo, Unreal or Unity.

FBX is a closed binary format that Blender can write. This module prepares what those tools need: Mixamo's bone names, a
fixed root bone on the ground, and the T-pose as frame 0, with the motion from frame 1 on.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from body_models import joints as jn
from experiments.export import glb
from experiments.export import rig as rig_lib
from experiments.export.animation import Animation
from experiments.export.rig import Rig

ROOT = "root"
_PREFIX = "mixamorig:"
_CENTRE = {
    "pelvis": "Hips",
    "spine1": "Spine",
    "spine2": "Spine1",
    "spine3": "Spine2",
    "neck": "Neck",
    "head": "Head",
}
# Mixamo's shoulder is SMPL's collar, and its arm begins at SMPL's shoulder; SMPL's hand joint is at the base of the
# fingers.
_SIDE = {
    "hip": "UpLeg",
    "knee": "Leg",
    "ankle": "Foot",
    "foot": "ToeBase",
    "collar": "Shoulder",
    "shoulder": "Arm",
    "elbow": "ForeArm",
    "wrist": "Hand",
    "hand": "HandMiddle1",
}


def write(clip: Animation, path: Path) -> None:
    """Writes one clip."""
    path.write_bytes(glb.encode(prepared(rig_lib.of_clip(clip), clip.fps), clip))


def prepared(rig: Rig, fps: float) -> Rig:
    """The rig with Mixamo's names, below a root bone at the origin, with one frame of T-pose before its motion."""
    joints = len(rig.names)
    still = np.tile(np.eye(3), (1, joints, 1, 1))
    rotations = np.concatenate([still, rig.rotations])
    root = np.tile(np.eye(3), (len(rotations), 1, 1, 1))
    return dataclasses.replace(
        rig,
        names=(ROOT, *map(bone_name, rig.names)),
        parents=np.concatenate([[-1], rig.parents + 1]),
        rest_joints=np.concatenate([np.zeros((1, 3)), rig.rest_joints]),
        influences=np.where(rig.weights > 0, rig.influences + 1, 0),
        times=np.concatenate([[0], rig.times + 1 / fps]),
        rotations=np.concatenate([root, rotations], axis=1),
        moving=rig.moving + 1,
        places=np.concatenate([rig.rest_joints[:1], rig.places]),
    )


def bone_name(joint: str) -> str:
    """Mixamo's name of one of SMPL's joints, such as mixamorig:LeftForeArm for left_elbow."""
    if joint in _CENTRE:
        return _PREFIX + _CENTRE[joint]
    side, part = joint.split("_")
    return _PREFIX + side.capitalize() + _SIDE[part]


BONE_NAMES = tuple(map(bone_name, jn.SMPL_JOINTS))
