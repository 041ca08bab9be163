"""3D errors of every method against the ground truth: the initial estimate, other methods' poses, the fit."""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from body_models import smpl
from experiments.data.dataset import Dataset
from experiments.evaluation import vertex_errors
from experiments.results.fitted_motion import FittedMotion
from nemo_jax import metrics, rotations
from nemo_jax.model import Prediction

Array = jax.Array
Numbers = dict[str, np.ndarray]  # one value (N,) per instance
_RESAMPLED_RATE = 30.0  # what the paper takes for every video


def in_3d(dataset: Dataset, fitted: FittedMotion, body: smpl.SMPL) -> Numbers:
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
    bare, moved, out["g_mpjpe_mm/fit"] = vertex_errors.of_frames(dataset, fitted, poses, body)
    for row, method in enumerate([*given, "fit"]):
        out[f"mpvpe_mm/{method}"] = _means(bare[row], all_masks[row])
        out[f"mpvpe_dynamic_mm/{method}"] = _means(bare[row], all_masks[row] * dynamic)
    out["g_mpvpe_mm/fit"] = _means(moved, all_masks[-1])
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


def _rootless(rotation: Array) -> Array:
    """Rotations (..., 24, 3, 3) with the root's at the identity."""
    return rotation.at[..., 0, :, :].set(jnp.eye(3))


def _centred(joints: Array, root: int = 8) -> Array:
    return joints - joints[..., root : root + 1, :]


def _means(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Means (N,) over the frames whose mask is 1; NaN where there are none."""
    count = (mask > 0).sum(-1)
    total = np.where(mask > 0, values, 0.0).sum(-1, dtype=np.float64)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
