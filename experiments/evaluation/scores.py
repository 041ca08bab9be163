"""How good a fit is: flat numbers for `metrics.json`, of all instances together and of each.

3D errors (`experiments.evaluation.pose_errors`) are means over an instance's frames, then over instances; reprojection
errors pool all visible joints, those of the paper are means over instances. Numbers that need ground truth, initial poses
or hidden joints are there only where those are.
"""

import jax
import numpy as np

from body_models import smpl
from experiments.data import padding
from experiments.data.dataset import Dataset
from experiments.evaluation import pose_errors
from experiments.evaluation.pose_errors import Numbers
from experiments.results.fitted_motion import FittedMotion
from nemo_jax import losses, metrics

Array = jax.Array


def evaluate(
    dataset: Dataset, fitted: FittedMotion, nose_body: smpl.SMPL, hidden: np.ndarray | None, threshold: float
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
    dataset, fitted = padding.dataset(dataset), fitted.padded()
    hidden = None if hidden is None else padding.array(hidden, dataset.clips.num_frames)
    pooled, single = reprojection(dataset, fitted, hidden, threshold)
    if dataset.truth is not None:
        truth = pose_errors.in_3d(dataset, fitted, nose_body)
        pooled |= {name: float(np.nanmean(values)) for name, values in truth.items()}
        single |= truth
    each = {
        name: {key: float(values[i]) for key, values in single.items() if np.isfinite(values[i])}
        for i, name in enumerate(dataset.names)
    }
    return {key: value for key, value in pooled.items() if np.isfinite(value)}, each


def reprojection(
    dataset: Dataset, fitted: FittedMotion, hidden: np.ndarray | None, threshold: float
) -> tuple[dict[str, float], Numbers]:
    """Pixel errors on the visible joints that are measured, those seen by the fit and, apart, those hidden from it.

    They are held against `reference_2d` where the dataset has one, hidden joints always against what was hidden.
    """
    given = _given_2d(dataset)
    exists = (np.asarray(dataset.clips.frame_mask) > 0)[..., None]
    annotated = np.isin(np.arange(given[0].shape[2]), dataset.annotated)
    visible = (given[1] > threshold) & annotated & exists
    hidden = np.zeros_like(visible) if hidden is None else hidden
    reference, scored, unseen = given, visible, visible & ~hidden
    if dataset.reference_2d is not None:
        reference = dataset.reference_2d
        scored = unseen = (reference[1] > threshold) & exists
    errors = np.asarray(_distances(fitted.scored_2d, reference[0]))
    diagonal = np.asarray(dataset.box_size)
    pooled, single = _reprojection_numbers(errors, diagonal, unseen, "")
    paper = jax.device_get(_paper_numbers(*map(np.asarray, (errors, scored, *reference, dataset.clips.frame_mask))))
    single |= paper
    pooled |= {name: float(np.nanmean(values)) for name, values in paper.items() if np.isfinite(values).any()}
    if hidden.any():
        errors = np.asarray(_distances(fitted.scored_2d, given[0]))
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


_distances = jax.jit(metrics.reprojection_errors)
_pooled_numbers = jax.jit(_pixel_numbers)
_instance_numbers = jax.jit(jax.vmap(_pixel_numbers))


def _given_2d(dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    return np.asarray(dataset.clips.keypoints), np.asarray(dataset.clips.confidence)


@jax.jit
@jax.vmap
def _paper_numbers(
    errors: Array, visible: Array, keypoints: Array, confidence: Array, frame_mask: Array
) -> dict[str, Array]:
    """The paper's 2D numbers of ONE instance; hidden joints count like all others."""
    errors, visible = errors[:, : metrics.PAPER_JOINTS], visible[:, : metrics.PAPER_JOINTS]
    boxes = {
        "paper": losses.box_diagonal(keypoints, confidence, visible_only=False),
        "visible_box": losses.box_diagonal(keypoints, confidence, visible_only=True),
    }
    shares = {f"pck_0.05/{name}": metrics.pck(errors, box, visible, 0.05) for name, box in boxes.items()}
    return {"reprojection_px/paper": metrics.reprojection_mean(errors, visible, frame_mask), **shares}
