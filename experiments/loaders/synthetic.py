"""The synthetic action: eight baseball pitches made from key frames, so that the project runs with no data at all.

Every instance is the pitch of `experiments.simulation.pitch` with its own timing, style and body, seen through
`experiments.simulation.observations`: its own camera, detector noise, lost joints and errors of the initial pose. The
truth is kept.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.spatial.transform import Rotation

from body_models import joints as jn
from body_models import smpl
from experiments.data.dataset import Dataset, DatasetError
from experiments.loaders import simulated
from experiments.simulation import observations as simulate
from experiments.simulation import pitch

Array = np.ndarray
ACTION = "baseball_pitch"


@dataclasses.dataclass(frozen=True)
class StyleModel:
    """How one thrower differs from another. Angles are sd per rotation-vector component, radians."""

    frames_range: tuple[int, int] = (70, 130)  # length of a clip
    fps: float = simulate.MODELLED_FPS
    timing_knots: int = 9  # stretches of the action that each take their own time
    timing_sd: float = 0.25  # sd of the logarithm of a stretch's duration
    root_sd: tuple[float, float] = (0.05, 0.03)  # (constant over the clip, smooth over phase)
    trunk_sd: tuple[float, float] = (0.05, 0.03)
    leg_sd: tuple[float, float] = (0.05, 0.03)
    arm_sd: tuple[float, float] = (0.12, 0.08)
    off_hinge: float = 0.3  # share of the variation that knees and elbows show off their hinge
    smooth_width: float = 0.08  # sd in phase of the kernel that makes the smooth part smooth
    betas_sd: float = 0.8  # shape coefficients, cut at twice this


# A pitch moves far more than the walks and gestures that the defaults are meant for, so the pull to the mean pose
# weighs more; with these the initial poses are 100 to 130 mm (MPJPE) from the truth.
OBSERVATIONS = simulate.ObservationModel(bias_sd=0.1, drift_sd=0.1)
_GRID = 201  # phases at which smooth variation is drawn


def load(
    body: smpl.SMPL,
    seed: int = 0,
    num_instances: int = 8,
    observations: simulate.ObservationModel = OBSERVATIONS,
    style: StyleModel | None = None,
) -> Dataset:
    """Makes `num_instances` synthetic pitches. Equal arguments give equal data; instance n does not depend on how many
    follow.

    Raises:
      DatasetError: fewer than one instance is asked for.
    """
    if num_instances < 1:
        raise DatasetError(f"the synthetic pitch was asked for {num_instances} instances; ask for at least 1")
    style = style or StyleModel()
    seen = []
    for number in range(num_instances):
        rng = np.random.default_rng([seed, number])
        seen.append(simulate.observe(rng, body, draw_pitch(rng, body, style), observations))

    note = (
        f"The {num_instances} clips are synthetic: a key-framed right-handed pitch with simulated cameras, detections and "
        "initial poses; no person was filmed."
    )
    names = [f"pitch_{number}" for number in range(num_instances)]
    return simulated.dataset(seen, names, ACTION, note, body.num_betas)


def draw_pitch(rng: np.random.Generator, body: smpl.SMPL, style: StyleModel) -> simulate.Motion:
    """One pitch with a timing, a style and a body of its own, standing on y = 0."""
    frames = int(rng.integers(style.frames_range[0], style.frames_range[1] + 1))
    phases = draw_timing(rng, frames, style)
    delta = draw_style(rng, phases, style)
    betas = np.clip(rng.normal(0, style.betas_sd, body.num_betas), -2 * style.betas_sd, 2 * style.betas_sd)
    rotations = pitch.sample(phases) * Rotation.from_rotvec(delta.reshape(-1, 3))
    pose = rotations.as_rotvec().reshape(frames, jn.NUM_JOINTS, 3)
    keypoints = simulate.body_keypoints(body, pose, betas)
    translation = pitch.ground_translation(phases, keypoints)
    return simulate.Motion(pose=pose, translation=translation, betas=betas, fps=style.fps)


def draw_timing(rng: np.random.Generator, frames: int, style: StyleModel) -> Array:
    """Phases (frames,) of a clip, strictly increasing from 0 to 1."""
    durations = np.exp(rng.normal(0, style.timing_sd, style.timing_knots))
    times = np.concatenate([[0], np.cumsum(durations)]) / durations.sum()
    phases = np.linspace(0, 1, style.timing_knots + 1)
    return PchipInterpolator(times, phases)(np.linspace(0, 1, frames))


def draw_style(rng: np.random.Generator, phases: Array, style: StyleModel) -> Array:
    """Rotation vectors (F, 24, 3) by which one thrower's joints differ from the key frames'."""
    constant_sd, smooth_sd = _spread(style)
    constant = rng.standard_normal((1, jn.NUM_JOINTS, 3))
    smooth = simulate.smooth_noise(rng, _GRID, (jn.NUM_JOINTS, 3), style.smooth_width * (_GRID - 1))
    position = phases * (_GRID - 1)
    low = np.minimum(position.astype(int), _GRID - 2)
    part = (position - low)[:, None, None]
    return constant * constant_sd + (smooth[low] * (1 - part) + smooth[low + 1] * part) * smooth_sd


def _spread(style: StyleModel) -> tuple[Array, Array]:
    """Standard deviations (24, 3) of the constant and the smooth variation of every joint."""
    spread = np.zeros((2, jn.NUM_JOINTS, 3))
    for joint, name in enumerate(jn.SMPL_JOINTS):
        part = name.split("_")[-1]
        if joint == 0:
            spread[:, joint] = np.array(style.root_sd)[:, None]
        elif part in ("hip", "knee", "ankle"):
            spread[:, joint] = np.array(style.leg_sd)[:, None]
        elif part in ("shoulder", "elbow"):
            spread[:, joint] = np.array(style.arm_sd)[:, None]
        elif part not in ("foot", "wrist", "hand", "collar"):
            spread[:, joint] = np.array(style.trunk_sd)[:, None]
        hinge = {"knee": 0, "elbow": 1}.get(part)
        if hinge is not None:
            spread[:, joint, np.arange(3) != hinge] *= style.off_hinge
    return spread[0], spread[1]
