"""Which detections pull the motion: how far one joint at one moment moves for a pixel of any detection of any clip.

    python -m experiments.gradients.influence --joint=right_wrist --phase=0.6

By the implicit function theorem at the fitted parameters: a detection moves, the minimum of the damped loss moves with it,
and the joint with that. The Gauss-Newton precision of `nemo_jax.laplace` stands for the curvature; three linear systems,
one for each coordinate of the joint, serve all detections. At the end the strongest detection is really moved and the
damped loss really minimised again, to compare.
"""

import dataclasses
import time

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
from rich.console import Console

from body_models import joints as jn
from experiments.base.errors import UserError
from experiments.data.dataset import Dataset
from experiments.gradients import influence_plot, inputs
from experiments.gradients.inputs import Posterior
from experiments.show.style import NO_FORMULAS, RC
from nemo_jax import laplace
from nemo_jax.laplace import Given, Tangents
from nemo_jax.options import option

Array = jax.Array


USAGE = """\
Which detections pull the motion: how far one joint at one moment moves for a pixel of any
detection of any clip.

  python -m experiments.gradients.influence --joint=right_wrist --phase=0.6
"""


@dataclasses.dataclass(frozen=True)
class InfluenceSettings(inputs.SharedSettings):
    """Everything the command line says; each field is a flag."""

    spread: float = option(0.1, "Prior and damping; see nemo_jax.laplace.", above=0, most=1e6)
    instance: str | None = option(None, "Name of the clip. Not given: the first.")
    joint: str = option("right_wrist", "Keypoint of BODY_25 whose motion is asked about.", choices=jn.BODY_25_NAMES)
    phase: float = option(0.6, "When, in the phase of the shared motion.", least=0, most=1)
    pixels: float = option(5.0, "Pixels by which the strongest detection is moved to compare.", above=0, most=1e4)


@dataclasses.dataclass(frozen=True)
class Target:
    """The joint whose motion is asked about: keypoint of instance and frame."""

    instance: int
    frame: int
    keypoint: int


def main() -> None:
    args = parse()
    console = inputs.plain_console()
    dataset, given = inputs.load(args.results, args.output_dir, console, args.seed)
    target = find_target(dataset, given, args.instance, args.phase, args.joint)
    begun = time.perf_counter()
    posterior = inputs.posterior(given, args.spread, args.directions)
    console.print(
        f"{len(posterior.lower)} directions, {given.batch.instance.size} frames: {time.perf_counter() - begun:.0f} s for "
        "the precision and its factor"
    )
    begun = time.perf_counter()
    slopes = influence(posterior, target)
    console.print(f"Slopes by all detections: {time.perf_counter() - begun:.1f} s")
    size = millimetres_per_pixel(slopes)
    report(dataset, target, size, console)
    moved, step = strongest(size), np.full(2, args.pixels / np.sqrt(2), np.float32)
    ends = [displacement(posterior, target, jnp.asarray(given.clips.keypoints).at[moved].add(s)) for s in (step, -step)]
    found, predicted = 1e3 * (ends[0][0] - ends[1][0]) / 2, 1e3 * slopes[:, *moved] @ step
    console.print(
        f"{name(dataset, moved)} moved by {args.pixels:g} px and fitted again: {args.joint} moves by {_vector(found)} mm, "
        f"predicted {_vector(predicted)} mm (camera x, y, z; gradient left {max(end[1] for end in ends):.1e})"
    )
    with matplotlib.rc_context({**RC, **NO_FORMULAS}):
        at = (target.instance, target.frame, target.keypoint)
        inputs.save(influence_plot.draw(dataset, given, at, size), args.output_dir / "influence.png", console)


def parse() -> InfluenceSettings:
    return inputs.parse(InfluenceSettings, USAGE)


def find_target(dataset: Dataset, given: Given, instance: str | None, phase: float, joint: str) -> Target:
    """The frame of the clip whose fitted phase is nearest.

    Raises:
      UserError: there is no such clip.
    """
    if instance is not None and instance not in dataset.names:
        raise UserError(f"--instance={instance} is not one of {', '.join(dataset.names)}")
    number = 0 if instance is None else dataset.names.index(instance)
    exists = np.asarray(given.clips.frame_mask[number]) > 0
    apart = np.abs(inputs.phases(given)[number] - phase)
    return Target(number, int(np.argmin(np.where(exists, apart, np.inf))), jn.BODY_25_NAMES.index(joint))


def influence(posterior: Posterior, target: Target) -> np.ndarray:
    """Metres (3, N, T, K, 2) that the target moves along each axis of its camera, relative to the hips, for a pixel of
    each detection.

    d target / d detections = -(d target / d u) precision^-1 (d^2 loss / d u d detections).
    """
    given, lines = posterior.given, posterior.lines
    rows = np.asarray(_target_rows(given, lines, _row(given, target), target.keypoint), np.float64)
    solved = posterior.solve(rows.T).T
    moved = jnp.asarray(solved, lines.z.dtype)
    return np.asarray(_mixed(given, lines, moved, posterior.noise))


def displacement(
    posterior: Posterior, target: Target, keypoints: Array, iterations: int = 20
) -> tuple[np.ndarray, float]:
    """By how much (3,) the target really moves, metres, where the damped loss is minimised again with other keypoints
    (N, T, K, 2), and what is left of the gradient.

    The slope that the loss has at the fit is taken off, so that with unchanged keypoints nothing moves: a fit that was
    stopped early has one. Steps by the fit's own precision and the exact gradient, shortened where that would grow.
    """
    given, lines = posterior.given, posterior.lines
    changed = laplace.with_keypoints(given, keypoints)
    stiff = np.ones(len(posterior.lower))
    pull = laplace.own_pull(given, posterior.noise, posterior.spread)
    stiff[-len(pull) :] += pull
    start = np.zeros(len(stiff))
    held = np.asarray(_slope(given, lines, jnp.asarray(start, lines.z.dtype), posterior.noise), np.float64)

    def at(u: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        """Where, the step from there, and the size of the gradient in the posterior's own metric."""
        slope = np.asarray(_slope(changed, lines, jnp.asarray(u, lines.z.dtype), posterior.noise), np.float64)
        gradient = slope - held + stiff * u
        step = posterior.solve(gradient)
        return u, step, float(np.sqrt(max(gradient @ step, 0.0)))

    here, length = at(start), 1.0
    first = here[2]
    for _ in range(iterations):
        if here[2] <= 1e-9 * first:
            break
        there = at(here[0] - length * here[1])
        better = there[2] < here[2]
        here = there if better else here
        length = min(1.0, 2 * length) if better else length / 2
    u, left = here[0], here[2] / max(first, 1e-300)
    move = _target_at(given, lines, jnp.asarray(u, lines.z.dtype), _row(given, target), target.keypoint)
    return np.asarray(move), left


def _row(given: Given, target: Target) -> int:
    """Which of the B frames is the target's."""
    batch = given.batch
    at = (np.asarray(batch.instance) == target.instance) & (np.asarray(batch.frame) == target.frame)
    return int(np.flatnonzero(at)[0])


@jax.jit
def _target_rows(given: Given, lines: Tangents, row: Array, keypoint: Array) -> Array:
    """Derivative (3, D) of the target by the deviations."""

    def at(z: Array) -> Array:
        return inputs.from_mid_hip(laplace.frame_points(given, z))[row, keypoint]

    return jax.vmap(lambda dz: laplace.pull(lines, given.batch.instance, dz, given.clips.num_instances))(
        jax.jacrev(at)(lines.z)
    )


@jax.jit
def _mixed(given: Given, lines: Tangents, moved: Array, noise: Array) -> Array:
    """-d/d keypoints of the loss's slope along deviations (3, D), (3, N, T, K, 2)."""

    def one(u: Array) -> Array:
        dz = laplace.push(lines, given.batch.instance, u)

        def slope(keypoints: Array) -> Array:
            changed = laplace.with_keypoints(given, keypoints)
            loss = lambda z: 0.5 * jnp.sum(laplace.frame_residuals(changed, z) ** 2)
            return jax.jvp(loss, (lines.z,), (dz,))[1]

        return -jax.grad(slope)(given.clips.keypoints) / noise**2

    return jax.lax.map(one, moved)


@jax.jit
def _slope(given: Given, lines: Tangents, u: Array, noise: Array) -> Array:
    """Gradient (D,) of the data's part of the loss at deviations u (D,)."""
    z = lines.z + laplace.push(lines, given.batch.instance, u)
    dz = jax.grad(lambda z: 0.5 * jnp.sum(laplace.frame_residuals(given, z) ** 2))(z)
    return laplace.pull(lines, given.batch.instance, dz, given.clips.num_instances) / noise**2


@jax.jit
def _target_at(given: Given, lines: Tangents, u: Array, row: Array, keypoint: Array) -> Array:
    """Where the target has moved to, (3,), against where it was."""
    ends = lines.z + laplace.push(lines, given.batch.instance, u), lines.z
    after, before = (inputs.from_mid_hip(laplace.frame_points(given, z))[row, keypoint] for z in ends)
    return after - before


def millimetres_per_pixel(slopes: np.ndarray) -> np.ndarray:
    """Size (N, T, K) of the slopes (3, N, T, K, 2): root of the sum of squares over both directions, mm a pixel."""
    return 1e3 * np.sqrt(np.sum(slopes**2, (0, -1)))


def strongest(size: np.ndarray) -> tuple[int, int, int]:
    """Instance, frame and keypoint of the largest of sizes (N, T, K)."""
    n, t, k = np.unravel_index(np.argmax(size), size.shape)
    return int(n), int(t), int(k)


def name(dataset: Dataset, detection: tuple[int, int, int]) -> str:
    """Such as `pitch_0, frame 31, right_wrist`."""
    instance, frame, keypoint = detection
    return f"{dataset.names[instance]}, frame {frame}, {jn.BODY_25_NAMES[keypoint]}"


def report(dataset: Dataset, target: Target, size: np.ndarray, console: Console) -> None:
    """Prints the strongest detections, and whose clips they are from."""
    order = np.argsort(size, axis=None)[::-1][:10]
    cells = [tuple(map(int, np.unravel_index(i, size.shape))) for i in order]
    rows = [[name(dataset, (n, t, k)), float(size[n, t, k])] for n, t, k in cells]
    where = name(dataset, (target.instance, target.frame, target.keypoint))
    console.print(inputs.table(f"What pulls {where}", ["detection", "mm per px"], rows))
    square = size**2
    shares = [[clip, float(square[n].sum() / square.sum())] for n, clip in enumerate(dataset.names)]
    console.print(inputs.table("Share of the squared influence", ["clip", "share"], shares))
    same = square[target.instance, target.frame].sum() / square.sum()
    random = float(np.sqrt(square.sum()))
    console.print(
        f"The frame itself has {same:.0%} of it; errors of 1 px everywhere would move the joint by {random:.1f} mm"
    )


def _vector(values: np.ndarray) -> str:
    return "(" + ", ".join(f"{value:.2f}" for value in values) + ")"


if __name__ == "__main__":
    inputs.command(main)
