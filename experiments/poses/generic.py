"""The file that anyone can write poses of any method into: an npz (or a pickled dict) of one person.

F rows; 24 joints in SMPL's order, 22 (SMPL's without the hands), 52 (SMPL-H) or 55 (SMPL-X), of which all but the 24 are
read up to the 22nd. Angles in radians. The root is in the camera's axes: x right, y down, z forward, so that a person who
stands upright facing the camera has a root rotation of half a turn about x.

| key | shape | meaning |
| --- | --- | --- |
| `poses` or `pose` | (F, J * 3), (F, J, 3) or (F, J, 3, 3) | the rotations, root first: axis-angle or matrices |
| `global_orient` and `body_pose` | (F, 3) and (F, 69 or 63), or matrices | instead of `poses`: the root and the others |
| `mask` | (F,), optional | 1 where the row is an estimate, 0 where it is none; rows that are not finite are none |
| `frame_ids` | (F,), optional | frame of each row, from 0; without it F is the clip's length and row f is frame f |
| `betas` | (F, 10) or (10,), optional | shape |
| `joints_2d` | (F, 25, 2 or 3), optional | BODY_25 in pixels of the image, NaN (or a third number of 0) = unknown |
| `bbox` | (F, 4), optional | box of the person: x1, y1, x2, y2 in pixels |
| `method` | text, optional | who made it |

`joints_2d` or `bbox` are what shows that the file is of this clip and this person; without them it is believed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from body_models import joints as jn
from experiments.poses.pose_arrays import as_array, axis_angle, described, joined
from experiments.poses.track import PoseTrack

POSE_KEYS = ("poses", "pose")
# Keys of motion capture files, whose root orientation is in world axes.
_MOCAP_KEYS = ("mocap_framerate", "mocap_frame_rate")


# Shape coefficients; SMPL-X has 400.
_MOST_BETAS = 400


def recognises(contents: Mapping[Any, Any]) -> bool:
    """Whether a dictionary has the keys of this format."""
    return any(key in contents for key in POSE_KEYS) or {"global_orient", "body_pose"} <= set(contents)


def track(contents: Mapping[str, Any]) -> PoseTrack:
    """The person in the file.

    Raises:
      ValueError: a shape is none of those in the table above, or the file contains motion capture.
    """
    for key in _MOCAP_KEYS:
        if key in contents:
            raise ValueError(
                f"it has {key}, so it is motion capture with its root in the world; an initial estimate has it in the "
                "camera's axes (to make observations of motion capture: run.py simulate)"
            )
    key = next((key for key in POSE_KEYS if key in contents), None)
    if key is None:
        pose = joined(contents["global_orient"], contents["body_pose"], ("global_orient", "body_pose"))
    else:
        pose = axis_angle(contents[key], key)
    count = len(pose)
    frames = np.arange(count) if contents.get("frame_ids") is None else as_array(contents["frame_ids"], "frame_ids")
    if contents.get("mask") is not None:
        mask = as_array(contents["mask"], "mask")
        if mask.shape != (count,):
            raise ValueError(f"its mask has shape {mask.shape} for {count} poses; expected ({count},)")
        pose = np.where((mask > 0.5)[:, None, None], pose, np.nan)
    betas = contents.get("betas")
    if betas is not None:
        betas = as_array(betas, "betas")
        if betas.ndim == 1 and betas.size <= _MOST_BETAS:
            betas = np.tile(betas, (count, 1))
    return PoseTrack(
        "the person",
        frames,
        pose,
        _method(contents.get("method", "init")),
        joints_2d=_joints(contents.get("joints_2d")),
        boxes=contents.get("bbox"),
        betas=betas,
        num_frames=count if contents.get("frame_ids") is None else None,
    )


def _method(method: Any) -> str:
    if isinstance(method, np.ndarray) and method.dtype.kind == "U" and method.size == 1:
        method = method.item()
    if not isinstance(method, str):
        raise ValueError(f"its method is {described(method)}, expected text")
    return method[:40]


def _joints(joints: Any) -> np.ndarray | None:
    if joints is None:
        return None
    joints = as_array(joints, "joints_2d")
    if joints.ndim != 3 or joints.shape[1] != jn.NUM_KEYPOINTS or joints.shape[2] not in (2, 3):
        raise ValueError(f"its joints_2d has shape {joints.shape}; expected (frames, {jn.NUM_KEYPOINTS}, 2 or 3)")
    if joints.shape[2] == 2:
        return joints
    return np.where(joints[..., 2:] > 0, joints[..., :2], np.nan)
