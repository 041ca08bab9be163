"""Influence of detections: how far one joint at one moment moves if a detection of any clip moves by a pixel.

    python -m experiments.gradients.influence --joint=right_wrist --phase=0.6

This is computed by the implicit function theorem at the fitted parameters: if a detection moves, the minimum of the
damped loss moves, and the joint moves with it. The curvature is the Gauss-Newton precision of `nemo_jax.laplace`;
solving three linear systems, one for each coordinate of the joint, gives the influence of all detections. For
comparison, the strongest detection is then actually moved and the damped loss is minimised again.
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
    """All settings of the command line; each field is a flag."""

    spread: float = option(0.1, "Prior and damping; see nemo_jax.laplace.", above=0, most=1e6)
    instance: str | None = option(None, "Name of the clip. Not given: the first.")
    joint: str = option("right_wrist", "Keypoint of BODY_25 whose motion is asked about.", choices=jn.BODY_25_NAMES)
    phase: float = option(0.6, "When, in the phase of the shared motion.", least=0, most=1)
    pixels: float = option(5.0, "Pixels by which the strongest detection is moved to compare.", above=0, most=1e4)


@dataclasses.dataclass(frozen=True)
class Target:
    """The joint whose displacement is computed: a keypoint of an instance in a frame."""

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
    """The target joint in the frame of the clip whose fitted phase is nearest to `phase`.

    Raises:
      UserError: the clip does not exist.
    """
    if instance is not None and instance not in dataset.names:
        raise UserError(f"--instance={instance} is not one of {', '.join(dataset.names)}")
    number = 0 if instance is None else dataset.names.index(instance)
    exists = np.asarray(given.clips.frame_mask[number]) > 0
    apart = np.abs(inputs.phases(given)[number] - phase)
    return Target(number, int(np.argmin(np.where(exists, apart, np.inf))), jn.BODY_25_NAMES.index(joint))


def influence(posterior: Posterior, target: Target) -> np.ndarray:
    """Derivatives (3, N, T, K, 2), in metres per pixel: the displacement of the target relative to the hips along each
    axis of its camera if a detection moves by a pixel.

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
    """The displacement (3,) of the target, metres, when the damped loss is minimised again with other keypoints
    (N, T, K, 2), and the size of the remaining gradient.

    The gradient of the loss at the fit, which is not zero if the fit was stopped early, is subtracted, so that nothing
    moves with unchanged keypoints. Steps use the precision at the fit and the exact gradient; a step is shortened if
    the gradient would grow.
    """
    given, lines = posterior.given, posterior.lines
    changed = laplace.with_keypoints(given, keypoints)
    stiff = np.ones(len(posterior.lower))
    pull = laplace.own_pull(given, posterior.noise, posterior.spread)
    stiff[-len(pull) :] += pull
    start = np.zeros(len(stiff))
    held = np.asarray(_slope(given, lines, jnp.asarray(start, lines.z.dtype), posterior.noise), np.float64)

    def at(u: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        """The point u, the step from there, and the size of the gradient in the metric of the posterior."""
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
    """Index of the target's frame among the B frames."""
    batch = given.batch
    at = (np.asarray(batch.instance) == target.instance) & (np.asarray(batch.frame) == target.frame)
    return int(np.flatnonzero(at)[0])


@jax.jit
def _target_rows(given: Given, lines: Tangents, row: Array, keypoint: Array) -> Array:
    """Derivative (3, D) of the target with respect to the deviations."""

    def at(z: Array) -> Array:
        return inputs.from_mid_hip(laplace.frame_points(given, z))[row, keypoint]

    return jax.vmap(lambda dz: laplace.pull(lines, given.batch.instance, dz, given.clips.num_instances))(
        jax.jacrev(at)(lines.z)
    )


@jax.jit
def _mixed(given: Given, lines: Tangents, moved: Array, noise: Array) -> Array:
    """Negative derivatives (3, N, T, K, 2), by the keypoints, of the loss's slopes along deviations `moved` (3, D)."""

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
    """Gradient (D,) of the loss without the prior at deviations u (D,)."""
    z = lines.z + laplace.push(lines, given.batch.instance, u)
    dz = jax.grad(lambda z: 0.5 * jnp.sum(laplace.frame_residuals(given, z) ** 2))(z)
    return laplace.pull(lines, given.batch.instance, dz, given.clips.num_instances) / noise**2


@jax.jit
def _target_at(given: Given, lines: Tangents, u: Array, row: Array, keypoint: Array) -> Array:
    """Displacement (3,) of the target at deviations u from its fitted position."""
    ends = lines.z + laplace.push(lines, given.batch.instance, u), lines.z
    after, before = (inputs.from_mid_hip(laplace.frame_points(given, z))[row, keypoint] for z in ends)
    return after - before


def millimetres_per_pixel(slopes: np.ndarray) -> np.ndarray:
    """Size (N, T, K) of the slopes (3, N, T, K, 2): root of the sum of squares over both directions, mm per pixel."""
    return 1e3 * np.sqrt(np.sum(slopes**2, (0, -1)))


def strongest(size: np.ndarray) -> tuple[int, int, int]:
    """Instance, frame and keypoint of the largest entry of `size` (N, T, K)."""
    n, t, k = np.unravel_index(np.argmax(size), size.shape)
    return int(n), int(t), int(k)


def name(dataset: Dataset, detection: tuple[int, int, int]) -> str:
    """The name of a detection, such as `pitch_0, frame 31, right_wrist`."""
    instance, frame, keypoint = detection
    return f"{dataset.names[instance]}, frame {frame}, {jn.BODY_25_NAMES[keypoint]}"


def report(dataset: Dataset, target: Target, size: np.ndarray, console: Console) -> None:
    """Prints the strongest detections and the share of each clip."""
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
