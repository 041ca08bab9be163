"""The scores of fits: numbers for `metrics.json`, for all instances of a fit together and for each instance.

3D errors (`experiments.evaluation.pose_errors`) are means over an instance's frames, then over instances. Reprojection
errors are means over all visible joints of all instances; the paper's 2D errors are means over instances. Scores that
need ground truth, initial poses or hidden joints exist only if the dataset has these.

Fits of one size are scored together by two compiled programs: M fits of N instances and T frames (a size of
`nemo_jax.stacking`) are M N instances.
"""

import dataclasses
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from body_models import smpl
from body_models.pytree import Tree, pytree
from experiments.base.programs import Program
from experiments.data import padding
from experiments.data.dataset import Dataset
from experiments.data.visible import reference, visible
from experiments.evaluation import pose_errors
from experiments.evaluation.pose_errors import In3D
from experiments.results.fitted_motion import FittedMotion
from nemo_jax import contact, ground, losses, metrics, rig, stature, world_metrics

Array = jax.Array
Numbers = dict[str, float]


@dataclasses.dataclass(frozen=True)
class ToScore:
    """A fit to be scored.

    dataset: the clips as read, before joints were hidden. fitted: the fit. hidden (N, T, K): true where a joint was hidden
    from the fit; None if no joints were hidden. threshold: a joint is visible if its confidence is above this.
    """

    dataset: Dataset
    fitted: FittedMotion
    hidden: np.ndarray | None
    threshold: float


@pytree
class _Arrays:
    """The inputs of the scores; leading axes are (N,) for one fit, (M, N) for stacked fits, (M N,) inside the program.

    predicted, given, reference (T, K, 2): pixels of the fit, of the clips, and of the reference of 2D errors.
    seen (T, K): joints that the fit saw and is scored on. scored (T, K): joints of the paper's errors. hidden (T, K):
    joints hidden from the fit, or None. reference_confidence (T, K). diagonal (T,): of the person's box. mask (T,). feet
    (T, 4, 3), planted (T, 4): the feet's points of contact and their probabilities, ground (5,) or (6,): the fit's floor,
    all None where it has none. fps (): frames per second.
    in_3d: inputs of the 3D errors; None without ground truth.
    betas (S,): the fit's shape. height (): metres, NaN where it is not known. scaled (): true where the scale is known.
    """

    predicted: Array
    given: Array
    reference: Array
    reference_confidence: Array
    seen: Array
    scored: Array
    hidden: Array | None
    diagonal: Array
    mask: Array
    in_3d: In3D | None
    feet: Array | None
    planted: Array | None
    ground: Array | None
    fps: Array
    betas: Array
    height: Array
    scaled: Array


def evaluate(
    dataset: Dataset, fitted: FittedMotion, nose_body: smpl.SMPL, hidden: np.ndarray | None, threshold: float
) -> tuple[Numbers, dict[str, Numbers]]:
    """All scores of one fit; see `ToScore` and `evaluate_many`."""
    return evaluate_many([ToScore(dataset, fitted, hidden, threshold)], nose_body)[0]


def evaluate_many(
    fits: Sequence[ToScore], nose_body: smpl.SMPL, frames: int | None = None
) -> list[tuple[Numbers, dict[str, Numbers]]]:
    """All scores of several fits.

    Args:
      fits: the fits. nose_body: their body, with BODY_25's nose as keypoint 0.
      frames: length to which clips are padded; None = a length given by `padding.slots`.

    Returns:
      For each fit, the scores of the whole fit and those of each instance, by name. No score is NaN.
    """
    found: dict[int, tuple[Numbers, dict[str, Numbers]]] = {}
    for members, stacked in _groups(fits, frames):
        in_3d = {} if stacked.in_3d is None else _score_3d(stacked.in_3d, stacked.mask, nose_body)
        each, pooled = _score(stacked, nose_body)
        each, pooled = jax.device_get((each | in_3d, pooled))
        for row, number in enumerate(members):
            own, whole = ({key: values[row] for key, values in part.items()} for part in (each, pooled))
            found[number] = _named(fits[number].dataset, own, whole)
    return [found[number] for number in range(len(fits))]


def compile_ahead(fits: Sequence[ToScore], nose_body: smpl.SMPL, frames: int | None = None) -> None:
    """Compiles the programs that `evaluate_many` uses for these fits."""
    for _, stacked in _groups(fits, frames):
        # The one that compiles longer first.
        if stacked.in_3d is not None:
            _score_3d.ahead(stacked.in_3d, stacked.mask, nose_body)
        _score.ahead(stacked, nose_body)


def _groups(fits: Sequence[ToScore], frames: int | None) -> list[tuple[list[int], _Arrays]]:
    """Groups of fits of one size: the indices of the fits, and their stacked arrays."""
    frames = frames or max(padding.slots(each.dataset.clips.num_frames) for each in fits)
    arrays = [_arrays_of(each, frames) for each in fits]
    groups: dict[Hashable, list[int]] = {}
    for number, own in enumerate(arrays):
        shapes = tuple(leaf.shape for leaf in jax.tree.leaves(own))
        groups.setdefault((jax.tree.structure(own), shapes), []).append(number)
    stack = lambda members: jax.tree.map(lambda *leaves: np.stack(leaves), *(arrays[number] for number in members))
    return [(members, stack(members)) for members in groups.values()]


def _arrays_of(one: ToScore, frames: int) -> _Arrays:
    """The arrays of a fit (N, ...), padded, on the host."""
    dataset, fitted = padding.dataset(one.dataset, frames), one.fitted.padded(frames)
    hidden = None if one.hidden is None else padding.array(one.hidden, frames).astype(bool)
    keypoints, confidence, scored = reference(dataset, one.threshold)
    height, known = dataset.clips.height, rig.of_clips(dataset.clips)
    arrays: dict[str, Any] = {
        "betas": np.asarray(fitted.params.betas),
        "height": np.full(len(dataset.names), np.nan, np.float32) if height is None else np.asarray(height, np.float32),
        # How far apart known cameras are says the scale.
        "scaled": np.zeros(len(dataset.names), bool) if known is None else np.asarray(rig.in_rig(known)),
        "predicted": fitted.scored_2d,
        "given": np.asarray(dataset.clips.keypoints),
        "reference": np.asarray(keypoints),
        "reference_confidence": np.asarray(confidence),
        # If the reference differs from the input, the fit has seen none of its keypoints.
        "seen": scored if hidden is None or dataset.reference_2d is not None else scored & ~hidden,
        "scored": scored,
        "hidden": None if hidden is None else visible(dataset, one.threshold) & hidden,
        "diagonal": np.asarray(dataset.box_size),
        "mask": np.asarray(dataset.clips.frame_mask),
        "in_3d": None if dataset.truth is None else pose_errors.gather(dataset, fitted),
    }
    planted = fitted.contact
    arrays |= {"feet": None, "planted": None, "ground": None, "fps": np.asarray(dataset.clips.fps, np.float32)}
    if planted is not None:
        arrays["feet"] = np.asarray(fitted.prediction.keypoints)[:, :, list(contact.FEET)]
        arrays["planted"] = planted[..., : len(contact.FEET)]
        arrays["ground"] = np.repeat(np.asarray(fitted.params.ground)[None], dataset.clips.num_instances, 0)
    return _Arrays(**arrays)


def _numbers(fits: _Arrays, nose_body: smpl.SMPL) -> tuple[dict[str, Array], dict[str, Array]]:
    """Scores (M, N) of instances but 3D errors, and scores (M,) over all joints of each fit."""
    shape, every = fits.mask.shape[:2], _instances(fits)
    each: dict[str, Array] = jax.vmap(_paper_numbers)(every)
    pooled = {}
    errors = metrics.reprojection_errors(every.predicted, every.reference)
    kinds = [("", errors, every.seen)]
    if every.hidden is not None:
        # Hidden joints are always compared with the hidden input keypoints.
        own = metrics.reprojection_errors(every.predicted, every.given)
        kinds.append(("heldout_", own, every.hidden))
    for prefix, pixels, seen in kinds:
        parts = (pixels, pixels / jnp.maximum(every.diagonal, 1e-6)[..., None], every.diagonal, seen)
        each |= {prefix + name: values for name, values in jax.vmap(_pixel_numbers)(*parts).items()}
        # All instances of a fit are joined to one long clip.
        long = [leaf.reshape(shape[0], -1, *leaf.shape[2:]) for leaf in parts]
        pooled |= {prefix + name: values for name, values in jax.vmap(_pixel_numbers)(*long).items()}
    if every.feet is not None and every.planted is not None and every.ground is not None:
        soles = jax.vmap(ground.soles, (0, None))(every.ground, contact.soles(nose_body)[0])
        of_feet = jax.vmap(world_metrics.standing)
        own = of_feet(every.feet, soles, every.planted, every.mask, every.fps)
        each |= {f"{name}/fit": values for name, values in own.items()}
    each |= _metres(every, nose_body)
    return _of_fits(each, shape), pooled


def _numbers_3d(known: In3D, mask: Array, nose_body: smpl.SMPL) -> dict[str, Array]:
    """3D errors (M, N, methods) of instances; leaves of `known` are (M, N, ...), mask (M, N, T)."""
    return _of_fits(pose_errors.in_3d(_instances(known), _instances(mask), nose_body), mask.shape[:2])


def _instances(fits: Tree) -> Tree:
    """Leaves (M N, ...) of leaves (M, N, ...)."""
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), fits)


def _of_fits(each: dict[str, Array], shape: tuple[int, ...]) -> dict[str, Array]:
    return {name: values.reshape(*shape, *values.shape[1:]) for name, values in each.items()}


# Two programs, which compile beside each other.
_score, _score_3d = Program(_numbers, once=True), Program(_numbers_3d, once=True)


def _metres(every: _Arrays, body: smpl.SMPL) -> dict[str, Array]:
    """How tall people (I,) are, metres, and how sure that is, which is how sure all metres of the clips are, percent."""
    share = jnp.where(every.scaled, 0.0, stature.scale_uncertainty(body, every.betas, every.height))
    return {"height_m/fit": stature.of(body, every.betas), "scale_sd_percent/fit": 100 * share}


def _pixel_numbers(pixels: Array, shares: Array, boxes: Array, seen: Array) -> dict[str, Array]:
    return {
        "reprojection_px/median": metrics.masked_median(pixels, seen),
        "reprojection_share/median": metrics.masked_median(shares, seen),
        "pck_0.05/fit": metrics.pck(pixels, boxes, seen, 0.05),
        "pck_auc/fit": metrics.pck_auc(pixels, boxes, seen),
    }


def _paper_numbers(one: _Arrays) -> dict[str, Array]:
    """The paper's 2D scores of ONE instance; hidden joints count like all others."""
    errors = metrics.reprojection_errors(one.predicted, one.reference)
    errors, seen = errors[:, : metrics.PAPER_JOINTS], one.scored[:, : metrics.PAPER_JOINTS]
    boxes = {
        "paper": losses.box_diagonal(one.reference, one.reference_confidence, visible_only=False),
        "visible_box": losses.box_diagonal(one.reference, one.reference_confidence, visible_only=True),
    }
    shares = {f"pck_0.05/{name}": metrics.pck(errors, box, seen, 0.05) for name, box in boxes.items()}
    return {"reprojection_px/paper": metrics.reprojection_mean(errors, seen, one.mask), **shares}


def _named(
    dataset: Dataset, each: Mapping[str, np.ndarray], pooled: Mapping[str, np.ndarray]
) -> tuple[Numbers, dict[str, Numbers]]:
    """Scores of the fit and of each instance, by their names in `metrics.json`, without those that are not finite."""
    methods = [*pose_errors.given_poses(dataset), "fit"]
    single = {}
    for key, values in each.items():
        columns = {key: values} if values.ndim == 1 else {f"{key}/{m}": values[:, i] for i, m in enumerate(methods)}
        single |= {name: column for name, column in columns.items() if np.isfinite(column).any()}
    # Scores over pooled joints come first; all other scores of the fit are means over instances.
    whole = {name: float(value) for name, value in pooled.items()}
    whole |= {name: float(np.nanmean(values)) for name, values in single.items() if name not in whole}
    named = {
        name: {key: float(values[row]) for key, values in single.items() if np.isfinite(values[row])}
        for row, name in enumerate(dataset.names)
    }
    return {key: value for key, value in whole.items() if np.isfinite(value)}, named
