"""Inputs of the examples (a finished run, or a fit of the synthetic pitch, as arrays) and their common output."""

import dataclasses
import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from absl import flags as absl_flags
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table
from rich.text import Text

from body_models import joints as jn
from experiments.base import devices, flags, shared_options, stopping
from experiments.base.errors import UserError
from experiments.data.dataset import Dataset, DatasetError
from experiments.fitting import inputs as fit_inputs
from experiments.fitting.run import run as run_fits
from experiments.fitting.settings import Settings
from experiments.loaders import synthetic
from experiments.results import reading
from experiments.show import presentation
from experiments.show.figures import run_pictures
from nemo_jax import clips as clips_lib
from nemo_jax import exchange, laplace, losses, model, residuals, stages
from nemo_jax.batches import Batch
from nemo_jax.clips import Clips
from nemo_jax.laplace import Given, Tangents
from nemo_jax.options import option
from nemo_jax.priors import open_priors

Array = jax.Array
T = TypeVar("T")
OUTPUT = Path("results/gradients")


@dataclasses.dataclass(frozen=True)
class Posterior:
    """A linearised fit and the Cholesky factor of its precision.

    lines: the linear map from deviations u (D,) to frames. lower (D, D): the factor L of the whitened precision L L^T.
    noise: standard deviation of the entries of r. spread: relative standard deviation of the prior.
    """

    given: Given
    lines: Tangents
    lower: np.ndarray
    noise: float
    spread: float

    def solve(self, b: np.ndarray) -> np.ndarray:
        """The precision's inverse times the columns of b (D, S), float64."""
        return scipy.linalg.cho_solve((self.lower, True), b)


def existing_frames(clips: Clips) -> Batch:
    """Every existing frame of concrete clips, once."""
    instance, frame = np.nonzero(np.asarray(clips.frame_mask) > 0)
    return Batch(instance=jnp.asarray(instance, jnp.int32), frame=jnp.asarray(frame, jnp.int32))


def posterior(given: Given, spread: float, directions: int, exact: bool = False) -> Posterior:
    """Computes the posterior of a fit.

    Args:
      spread, directions: see `laplace.tangents`.
      exact: use each frame's exact Hessian instead of the Gauss-Newton matrix; a Cholesky factor may not exist then.

    Raises:
      UserError: clips form takes.
    """
    if given.clips.take is not None:
        raise UserError(
            "the clips form takes (--same_take), whose shared codes and shapes the posterior would take for independent; "
            "expected performances of their own: fit the clips without --same_take"
        )
    lines = jax.jit(laplace.tangents, static_argnums=1)(given, directions, spread)
    noise = detector_noise(given, lines)
    curvature = jax.jit(laplace.frame_hessian if exact else _gauss_newton)(given, lines.z)
    matrix = laplace.precision(given, lines, np.asarray(curvature), noise, spread)
    return Posterior(given, lines, scipy.linalg.cholesky(matrix, lower=True, overwrite_a=True), noise, spread)


def _gauss_newton(given: Given, z: Array) -> Array:
    found = laplace.frame_jacobian(functools.partial(laplace.frame_residuals, given), z)
    return jnp.einsum("bmi,bmj->bij", found, found, precision="highest")


def detector_noise(given: Given, lines: Tangents) -> float:
    """Standard deviation of the keypoint entries of r over the used detections, in the units of the loss. It includes
    the errors of the detector and those of the model."""
    found = jax.jit(laplace.frame_residuals)(given, lines.z)[:, : 2 * given.clips.keypoints.shape[2]]
    return float(jnp.sqrt(jnp.sum(found**2) / jnp.sum(found != 0)))


def from_mid_hip(keypoints: Array) -> Array:
    """Keypoints (..., K, 3) relative to the middle of the hips."""
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


@dataclasses.dataclass(frozen=True)
class SharedSettings:
    """The flags that all examples have."""

    results: str | None = shared_options.path(None, "Output folder of a finished run. Not given: the synthetic pitch.")
    output_dir: Path = shared_options.path(OUTPUT, "Folder of the pictures.")
    spread: float = option(1.0, "Prior and damping; see nemo_jax.laplace.", above=0, most=1e6)
    directions: int = option(
        24, "Directions of the features that the heads see; see nemo_jax.laplace.", least=1, most=4096
    )
    seed: int = shared_options.seed("Seed of everything random.")


def parse(settings: type[T], usage: str) -> T:
    """Settings of this program's command line; see `flags.read`."""
    return flags.read(settings, usage, sys.argv, absl_flags.FlagValues()).settings


def command(main: Callable[[], None]) -> None:
    """Runs an example. An error that the user can correct is printed as one sentence, with exit code 2; Ctrl-C gives a
    sentence and exit code 130."""
    stopping.end_on_signals()
    stopping.say(stopping.STARTS_OVER)
    try:
        devices.choose("auto")
        devices.keep_compiled()
        main()
    except (UserError, DatasetError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None


def plain_console() -> Console:
    """Standard output without markup, because names of clips and folders come from files and may contain brackets."""
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
            # Only the numbers of this fit are needed, so no pictures are drawn.
            settings = dataclasses.replace(settings, **dict.fromkeys(presentation.PARTS, False))
            run_fits(settings, presentation.begin, console)
    else:
        folder = Path(results)
    return from_run(reading.load(folder))


def from_run(run: reading.Run) -> tuple[Dataset, Given]:
    """The dataset and fit of a finished run.

    Raises:
      UserError: the loss of the run is not a sum of squares.
    """
    if run.config.prior_set == "published":
        raise UserError(
            f"{run.folder} was fitted with the published priors, which are no sums of squares; give a run of the default "
            "preset"
        )
    head = run.dataset.head_point
    body = run.body
    if head != "nose":
        body = fit_inputs.body_with(head, run.settings.get("body_model"))
    clips = jax.tree.map(jnp.asarray, run.dataset.clips)
    key = jax.random.key(int(run.settings.get("seed", 0)))
    problem, state = jax.jit(stages.start)(key, clips, body, open_priors(), run.config)
    for stage in stages.stages(run.config):
        # A fit with lifted poses used them as targets, but they are not saved in the folder.
        if stage.name == "lift":
            state = jax.jit(functools.partial(_whole, stage))(problem, state)
    params = jax.tree.map(jnp.asarray, run.params)
    # The loss is that of the keypoints as the fit has read them.
    clips, targets = exchange.as_read(clips, state.targets, jnp.asarray(run.exchanged), run.config)
    made = Given(
        params=params,
        assets=problem.assets,
        config=run.config,
        clips=clips,
        targets=targets,
        batch=existing_frames(clips),
    )
    try:
        residuals.check(made.assets, made.config)
    except ValueError as error:
        raise UserError(f"{run.folder}: {error}; give a run with another --fit.keypoint_loss") from error
    return run.dataset, made


def _whole(stage: stages.Stage, problem: stages.Problem, state: stages.FitState) -> stages.FitState:
    carry, _ = stages.run_steps(problem, stage, stage.begin(problem, state), stages.numbers(stage))
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
