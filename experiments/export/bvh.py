"""A clip as BVH: the skeleton of the instance's own rest pose, centimetres, Euler angles in degrees.

The format is Biovision's, as described in the appendix of Meredith and Maddock, Motion Capture File Formats Explained
(2001). A joint's rotation is the product of its channels in the order of the file, Rz Rx Ry.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from body_models import joints as jn
from experiments.export.animation import Animation
from experiments.simulation import amass

Array = np.ndarray
CM = 100
_ROTATION = "Zrotation Xrotation Yrotation"
_ROOT = f"CHANNELS 6 Xposition Yposition Zposition {_ROTATION}"


def write(clip: Animation, path: Path, up: str) -> None:
    """Writes one clip; with `up` z the whole skeleton, including its rest pose, is rotated so that z is up."""
    rotations, rest, root, ends = clip.rotations.astype(float), clip.rest_joints, clip.joints[:, 0], _ends(clip)
    if up == "z":
        turn = amass.Y_UP_FROM_Z_UP.as_matrix().T
        rotations = turn @ rotations @ turn.T
        rest, root, ends = rest @ turn.T, root @ turn.T, {joint: end @ turn.T for joint, end in ends.items()}
    angles = np.degrees(euler_zxy(rotations))
    order: list[int] = []
    lines = ["HIERARCHY", *_joint(0, rest, ends, "", order), "MOTION"]
    lines += [f"Frames: {len(angles)}", f"Frame Time: {1 / clip.fps:.9f}"]
    # Channels are written in the order of the joints in the hierarchy.
    rows = np.concatenate([CM * root, angles[:, order].reshape(len(angles), -1)], axis=1)
    lines += [" ".join(f"{value:.6f}" for value in row) for row in rows]
    path.write_text("\n".join(lines) + "\n")


def euler_zxy(rotations: Array) -> Array:
    """Angles (T, J, 3) about z, x, y, radians, with R = Rz Rx Ry, of rotations (T, J, 3, 3).

    Two triples of angles (and these plus full turns) give the same rotation; each frame uses the triple nearest to that
    of the previous frame, so that knees and hips can bend past 90 degrees about x without a jump.
    """
    y = np.arctan2(-rotations[..., 2, 0], rotations[..., 2, 2])
    # After removing the rotation about y, z and x are accurate even near x = 90 degrees, where only y is ill-defined.
    zero, one = np.zeros_like(y), np.ones_like(y)
    cos, sin = np.cos(y), np.sin(y)
    back = np.stack([cos, zero, -sin, zero, one, zero, sin, zero, cos], -1).reshape(*y.shape, 3, 3)
    rest = rotations @ back
    angles = np.stack(
        [np.arctan2(rest[..., 1, 0], rest[..., 0, 0]), np.arctan2(rest[..., 2, 1], rest[..., 2, 2]), y], -1
    )
    last = np.zeros_like(angles[0])
    for frame, first in enumerate(angles):
        second = np.stack([first[:, 0] + np.pi, np.pi - first[:, 1], first[:, 2] + np.pi], -1)
        both = np.stack([first, second])
        both -= 2 * np.pi * np.round((both - last) / (2 * np.pi))
        nearer = np.abs(both - last).sum(-1).argmin(0)
        last = angles[frame] = np.take_along_axis(both, nearer[None, :, None], 0)[0]
    return angles


def _joint(joint: int, rest: Array, ends: dict[int, Array], indent: str, order: list[int]) -> list[str]:
    """Lines of a joint and of all joints below it; joints are appended to `order` as they are written."""
    order.append(joint)
    root = joint == 0
    # Readers disagree on whether a root's offset is added to its positions, so it is 0.
    offset = np.zeros(3) if root else rest[joint] - rest[jn.PARENTS[joint]]
    inner = indent + "  "
    lines = [f"{indent}{'ROOT' if root else 'JOINT'} {jn.SMPL_JOINTS[joint]}", f"{indent}{{", inner + _offset(offset)]
    lines.append(inner + (_ROOT if root else f"CHANNELS 3 {_ROTATION}"))
    for child in np.flatnonzero(joint == jn.PARENTS):
        lines += _joint(int(child), rest, ends, inner, order)
    if joint in ends:
        lines += [f"{inner}End Site", f"{inner}{{", f"{inner}  {_offset(ends[joint])}", f"{inner}}}"]
    return [*lines, f"{indent}}}"]


def _offset(offset: Array) -> str:
    return "OFFSET " + " ".join(f"{CM * value:.6f}" for value in offset)


def _ends(clip: Animation) -> dict[int, Array]:
    """End points (3,), metres, relative to the joint, of joints without a child: toes, middle fingers, top of head."""
    points, rest, ends = clip.rest_landmarks, clip.rest_joints, {}
    for joint, landmark in _TIPS.items():
        index = jn.SMPL_JOINTS.index(joint)
        ends[index] = points[jn.LANDMARKS.index(landmark)] - rest[index]
    head = jn.SMPL_JOINTS.index("head")
    ends[head] = np.array([0, clip.rest_vertices[:, 1].max() - rest[head, 1], 0])
    return ends


_TIPS = {
    "left_foot": "left_big_toe",
    "right_foot": "right_big_toe",
    "left_hand": "left_middle",
    "right_hand": "right_middle",
}
