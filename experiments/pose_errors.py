"""3D errors of every method against the ground truth: the initial estimate, other methods' poses, the fit.

Joints are compared for all methods at once; vertices, which are two hundred times as many, a few frames at a time.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from body_models import smpl
from experiments.datasets.base import Dataset
from experiments.fitted import Fitted
from nemo_jax import metrics, rotations
from nemo_jax.model import Prediction

Array = jax.Array
Numbers = dict[str, np.ndarray]  # one value (N,) per instance
Posed = tuple[Array, Array, Array]  # rotations (24, 3, 3), translation (3,), betas (S,)
_CHUNK = 16  # frames whose vertices are in memory at a time
_RESAMPLED_RATE = 30.0  # what the paper takes for every video


def in_3d(dataset: Dataset, fitted: Fitted, body: smpl.SMPL) -> Numbers:
    """Errors against the ground truth, (N,) each, as `<metric>/<method>`; a number that nobody has is left out.

    A method is scored on the frames for which it has a pose. `mpjpe_mm` and `mpvpe_mm` are the paper's: poses alone, no
    shape, root orientation or translation; `..._dynamic_mm` are over the paper's dynamic range. `pa_mpjpe_mm`,
    `g_mpjpe_mm`, `g_mpvpe_mm`, `root_aligned_mpjpe_mm` and `accel_mm_s2` are of bodies as they are; the global ones are
    the fit's alone, and the last two, in the axes of the camera with roots at the origin, need the true cameras. Joints
    are the first 15 of BODY_25.
    """
    truth = dataset.truth
    assert truth is not None
    given = given_poses(dataset)
    poses = np.stack([pose for pose, _ in given.values()])
    masks = np.stack([mask for _, mask in given.values()]) * np.asarray(dataset.clips.frame_mask)
    cameras = None
    if dataset.cameras is not None:
        cameras = np.stack([np.asarray(c.world_from_camera).T for c in dataset.cameras]).astype(np.float32)
    arguments = (poses, masks, fitted.prediction, fitted.camera_from_world, dataset.clips, truth, cameras)
    each, dynamic = jax.device_get(
        _all_joint_errors(*jax.tree.map(jnp.asarray, arguments), jnp.asarray(speed_rate(dataset)), body)
    )
    out = {
        f"{key}/{method}": values[:, row] for key, values in each.items() for row, method in enumerate([*given, "fit"])
    }

    all_masks = np.concatenate([masks, np.asarray(dataset.clips.frame_mask)[None]])
    surface = pose_only_vertices(dataset, fitted, poses, body)
    for row, method in enumerate([*given, "fit"]):
        out[f"mpvpe_mm/{method}"] = _means(surface[row], all_masks[row])
        out[f"mpvpe_dynamic_mm/{method}"] = _means(surface[row], all_masks[row] * dynamic)
    out["g_mpjpe_mm/fit"], out["g_mpvpe_mm/fit"] = global_errors(dataset, fitted, body)
    return {name: values for name, values in out.items() if np.isfinite(values).any()}


def given_poses(dataset: Dataset) -> Mapping[str, tuple[np.ndarray, np.ndarray]]:
    """Poses (N, T, 24, 3) and masks (N, T) of every method but the fit, the initial estimate (`init`) first."""
    clips = dataset.clips
    own = {"init": (np.asarray(clips.init_pose), np.asarray(clips.init_mask))}
    return own | {name: (np.asarray(pose), np.asarray(mask)) for name, (pose, mask) in dataset.other_poses.items()}


def speed_rate(dataset: Dataset) -> np.ndarray:
    """(N,) by which a difference of frames becomes a speed for the dynamic range.

    The clip's frame rate; of resampled clips the paper's 30 * source frames / frames, which has the ratio upside down.
    """
    if dataset.source_frames is None:
        return np.asarray(dataset.clips.fps, np.float32)
    frames = np.asarray(dataset.clips.frame_mask).sum(-1)
    return (_RESAMPLED_RATE * np.asarray(dataset.source_frames) / frames).astype(np.float32)


def _joint_errors(
    poses: Array,
    masks: Array,
    seen: Prediction,
    camera_from_world: Array,
    clips: Any,
    truth: Any,
    true_camera: Array | None,
    rate: Array,
    body: smpl.SMPL,
) -> tuple[dict[str, Array], Array]:
    """Errors (M + 1,) of ONE instance, given methods first, the fit last; and the mask (T,) of the dynamic range.

    poses (M, T, 24, 3), roots in the camera; masks (M, T).
    """
    flat, still = jnp.zeros(body.num_betas), jnp.zeros(3)

    def posed(rotation: Array) -> Array:
        """Joints (T, 15, 3) of rotations (T, 24, 3, 3) on the mean body."""
        return jax.vmap(smpl.keypoints, (None, 0, None, None))(body, rotation, flat, still)[:, : metrics.PAPER_JOINTS]

    given = rotations.axis_angle_to_matrix(poses)
    every = jnp.concatenate([given, seen.rotations[None], rotations.axis_angle_to_matrix(truth.pose)[None]])
    # One call for all, which is one body to compile.
    joints = jax.vmap(posed)(jnp.concatenate([_rootless(every), given]))
    bare, true_bare, in_camera = jnp.split(joints, [len(given) + 1, len(given) + 2])
    true, fitted = (x[:, : metrics.PAPER_JOINTS] for x in (truth.joints, seen.keypoints))
    aligned = jax.vmap(metrics.align_frames, (0, None))(jnp.concatenate([in_camera, fitted[None]]), true)

    every_mask = jnp.concatenate([masks, clips.frame_mask[None]])
    dynamic = metrics.dynamic_range(true_bare[0], clips.frame_mask, rate)
    to_truth = lambda error, true: jax.vmap(lambda x, mask: error(x, true, mask))
    out = {}
    for name, mask in (("", every_mask), ("_dynamic", every_mask * dynamic)):
        out[f"mpjpe{name}_mm"] = to_truth(metrics.mpjpe, true_bare[0])(bare, mask)
        out[f"pa_mpjpe{name}_mm"] = to_truth(metrics.mpjpe, true)(aligned, mask)
    if true_camera is not None:
        true_seen = _centred(true @ true_camera.T)
        viewed = _centred(jnp.concatenate([in_camera, (fitted @ camera_from_world.T)[None]]))
        out["root_aligned_mpjpe_mm"] = to_truth(metrics.root_aligned_mpjpe, true_seen)(viewed, every_mask)
        acceleration = functools.partial(metrics.acceleration_error, fps=clips.fps)
        out["accel_mm_s2"] = to_truth(acceleration, true_seen)(viewed, every_mask)
    return out, dynamic


@jax.jit
def _all_joint_errors(
    poses: Array,
    masks: Array,
    seen: Prediction,
    camera_from_world: Array,
    clips: Any,
    truth: Any,
    true_cameras: Array | None,
    rates: Array,
    body: smpl.SMPL,
) -> tuple[dict[str, Array], Array]:
    axes = (1, 1, 0, 0, 0, 0, None if true_cameras is None else 0, 0, None)
    with jax.default_matmul_precision("float32"):
        return jax.vmap(_joint_errors, axes)(
            poses, masks, seen, camera_from_world, clips, truth, true_cameras, rates, body
        )


def pose_only_vertices(dataset: Dataset, fitted: Fitted, poses: np.ndarray, body: smpl.SMPL) -> np.ndarray:
    """Mean vertex distance (M + 1, N, T) in mm of each frame, posed without shape, root and translation; the fit is last."""
    truth = dataset.truth
    assert truth is not None
    every = np.concatenate([_matrices(poses), np.asarray(fitted.prediction.rotations)[None]])
    every = np.moveaxis(every, 0, 2)  # (N, T, M + 1, 24, 3, 3)
    errors = _over_frames(_frame_bare_errors, body, dataset, every, _matrices(truth.pose))
    return np.moveaxis(errors, -1, 0)


def global_errors(dataset: Dataset, fitted: Fitted, body: smpl.SMPL) -> tuple[np.ndarray, np.ndarray]:
    """G-MPJPE and G-MPVPE (N,) in mm of the fit, as `metrics.global_errors` defines them, with the bodies' own shapes."""
    truth, seen = dataset.truth, fitted.prediction
    assert truth is not None
    mask = np.asarray(dataset.clips.frame_mask)
    fit_body = (
        np.asarray(seen.rotations),
        np.asarray(seen.translation),
        _per_frame(_betas(fitted.params.betas, body), mask),
    )
    true_body = (_matrices(truth.pose), np.asarray(truth.translation), _per_frame(_betas(truth.betas, body), mask))
    # Points near the means; every frame's moments are about the same ones.
    origins = [_per_frame(_weighted_mean(x, mask), mask) for x in (seen.translation, truth.translation)]

    sums = _over_frames(_frame_moments, body, dataset, fit_body, true_body, *origins)
    sums = jax.tree.map(lambda x: x.sum(1, dtype=np.float64).astype(np.float32), sums)
    rotation, translation = jax.device_get(_rigid_transforms(sums, *(origin[:, 0] for origin in origins)))
    moves = (_per_frame(rotation, mask), _per_frame(translation, mask))
    surface = _over_frames(_frame_moved_error, body, dataset, fit_body, true_body, *moves)
    joints = (np.asarray(x)[:, :, : metrics.PAPER_JOINTS] for x in (seen.keypoints, truth.joints))
    return np.asarray(_moved_joint_errors(*joints, rotation, translation, mask)), _means(surface, mask)


_rigid_transforms = jax.jit(jax.vmap(metrics.rigid_transform))


@jax.jit
@jax.vmap
def _moved_joint_errors(joints: Array, true: Array, rotation: Array, translation: Array, mask: Array) -> Array:
    return metrics.mpjpe(metrics.move(joints, rotation, translation), true, mask)


# What one frame needs of its vertices; arguments of ONE frame.


def _frame_bare_errors(body: smpl.SMPL, every: Array, true: Array) -> Array:
    """Mean distances (M,) in mm of bodies of rotations (M, 24, 3, 3) from that of the true ones (24, 3, 3)."""
    flat, still = jnp.zeros(body.num_betas), jnp.zeros(3)
    skin = lambda rotation: smpl.vertices(body, _rootless(rotation), flat, still)
    surfaces = jax.vmap(skin)(every)
    return metrics.point_errors(surfaces, jnp.broadcast_to(skin(true), surfaces.shape))


def _frame_moments(
    body: smpl.SMPL, posed: Posed, true: Posed, source_origin: Array, target_origin: Array
) -> metrics.Moments:
    source, target = _skin(body, posed) - source_origin, _skin(body, true) - target_origin
    return metrics.moments(source, target, jnp.ones(len(source)))


def _frame_moved_error(body: smpl.SMPL, posed: Posed, true: Posed, rotation: Array, translation: Array) -> Array:
    moved = metrics.move(_skin(body, posed), rotation, translation)
    return metrics.point_errors(moved[None], _skin(body, true)[None])[0]


def _skin(body: smpl.SMPL, posed: Posed) -> Array:
    rotation, translation, betas = posed
    return smpl.vertices(body, rotation, betas, translation)


def _over_frames(function: Callable[..., Any], body: smpl.SMPL, dataset: Dataset, *arrays: Any) -> Any:
    """`function(body, *frame)` of every existing frame of arrays (N, T, ...); leaves (N, T, ...), zeros in the padding."""
    mask = np.asarray(dataset.clips.frame_mask) > 0
    rows = np.flatnonzero(mask)
    # Whole chunks, so that one program serves them all; the frames that fill the last one are dropped again.
    filled = np.resize(rows, -(-len(rows) // _CHUNK) * _CHUNK)
    flat = jax.tree.map(lambda x: np.asarray(x, np.float32).reshape(-1, *x.shape[2:])[filled], arrays)

    def back(values: np.ndarray) -> np.ndarray:
        out = np.zeros((mask.size, *values.shape[1:]), values.dtype)
        out[rows] = values[: len(rows)]
        return out.reshape(*mask.shape, *values.shape[1:])

    return jax.tree.map(back, jax.device_get(_chunked(function, body, flat)))


@functools.partial(jax.jit, static_argnums=0)
def _chunked(function: Callable[..., Any], body: smpl.SMPL, flat: tuple[Any, ...]) -> Any:
    with jax.default_matmul_precision("float32"):
        return jax.lax.map(lambda frame: function(body, *frame), flat, batch_size=_CHUNK)


def _matrices(poses: Any) -> np.ndarray:
    return np.asarray(jax.jit(rotations.axis_angle_to_matrix)(jnp.asarray(poses)))


def _means(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Means (N,) over the frames whose mask is 1; NaN where there are none."""
    count = (mask > 0).sum(-1)
    total = np.where(mask > 0, values, 0.0).sum(-1, dtype=np.float64)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _weighted_mean(values: Any, mask: np.ndarray) -> np.ndarray:
    return (np.asarray(values) * mask[..., None]).sum(1) / np.maximum(mask.sum(-1), 1)[:, None]


def _per_frame(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(N, ...) as (N, T, ...)."""
    return np.broadcast_to(values[:, None], (*mask.shape, *values.shape[1:]))


def _betas(betas: Any, body: smpl.SMPL) -> np.ndarray:
    """Shapes (N, S) with as many directions as the body has."""
    betas = np.asarray(betas, np.float32)[:, : body.num_betas]
    return np.pad(betas, ((0, 0), (0, body.num_betas - betas.shape[1])))


def _rootless(rotation: Array) -> Array:
    """Rotations (..., 24, 3, 3) with the root's at the identity."""
    return rotation.at[..., 0, :, :].set(jnp.eye(3))


def _centred(joints: Array, root: int = 8) -> Array:
    return joints - joints[..., root : root + 1, :]
