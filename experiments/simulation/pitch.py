"""A right-handed baseball pitch, key-framed: body poses over the phase of the action, and the path of the root.

The thrower stands on flat ground, y = 0, and throws towards +z; +x is on the left of someone who faces the target.
Every key says in that world which way the trunk faces and where the limbs point, so that it can be read off a
photograph; `key_rotations` turns that into SMPL's 24 local rotations with the knees and elbows bending the way they
can. The order and the angles of the phases follow the usual description of pitching (Fleisig et al., Am. J. Sports Med.
1995; Werner et al., 1993): wind-up, stride, arm cocking, acceleration, release, follow-through. No measured motion is
in it.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools

import numpy as np
from scipy.interpolate import Akima1DInterpolator
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation

from body_models import joints as jn

Vector = tuple[float, float, float]


@dataclasses.dataclass(frozen=True)
class KeyFrame:
    """One key pose. Directions are in the world and need not be of unit length; angles are degrees.

    A trunk angle is (yaw, pitch, lean): yaw 0 faces the target, positive turns to the thrower's left; pitch bends
    forward; lean tilts towards the left. A limb is (upper segment, lower segment). A foot is (yaw, toes down).
    """

    phase: float
    pelvis: Vector
    chest: Vector
    head: Vector
    left_arm: tuple[Vector, Vector]
    right_arm: tuple[Vector, Vector]
    left_leg: tuple[Vector, Vector]
    right_leg: tuple[Vector, Vector]
    left_foot: tuple[float, float]
    right_foot: tuple[float, float]


KEYS = (
    KeyFrame(  # set: side-on, hands together at the chest, eyes on the target
        phase=0.0,
        pelvis=(-90, 4, 0), chest=(-90, 8, 0), head=(-30, 4, 0),
        left_arm=((-0.35, -1.0, 0.1), (-0.6, 0.5, -0.55)), right_arm=((-0.35, -1.0, -0.1), (-0.6, 0.5, 0.55)),
        left_leg=((-0.15, -1, 0.12), (0.12, -1, 0.05)), right_leg=((-0.15, -1, -0.12), (0.12, -1, -0.05)),
        left_foot=(-88, 0), right_foot=(-92, 0),
    ),
    KeyFrame(  # the weight shifts onto the right leg
        phase=0.1,
        pelvis=(-92, 3, 0), chest=(-92, 8, 0), head=(-30, 4, 0),
        left_arm=((-0.38, -1.0, 0.1), (-0.6, 0.55, -0.55)), right_arm=((-0.38, -1.0, -0.1), (-0.6, 0.55, 0.55)),
        left_leg=((-0.35, -1, 0.12), (0.25, -1, 0.08)), right_leg=((-0.15, -1, 0.0), (0.12, -1, -0.02)),
        left_foot=(-90, 15), right_foot=(-92, 0),
    ),
    KeyFrame(  # leg lift
        phase=0.25,
        pelvis=(-105, -5, -2), chest=(-106, 6, 0), head=(-30, 4, 0),
        left_arm=((-0.4, -0.9, 0.15), (-0.55, 0.6, -0.55)), right_arm=((-0.4, -0.9, -0.25), (-0.45, 0.6, 0.6)),
        left_leg=((-0.95, 0.12, 0.0), (0.12, -1, 0.1)), right_leg=((-0.12, -1, 0.05), (0.1, -1, 0.0)),
        left_foot=(-98, 25), right_foot=(-92, 0),
    ),
    KeyFrame(  # the knee comes down, the hands part, the body starts to fall towards the target
        phase=0.36,
        pelvis=(-98, 0, -4), chest=(-98, 6, -6), head=(-25, 2, 0),
        left_arm=((-0.35, -0.95, 0.35), (-0.6, -0.2, 0.45)), right_arm=((-0.2, -0.95, -0.35), (-0.6, -0.6, -0.35)),
        left_leg=((-0.6, -0.7, 0.4), (0.2, -1, 0.3)), right_leg=((-0.25, -1, -0.1), (0.28, -1, -0.2)),
        left_foot=(-85, 20), right_foot=(-92, 0),
    ),
    KeyFrame(  # stride
        phase=0.46,
        pelvis=(-82, 3, -6), chest=(-88, 5, -10), head=(-12, 0, 0),
        left_arm=((-0.25, -0.25, 0.9), (-0.45, -0.1, 0.8)), right_arm=((-0.15, -0.45, -0.85), (-0.3, -0.9, -0.35)),
        left_leg=((-0.35, -0.6, 0.85), (0.0, -0.7, 0.75)), right_leg=((-0.25, -0.85, -0.45), (0.15, -0.7, -0.75)),
        left_foot=(-45, -5), right_foot=(-90, 12),
    ),
    KeyFrame(  # foot plant: hips opening, shoulders still closed, throwing forearm up
        phase=0.55,
        pelvis=(-45, 5, 0), chest=(-72, 2, -4), head=(-5, 2, 0),
        left_arm=((-0.1, 0.05, 1.0), (-0.4, 0.1, 0.85)), right_arm=((-0.35, 0.05, -0.95), (0.15, 1.0, -0.15)),
        left_leg=((-0.1, -0.42, 0.92), (-0.03, -0.8, 0.56)), right_leg=((-0.08, -0.62, -0.8), (0.1, -0.42, -0.92)),
        left_foot=(-10, 0), right_foot=(-65, 40),
    ),
    KeyFrame(  # arm cocked: chest open, the forearm lies back
        phase=0.61,
        pelvis=(-8, 8, 4), chest=(-22, -6, 8), head=(0, 5, 5),
        left_arm=((0.65, -0.45, 0.6), (-0.5, 0.5, 0.7)), right_arm=((-0.95, 0.2, -0.12), (-0.15, 0.45, -0.85)),
        left_leg=((-0.05, -0.55, 0.84), (0.0, -0.96, 0.3)), right_leg=((-0.08, -0.68, -0.73), (0.06, -0.58, -0.82)),
        left_foot=(-6, 0), right_foot=(-35, 55),
    ),
    KeyFrame(  # acceleration
        phase=0.635,
        pelvis=(2, 16, 6), chest=(-2, 14, 16), head=(0, 10, 8),
        left_arm=((0.7, -0.65, 0.25), (-0.4, 0.45, 0.75)), right_arm=((-0.92, 0.35, 0.12), (-0.25, 0.95, -0.05)),
        left_leg=((-0.03, -0.64, 0.77), (0.0, -1.0, 0.18)), right_leg=((-0.08, -0.74, -0.66), (0.06, -0.57, -0.84)),
        left_foot=(-5, 0), right_foot=(-28, 60),
    ),
    KeyFrame(  # release
        phase=0.66,
        pelvis=(10, 25, 8), chest=(14, 34, 20), head=(2, 18, 10),
        left_arm=((0.75, -0.7, -0.05), (-0.3, 0.35, 0.8)), right_arm=((-0.8, 0.4, 0.35), (-0.4, 0.7, 0.6)),
        left_leg=((-0.02, -0.72, 0.68), (0.0, -1.0, 0.08)), right_leg=((-0.08, -0.8, -0.58), (0.05, -0.52, -0.88)),
        left_foot=(-5, 0), right_foot=(-25, 65),
    ),
    KeyFrame(  # the arm comes down across the body
        phase=0.70,
        pelvis=(22, 36, 8), chest=(32, 54, 14), head=(6, 28, 8),
        left_arm=((0.75, -0.6, -0.3), (-0.1, -0.1, 0.8)), right_arm=((-0.3, -0.3, 0.9), (0.3, -0.5, 0.75)),
        left_leg=((-0.02, -0.84, 0.52), (0.0, -1.0, -0.06)), right_leg=((-0.12, -0.8, -0.6), (0.0, -0.2, -0.98)),
        left_foot=(-5, 0), right_foot=(-22, 75),
    ),
    KeyFrame(  # follow-through: flat back, the hand outside the left knee, the right leg kicks up
        phase=0.77,
        pelvis=(34, 48, 4), chest=(48, 68, 4), head=(15, 38, 0),
        left_arm=((0.7, -0.3, -0.5), (0.2, -0.7, 0.4)), right_arm=((0.3, -0.8, 0.5), (0.7, -0.6, 0.1)),
        left_leg=((-0.02, -0.94, 0.32), (0.0, -1.0, -0.1)), right_leg=((-0.25, -0.7, -0.6), (-0.1, 0.15, -0.95)),
        left_foot=(-5, 0), right_foot=(-20, 85),
    ),
    KeyFrame(  # the right leg comes round, the trunk rises
        phase=0.87,
        pelvis=(26, 30, 0), chest=(32, 44, 0), head=(10, 22, 0),
        left_arm=((0.6, -0.75, -0.15), (0.2, -0.5, 0.75)), right_arm=((-0.05, -0.95, 0.35), (0.45, -0.7, 0.45)),
        left_leg=((0.0, -0.92, 0.34), (0.02, -1.0, -0.2)), right_leg=((-0.42, -0.88, 0.12), (-0.15, -0.75, -0.6)),
        left_foot=(-4, 0), right_foot=(0, 35),
    ),
    KeyFrame(  # ready to field: squared to the target
        phase=0.95,
        pelvis=(8, 16, 0), chest=(10, 28, 0), head=(2, 10, 0),
        left_arm=((0.32, -0.92, 0.1), (-0.05, -0.2, 0.9)), right_arm=((-0.28, -0.92, 0.12), (0.1, -0.35, 0.85)),
        left_leg=((0.12, -1.0, 0.42), (0.06, -1.0, -0.3)), right_leg=((-0.36, -1.0, 0.4), (-0.12, -1.0, -0.34)),
        left_foot=(0, 0), right_foot=(-12, 0),
    ),
    KeyFrame(
        phase=1.0,
        pelvis=(6, 14, 0), chest=(6, 24, 0), head=(0, 8, 0),
        left_arm=((0.32, -0.92, 0.1), (-0.1, -0.15, 0.9)), right_arm=((-0.3, -0.92, 0.1), (0.1, -0.3, 0.9)),
        left_leg=((0.12, -1.0, 0.4), (0.06, -1.0, -0.28)), right_leg=((-0.36, -1.0, 0.38), (-0.12, -1.0, -0.32)),
        left_foot=(0, 0), right_foot=(-12, 0),
    ),
)  # fmt: skip

# The body stands on the right foot until the left one is planted, between these phases.
PLANT = (0.52, 0.57)
_SMOOTHING = 0.006  # sd in phase of the filter that rounds the corners of the interpolation
_DENSE = 801  # phases at which the keys are interpolated


def _trunk(angles: Vector) -> Rotation:
    yaw, pitch, lean = angles
    # A lean to the left is a negative turn about z: y moves towards +x.
    return Rotation.from_euler("YXZ", [yaw, pitch, -lean], degrees=True)


def _limb(upper: Vector, lower: Vector, rest: np.ndarray, hinge: np.ndarray) -> tuple[Rotation, Rotation]:
    """World rotations of both segments of a limb that lies along `rest` in the T-pose and bends about `hinge`."""
    u, v = np.asarray(upper, float), np.asarray(lower, float)
    u, v = u / np.linalg.norm(u), v / np.linalg.norm(v)
    axis = np.cross(u, v)
    bend = np.arctan2(np.linalg.norm(axis), u @ v)
    axis /= np.linalg.norm(axis)
    posed = np.stack([u, axis, np.cross(u, axis)], 1)
    first = Rotation.from_matrix(posed @ np.stack([rest, hinge, np.cross(rest, hinge)], 1).T)
    return first, first * Rotation.from_rotvec(bend * hinge)


def key_rotations(key: KeyFrame) -> Rotation:
    """SMPL's 24 local rotations of one key pose, the root against the world."""
    x, y = np.eye(3)[:2]
    pelvis, chest, head = _trunk(key.pelvis), _trunk(key.chest), _trunk(key.head)
    local = [Rotation.identity()] * jn.NUM_JOINTS
    index = {name: i for i, name in enumerate(jn.SMPL_JOINTS)}

    def place(name: str, rotation: Rotation) -> None:
        local[index[name]] = rotation

    place("pelvis", pelvis)
    for name in ("spine1", "spine2", "spine3"):
        place(name, _fraction(pelvis.inv() * chest, 1 / 3))
    for name in ("neck", "head"):
        place(name, _fraction(chest.inv() * head, 1 / 2))
    for side, sign in (("left", 1.0), ("right", -1.0)):
        upper, lower = _limb(*getattr(key, f"{side}_arm"), rest=sign * x, hinge=-sign * y)
        place(f"{side}_shoulder", chest.inv() * upper)
        place(f"{side}_elbow", upper.inv() * lower)
        thigh, shank = _limb(*getattr(key, f"{side}_leg"), rest=-y, hinge=x)
        yaw, toes_down = getattr(key, f"{side}_foot")
        foot = Rotation.from_euler("YX", [yaw, toes_down], degrees=True)
        place(f"{side}_hip", pelvis.inv() * thigh)
        place(f"{side}_knee", thigh.inv() * shank)
        place(f"{side}_ankle", shank.inv() * foot)
        # Standing on the toes, they stay flat.
        place(f"{side}_foot", Rotation.from_euler("X", -0.5 * min(max(toes_down, 0.0), 50.0), degrees=True))
    return Rotation.concatenate(local)


def _fraction(rotation: Rotation, fraction: float) -> Rotation:
    return Rotation.from_rotvec(fraction * rotation.as_rotvec())


@functools.cache
def _dense_quaternions() -> np.ndarray:
    """Quaternions (D, 24, 4) of the interpolated keys at D phases from 0 to 1."""
    quaternions = np.stack([key_rotations(key).as_quat() for key in KEYS])
    for before, after in itertools.pairwise(quaternions):
        after[np.sum(before * after, -1) < 0] *= -1  # the shorter way round
    phases = np.linspace(0, 1, _DENSE)
    curves = Akima1DInterpolator([key.phase for key in KEYS], quaternions)(phases)
    curves = gaussian_filter1d(curves, _SMOOTHING * (_DENSE - 1), axis=0, mode="nearest")
    return curves / np.linalg.norm(curves, axis=-1, keepdims=True)


def sample(phases: np.ndarray) -> Rotation:
    """The pitch at `phases` (F,) in [0, 1]: F x 24 local rotations, flattened frame by frame."""
    dense = _dense_quaternions()
    position = np.clip(phases, 0, 1) * (_DENSE - 1)
    low = np.minimum(position.astype(int), _DENSE - 2)
    part = (position - low)[:, None, None]
    mixed = dense[low] * (1 - part) + dense[low + 1] * part
    return Rotation.from_quat(mixed.reshape(-1, 4))


# Points that touch the ground, in BODY_25: toes and heels.
_LEFT_SOLE, _RIGHT_SOLE = (19, 20, 21), (22, 23, 24)
_LEFT_TOE, _RIGHT_TOE = 19, 22


def ground_translation(phases: np.ndarray, keypoints: np.ndarray) -> np.ndarray:
    """Root translations (F, 3), metres, that keep the standing foot in its place and the lowest sole on y = 0.

    Args:
      phases: (F,).
      keypoints: (F, 25, 3), BODY_25 joints of the posed body with zero translation, metres.
    """
    left, right = keypoints[:, _LEFT_TOE], keypoints[:, _RIGHT_TOE]
    share = np.clip((phases - PLANT[0]) / (PLANT[1] - PLANT[0]), 0, 1)
    share = (share**2 * (3 - 2 * share))[:, None]
    steps = -((1 - share[1:]) * np.diff(right, axis=0) + share[1:] * np.diff(left, axis=0))
    path = np.concatenate([np.zeros((1, 3)), np.cumsum(steps, 0)])
    # Sharp enough to be within millimetres of the minimum, smooth where the lowest sole changes.
    height, scale = keypoints[:, _LEFT_SOLE + _RIGHT_SOLE, 1], 0.01
    lowest = height.min(1)
    path[:, 1] = -(lowest - scale * np.log(np.exp(-(height - lowest[:, None]) / scale).sum(1)))
    path[:, [0, 2]] -= path[0, [0, 2]] + keypoints[0, 8, [0, 2]]
    return path
