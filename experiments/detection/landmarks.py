"""MediaPipe's 33 pose landmarks -> initial SMPL poses, by inverse kinematics on the project's own body.

The names are those of MediaPipe Pose (Bazarevsky et al., BlazePose, 2020). Its hips, shoulders, knees and elbows are joint
centres as SMPL's are. On the open body, drawn in 30 known motions and found by MediaPipe 0.10.14, its hips and shoulders
lay within 2 cm of SMPL's joints; allowing for that changed the mean joint error by less than 1%, so they are taken for
them. What limits the poses is the landmarks' depth: 12 body joints were off by 103 mm on average with the hips on each
other, and the poses found from them by 101 mm (72 mm after a similarity alignment of each frame).
"""

from __future__ import annotations

import jax
import numpy as np

from body_models import joints as jn
from body_models import smpl
from experiments.base.frame_rates import ASSUMED_FPS
from nemo_jax import ik, rotations
from nemo_jax.priors import published_limits

Array = np.ndarray

LANDMARKS: tuple[str, ...] = (
    "nose",
    "left_eye_inner", "left_eye", "left_eye_outer", "right_eye_inner", "right_eye", "right_eye_outer",
    "left_ear", "right_ear", "mouth_left", "mouth_right",
    "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist",
    "left_pinky", "right_pinky", "left_index", "right_index", "left_thumb", "right_thumb",
    "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle",
    "left_heel", "right_heel", "left_foot_index", "right_foot_index",
)  # fmt: skip

# The points of the body that are followed and the landmarks whose mean stands for each. The first knuckles of index and
# little finger have SMPL's hand joint between them; eyes, mouth and thumb are left out.
_LEFT_POINTS = {
    "left_ear": ("left_ear",),
    "left_shoulder": ("left_shoulder",),
    "left_elbow": ("left_elbow",),
    "left_wrist": ("left_wrist",),
    "left_hand": ("left_pinky", "left_index"),
    "left_hip": ("left_hip",),
    "left_knee": ("left_knee",),
    "left_ankle": ("left_ankle",),
    "left_heel": ("left_heel",),
    "left_big_toe": ("left_foot_index",),
}

# Directions that are followed, and how much each counts. The trunk's six and the face's are redundant, so each counts less.
_LEFT_BONES = (
    ("left_hip", "left_shoulder", 0.5),
    ("left_hip", "right_shoulder", 0.5),
    ("left_hip", "left_knee", 1.0),
    ("left_knee", "left_ankle", 1.0),
    ("left_heel", "left_big_toe", 1.0),
    ("left_ankle", "left_big_toe", 0.5),
    ("left_shoulder", "left_elbow", 1.0),
    ("left_elbow", "left_wrist", 1.0),
    ("left_wrist", "left_hand", 0.3),
    ("left_shoulder", "left_ear", 0.5),
    ("left_shoulder", "nose", 0.3),
    ("left_ear", "nose", 0.5),
)
_CENTRE_BONES = (
    ("left_hip", "right_hip", 1.0),
    ("left_shoulder", "right_shoulder", 1.0),
    ("left_ear", "right_ear", 1.0),
)


def _other_side(name: str) -> str:
    twin = {"left": "right", "right": "left"}
    return "_".join(twin.get(word, word) for word in name.split("_"))


POINTS: dict[str, tuple[str, ...]] = {"nose": ("nose",)}
for _name, _sources in _LEFT_POINTS.items():
    POINTS[_name] = _sources
    POINTS[_other_side(_name)] = tuple(_other_side(source) for source in _sources)
BONES: tuple[tuple[str, str, float], ...] = (
    *_CENTRE_BONES,
    *_LEFT_BONES,
    *((_other_side(start), _other_side(end), weight) for start, end, weight in _LEFT_BONES),
)

# Depth is off by three times as much as the picture's own two axes, for frames on end.
SETTINGS = ik.IKSettings(depth_noise=0.08, acceleration_sd=20.0)

# Frames solved together, so that clips of every length share one compiled program; of neighbouring windows, the overlap
# is halved between them.
_WINDOW, _OVERLAP = 128, 32
# A person is seen where so many landmarks are at least so visible.
_SEEN_LANDMARKS, _SEEN_VISIBILITY = 6, 0.5


def initial_pose(body: smpl.SMPL, world: Array, visibility: Array, fps: float = ASSUMED_FPS) -> tuple[Array, Array]:
    """SMPL poses of ONE video's person.

    Args:
      body: the body model.
      world: (F, 33, 3), world landmarks in metres: x right, y down, z away from the camera, origin between the hips. NaN
        where nobody was found.
      visibility: (F, 33) in [0, 1].
      fps: frames per second.

    Returns:
      pose (F, 24, 3) float32, axis-angle in SMPL's order, the root seen from the camera; and mask (F,) float32, 1 where
      somebody was seen. Poses of masked frames are finite: they continue those of the frames around them.

    Raises:
      ValueError: arrays of other shapes, or a frame rate that is not positive.
    """
    world, visibility = np.asarray(world, np.float32), np.asarray(visibility, np.float32)
    shape = (len(world), len(LANDMARKS))
    if world.shape != (*shape, 3) or visibility.shape != shape:
        raise ValueError(
            f"world landmarks have shape {world.shape} and their visibility {visibility.shape}, "
            "expected (F, 33, 3) and (F, 33)"
        )
    if not fps > 0:
        raise ValueError(f"the frame rate is {fps}, expected a positive number of frames per second")
    points, weights = body_points(world, visibility)
    known = np.isfinite(world).all(-1) & (visibility >= _SEEN_VISIBILITY)
    mask = (known.sum(-1) >= _SEEN_LANDMARKS).astype(np.float32)
    weights = weights * mask[:, None]
    limits = published_limits()
    pose = np.zeros((len(world), jn.NUM_JOINTS, 3), np.float32)
    for first, begin, end in _windows(len(world)):
        rows = slice(first, first + _WINDOW)
        there = _filled(np.ones(len(points[rows]), np.float32))
        solved = _solve(body, limits, _filled(points[rows]), _filled(weights[rows]), there, np.float32(fps))
        pose[begin:end] = np.asarray(solved)[begin - first : end - first]
    return pose, mask


def body_points(world: Array, visibility: Array) -> tuple[Array, Array]:
    """Positions (F, M, 3) of the `POINTS`, metres, and weights (F, M), the least visibility; zeros where unknown."""
    points, weights = [], []
    for sources in POINTS.values():
        rows = [LANDMARKS.index(name) for name in sources]
        known = np.logical_and(np.isfinite(world[:, rows]).all((1, 2)), np.isfinite(visibility[:, rows]).all(1))
        points.append(np.where(known[:, None], world[:, rows].mean(1), 0.0))
        weights.append(np.where(known, np.clip(visibility[:, rows].min(1), 0.0, 1.0), 0.0))
    return np.stack(points, 1).astype(np.float32), np.stack(weights, 1).astype(np.float32)


def _markers(body: smpl.SMPL) -> ik.Markers:
    names = list(POINTS)
    return ik.markers_on(
        body,
        np.array([jn.ALL_JOINTS.index(name) for name in names]),
        np.array([(names.index(start), names.index(end)) for start, end, _ in BONES]),
        np.array([weight for *_, weight in BONES]),
    )


def _windows(num: int) -> list[tuple[int, int, int]]:
    """(first frame of the window, first and one past the last frame taken from it): together they tile 0 .. num."""
    firsts = [0]
    while firsts[-1] + _WINDOW < num:
        firsts.append(firsts[-1] + _WINDOW - _OVERLAP)
    cuts = [0, *(first + _OVERLAP // 2 for first in firsts[1:]), num]
    return list(zip(firsts, cuts[:-1], cuts[1:], strict=True))


def _filled(array: Array) -> Array:
    return np.pad(array, ((0, _WINDOW - len(array)), *((0, 0),) * (array.ndim - 1)))


@jax.jit
def _solve(body, limits, points, weights, frame_mask, fps):
    """Axis-angle poses (W, 24, 3) of one window; the arguments are those of `ik.solve`."""
    found = ik.solve(body, _markers(body), limits, points, weights, frame_mask, fps, settings=SETTINGS)
    return rotations.matrix_to_axis_angle(found.rotations)
