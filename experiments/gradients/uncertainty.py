"""Uncertainty of a fit for every joint at every phase: bands and, with ground truth, how often it lies within them.

    python -m experiments.gradients.uncertainty

Draws deviations of the field's heads and of every camera, shape and code from the Gauss-Newton posterior
(`nemo_jax.laplace`) and maps them to the joints of all frames. Positions are in the axes of a clip's camera relative to
the middle of the hips, split into the part along the joint's ray and the parts across.
"""

import dataclasses
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import scipy.linalg
from rich.console import Console

from body_models import joints as jn
from experiments.data.dataset import Dataset
from experiments.gradients import inputs, uncertainty_plot
from experiments.gradients.inputs import Posterior
from experiments.show.style import NO_FORMULAS, RC
from nemo_jax import laplace
from nemo_jax.laplace import Given, Tangents
from nemo_jax.options import option

Array = jax.Array
SHOWN = ("right_wrist", "left_knee")


USAGE = """\
How sure a fit is of every joint at every phase: bands, and, where the truth is known, how often
it lies in them.

  python -m experiments.gradients.uncertainty
"""


@dataclasses.dataclass(frozen=True)
class UncertaintySettings(inputs.SharedSettings):
    """All settings of the command line; each field is a flag."""

    samples: int = option(200, "Draws from the posterior.", least=2, most=100_000)
    joints: tuple[str, ...] = option(
        SHOWN,
        f"Keypoints of BODY_25 to draw, with commas between them. Not given: {','.join(SHOWN)}.",
        choices=jn.BODY_25_NAMES,
        separated=True,
        check=lambda names: None if names else "names none; give keypoints of BODY_25 such as right_wrist",
    )


class Uncertainty(NamedTuple):
    """The posterior of keypoints. mean (N, T, K, 3): keypoints, metres, in bases whose last axis is the ray.
    deviation (N, T, K, 3): standard deviations. bases (N, T, K, 3, 3): rows are two directions across the ray, then the
    ray, in camera axes. determined: number of directions that are determined by the data."""

    mean: np.ndarray
    deviation: np.ndarray
    bases: np.ndarray
    determined: float


class Calibration(NamedTuple):
    """The calibration of some clips. scale: factor of the standard deviations. within_1, within_2: shares of
    coordinates whose error is within one and two scaled standard deviations."""

    scale: float
    within_1: float
    within_2: float


def main() -> None:
    args = parse()
    console = inputs.plain_console()
    dataset, given = inputs.load(args.results, args.output_dir, console, args.seed)
    begun = time.perf_counter()
    posterior = inputs.posterior(given, args.spread, args.directions)
    found = uncertainty(posterior, args.seed, args.samples)
    scale = detector_pixels(posterior)
    console.print(
        f"{len(posterior.lower)} directions, of which the data decide about {found.determined:.0f}; detections are taken to "
        f"be off by {scale:.1f} px at confidence 1; {given.batch.instance.size} frames, {args.samples} samples, "
        f"{time.perf_counter() - begun:.0f} s"
    )
    exists = np.asarray(given.clips.frame_mask) > 0
    report(given, found.deviation, exists, console)
    errors, scale = true_errors(dataset, found), 1.0
    if errors is None:
        console.print("There is no ground truth to calibrate the bands by: they are drawn with scale 1")
    else:
        scale = report_calibration(errors, found.deviation, exists, console)
    with matplotlib.rc_context({**RC, **NO_FORMULAS}):
        picture = uncertainty_plot.draw(dataset, given, found, errors, scale, args.joints)
        inputs.save(picture, args.output_dir / "uncertainty.png", console)


def parse() -> UncertaintySettings:
    return inputs.parse(UncertaintySettings, USAGE)


def uncertainty(posterior: Posterior, seed: int, samples: int) -> Uncertainty:
    """The posterior of all keypoints at all frames; standard deviations have a relative sampling error of
    about 1 / sqrt(2 samples)."""
    given, lines = posterior.given, posterior.lines
    noise = np.random.default_rng(seed).standard_normal((samples, len(posterior.lower)))
    drawn = scipy.linalg.solve_triangular(posterior.lower.T, noise.T, lower=False).T
    points, bases = _points(given, lines)
    deviation = _deviation(given, lines, bases, jnp.asarray(drawn, lines.z.dtype))
    mean = jnp.einsum("bkij,bkj->bki", bases, inputs.from_mid_hip(points), precision="highest")
    placed = (np.asarray(laplace.in_clips(given.clips, given.batch, x)) for x in (mean, deviation, bases))
    # The trace of the inverse is the number of directions that are determined only by the prior.
    return Uncertainty(*placed, determined=float(drawn.shape[1] - np.mean(np.sum(drawn**2, -1))))


@jax.jit
def _points(given: Given, lines: Tangents) -> tuple[Array, Array]:
    """Keypoints (B, K, 3) in camera axes, and bases (B, K, 3, 3) at them."""
    points = laplace.frame_points(given, lines.z)
    return points, ray_bases(points)


@jax.jit
def _deviation(given: Given, lines: Tangents, bases: Array, drawn: Array) -> Array:
    """Standard deviations (B, K, 3), in the bases, over the samples `drawn` (S, D)."""

    def where(z: Array) -> Array:
        relative = inputs.from_mid_hip(laplace.frame_points(given, z))
        return jnp.einsum("bkij,bkj->bki", bases, relative, precision="highest").reshape(z.shape[0], -1)

    slopes = laplace.frame_jacobian(where, lines.z)

    def square(u: Array) -> Array:
        return jnp.einsum("bmz,bz->bm", slopes, laplace.push(lines, given.batch.instance, u)) ** 2

    return jnp.sqrt(jnp.mean(jax.lax.map(square, drawn), 0)).reshape(bases.shape[:-1])


def detector_pixels(posterior: Posterior) -> float:
    """The noise of the residuals in pixels, for a detection of confidence 1 in a clip of mean length and scale."""
    given = posterior.given
    frames = np.asarray(given.clips.frame_mask).sum(-1)
    weight = 2 / (2 * given.clips.keypoints.shape[2] * frames.mean() * len(frames))
    return posterior.noise / np.sqrt(weight) / float(np.mean(np.asarray(given.assets.pixel_scale)))


def ray_bases(points: Array) -> Array:
    """Orthonormal bases (..., 3, 3) at points (..., 3) in camera axes; rows point right, down, and along the ray."""
    ray = points / jnp.linalg.norm(points, axis=-1, keepdims=True)
    down = jnp.asarray([0.0, 1.0, 0.0])
    right = jnp.cross(jnp.broadcast_to(down, ray.shape), ray)
    right = right / jnp.maximum(jnp.linalg.norm(right, axis=-1, keepdims=True), 1e-9)
    return jnp.stack([right, jnp.cross(ray, right), ray], -2)


def true_errors(dataset: Dataset, found: Uncertainty) -> np.ndarray | None:
    """Error (N, T, K, 3) of the fit in the bases, metres; None without ground truth and true cameras."""
    if dataset.truth is None or dataset.cameras is None:
        return None
    true = np.stack([c.to_camera(np.asarray(j)) for c, j in zip(dataset.cameras, dataset.truth.joints, strict=True)])
    middle = jn.BODY_25_NAMES.index("mid_hip")
    relative = true - true[:, :, middle : middle + 1]
    return found.mean - np.einsum("ntkij,ntkj->ntki", found.bases, relative)


def calibrate(errors: np.ndarray, deviation: np.ndarray, mask: np.ndarray, scale: float | None = None) -> Calibration:
    """How often errors (N, T, K, 3) lie within standard deviations of the same shape.

    Args:
      mask (N, T, K): entries that count.
      scale: factor of the standard deviations; None = the factor with which 68.3% lie within one standard deviation.
    """
    ratio = np.abs(errors)[mask] / np.maximum(deviation[mask], 1e-9)
    scale = float(np.quantile(ratio, 0.6827)) if scale is None else scale
    return Calibration(scale, float((ratio <= scale).mean()), float((ratio <= 2 * scale).mean()))


def report(given: Given, deviation: np.ndarray, exists: np.ndarray, console: Console) -> None:
    """Prints standard deviations by joint, along and across the ray, and those of detected and lost joints."""
    usable = inputs.visible(given)
    mm = 1e3 * deviation
    across, along = np.sqrt((mm[..., :2] ** 2).mean(-1)), mm[..., 2]
    rows = []
    for k, joint in enumerate(jn.BODY_25_NAMES):
        if joint != "mid_hip":
            rows.append([joint, float(across[..., k][exists].mean()), float(along[..., k][exists].mean())])
    console.print(
        inputs.table("Standard deviation before calibration, mm", ["joint", "across the ray", "along it"], rows)
    )
    rows = []
    for what, mask in (("detected", usable), ("not detected", ~usable)):
        chosen = mask & exists[..., None]
        chosen[..., jn.BODY_25_NAMES.index("mid_hip")] = False
        if chosen.any():
            ratio = float(np.median(along[chosen] / np.maximum(across[chosen], 1e-9)))
            rows.append([what, int(chosen.sum()), float(across[chosen].mean()), float(along[chosen].mean()), ratio])
    columns = ["joints", "number", "across, mm", "along, mm", "median ratio"]
    console.print(inputs.table("The same by whether the detector found the joint", columns, rows))


def report_calibration(errors: np.ndarray, deviation: np.ndarray, exists: np.ndarray, console: Console) -> float:
    """Prints coverage, with a scale determined on every other clip and checked on the rest; returns the scale."""
    mask = np.repeat(exists[..., None], errors.shape[2], -1)
    mask[..., jn.BODY_25_NAMES.index("mid_hip")] = False
    first = (np.arange(len(errors)) % 2 == 0)[:, None, None]
    fitted = calibrate(errors, deviation, mask & first)
    if len(errors) > 1:
        mask = mask & ~first
    rows = []
    for what, scale in (("as computed", 1.0), ("scaled", fitted.scale)):
        for part, axes in (("all", slice(0, 3)), ("across the ray", slice(0, 2)), ("along the ray", slice(2, 3))):
            found = calibrate(errors[..., axes], deviation[..., axes], mask, scale)
            rows.append([what, part, scale, found.within_1, found.within_2])
    title = "Truth within the bands, on clips that the scale was not found on (a normal law: 0.683 and 0.954)"
    console.print(inputs.table(title, ["bands", "coordinates", "scale", "within 1", "within 2"], rows))
    return fitted.scale


if __name__ == "__main__":
    inputs.command(main)
