"""Tunes loss weights and learning rates by the gradient of the error on keypoints that the fit has not seen.

    python -m experiments.gradients.hypergradients

A tenth of the detections is hidden as a validation set, whose error is minimised, and another tenth as a test set. The
warm-up and the camera stage run once. Each round then runs the joint stage and differentiates it in reverse mode
through all of its Adam steps (`nemo_jax.unroll`). The logarithms of the hyperparameters are optimised.
"""

import dataclasses
import math
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import optax
from matplotlib.figure import Figure
from rich.console import Console

from body_models import loaders, smpl
from experiments import configs
from experiments.base import devices
from experiments.base.errors import UserError
from experiments.data import holdout
from experiments.data.dataset import Dataset
from experiments.data.visible import visible
from experiments.gradients import inputs
from experiments.loaders import synthetic
from experiments.results import reading
from experiments.show.style import CYCLE, RC
from nemo_jax import losses, model, stages, unroll
from nemo_jax.clips import Clips
from nemo_jax.config import FitConfig
from nemo_jax.fit import for_clips
from nemo_jax.model import Params
from nemo_jax.options import option
from nemo_jax.priors import Priors, open_priors
from nemo_jax.stages import FitState, Problem

Array = jax.Array
Hyper = Mapping[str, Array]

TUNED = (
    "weight_init",
    "weight_limits",
    "weight_code",
    "weight_betas",
    "lr_field",
    "lr_camera",
    "lr_code",
    "lr_phase",
    "lr_betas",
)
_SHARE = 0.1  # share of the visible detections in each of the two hidden sets


USAGE = """\
Tunes loss weights and learning rates by the gradient of the error on keypoints that the fit has
not seen.

  python -m experiments.gradients.hypergradients
"""


@dataclasses.dataclass(frozen=True)
class HypergradientSettings(inputs.SharedSettings):
    """All settings of the command line; each field is a flag."""

    steps: int = option(200, "Steps of the joint stage, its schedule included.", least=1, most=100_000)
    rounds: int = option(8, "Steps of the descent on the hyperparameters.", least=1, most=100_000)
    rate: float = option(0.2, "Rate of that descent, by Adam, in logarithms.", above=0, most=10)
    batch_size: int = option(128, "Frames of a step.", least=1, most=100_000)
    hyper: tuple[str, ...] = option(
        TUNED, f"Fields of FitConfig to tune, with commas between them. Not given: {', '.join(TUNED)}.", separated=True
    )


class Hidden(NamedTuple):
    """Hidden detections. keypoints (N, T, K, 2): pixels. validation, test (N, T, K): 1 for detections of that set."""

    keypoints: Array
    validation: Array
    test: Array


class Start(NamedTuple):
    """The state before the joint stage, and the detections hidden from the fit."""

    problem: Problem
    state: FitState
    hidden: Hidden


def main() -> None:
    args = parse()
    console = inputs.plain_console()
    dataset, body, config = read(args)
    check(config, args.hyper)
    begun = time.perf_counter()
    start = jax.block_until_ready(prepare(dataset, body, config, args.seed, args.steps))
    console.print(
        f"{dataset.action}: {int(start.hidden.validation.sum())} detections hidden to descend on, "
        f"{int(start.hidden.test.sum())} to judge; warm-up and cameras took {time.perf_counter() - begun:.0f} s"
    )
    compiled = compile_gradient(start, logarithms(start, args.hyper), args.steps)
    console.print(f"One gradient through {args.steps} steps needs {needed_memory(compiled)}; {devices.describe()}")
    rounds = descend(compiled, start, args.hyper, args.rounds, args.rate, console)
    first, last = rounds[0], rounds[-1]
    rows = [[name, first["hyper"][name], last["hyper"][name], first["slope"][name]] for name in args.hyper]
    columns = ["hyperparameter", "at the start", f"after {args.rounds} rounds", "slope at the start, px per e-fold"]
    title = (
        f"Error on hidden detections after {args.steps} steps of the joint stage: {first['validation']:.2f} px, then "
    )
    title += f"{last['validation']:.2f}; on those it did not descend on {first['test']:.2f}, then {last['test']:.2f}"
    console.print(inputs.table(title, columns, rows))
    with matplotlib.rc_context(RC):
        inputs.save(draw(rounds, args.hyper, args.steps), args.output_dir / "hypergradients.png", console)


def parse() -> HypergradientSettings:
    return inputs.parse(HypergradientSettings, USAGE)


def read(args: HypergradientSettings) -> tuple[Dataset, smpl.SMPL, FitConfig]:
    """Reads clips, body and the configuration to be tuned: from a run, or the synthetic pitch and the default preset.

    Raises:
      UserError: the run needs something that is not available here.
    """
    if args.results is None:
        body = loaders.load_body()
        dataset, config = synthetic.load(body, seed=args.seed), configs.get("default")
    else:
        run = reading.load(args.results)
        if run.config.prior_set == "published" or run.dataset.head_point != "nose":
            raise UserError(
                f"--results={args.results} needs licensed priors, or another head point than the nose; give a run of the "
                "default preset on keypoints with a nose"
            )
        dataset, body, config = run.dataset, run.body, run.config
    config = for_clips(config, jax.tree.map(jnp.asarray, dataset.clips))
    return dataset, body, dataclasses.replace(config, batch_size=args.batch_size)


def check(config: FitConfig, names: tuple[str, ...]) -> None:
    """Raises UserError if a hyperparameter that is to be tuned has no gradient, or is not positive."""
    for name in names:
        value = getattr(config, name, None)
        if not isinstance(value, float) or not name.startswith(("weight_", "lr_")):
            raise UserError(f"--hyper={name} cannot be tuned; choose from {', '.join(TUNED)}")
        if value <= 0:
            raise UserError(f"--hyper={name} is {value} in this configuration and has no logarithm; leave it out")


def prepare(dataset: Dataset, body: smpl.SMPL, config: FitConfig, seed: int, steps: int) -> Start:
    """Hides detections and runs the stages before the joint stage, whose schedule is set to `steps`."""
    hidden_clips, first = holdout.hold_out(dataset.clips, _SHARE, seed, dataset.annotated)
    left = int((np.asarray(hidden_clips.confidence) > 0).sum())
    all_seen = int((np.asarray(dataset.clips.confidence) > 0).sum())
    seen, second = holdout.hold_out(hidden_clips, min(_SHARE * all_seen / left, 0.5), seed + 1, dataset.annotated)
    usable = visible(dataset, float(config.confidence_threshold), derived=True)
    hidden = Hidden(
        keypoints=jnp.asarray(dataset.clips.keypoints),
        validation=jnp.asarray(first & usable, jnp.float32),
        test=jnp.asarray(second & usable, jnp.float32),
    )
    # The unrolled part is the whole joint stage: leaps within it have no gradient.
    config = dataclasses.replace(config, joint_steps=steps, rescue_steps=0)
    priors = open_priors()
    clips = jax.tree.map(jnp.asarray, seen)
    problem, state = jax.jit(before_joint)(jax.random.key(seed), clips, body, priors, config)
    return Start(problem, state, hidden)


def before_joint(
    key: Array, clips: Clips, body: smpl.SMPL, priors: Priors, config: FitConfig
) -> tuple[Problem, FitState]:
    """Runs the stages of `fit` that come before the joint stage."""
    problem, state = stages.start(key, clips, body, priors, config)
    for stage in stages.stages(problem.config):
        if stage.name != "joint":
            carry, _ = stages.run_steps(problem, stage, stage.begin(problem, state), stages.numbers(stage))
            state = stage.end(problem, carry)
    return problem, state


def error(params: Params, problem: Problem, keypoints: Array, mask: Array) -> Array:
    """Reprojection error () on the masked detections, in pixels of people scaled to one size: the root of the mean
    robust squared error."""
    seen = model.predict_clips(params, problem.assets, problem.config, problem.clips).keypoints_2d
    scale = problem.assets.pixel_scale[:, None, None, None]
    apart = jnp.where(mask[..., None] > 0, seen - keypoints, 0.0) * scale
    square = jnp.sum(losses.robust(apart, problem.config.robust_scale), -1)
    return jnp.sqrt(jnp.sum(square) / jnp.maximum(mask.sum(), 1) + 1e-12)


def unrolled_error(
    log_hyper: Hyper, problem: Problem, state: FitState, hidden: Hidden, steps: int
) -> tuple[Array, Array]:
    """The error after the joint stage with these hyperparameters: () on the validation set, and () on the test set."""
    config: Any = problem.config
    changed = dataclasses.replace(config, **{name: jnp.exp(value) for name, value in log_hyper.items()})
    changed = dataclasses.replace(problem, config=changed)
    params = unroll.joint_stage(changed, state, steps)[0].params
    judged = error(params, problem, hidden.keypoints, hidden.test)
    return error(params, problem, hidden.keypoints, hidden.validation), judged


def compile_gradient(start: Start, log_hyper: Hyper, steps: int) -> Any:
    """Compiles the function (log hyperparameters, problem, state, hidden) -> ((validation error, test error), gradient)
    for arguments of these shapes."""

    def run(log_hyper: Hyper, problem: Problem, state: FitState, hidden: Hidden) -> Any:
        return jax.value_and_grad(unrolled_error, has_aux=True)(log_hyper, problem, state, hidden, steps)

    return jax.jit(run).lower(log_hyper, *start).compile()


def logarithms(start: Start, names: tuple[str, ...]) -> dict[str, Array]:
    """Logarithms of the configuration's own hyperparameters."""
    return {name: jnp.asarray(math.log(float(getattr(start.problem.config, name))), jnp.float32) for name in names}


def needed_memory(compiled: Any) -> str:
    """The memory that the program needs besides its arguments, as reported by the compiler."""
    analysis = compiled.memory_analysis()
    if analysis is None:
        return "memory that this device's compiler does not tell"
    return f"{(analysis.temp_size_in_bytes + analysis.output_size_in_bytes) / 2**20:.0f} MiB"


def descend(
    compiled: Any, start: Start, names: tuple[str, ...], rounds: int, rate: float, console: Console
) -> list[dict[str, Any]]:
    """Runs Adam on the logarithms; returns errors, hyperparameters and slopes at the start and after every round."""
    adam = optax.adam(rate)
    log_hyper = logarithms(start, names)
    state, found = adam.init(log_hyper), []
    for number in range(rounds + 1):
        begun = time.perf_counter()
        (validation, test), slope = jax.device_get(compiled(log_hyper, *start))
        console.print(f"round {number}: {validation:.3f} px, judged {test:.3f} px, {time.perf_counter() - begun:.1f} s")
        hyper = {name: math.exp(float(value)) for name, value in log_hyper.items()}
        slopes = {name: float(value) for name, value in slope.items()}
        found.append({"validation": float(validation), "test": float(test), "hyper": hyper, "slope": slopes})
        if not all(map(math.isfinite, slopes.values())):
            raise UserError(f"the gradient of round {number} is not finite; give a smaller --rate or fewer --steps")
        updates, state = adam.update(slope, state)
        moved: Any = optax.apply_updates(log_hyper, updates)
        log_hyper = moved
    return found


def draw(rounds: list[dict[str, Any]], names: tuple[str, ...], steps: int) -> Figure:
    """Plots the errors and the hyperparameters over the rounds, and the gradients at the start."""
    figure = Figure(figsize=(13, 4.2), dpi=120, layout="constrained")
    errors, paths, slopes = figure.subplots(1, 3)
    at = np.arange(len(rounds))
    errors.plot(at, [r["validation"] for r in rounds], color=CYCLE[0], marker="o", label="descended on")
    errors.plot(at, [r["test"] for r in rounds], color=CYCLE[1], marker="s", label="judged on, never descended on")
    errors.set(xlabel="round", ylabel="error on hidden detections, px")
    errors.set_title(f"after {steps} steps of the joint stage", loc="left")
    errors.legend(fontsize=9)
    colours = {name: matplotlib.colormaps["tab10"](i % 10) for i, name in enumerate(names)}
    for name in names:
        values = np.array([r["hyper"][name] for r in rounds])
        style = "-" if name.startswith("weight_") else "--"
        paths.plot(at, values / values[0], style, color=colours[name], label=name)
    paths.set(xlabel="round", ylabel="times its preset", yscale="log")
    paths.set_title("hyperparameters", loc="left")
    paths.legend(fontsize=8, ncols=2)
    values = [rounds[0]["slope"][name] for name in names]
    slopes.barh(np.arange(len(names)), values, color=[colours[name] for name in names])
    slopes.axvline(0, color="0.3", lw=1)
    slopes.set_yticks(np.arange(len(names)), names, fontsize=9)
    slopes.invert_yaxis()
    slopes.set(xlabel="px per e-fold; left: more of it would help")
    slopes.set_title("hypergradient at the preset", loc="left")
    return figure


if __name__ == "__main__":
    inputs.command(main)
