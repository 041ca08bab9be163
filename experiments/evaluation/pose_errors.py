"""3D errors of every method against the ground truth: the initial estimate, other methods' poses, the fit."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from body_models import smpl
from body_models.pytree import pytree
from experiments.data import moving_cameras
from experiments.data.dataset import Dataset
from experiments.evaluation import vertex_errors
from experiments.evaluation.vertex_errors import Posed
from experiments.results.fitted_motion import FittedMotion
from nemo_jax import contact, metrics, rotations, world_metrics
from nemo_jax.clips import GroundTruth
from nemo_jax.model import Prediction

Array = jax.Array
_RESAMPLED_RATE = 30.0  # frame rate that the paper assumes for every video


@pytree
class In3D:
    """The inputs of the 3D errors, for I instances and M methods besides the fit.

    seen: the fit's prediction, leaves (I, T, ...), with the keypoints of BODY_25. betas (I, S) and camera_from_world
    (I, 3, 3): shape and camera of the fit. truth: the ground truth, with a leading axis I. poses (I, M, T, 24, 3):
    poses of the methods, axis-angle, roots in axes of the clip's camera; masks (I, M, T): 1 where a method has a pose.
    true_camera (I, 3, 3): true rotation from world to camera axes, or None. rate (I,): see `speed_rate`. fps (I,).
    """

    seen: Prediction
    betas: Array
    camera_from_world: Array
    truth: GroundTruth
    poses: Array
    masks: Array
    true_camera: Array | None
    rate: Array
    fps: Array


def given_poses(dataset: Dataset) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Poses (N, T, 24, 3) and masks (N, T) of every method except the fit; the initial estimate (`init`) is first."""
    clips = dataset.clips
    own = {"init": (np.asarray(clips.init_pose), np.asarray(clips.init_mask))}
    return own | {name: (np.asarray(pose), np.asarray(mask)) for name, (pose, mask) in dataset.other_poses.items()}


def gather(dataset: Dataset, fitted: FittedMotion) -> In3D:
    """The arrays of a fit and of its dataset, which has a ground truth; N instances, on the host."""
    assert dataset.truth is not None
    given = given_poses(dataset).values()
    cameras = None
    if dataset.cameras is not None:
        cameras = np.stack([np.asarray(c.world_from_camera).T for c in dataset.cameras]).astype(np.float32)
    arrays: dict[str, Any] = {
        "seen": fitted.prediction,
        "betas": np.asarray(fitted.params.betas),
        "camera_from_world": np.asarray(fitted.camera_from_world),
        "truth": jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), dataset.truth),
        "poses": np.stack([moving_cameras.in_reference(dataset.clips, pose) for pose, _ in given], 1),
        "masks": np.stack([mask for _, mask in given], 1) * np.asarray(dataset.clips.frame_mask)[:, None],
        "true_camera": cameras,
        "rate": speed_rate(dataset),
        "fps": np.asarray(dataset.clips.fps, np.float32),
    }
    return In3D(**arrays)


def speed_rate(dataset: Dataset) -> np.ndarray:
    """Factors (N,) that turn the difference of two frames into a speed, for the dynamic range.

    The factor is the clip's frame rate. For resampled clips it is the paper's 30 * source frames / frames, which has
    the inverse of the correct ratio.
    """
    if dataset.source_frames is None:
        return np.asarray(dataset.clips.fps, np.float32)
    frames = np.asarray(dataset.clips.frame_mask).sum(-1)
    return (_RESAMPLED_RATE * np.asarray(dataset.source_frames) / frames).astype(np.float32)


def in_3d(known: In3D, mask: Array, body: smpl.SMPL) -> dict[str, Array]:
    """Errors against the ground truth, (I, M + 1) each, the fit last; NaN where the error is not defined.

    A method is scored on the frames for which it has a pose. `mpjpe_mm` and `mpvpe_mm` are the paper's: poses alone, no
    shape, root orientation or translation; `..._dynamic_mm` are over the paper's dynamic range. `pa_mpjpe_mm`,
    `g_mpjpe_mm`, `g_mpvpe_mm`, `root_aligned_mpjpe_mm` and `accel_mm_s2` are of bodies with their shape, root
    orientation and translation. The last two are computed in camera axes with roots at the origin and need the true
    cameras. Joints are the first 15 of BODY_25. The global errors and those of `world_metrics` exist only for the fit.

    Args:
      known: the fit and the truth. mask (I, T): frames that exist. body: the body with the nose as keypoint 0.
    """
    with jax.default_matmul_precision("float32"):
        out, dynamic = jax.vmap(_joint_errors, (0, 0, None))(known, mask, body)
    seen, truth = known.seen, known.truth
    bare, moved, global_error = vertex_errors.of_frames(
        body,
        jnp.moveaxis(known.poses, 1, 2),
        Posed(seen.rotations, seen.translation, known.betas),
        Posed(truth.pose, truth.translation, truth.betas),
        mask,
        seen.keypoints[:, :, : metrics.PAPER_JOINTS],
        jnp.asarray(truth.joints)[:, :, : metrics.PAPER_JOINTS],
    )
    bare, all_masks = jnp.moveaxis(bare, 0, 1), jnp.concatenate([known.masks, mask[:, None]], 1)
    mean = jax.vmap(jax.vmap(metrics.masked_mean))
    out["mpvpe_mm"] = mean(bare, all_masks)
    out["mpvpe_dynamic_mm"] = mean(bare, all_masks * dynamic[:, None])
    of_fit = {"g_mpjpe_mm": global_error, "g_mpvpe_mm": jax.vmap(metrics.masked_mean)(moved, mask)}
    with jax.default_matmul_precision("float32"):
        of_fit |= jax.vmap(world_metrics.world_errors)(seen.keypoints, jnp.asarray(truth.joints), mask, known.fps)
        if seen.contact is not None:
            feet = jnp.asarray(truth.joints)[:, :, jnp.array(contact.FEET)]
            there = jax.vmap(world_metrics.true_contact)(feet, mask, known.fps)
            heights = jax.vmap(world_metrics.standing_heights, (0, 0, None))(feet, there, contact.soles(body)[0])
            of_truth = jax.vmap(world_metrics.standing)(feet, heights, there, mask, known.fps)
            of_fit |= {f"true_{name}": values for name, values in of_truth.items()}
            said = jax.nn.sigmoid(seen.contact[..., : len(contact.FEET)])
            of_fit["contact_f1"] = jax.vmap(world_metrics.contact_f1)(said, there, mask)
    nobody = jnp.full(known.masks.shape[:2], jnp.nan)
    return out | {name: jnp.concatenate([nobody, error[:, None]], 1) for name, error in of_fit.items()}


def _joint_errors(known: In3D, mask: Array, body: smpl.SMPL) -> tuple[dict[str, Array], Array]:
    """Errors (M + 1,) of ONE instance, the fit last, and the mask (T,) of the dynamic range."""
    seen, truth = known.seen, known.truth
    flat, still = jnp.zeros(body.num_betas), jnp.zeros(3)

    def posed(rotation: Array) -> Array:
        """Joints (T, 15, 3) of rotations (T, 24, 3, 3) on the mean body."""
        return jax.vmap(smpl.keypoints, (None, 0, None, None))(body, rotation, flat, still)[:, : metrics.PAPER_JOINTS]

    given = rotations.axis_angle_to_matrix(known.poses)
    every = jnp.concatenate(
        [given, seen.rotations[None], rotations.axis_angle_to_matrix(jnp.asarray(truth.pose))[None]]
    )
    # All methods are posed in one call, so that the body model is compiled only once.
    joints = jax.vmap(posed)(jnp.concatenate([_rootless(every), given]))
    bare, true_bare, in_camera = jnp.split(joints, [len(given) + 1, len(given) + 2])
    true, fitted = (jnp.asarray(x)[:, : metrics.PAPER_JOINTS] for x in (truth.joints, seen.keypoints))
    aligned = jax.vmap(metrics.align_frames, (0, None))(jnp.concatenate([in_camera, fitted[None]]), true)

    every_mask = jnp.concatenate([known.masks, mask[None]])
    dynamic = metrics.dynamic_range(true_bare[0], mask, known.rate)
    to_truth = lambda error, true: jax.vmap(lambda x, mask: error(x, true, mask))
    out = {}
    for name, which in (("", every_mask), ("_dynamic", every_mask * dynamic)):
        out[f"mpjpe{name}_mm"] = to_truth(metrics.mpjpe, true_bare[0])(bare, which)
        out[f"pa_mpjpe{name}_mm"] = to_truth(metrics.mpjpe, true)(aligned, which)
    if known.true_camera is not None:
        true_seen = _centred(true @ known.true_camera.T)
        viewed = _centred(jnp.concatenate([in_camera, (fitted @ known.camera_from_world.T)[None]]))
        out["root_aligned_mpjpe_mm"] = to_truth(metrics.root_aligned_mpjpe, true_seen)(viewed, every_mask)
        acceleration = functools.partial(metrics.acceleration_error, fps=known.fps)
        out["accel_mm_s2"] = to_truth(acceleration, true_seen)(viewed, every_mask)
    return out, dynamic


def _rootless(rotation: Array) -> Array:
    """Rotations (..., 24, 3, 3) with the root rotation replaced by the identity."""
    return rotation.at[..., 0, :, :].set(jnp.eye(3))


def _centred(joints: Array, root: int = 8) -> Array:
    return joints - joints[..., root : root + 1, :]
