"""What the examples start from: a finished run, or a fit of the synthetic pitch, as arrays; and how they report."""

import argparse
import dataclasses
import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table
from rich.text import Text

from body_models import joints as jn
from experiments.base import devices
from experiments.base.errors import UserError
from experiments.data.dataset import Dataset, DatasetError
from experiments.fitting import runner
from experiments.fitting.settings import Settings
from experiments.loaders import synthetic
from experiments.results import reading
from experiments.show.figures import run_pictures
from experiments.show.presentation import PARTS
from nemo_jax import clips as clips_lib
from nemo_jax import fit, laplace, losses, model, residuals
from nemo_jax.clips import Clips
from nemo_jax.laplace import Given, Tangents
from nemo_jax.objective import Batch
from nemo_jax.priors import Priors, published_limits

Array = jax.Array
OUTPUT = Path("results/gradients")


@dataclasses.dataclass(frozen=True)
class Posterior:
    """A fit linearised, and the Cholesky factor of its precision.

    lines: how frames follow deviations u (D,). lower (D, D): L with the whitened precision L L^T. noise: standard deviation
    of the entries of r. spread: of the prior.
    """

    given: Given
    lines: Tangents
    lower: np.ndarray
    noise: float
    spread: float

    def solve(self, b: np.ndarray) -> np.ndarray:
        """The precision's inverse times the columns of b (D, S), float64."""
        return scipy.linalg.cho_solve((self.lower, True), b)


def every_frame(clips: Clips) -> Batch:
    """Every existing frame of concrete clips, once."""
    instance, frame = np.nonzero(np.asarray(clips.frame_mask) > 0)
    return Batch(instance=jnp.asarray(instance, jnp.int32), frame=jnp.asarray(frame, jnp.int32))


def posterior(given: Given, spread: float, directions: int, exact: bool = False) -> Posterior:
    """Puts the posterior of a fit together.

    Args:
      spread, directions: see `laplace.tangents`.
      exact: each frame's own Hessian in place of the Gauss-Newton matrix; it may have no Cholesky factor.
    """
    lines = jax.jit(laplace.tangents, static_argnums=1)(given, directions, spread)
    noise = detector_noise(given, lines)
    curvature = jax.jit(laplace.frame_hessian if exact else _gauss_newton)(given, lines.z)
    matrix = laplace.precision(given, lines, np.asarray(curvature), noise, spread)
    return Posterior(given, lines, scipy.linalg.cholesky(matrix, lower=True, overwrite_a=True), noise, spread)


def _gauss_newton(given: Given, z: Array) -> Array:
    found = laplace.frame_jacobian(functools.partial(laplace.frame_residuals, given), z)
    return jnp.einsum("bmi,bmj->bij", found, found, precision="highest")


def detector_noise(given: Given, lines: Tangents) -> float:
    """Standard deviation of the keypoints' entries of r, over the detections that are used: the detector's errors, and
    what the model cannot follow, in the units of the loss."""
    found = jax.jit(laplace.frame_residuals)(given, lines.z)[:, : 2 * given.clips.keypoints.shape[2]]
    return float(jnp.sqrt(jnp.sum(found**2) / jnp.sum(found != 0)))


def from_mid_hip(keypoints: Array) -> Array:
    """Keypoints (..., K, 3) against the middle of the hips."""
    middle = jn.BODY_25_NAMES.index("mid_hip")
    return keypoints - keypoints[..., middle : middle + 1, :]


def visible(given: Given) -> np.ndarray:
    """Which keypoints (N, T, K) the fit used."""
    clips = given.clips
    return np.asarray(losses.visible(clips.confidence, clips.frame_mask, given.config.confidence_threshold)) > 0


def phases(given: Given) -> np.ndarray:
    """Fitted phase (N, T) of every frame."""
    return np.asarray(_phases(given))


@jax.jit
def _phases(given: Given) -> Array:
    warp = jax.vmap(model.warp, (None, None, 0, 0))
    raw = clips_lib.raw_phase(given.clips)
    return warp(given.params, given.config, jnp.arange(given.clips.num_instances), raw)


def parser(description: str | None, spread: float = 1.0) -> argparse.ArgumentParser:
    """The flags that all examples share; spread: the default of its flag."""
    made = argparse.ArgumentParser(
        description=(description or "").split("\n\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    made.add_argument("--results", help="output folder of a finished run; not given: the synthetic pitch")
    made.add_argument("--output_dir", type=Path, default=OUTPUT, help="folder of the pictures")
    made.add_argument("--spread", type=float, default=spread, help="prior and damping, see nemo_jax.laplace")
    made.add_argument("--directions", type=int, default=24, help="of the features that the heads see, see the same")
    made.add_argument("--seed", type=int, default=0, help="of everything random")
    return made


def check(args: argparse.Namespace) -> None:
    """Raises UserError: a shared flag has a value that no posterior could use."""
    if not 0 < args.spread < float("inf"):
        raise UserError(f"--spread={args.spread} is out of range; give a number above 0")
    if args.directions < 1:
        raise UserError(f"--directions={args.directions} is out of range; give 1 or more")


def command(main: Callable[[], None]) -> None:
    """Runs an example; what a user can mend becomes one sentence and exit code 2."""
    try:
        devices.choose("auto")
        devices.keep_compiled()
        main()
    except (UserError, DatasetError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None


def plain_console() -> Console:
    """Standard output. Names of clips and folders come from files: brackets in them are no markup."""
    return Console(highlight=False, soft_wrap=True, markup=False)


def load(results: str | None, output: Path, console: Console, seed: int = 0) -> tuple[Dataset, Given]:
    """The run in `results`, or else the synthetic pitch, fitted by the default preset into `<output>/fit` if it is not
    there yet.

    Raises:
      UserError: there is no finished run, or its loss is no sum of squares.
    """
    if results is None:
        folder = output / "fit"
        if not (folder / "metrics.json").exists():
            console.print(f"Fitting the synthetic pitch into {folder} first; --results= takes a finished run")
            settings = Settings(action=synthetic.ACTION, output_dir=str(folder), seed=seed)
            # Its numbers are wanted, not its pictures.
            settings = dataclasses.replace(settings, **dict.fromkeys(PARTS, False))
            runner.run(settings, console)
    else:
        folder = Path(results)
    return from_run(reading.load(folder))


def from_run(run: reading.Run) -> tuple[Dataset, Given]:
    """A run as read back.

    Raises:
      UserError: its loss is no sum of squares.
    """
    if run.config.prior_set == "published":
        raise UserError(
            f"{run.folder} was fitted with the published priors, which are no sums of squares; give a run of the default "
            "preset"
        )
    head = run.dataset.head_point
    body = run.body
    if head != "nose":
        body = runner.body_with(head, run.settings.get("body_model"))
    clips = jax.tree.map(jnp.asarray, run.dataset.clips)
    key = jax.random.key(int(run.settings.get("seed", 0)))
    problem, state = jax.jit(fit.start)(key, clips, body, Priors(joint_limits=published_limits()), run.config)
    for stage in fit.stages(run.config):
        # Where poses were lifted the fit was held to them; they are not in the folder.
        if stage.name == "lift":
            state = jax.jit(functools.partial(_whole, stage))(problem, state)
    params = jax.tree.map(jnp.asarray, run.params)
    made = Given(
        params=params,
        assets=problem.assets,
        config=run.config,
        clips=clips,
        targets=state.targets,
        batch=every_frame(clips),
    )
    try:
        residuals.check(made.assets, made.config)
    except ValueError as error:
        raise UserError(f"{run.folder}: {error}; give a run with another --fit.keypoint_loss") from error
    return run.dataset, made


def _whole(stage: fit.Stage, problem: fit.Problem, state: fit.FitState) -> fit.FitState:
    carry, _ = fit.run_steps(problem, stage, stage.begin(problem, state), jnp.arange(stage.steps))
    return stage.end(problem, carry)


def save(figure: Figure, path: Path, console: Console) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    run_pictures.save(figure, path)
    console.print(f"Picture: {path}")


def table(title: str, columns: list[str], rows: list[list[Any]]) -> Table:
    """A table of numbers; floats with four digits. Text is shown as it is, brackets included."""
    made = Table(title=Text(title, "table.title"), title_justify="left")
    for column in columns:
        made.add_column(column, justify="right" if column != columns[0] else "left")
    for row in rows:
        made.add_row(*(f"{value:.4g}" if isinstance(value, float) else Text(str(value)) for value in row))
    return made
