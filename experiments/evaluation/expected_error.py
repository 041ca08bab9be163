"""The error that a fit's poses are expected to have, per frame and clip, without any truth.

A frame's error is the mean distance of the first 15 joints of BODY_25 from the true ones, in the axes of the pelvis. Its
logarithm is a linear function of what the fit shows of itself (`FEATURES`); the weights in `expected_error.json` were fitted
to suites of recorded motion by `python -m experiments.benchmarks.calibration`, which says how well they are calibrated.
No number says more for a fit than the best that those suites showed of it. First poses count where a simulator made them,
whose errors there do not depend on the view; those of a detector are misled by the view that the fit sees too, so that
clips that are not simulated are expected as if they had none.
"""

import dataclasses
import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from body_models import joints as jn
from experiments.data.dataset import Dataset
from experiments.data.visible import visible
from experiments.results.equal_phases import interpolated
from experiments.results.fitted_motion import FittedMotion
from experiments.results.reading import Run
from nemo_jax.clips import GroundTruth

Array = np.ndarray

FEATURES = (
    "constant",
    "log reprojection error of the frame, shares of the box",
    "log reprojection error of the clip, shares of the box",
    "share of joints that are not seen in the frame",
    "share of joints that are not seen in the clip",
    "log turn of the joints from the initial pose, radians",
    "no initial pose",
    "log distance from the other clips at equal phase, metres",
    "log speed of the joints, metres a second",
    "how much all cameras look from one side",
    "log number of clips",
    "a single clip",
)
KEY = "expected_error_mm"  # of `metrics.json`: by the clip's name
WEIGHTS = Path(__file__).parent / "expected_error.json"
_JOINTS, _ROOT = 15, 8
_PHASES = 41


@dataclasses.dataclass(frozen=True)
class Calibration:
    """weights (len(FEATURES),): of the logarithm of the error in millimetres. least (len(FEATURES),): what a feature times
    its weight gives at least. spread: standard deviation of what they leave of a frame's logarithm, and clip_spread of a
    clip's, both of actions that were left out."""

    weights: Array
    least: Array
    spread: float
    clip_spread: float


@functools.cache
def shipped() -> Calibration:
    """The calibration that `expected_error.json` holds."""
    found = json.loads(WEIGHTS.read_text())
    weights, least = (np.array([found[key][name] for name in FEATURES]) for key in ("weights", "least"))
    return Calibration(weights, least, found["spread"], found["clip_spread"])


def expected_log(features: Array, weights: Array, least: Array) -> Array:
    """Expected logarithms (...) of errors in millimetres, of features (..., len(FEATURES)); else as in `Calibration`."""
    return np.maximum(features * weights, least).sum(-1)


def expected_mm(features: Array, calibration: Calibration) -> Array:
    """Expected errors (...), millimetres, of features (..., len(FEATURES)): the mean of a log-normal distribution."""
    return np.exp(expected_log(features, calibration.weights, calibration.least) + calibration.spread**2 / 2)


def of_frames(dataset: Dataset, features: Array) -> Array:
    """Expected errors (N, T), millimetres; NaN where a clip has no frame.

    dataset: N clips. features (N, T, len(FEATURES)): what their fit shows, see `features`.
    """
    exists = np.asarray(dataset.clips.frame_mask) > 0
    return np.where(exists, expected_mm(features, shipped()), np.nan)


def of_run(run: Run) -> Array:
    """The same of a run, as its fit has found them or, of a run that is read from its folder, found anew."""
    if run.expected_mm is not None:
        return run.expected_mm
    return of_frames(run.dataset, features(run.as_read, run.fitted, run.threshold))


def of_clips(frames: Array) -> Array:
    """Expected errors (N,), millimetres, of those of the frames (N, T)."""
    return np.array([np.nanmean(row) if np.isfinite(row).any() else np.nan for row in frames])


def as_metrics(names: Sequence[str], frames: Array) -> dict[str, float]:
    """The expected error of each clip by name, millimetres."""
    return {name: float(value) for name, value in zip(names, of_clips(frames), strict=True) if np.isfinite(value)}


def features(dataset: Dataset, fitted: FittedMotion, threshold: float) -> Array:
    """What a fit shows of itself: `FEATURES` (N, T, len(FEATURES)), finite everywhere.

    dataset: N clips, as read. fitted: their fit. threshold: a keypoint counts above this confidence.
    """
    clips, seen = dataset.clips, fitted.prediction
    exists = np.asarray(clips.frame_mask) > 0
    bare = in_pelvis_axes(np.asarray(seen.keypoints), np.asarray(seen.rotations)[:, :, 0])
    given = visible(dataset, threshold)[..., :_JOINTS]
    pixels = np.linalg.norm(fitted.scored_2d - np.asarray(clips.keypoints), axis=-1)[..., :_JOINTS]
    shares = pixels / np.maximum(np.asarray(dataset.box_size), 1e-6)[..., None]
    frame_error = _mean_where(shares, given, -1)
    clip_error = _mean_where(shares, given, (-2, -1))
    # A frame that shows nothing is no better than its clip.
    frame_error = np.where(given.any(-1), frame_error, clip_error[:, None])
    unseen = 1.0 - given.mean(-1)
    turn, posed = _turns(dataset, fitted)
    speed = np.linalg.norm(np.gradient(bare, axis=1), axis=-1).mean(-1) * np.asarray(clips.fps)[:, None]
    count = exists.any(1).sum()
    every = (
        np.ones(exists.shape),
        np.log(np.minimum(frame_error, 1.0) + 0.003),
        np.log(np.minimum(clip_error, 1.0) + 0.003)[:, None],
        unseen,
        _mean_where(unseen, exists, -1)[:, None],
        np.where(posed, np.log(turn + 0.05), 0.0),
        1.0 - posed,
        # A single clip agrees with no other.
        np.log(_from_others(bare, dataset, fitted, exists) + 0.01) if count > 1 else 0.0,
        np.log(np.minimum(speed, 20.0) + 0.1),
        _one_sided(fitted, exists),
        np.log(max(count, 1)),
        float(count <= 1),
    )
    return np.nan_to_num(np.stack([np.broadcast_to(each, exists.shape) for each in every], -1))


def in_pelvis_axes(keypoints: Array, root: Array) -> Array:
    """Joints (..., 15, 3) of keypoints (..., 25, 3) in the axes of the root (..., 3, 3), the middle of the hips at 0."""
    return (keypoints[..., :_JOINTS, :] - keypoints[..., _ROOT : _ROOT + 1, :]) @ root


def errors_mm(dataset: Dataset, fitted: FittedMotion) -> Array:
    """True errors (N, T), millimetres, of a dataset with a truth: what `of_frames` expects."""
    assert dataset.truth is not None
    seen = fitted.prediction
    found = in_pelvis_axes(np.asarray(seen.keypoints), np.asarray(seen.rotations)[:, :, 0])
    return 1000.0 * np.linalg.norm(found - true_joints(dataset.truth), axis=-1).mean(-1)


def true_joints(truth: GroundTruth) -> Array:
    """True joints (N, T, 15, 3), metres, in the axes of the pelvis."""
    turned = Rotation.from_rotvec(np.asarray(truth.pose)[:, :, 0].reshape(-1, 3)).as_matrix()
    return in_pelvis_axes(np.asarray(truth.joints), turned.reshape(*np.shape(truth.pose)[:2], 3, 3))


def _turns(dataset: Dataset, fitted: FittedMotion) -> tuple[Array, Array]:
    """Mean angle (N, T) between the joints of initial and fitted poses, and where there is an initial pose that counts."""
    posed = (np.asarray(dataset.clips.init_mask) > 0).astype(float) * (dataset.truth is not None)
    if not posed.any():
        return posed, posed
    given, own = np.asarray(dataset.clips.init_pose)[:, :, 1:22], np.asarray(fitted.prediction.rotations)[:, :, 1:22]
    between = Rotation.from_rotvec(given.reshape(-1, 3)).inv() * Rotation.from_matrix(own.reshape(-1, 3, 3))
    return between.magnitude().reshape(given.shape[:3]).mean(-1), posed


def _from_others(bare: Array, dataset: Dataset, fitted: FittedMotion, exists: Array) -> Array:
    """Distance (N, T) of the joints (N, T, 15, 3) from the mean of the other clips, of which there are some, at the same
    phase."""
    clips = np.flatnonzero(exists.any(1))
    out = np.zeros(exists.shape)
    bare = np.where(np.asarray(fitted.params.mirrored)[:, None, None, None] > 0.5, mirrored(bare), bare)
    phases = np.asarray(fitted.prediction.phase)
    at = np.linspace(0.0, 1.0, _PHASES)
    sampled = {n: interpolated(at, phases[n, exists[n]], bare[n, exists[n]]) for n in clips}
    for n in clips:
        others = np.nanmean([sampled[m] for m in clips if m != n], 0)
        there = interpolated(phases[n, exists[n]], at, others)
        out[n, exists[n]] = np.linalg.norm(bare[n, exists[n]] - there, axis=-1).mean(-1)
    return out


def mirrored(joints: Array) -> Array:
    """Joints (..., 15, 3) in the axes of the pelvis, reflected: left for right."""
    return joints[..., jn.MIRROR_BODY_25[:_JOINTS], :] * np.array((-1.0, 1.0, 1.0))


def _one_sided(fitted: FittedMotion, exists: Array) -> float:
    """Length of the mean of the directions from which clips are seen, in the axes of the body: 1 = all from one side."""
    forward = np.asarray(fitted.camera_from_world)[:, 2]
    roots = np.asarray(fitted.prediction.rotations)[:, :, 0]
    seen_from = np.einsum("ntij,ni->ntj", roots, forward)[exists]
    return float(np.linalg.norm(seen_from.mean(0))) if len(seen_from) else 1.0


def _mean_where(values: Array, where: Array, axis: int | tuple[int, ...]) -> Array:
    return np.where(where, values, 0.0).sum(axis) / np.maximum(where.sum(axis), 1)


def described(expected: Mapping[str, float], calibration: Calibration) -> str:
    """A sentence on the expected errors of all clips, of which there is one at least."""
    values = list(expected.values())
    return (
        f"Expected error of the poses: {np.mean(values):.0f} mm, of the worst clip {max(values):.0f} mm, give or take a "
        f"factor of {np.exp(calibration.clip_spread):.1f} for two clips of three"
    )


def document(calibration: Calibration, about: Mapping[str, Any]) -> str:
    """The text of `expected_error.json`."""
    named = lambda values: {name: round(float(value), 5) for name, value in zip(FEATURES, values, strict=True)}
    spreads = {name: round(getattr(calibration, name), 4) for name in ("spread", "clip_spread")}
    values = {**about, **spreads, "weights": named(calibration.weights), "least": named(calibration.least)}
    return json.dumps(values, indent=1) + "\n"
