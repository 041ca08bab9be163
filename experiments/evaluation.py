"""How good a fit is: flat numbers for `metrics.json`, of all instances together and of each.

3D errors are means over an instance's frames, then over instances; reprojection errors pool all visible joints. Numbers
that need ground truth, initial poses or hidden joints are there only where those are.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from body_models import smpl
from experiments.datasets.base import Dataset
from nemo_jax import camera as cam
from nemo_jax import clips as clips_lib
from nemo_jax import metrics, model, rotations
from nemo_jax.config import FitConfig
from nemo_jax.model import Assets, Params, Prediction

Array = jax.Array
Numbers = dict[str, np.ndarray]  # one value (N,) per instance


@dataclasses.dataclass(frozen=True)
class Fitted:
    """A fit's answer to its clips, as arrays (N, ...) on the host.

    The prediction's keypoints are BODY_25 with the nose. poses (N, T, 24, 3): its rotations in axis-angle. head_2d
    (N, T, 2): the pixel of what the data calls keypoint 0. A point x of the world is camera_from_world x +
    camera_translation in the camera.
    """

    params: Params
    prediction: Prediction
    poses: np.ndarray
    head_2d: np.ndarray
    raw_phases: np.ndarray
    camera_from_world: np.ndarray
    camera_translation: np.ndarray
    focal: np.ndarray
    principal: np.ndarray

    @property
    def scored_2d(self) -> np.ndarray:
        """Pixels (N, T, K, 2) to compare with the data's keypoints."""
        return np.concatenate([self.head_2d[:, :, None], self.prediction.keypoints_2d[:, :, 1:]], 2)


def predict(params: Params, assets: Assets, nose_body: smpl.SMPL, config: FitConfig, clips: clips_lib.Clips) -> Fitted:
    """The fitted model on every frame; `nose_body` is the body whose keypoint 0 is the nose."""

    @jax.jit
    def run(params: Params, assets: Assets, config: FitConfig, clips: clips_lib.Clips, nose_body: smpl.SMPL):
        seen = model.predict_clips(params, dataclasses.replace(assets, body=nose_body), config, clips)
        poses = rotations.matrix_to_axis_angle(seen.rotations)
        head = model.predict_clips(params, assets, config, clips).keypoints_2d[:, :, 0]
        rotation, translation = cam.split(params.cameras)
        focal = assets.focal * jnp.exp(params.log_focal)
        return seen, poses, head, clips_lib.raw_phase(clips), rotation, translation, focal

    seen, poses, head, phases, rotation, translation, focal = jax.device_get(
        run(params, assets, config, clips, nose_body)
    )
    return Fitted(
        params=jax.device_get(params),
        prediction=seen,
        poses=poses,
        head_2d=head,
        raw_phases=phases,
        camera_from_world=rotation,
        camera_translation=translation,
        focal=focal,
        principal=np.asarray(assets.principal),
    )


def evaluate(
    dataset: Dataset, fitted: Fitted, nose_body: smpl.SMPL, hidden: np.ndarray | None, threshold: float
) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """All numbers of a fit.

    Args:
      dataset: the clips as read, before joints were hidden.
      fitted: the fit.
      nose_body: body with BODY_25's nose as keypoint 0.
      hidden: (N, T, K), true where a joint was hidden from the fit; None where none was.
      threshold: a joint counts as visible above this confidence.

    Returns:
      The numbers of the whole, and of each instance by name. None is NaN.
    """
    pooled, single = reprojection(dataset, fitted, hidden, threshold)
    if dataset.truth is not None:
        truth = in_3d(dataset, fitted, nose_body)
        pooled |= {name: float(np.nanmean(values)) for name, values in truth.items() if np.isfinite(values).any()}
        single |= truth
    each = {
        name: {key: float(values[i]) for key, values in single.items() if np.isfinite(values[i])}
        for i, name in enumerate(dataset.names)
    }
    return {key: value for key, value in pooled.items() if np.isfinite(value)}, each


def reprojection(
    dataset: Dataset, fitted: Fitted, hidden: np.ndarray | None, threshold: float
) -> tuple[dict[str, float], Numbers]:
    """Pixel errors on the annotated visible joints, those seen by the fit and, apart, those hidden from it."""
    clips = dataset.clips
    annotated = np.isin(np.arange(clips.keypoints.shape[2]), dataset.annotated)
    visible = (np.asarray(clips.confidence) > threshold) & annotated & (np.asarray(clips.frame_mask) > 0)[..., None]
    hidden = np.zeros_like(visible) if hidden is None else hidden
    errors = np.asarray(metrics.reprojection_errors(fitted.scored_2d, np.asarray(clips.keypoints)))  # pyright: ignore
    diagonal = np.asarray(dataset.box_size)
    pooled, single = _reprojection_numbers(errors, diagonal, visible & ~hidden, "")
    if hidden.any():
        also = _reprojection_numbers(errors, diagonal, visible & hidden, "heldout_")
        pooled, single = pooled | also[0], single | also[1]
    return pooled, single


def _reprojection_numbers(
    errors: np.ndarray, diagonal: np.ndarray, mask: np.ndarray, prefix: str
) -> tuple[dict[str, float], Numbers]:
    share = errors / np.maximum(diagonal, 1e-6)[..., None]

    arrays = [np.asarray(x, np.float32) for x in (errors, share, diagonal, mask)]
    each = jax.device_get(_instance_numbers(*arrays))
    # All instances as one long clip.
    pooled = _pooled_numbers(*(x.reshape(-1, *x.shape[2:]) for x in arrays))
    pooled = {prefix + name: float(value) for name, value in pooled.items()}
    return pooled, {prefix + name: np.asarray(values) for name, values in each.items()}


def _pixel_numbers(pixels: Array, shares: Array, boxes: Array, seen: Array) -> dict[str, Array]:
    return {
        "reprojection_px/median": metrics.masked_median(pixels, seen),
        "reprojection_share/median": metrics.masked_median(shares, seen),
        "pck_0.05/fit": metrics.pck(pixels, boxes, seen, 0.05),
        "pck_auc/fit": metrics.pck_auc(pixels, boxes, seen),
    }


_pooled_numbers = jax.jit(_pixel_numbers)
_instance_numbers = jax.jit(jax.vmap(_pixel_numbers))


def in_3d(dataset: Dataset, fitted: Fitted, body: smpl.SMPL) -> Numbers:
    """Errors against the ground truth, (N,) each; `init` is the initial pose, on the frames that have one.

    `mpjpe_mm` is the paper's: poses alone, no shape, root orientation or translation. `pa_mpjpe_mm`, `g_mpjpe_mm`,
    `root_aligned_mpjpe_mm` and `accel_mm_s2` are of joints as they are, the last two in the axes of the camera, with
    roots at the origin; they need the true cameras. All over the first 15 of BODY_25.
    """
    clips, truth = dataset.clips, dataset.truth
    assert truth is not None
    cameras = None
    if dataset.cameras is not None:
        cameras = np.stack([np.asarray(c.world_from_camera).T for c in dataset.cameras]).astype(np.float32)
    arguments = (fitted.prediction, fitted.camera_from_world, clips, truth, cameras)
    values = jax.device_get(_all_truth_errors(*jax.tree.map(jnp.asarray, arguments), body))
    values = {name: np.asarray(value) for name, value in values.items()}
    return {name: value for name, value in values.items() if np.isfinite(value).any()}


def _truth_errors(
    seen: Prediction, camera_from_world: Array, clips: Any, truth: Any, true_camera: Array | None, body: smpl.SMPL
) -> dict[str, Array]:
    """The errors of ONE instance."""
    count = metrics.PAPER_JOINTS
    mask = clips.frame_mask
    init_mask = mask * clips.init_mask
    flat, still = jnp.zeros(body.num_betas), jnp.zeros(3)
    init_rotations = rotations.axis_angle_to_matrix(clips.init_pose)

    def posed(rotation: Array) -> Array:
        """Joints (T, 15, 3) of rotations (T, 24, 3, 3) on the mean body."""
        return jax.vmap(smpl.keypoints, (None, 0, None, None))(body, rotation, flat, still)[:, :count]

    def pose_only(rotation: Array) -> Array:
        return posed(rotation.at[:, 0].set(jnp.eye(3)))

    true_pose = pose_only(rotations.axis_angle_to_matrix(truth.pose))
    true, fitted, initial = truth.joints[:, :count], seen.keypoints[:, :count], posed(init_rotations)
    out = {
        "mpjpe_mm/init": metrics.mpjpe(pose_only(init_rotations), true_pose, init_mask),
        "mpjpe_mm/fit": metrics.mpjpe(pose_only(seen.rotations), true_pose, mask),
        "pa_mpjpe_mm/init": metrics.pa_mpjpe(initial, true, init_mask),
        "pa_mpjpe_mm/fit": metrics.pa_mpjpe(fitted, true, mask),
        "g_mpjpe_mm/fit": metrics.global_mpjpe(fitted, true, mask),
    }
    if true_camera is not None:
        true_seen = _centred(true @ true_camera.T)
        fitted_seen = _centred(fitted @ camera_from_world.T)
        out |= {
            "root_aligned_mpjpe_mm/init": metrics.root_aligned_mpjpe(initial, true_seen, init_mask),
            "root_aligned_mpjpe_mm/fit": metrics.root_aligned_mpjpe(fitted_seen, true_seen, mask),
            "accel_mm_s2/init": metrics.acceleration_error(_centred(initial), true_seen, init_mask, clips.fps),
            "accel_mm_s2/fit": metrics.acceleration_error(fitted_seen, true_seen, mask, clips.fps),
        }
    return out


@jax.jit
def _all_truth_errors(
    seen: Prediction, camera_from_world: Array, clips: Any, truth: Any, true_cameras: Array | None, body: smpl.SMPL
) -> dict[str, Array]:
    axes = (0, 0, 0, 0, None if true_cameras is None else 0, None)
    with jax.default_matmul_precision("float32"):
        return jax.vmap(_truth_errors, axes)(seen, camera_from_world, clips, truth, true_cameras, body)


def _centred(joints: Array, root: int = 8) -> Array:
    return joints - joints[:, root : root + 1]
