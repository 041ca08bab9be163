"""A tiny symmetric body, simulated clips, and float64 oracles that the tests of `nemo_jax` share."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from scipy.spatial.transform import Rotation

from body_models import joints as jn
from body_models import smpl
from nemo_jax import camera_search, model, stages
from nemo_jax.clips import Clips
from nemo_jax.config import FitConfig

# As single programs: outside of `jit` each of their operations would be compiled by itself, which takes seconds.
start, prepare, targets_from = jax.jit(stages.start), jax.jit(model.prepare), jax.jit(camera_search.targets_from)
init = jax.jit(model.init, static_argnums=(1, 3))

MIRROR = np.array([-1.0, 1.0, 1.0])
NUM_BETAS = 3

# Metres, y up, x to the body's left, z forward: midline joints and the left side of someone 1.7 m tall.
_REST = {
    "pelvis": (0.0, 0.0, 0.0),
    "spine1": (0.0, 0.11, -0.02),
    "spine2": (0.0, 0.25, -0.01),
    "spine3": (0.0, 0.31, 0.01),
    "neck": (0.0, 0.52, -0.03),
    "head": (0.0, 0.60, 0.02),
    "left_hip": (0.08, -0.09, 0.0),
    "left_knee": (0.10, -0.48, 0.01),
    "left_ankle": (0.09, -0.89, -0.03),
    "left_foot": (0.12, -0.95, 0.09),
    "left_collar": (0.07, 0.43, -0.02),
    "left_shoulder": (0.18, 0.45, -0.03),
    "left_elbow": (0.44, 0.44, -0.05),
    "left_wrist": (0.69, 0.44, -0.05),
    "left_hand": (0.78, 0.43, -0.06),
}
# Landmarks of the midline and the left side, against the joint that carries them.
_LANDMARKS = {
    "nose": ("head", (0.0, 0.03, 0.12)),
    "left_eye": ("head", (0.033, 0.065, 0.10)),
    "left_ear": ("head", (0.078, 0.04, 0.0)),
    "left_big_toe": ("left_foot", (-0.015, -0.012, 0.10)),
    "left_small_toe": ("left_foot", (0.045, -0.015, 0.065)),
    "left_heel": ("left_ankle", (0.0, -0.055, -0.06)),
    "left_thumb": ("left_hand", (0.035, -0.02, 0.055)),
    "left_index": ("left_hand", (0.10, -0.005, 0.035)),
    "left_middle": ("left_hand", (0.105, -0.005, 0.01)),
    "left_ring": ("left_hand", (0.10, -0.005, -0.012)),
    "left_pinky": ("left_hand", (0.085, -0.008, -0.035)),
}
_EXTRAS = ["right_hip", "left_hip", "neck", "head", "pelvis", "spine3", "spine2", "head", "head"]


def left(name):
    return name.replace("right", "left")


@functools.cache
def body_arrays(seed=0):
    """Arrays of SMPL's format, 117 vertices, exactly symmetric under x -> -x, float64."""
    rng = np.random.default_rng(seed)
    points, owner, twin = [], [], []

    def add(point, joint):
        points.append(np.asarray(point, float))
        owner.append(jn.SMPL_JOINTS.index(joint))
        twin.append(len(points) - 1)

    # Four vertices round every joint whose mean is the joint; the right side mirrors the left.
    for name in jn.SMPL_JOINTS:
        if name.startswith("right"):
            continue
        rest, offset = np.array(_REST[name]), rng.uniform(0.02, 0.06, 3)
        if name.startswith("left"):
            other = rng.uniform(-0.05, 0.05, 3)
            for o in (offset, -offset, other, -other):
                add(rest + o, name)
                add(MIRROR * (rest + o), name.replace("left", "right"))
                twin[-1], twin[-2] = len(points) - 2, len(points) - 1
        else:
            for o in (offset, MIRROR * offset, -offset, -MIRROR * offset):
                add(rest + o, name)
            n = len(points)
            twin[-4:] = [n - 3, n - 4, n - 1, n - 2]
    regressor = (np.array(owner) == np.arange(jn.NUM_JOINTS)[:, None]) / 4.0
    landmark_ids = []
    for name in jn.LANDMARKS:
        carrier, offset = _LANDMARKS[left(name)]
        point = np.array(_REST[carrier]) + np.array(offset)
        right = name.startswith("right")
        landmark_ids.append(len(points))
        add(MIRROR * point if right else point, carrier.replace("left", "right") if right else carrier)
    twins = [
        jn.LANDMARKS.index({"l": "right", "r": "left"}[n[0]] + n[n.index("_") :] if "_" in n else n)
        for n in jn.LANDMARKS
    ]
    for i, other in enumerate(twins):
        twin[landmark_ids[i]] = landmark_ids[other]
    points, owner, twin = np.array(points), np.array(owner), np.array(twin)

    num = len(points)
    regressor = np.pad(regressor, ((0, 0), (0, num - regressor.shape[1])))
    weights = np.zeros((num, jn.NUM_JOINTS))
    weights[np.arange(num), owner] = 0.8
    weights[np.arange(num), np.maximum(jn.PARENTS[owner], 0)] += 0.2
    shape = 0.02 * rng.normal(size=(num, 3, NUM_BETAS))
    pose = 0.004 * rng.normal(size=(num, 3, 23, 3, 3))
    swap = jn.MIRROR_JOINTS[1:] - 1
    reflected = pose[twin][:, :, swap] * MIRROR[:, None, None, None] * MIRROR[:, None] * MIRROR
    extra = np.stack([regressor[jn.SMPL_JOINTS.index(name)] for name in _EXTRAS])
    return {
        "v_template": points,
        "shapedirs": 0.5 * (shape + MIRROR[:, None] * shape[twin]),
        "posedirs": (0.5 * (pose + reflected)).reshape(num, 3, 207),
        "J_regressor": regressor,
        "weights": weights,
        "f": rng.integers(0, num, (num, 3)),
        "kintree_table": np.stack([jn.PARENTS, np.arange(jn.NUM_JOINTS)]),
        "landmark_vertex_ids": np.array(landmark_ids),
        "J_regressor_extra": extra,
    }


@functools.cache
def body():
    # May first be called while something is traced.
    with jax.ensure_compile_time_eval():
        return smpl.build(body_arrays())


def as_float64(tree):
    """Floating leaves as float64; call under `jax.enable_x64(True)`."""
    return jax.tree.map(
        lambda x: jnp.asarray(x, jnp.float64) if jnp.issubdtype(jnp.result_type(x), jnp.floating) else x, tree
    )


def rotation(axis_angle):
    """Float64 matrices (..., 3, 3) of rotation vectors (..., 3), by SciPy."""
    vectors = np.asarray(axis_angle, np.float64)
    return Rotation.from_rotvec(vectors.reshape(-1, 3)).as_matrix().reshape(*vectors.shape, 3)


def numerical_gradient(function, x, step=1e-6):
    """Central differences of a scalar function of a float64 array."""
    x = np.asarray(x, np.float64)
    result = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[i] += step
        down[i] -= step
        result[i] = (float(function(up)) - float(function(down))) / (2 * step)
    return result


def tiny_config(**changes):
    """Seconds, not minutes, on two cores; names what tests write out, so that tuning the defaults breaks none."""
    small = {
        "robust_scale": 100.0,
        "confidence_threshold": 0.5,
        "person_size": 800.0,
        "focal_guess": 1.5,
        "kernel": "gaussian",
        "hidden": 12,
        "num_centres": 6,
        "log_scale": -2.0,
        "code_size": 2,
        "phase_nodes": 5,
        "batch_size": 16,
        "warmup_steps": 4,
        "camera_steps": 4,
        "joint_steps": 4,
        "camera_yaws": 4,
        "camera_frames": 3,
        "lift": False,
        "lift_steps": 4,
        "lift_frames": 3,
        "lift_yaws": 2,
        "lift_turned": 1,
        "lens_starts": 1,
        "rescue_steps": 0,
        "exchange_price": 0,
        "contact_centres": 0,
        "path_knots": 0,
        "motion_windows": 0,
        "apart_frames": 0,
    }
    return FitConfig(**{**small, **changes})


def level_matrix(yaw):
    """camera_from_world of the level camera, float64, from its description: at 0 it looks a +z-facing body in the face."""
    cos, sin = np.cos(yaw), np.sin(yaw)
    return np.array([[cos, 0, sin], [0, -1, 0], [sin, 0, -cos]])


def pitch_like_pose(phase):
    """Axis-angle (24, 3) of a plain one-armed swing at a phase in [0, 1]; well within human ranges, not symmetric."""
    pose = np.zeros((24, 3))
    name = jn.SMPL_JOINTS.index
    swing = np.sin(np.pi * phase)
    pose[name("left_shoulder")] = (0.0, -0.3, -1.0)
    pose[name("left_elbow")] = (0.0, -0.5, 0.0)
    pose[name("right_shoulder")] = (0.0, 0.4 + 0.8 * swing, 0.9 - 0.7 * swing)
    pose[name("right_elbow")] = (0.0, 0.4 + 0.6 * swing, 0.0)
    pose[name("left_hip")] = (-0.3 - 0.6 * swing, 0.0, 0.1)
    pose[name("left_knee")] = (0.5 + 0.5 * swing, 0.0, 0.0)
    pose[name("right_hip")] = (-0.1, 0.0, -0.1)
    pose[name("right_knee")] = (0.3, 0.0, 0.0)
    pose[name("spine2")] = (0.1, 0.2 * swing, 0.0)
    pose[name("pelvis")] = (0.05, 0.5 * swing, 0.0)
    return pose


@dataclasses.dataclass(frozen=True)
class Scene:
    """Simulated clips, and what made them: poses (N, T, 24, 3), camera_from_world (N, 3, 3), camera translations (N, 3)."""

    clips: Clips
    pose: np.ndarray
    rotations: np.ndarray
    translations: np.ndarray


@functools.cache
def scene(lengths=(6, 9), yaws=(0.3, -0.7), num_frames=None, focal=1500.0, size=(1280, 720), garbage=0.0, seed=0):
    """Noise-free clips of `pitch_like_pose`, one level camera each, 6 m away.

    num_frames: frame slots, at least the longest; padding is filled with `garbage`.
    """
    rng = np.random.default_rng(seed)
    n, t = len(lengths), num_frames or max(lengths)
    arrays = {
        "keypoints": np.full((n, t, 25, 2), garbage),
        "confidence": np.zeros((n, t, 25)),
        "frame_mask": np.zeros((n, t)),
        "init_pose": np.full((n, t, 24, 3), garbage),
        "init_mask": np.zeros((n, t)),
    }
    poses, rotations = np.zeros((n, t, 24, 3)), np.stack([level_matrix(y) for y in yaws])
    translations = np.stack([rng.uniform(-0.3, 0.3, n), rng.uniform(-0.2, 0.2, n), rng.uniform(5, 7, n)], 1)
    keypoints = jax.jit(jax.vmap(smpl.keypoints, (None, 0, None, None)))
    for i, length in enumerate(lengths):
        phases = np.arange(length) / max(length - 1, 1)
        poses[i, :length] = np.stack([pitch_like_pose(p) for p in phases])
        world = keypoints(body(), jnp.asarray(rotation(poses[i]), jnp.float32), jnp.zeros(NUM_BETAS), jnp.zeros(3))
        seen = np.asarray(world, np.float64)[:length] @ rotations[i].T + translations[i]
        arrays["keypoints"][i, :length] = focal * seen[..., :2] / seen[..., 2:] + np.array(size) / 2
        arrays["confidence"][i, :length] = rng.uniform(0.6, 1.0, (length, 25))
        arrays["frame_mask"][i, :length] = 1
        arrays["init_mask"][i, :length] = 1
        initial = poses[i, :length].copy()
        initial[:, 0] = Rotation.from_matrix(rotations[i] @ rotation(initial[:, 0])).as_rotvec()
        arrays["init_pose"][i, :length] = initial
    clips = Clips(
        **{key: jnp.asarray(value, jnp.float32) for key, value in arrays.items()},
        image_size=jnp.tile(jnp.asarray(size, jnp.float32), (n, 1)),
        focal_length=jnp.full(n, focal, jnp.float32),
        fps=jnp.full(n, 30.0, jnp.float32),
    )
    return Scene(clips=clips, pose=poses, rotations=rotations, translations=translations)


def all_finite(tree):
    return all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(tree))
