"""A clip as CSV: joint positions and angles, one line for each frame."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from body_models import joints as jn
from experiments.export.animation import Animation
from experiments.export.axes import turned
from experiments.simulation import amass

Array = np.ndarray
# Each hinge joint, with the joints above and below it.
HINGES = {
    "left_knee": ("left_hip", "left_ankle"),
    "right_knee": ("right_hip", "right_ankle"),
    "left_elbow": ("left_shoulder", "left_wrist"),
    "right_elbow": ("right_shoulder", "right_wrist"),
}


def columns() -> list[str]:
    """The header: quantity and unit of each column."""
    names = ["frame", "time_s", "phase"]
    names += [f"{joint}_{axis}_m" for joint in jn.SMPL_JOINTS for axis in "xyz"]
    names += [f"{joint}_r{axis}_deg" for joint in jn.SMPL_JOINTS for axis in "xyz"]
    return names + [f"{hinge}_flexion_deg" for hinge in HINGES]


def write(clip: Animation, path: Path, up: str) -> None:
    """Writes one clip.

    Positions are in a world with `up` y or z. Angles are rotation vectors: the root's in that world, those of other
    joints relative to their parents, in the axes of the unposed body. Flexion is the deviation of a hinge from a
    straight line.
    """
    vectors = clip.rotation_vectors.copy()
    if up == "z":
        vectors[:, 0] = (amass.Y_UP_FROM_Z_UP.inv() * Rotation.from_rotvec(vectors[:, 0])).as_rotvec()
    frames = len(vectors)
    rows = np.concatenate(
        [
            clip.times[:, None],
            clip.phases[:, None],
            turned(clip.joints, up).reshape(frames, -1),
            np.degrees(vectors).reshape(frames, -1),
            np.stack([flexion(clip.joints, hinge) for hinge in HINGES], -1),
        ],
        axis=1,
    )
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns())
        writer.writerows([number, *(f"{value:.6f}" for value in row)] for number, row in enumerate(rows))


def flexion(joints: Array, hinge: str) -> Array:
    """Degrees (T,) from 0, straight, to 180 between the bones at a hinge, of joints (T, 24, 3)."""
    above, below = HINGES[hinge]
    first = joints[:, jn.SMPL_JOINTS.index(hinge)] - joints[:, jn.SMPL_JOINTS.index(above)]
    second = joints[:, jn.SMPL_JOINTS.index(below)] - joints[:, jn.SMPL_JOINTS.index(hinge)]
    across = np.linalg.norm(np.cross(first, second), axis=-1)
    # The arc tangent is accurate for small angles too, unlike the arc cosine.
    return np.degrees(np.arctan2(across, (first * second).sum(-1)))
