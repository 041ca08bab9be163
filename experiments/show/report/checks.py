"""Finds suspicious results: frames far from their input, clips unlike the others, clips with few visible joints, and
implausible cameras.

No check needs ground truth. Shapes use N clips, T frames, P = 41 phases.
"""

import dataclasses

import numpy as np

from body_models import joints as jn
from experiments.data.dataset import Dataset
from experiments.data.visible import visible
from experiments.results import equal_phases, pixel_errors
from experiments.results.fitted_motion import FittedMotion
from nemo_jax import metrics

Array = np.ndarray

# Thresholds; `CRITERIA` describes them in words.
HIGH_ERROR = 0.05  # mean error over a frame's visible joints, as a share of the person's box
LEAST_JOINTS = 3  # number of visible joints that a frame needs to be checked
BRIDGE = 2  # frames between two bad ones that count as bad too
FAR_MM, FAR_TIMES = 100.0, 2.5  # distance of a clip's motion from the median of all clips, at equal phase
FAR_CODE = 3.0  # multiple of the median distance from the median code
FAR_WARP = 0.2  # difference in phase from the median warp
STILL_PHASE, STILL_SHARE = 0.02, 0.4  # the phase rises by at most the first within this share of the clip
SEEN_SHARE, UNSEEN_RUN = 0.6, 10  # share of annotated joints that are visible; number of consecutive frames
NEAR_M, FAR_M = 1.0, 50.0
PITCH_DEG, ROLL_DEG = 45.0, 25.0
FEW = 3  # number of clips that a median over clips needs

CRITERIA = {
    "motion": f"At equal phase its joints, roots at the origin, are on average more than {FAR_MM:.0f} mm and more than "
    f"{FAR_TIMES:g} times as far from the median of all clips as the median clip (mirrored clips are turned back first).",
    "code": f"Its code is more than {FAR_CODE:g} times as far from the median code as the median clip's.",
    "time warp": f"Its warp is more than {FAR_WARP:g} of phase away from the median warp somewhere, or its phase rises "
    f"by at most {STILL_PHASE:g} during {STILL_SHARE:.0%} of the clip or more.",
    "detections": f"Fewer than {SEEN_SHARE:.0%} of its annotated joints are visible, or {UNSEEN_RUN} or more frames in "
    f"a row show fewer than {LEAST_JOINTS}.",
    "camera": f"The person is nearer than {NEAR_M:g} m or farther than {FAR_M:g} m, behind the lens in some frame, or "
    f"the camera looks up or down by more than {PITCH_DEG:g}° or is rolled by more than {ROLL_DEG:g}°.",
    "mirrored": "The fit took it for the other hand or foot and reflects the shared motion for it: check that it is so.",
}


@dataclasses.dataclass(frozen=True)
class Stretch:
    """Frames `first` to `last` of a clip with errors above `HIGH_ERROR`; `worst` has the largest error, `error`."""

    instance: int
    first: int
    last: int
    worst: int
    error: float


@dataclasses.dataclass(frozen=True)
class Finding:
    """One of `CRITERIA` that a clip meets, with details."""

    instance: int
    kind: str
    text: str


def frame_errors(dataset: Dataset, fitted: FittedMotion, threshold: float) -> Array:
    """Mean error (N, T) over the visible joints as a share of the person's box; NaN with fewer than `LEAST_JOINTS`."""
    errors, seen = pixel_errors.from_input(dataset, fitted, threshold)
    count = seen.sum(-1)
    mean = np.where(seen, errors, 0).sum(-1) / np.maximum(count, 1)
    return np.where(count >= LEAST_JOINTS, mean / np.maximum(dataset.box_size, 1e-6), np.nan)


def stretches(errors: Array) -> list[Stretch]:
    """Runs of frames above `HIGH_ERROR` of errors (N, T), the worst first."""
    found = []
    for instance, row in enumerate(errors):
        bad = np.flatnonzero(np.nan_to_num(row) > HIGH_ERROR)
        if not bad.size:
            continue
        for run in np.split(bad, np.flatnonzero(np.diff(bad) > BRIDGE + 1) + 1):
            worst = int(run[np.argmax(row[run])])
            found.append(Stretch(instance, int(run[0]), int(run[-1]), worst, float(row[worst])))
    return sorted(found, key=lambda stretch: -stretch.error)


def findings(dataset: Dataset, fitted: FittedMotion, threshold: float) -> list[Finding]:
    """All `CRITERIA` that each clip meets, in the order of the clips."""
    found = [
        *_motion(dataset, fitted),
        *_code(dataset, fitted),
        *_warp(dataset, fitted),
        *_detections(dataset, threshold),
        *_camera(dataset, fitted),
        *_mirrored(dataset, fitted),
    ]
    return sorted(found, key=lambda finding: finding.instance)


def _frames(dataset: Dataset, instance: int) -> int:
    return int(np.asarray(dataset.clips.frame_mask[instance]).sum())


def motion_distances(dataset: Dataset, fitted: FittedMotion) -> Array:
    """Mean distance (N,) in mm of each clip's joints from the median of all clips at equal phase."""
    grid = np.linspace(0, 1, 41)
    motions = []
    for n in range(len(dataset.names)):
        joints = equal_phases.joints_at(dataset, fitted, n, grid)
        if fitted.params.mirrored[n] > 0.5:
            joints = joints[:, jn.MIRROR_BODY_25[: joints.shape[1]]] * [-1.0, 1.0, 1.0]
        motions.append(joints)
    stacked = np.stack(motions)
    away = np.linalg.norm(stacked - np.median(stacked, 0), axis=-1)
    return metrics.MILLIMETRES * away.mean((1, 2))


def _motion(dataset: Dataset, fitted: FittedMotion) -> list[Finding]:
    if len(dataset.names) < FEW:
        return []
    away = motion_distances(dataset, fitted)
    usual = float(np.median(away))
    bad = np.flatnonzero((away > FAR_MM) & (away > FAR_TIMES * usual))
    text = "its joints are {:.0f} mm from the median motion; of the median clip {:.0f} mm"
    return [Finding(int(n), "motion", text.format(away[n], usual)) for n in bad]


def _code(dataset: Dataset, fitted: FittedMotion) -> list[Finding]:
    if len(dataset.names) < FEW:
        return []
    codes = np.asarray(fitted.params.codes)
    away = np.linalg.norm(codes - np.median(codes, 0), axis=1)
    times = away / max(float(np.median(away)), 1e-12)
    return [
        Finding(int(n), "code", f"its code is {times[n]:.1f} times as far from the median code as the median clip's")
        for n in np.flatnonzero(times > FAR_CODE)
    ]


def _warp(dataset: Dataset, fitted: FittedMotion) -> list[Finding]:
    grid = np.linspace(0, 1, 41)
    phase, raw = np.asarray(fitted.prediction.phase), fitted.raw_phases
    counts = [_frames(dataset, n) for n in range(len(dataset.names))]
    warps = np.stack([np.interp(grid, raw[n, :count], phase[n, :count]) for n, count in enumerate(counts)])
    found = []
    away = np.abs(warps - np.median(warps, 0))
    for n in range(len(warps)):
        at = int(np.argmax(away[n]))
        if len(warps) >= FEW and away[n, at] > FAR_WARP:
            text = f"after {grid[at]:.0%} of the clip its phase is {warps[n, at]:.2f}; that of the median clip "
            found.append(Finding(n, "time warp", text + f"{np.median(warps[:, at]):.2f}"))
        ends = np.searchsorted(warps[n], warps[n] + STILL_PHASE, side="right") - 1
        longest = int(np.argmax(ends - np.arange(len(grid))))
        share = grid[ends[longest]] - grid[longest]
        if share >= STILL_SHARE:
            text = f"its phase hardly moves from {grid[longest]:.0%} to {grid[ends[longest]]:.0%} of the clip"
            found.append(Finding(n, "time warp", text))
    return found


def seen_shares(dataset: Dataset, threshold: float) -> Array:
    """Share (N,) of the annotated joints that are visible."""
    frames = np.asarray(dataset.clips.frame_mask).sum(1)
    return visible(dataset, threshold).sum((1, 2)) / np.maximum(frames * len(dataset.annotated), 1)


def _detections(dataset: Dataset, threshold: float) -> list[Finding]:
    found = []
    shares = seen_shares(dataset, threshold)
    enough = visible(dataset, threshold).sum(-1) >= LEAST_JOINTS
    for n, share in enumerate(shares):
        if share < SEEN_SHARE:
            found.append(Finding(n, "detections", f"{share:.0%} of its annotated joints are visible"))
        # Runs of consecutive frames with too few visible joints, between frames with enough.
        marks = np.flatnonzero(np.concatenate([[True], enough[n, : _frames(dataset, n)], [True]]))
        gaps = np.diff(marks) - 1
        if gaps.size and gaps.max() >= UNSEEN_RUN:
            first = int(marks[np.argmax(gaps)])
            text = f"frames {first} to {first + int(gaps.max()) - 1} show fewer than {LEAST_JOINTS} joints"
            found.append(Finding(n, "detections", text))
    return found


@dataclasses.dataclass(frozen=True)
class CameraPlace:
    """The placement of a camera: median distance and smallest depth of the root in metres; its pitch (upwards) and roll
    in degrees."""

    distance: float
    nearest: float
    up: float
    roll: float


def camera_place(dataset: Dataset, fitted: FittedMotion, instance: int) -> CameraPlace:
    frames = _frames(dataset, instance)
    hip = jn.BODY_25_NAMES.index("mid_hip")
    root = np.asarray(fitted.prediction.keypoints)[instance, :frames, hip]
    rotation = fitted.camera_from_world[instance]
    seen = root @ rotation.T + fitted.camera_translation[instance]
    if fitted.camera_turn is not None:
        seen = np.einsum("tij,tj->ti", fitted.camera_turn[instance, :frames], seen)
    right, down, ahead = rotation[:, 1]  # heights of the camera's axes in the world, whose y is up
    return CameraPlace(
        distance=float(np.median(np.linalg.norm(seen, axis=-1))),
        nearest=float(seen[:, 2].min()),
        up=float(np.degrees(np.arcsin(np.clip(ahead, -1, 1)))),
        roll=float(np.degrees(np.arctan2(right, -down))),
    )


def _camera(dataset: Dataset, fitted: FittedMotion) -> list[Finding]:
    found = []
    for n in range(len(dataset.names)):
        place = camera_place(dataset, fitted, n)
        faults = [
            (place.nearest <= 0, "the person is behind its lens in some frame"),
            (0 < place.distance < NEAR_M, f"the person is {place.distance:.2f} m away"),
            (place.distance > FAR_M, f"the person is {place.distance:.0f} m away"),
            (abs(place.up) > PITCH_DEG, f"it looks {'up' if place.up > 0 else 'down'} by {abs(place.up):.0f}°"),
            (abs(place.roll) > ROLL_DEG, f"it is rolled by {abs(place.roll):.0f}°"),
        ]
        found += [Finding(n, "camera", text) for wrong, text in faults if wrong]
    return found


def _mirrored(dataset: Dataset, fitted: FittedMotion) -> list[Finding]:
    text = "the shared motion is reflected for it"
    return [Finding(n, "mirrored", text) for n in range(len(dataset.names)) if fitted.params.mirrored[n] > 0.5]
