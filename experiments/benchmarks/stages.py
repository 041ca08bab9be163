"""Times one step of each stage of a fit, alone and among many fits, beside what the device can reach.

    python -m experiments.benchmarks.stages --output=stages.json
    python -m experiments.benchmarks.stages --presets=default --fits=1 --precision=float32 --stages=joint

A step is timed as `run.py` runs it (`nemo_jax.parallel.functions`), inside a scan of `--steps` steps, and divided by their
number and that of the fits.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from experiments.base import devices
from experiments.benchmarks import counts, measure, problem, traffic
from nemo_jax import parallel, stacking, stages

STAGES = ("lift", "warmup", "camera", "joint")
_NAMES = ("preset", "networks", "stage", "fits")
_TIMES = (*_NAMES, "ms", "fastest", "slowest", "needed GFLOP", "program GFLOP", "needed MB", "moved MB")


def main() -> None:
    """The command."""
    parser = measure.parser(__doc__)
    parser.add_argument("--presets", default="paper_v2,default", help="separated by commas")
    parser.add_argument("--fits", default="1,32", help="how many fits at once, separated by commas")
    parser.add_argument("--stages", default=",".join(STAGES), help="separated by commas")
    parser.add_argument("--steps", type=int, default=100, help="steps of a timed scan")
    parser.add_argument("--precision", default="float32,tensorfloat32", help="of the networks, separated by commas")
    args = parser.parse_args()
    names = args.stages.split(",")
    if unknown := set(names) - set(STAGES):
        raise SystemExit(f"--stages={args.stages}: {', '.join(sorted(unknown))} is none of {', '.join(STAGES)}")
    devices.keep_compiled()
    cases = [problem.case(preset) for preset in args.presets.split(",")]
    found = measure.ceilings()
    rows = table(cases, args.precision.split(","), [int(n) for n in args.fits.split(",")], names, args.steps, found)
    if not rows:
        raise SystemExit(f"--stages={args.stages}: the fits of --presets={args.presets} have no such stage")
    title = "One step of each stage, per fit (8 clips of 100 frames)"
    extra = {"ceilings": found, "notes": measure.RATES_NOTE}
    measure.report(title, rows, extra, args.output, [_TIMES, (*_NAMES, *measure.RATES)])


class Timed(NamedTuple):
    """The work that a row measures: a stage of `fits` fits of a case, with its carry before the first step."""

    case: problem.Case
    fits: int
    stage: stages.Stage
    given: stages.Problem
    carry: Any


def table(
    cases: Sequence[problem.Case],
    precisions: Sequence[str],
    fits: Sequence[int],
    names: Sequence[str],
    steps: int,
    ceilings: dict[str, float],
) -> list[dict[str, Any]]:
    """A row for each case, precision, number of fits and named stage that the case has; programs compile side by side."""
    todo = [
        ready
        for case in cases
        for precision in precisions
        for count in fits
        for ready in prepare(problem.in_precision(case, precision), count, names)
    ]
    index = jnp.arange(steps, dtype=jnp.int32)
    programs = measure.compile_all(_functions().steps(one.stage).lower(one.given, one.carry, index) for one in todo)
    rows = []
    for one, (compiled, _) in zip(todo, programs, strict=True):
        rows.append(time_stage(one, compiled, index, ceilings))
        print(
            f"{one.case.name} {rows[-1]['networks']} {one.stage.name} x{one.fits}: {rows[-1]['ms']:.4g} ms", flush=True
        )
    return rows


def prepare(case: problem.Case, fits: int, names: Sequence[str]) -> list[Timed]:
    """The named stages before their first steps, all from the initial state: values do not affect a step's time."""
    functions = _functions()
    wanted = [stage for stage in stages.stages(case.config) if stage.name in names]
    keys = jax.random.split(jax.random.key(0), fits)
    clips = jax.tree.map(lambda x: jnp.broadcast_to(x, (fits, *x.shape)), case.clips)
    configs = stacking.stack_configs([case.config] * fits)
    given, state = functions.start(keys, clips, case.body, case.priors, configs)
    return [Timed(case, fits, stage, given, functions.begin(stage)(given, state)) for stage in wanted]


def _functions() -> parallel.Functions:
    """The functions of fits on the first device."""
    return parallel.functions(tuple(jax.local_devices()[:1]))


def time_stage(one: Timed, compiled: Any, index: jax.Array, ceilings: dict[str, float]) -> dict[str, Any]:
    """The time of a step per fit, and the resulting rates."""
    held = [jax.tree.map(jnp.copy, one.carry)]

    def call() -> Any:
        held[0], losses = compiled(one.given, held[0], index)
        return losses

    timing = measure.jax_seconds(call, block=0.1, repeats=5)
    share = 1 / (len(index) * one.fits)
    step = timing.median * share
    needed = counts.of_step(one.stage.name, one.case)
    moved = traffic.of_program(compiled)
    return {
        "preset": one.case.name,
        "networks": one.case.config.matmul_precision,
        "stage": one.stage.name,
        "fits": one.fits,
        "ms": 1e3 * step,
        "fastest": 1e3 * timing.least * share,
        "slowest": 1e3 * timing.greatest * share,
        "needed GFLOP": needed.flops / 1e9,
        "program GFLOP": moved.flops * share / 1e9,
        "needed MB": needed.bytes / 1e6,
        "moved MB": moved.bytes * share / 1e6,
        **measure.rates(step, needed, moved.bytes * share, ceilings, one.case.config.matmul_precision),
    }


if __name__ == "__main__":
    main()
