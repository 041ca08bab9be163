"""Times one step of each stage of a fit, alone and among many fits, beside what the device can reach.

    python -m experiments.benchmarks.stages --output=stages.json

A step is timed as the fit runs it, inside a scan of `--steps` steps, and divided by their number and that of the fits.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from experiments import devices
from experiments.benchmarks import counts, measure, problem
from nemo_jax import fit, parallel


def main() -> None:
    """The command."""
    parser = measure.parser(__doc__)
    parser.add_argument("--presets", default="paper_v2,default", help="separated by commas")
    parser.add_argument("--fits", default="1,32", help="how many fits at once, separated by commas")
    parser.add_argument("--stages", default="lift,warmup,camera,joint", help="separated by commas")
    parser.add_argument("--steps", type=int, default=100, help="steps of a timed scan")
    parser.add_argument("--precision", default="float32,tensorfloat32", help="of the networks, separated by commas")
    args = parser.parse_args()
    ceilings = measure.ceilings()
    rows = []
    for preset in args.presets.split(","):
        for precision in args.precision.split(","):
            case = problem.case(preset)
            case = dataclasses.replace(case, config=dataclasses.replace(case.config, matmul_precision=precision))
            for fits in map(int, args.fits.split(",")):
                for row in time_stages(case, fits, args.stages.split(","), args.steps):
                    best = ceilings.get(f"{precision}_flops", ceilings["float32_flops"])
                    row["share of matmul"] = row["TFLOP/s"] * 1e12 / best
                    row["share of copy"] = row["GB/s"] * 1e9 / ceilings["copy_bytes"]
                    rows.append(row)
                    print(f"{preset} {precision} {row['stage']} x{fits}: {row['ms']:.4g} ms", flush=True)
    measure.report("One step of each stage, per fit (8 clips of 100 frames)", rows, {"ceilings": ceilings}, args.output)


def time_stages(case: problem.Case, fits: int, names: list[str], steps: int) -> list[dict[str, Any]]:
    """A row for each of the named stages that the case has."""
    keys = jax.random.split(jax.random.key(0), fits)
    clips = jax.tree.map(lambda x: jnp.broadcast_to(x, (fits, *x.shape)), case.clips)
    configs = parallel.stack_configs([case.config] * fits)
    given, state = jax.jit(parallel.start)(keys, clips, case.body, case.priors, configs)
    rows = []
    for stage in fit.stages(case.config):
        carry = jax.jit(parallel.begin, static_argnums=0)(stage, given, state)
        if stage.name in names:
            rows.append(time_stage(case, stage, given, carry, fits, steps))
        state = jax.jit(parallel.end, static_argnums=0)(stage, given, carry)
    return rows


def time_stage(
    case: problem.Case, stage: fit.Stage, given: fit.Problem, carry: Any, fits: int, steps: int
) -> dict[str, Any]:
    """Time of a step per fit, and the rates that it means."""
    index = jnp.arange(steps, dtype=jnp.int32)
    program = jax.jit(parallel.run_steps, static_argnums=1, donate_argnums=2)
    compiled = program.lower(given, stage, carry, index).compile(compiler_options=devices.compiler_options())
    analysis = compiled.cost_analysis() or {}
    held = [jax.tree.map(jnp.copy, carry)]

    def call() -> Any:
        held[0], losses = compiled(given, held[0], index)
        return losses

    timing = measure.jax_seconds(call, block=0.1, repeats=5)
    share = 1 / (steps * fits)
    step = timing.median * share
    counted = counts.of_step(stage.name, dataclasses.replace(given, config=case.config))
    return {
        "preset": case.name,
        "networks": case.config.matmul_precision,
        "stage": stage.name,
        "fits": fits,
        "ms": 1e3 * step,
        "least": 1e3 * timing.least * share,
        "greatest": 1e3 * timing.greatest * share,
        "GFLOP": counted.flops / 1e9,
        "MB": counted.bytes / 1e6,
        # XLA counts a loop's body once, whatever its length.
        "XLA GFLOP": analysis.get("flops", 0.0) / fits / 1e9,
        "XLA MB": analysis.get("bytes accessed", 0.0) / fits / 1e6,
        "TFLOP/s": counted.flops / step / 1e12,
        "GB/s": counted.bytes / step / 1e9,
    }


if __name__ == "__main__":
    main()
