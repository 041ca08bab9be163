"""Times many whole fits in one program, spread over all devices: fits per hour, memory, and the rates they mean.

python -m experiments.benchmarks.many --fits=1,32,256 --output=many.json
"""

import dataclasses
import time
from typing import Any

import jax
import jax.numpy as jnp

from experiments import devices
from experiments.benchmarks import counts, measure, problem
from nemo_jax import fit, parallel


def main() -> None:
    """The command."""
    parser = measure.parser(__doc__)
    parser.add_argument("--preset", default="default", help="the preset to fit")
    parser.add_argument("--fits", default="1,32,256", help="how many at once, separated by commas")
    parser.add_argument("--devices", default="0", help="how many devices, separated by commas; 0 = all")
    parser.add_argument("--precision", default="tensorfloat32", help="of the networks")
    args = parser.parse_args()
    devices.keep_compiled()
    case = problem.case(args.preset)
    case = dataclasses.replace(case, config=dataclasses.replace(case.config, matmul_precision=args.precision))
    ceilings = measure.ceilings()
    rows = []
    for used in map(int, args.devices.split(",")):
        for fits in map(int, args.fits.split(",")):
            rows.append(time_fits(case, fits, jax.local_devices()[: used or None], ceilings))
            print(rows[-1], flush=True)
    measure.report("Many whole fits of 8 clips of 100 frames", rows, {"ceilings": ceilings}, args.output)


def time_fits(case: problem.Case, fits: int, used: list[Any], ceilings: dict[str, float]) -> dict[str, Any]:
    """One row: a compiled program run twice, the second time measured."""
    keys = jax.random.split(jax.random.key(0), fits)
    clips = jax.tree.map(lambda x: jnp.broadcast_to(x, (fits, *x.shape)), case.clips)
    configs = parallel.stack_configs([case.config] * fits)
    given = (keys, clips, case.body, case.priors, configs)
    program = jax.jit(lambda *arrays: parallel.fit_many(*arrays, devices=used))
    begun = time.perf_counter()
    compiled = program.lower(*given).compile(compiler_options=devices.compiler_options())
    compile_seconds = time.perf_counter() - begun
    jax.block_until_ready(compiled(*given))
    begun = time.perf_counter()
    jax.block_until_ready(compiled(*given))
    seconds = time.perf_counter() - begun
    one = fit.start(keys[0], case.clips, case.body, case.priors, case.config)[0]
    counted = [(counts.of_step(stage.name, one), stage.steps) for stage in fit.stages(case.config)]
    rate = fits / seconds / len(used)
    flops = rate * sum(count.flops * steps for count, steps in counted)
    moved = rate * sum(count.bytes * steps for count, steps in counted)
    memory = used[0].memory_stats() or {}
    best = ceilings.get(f"{case.config.matmul_precision}_flops", ceilings["float32_flops"])
    return {
        "preset": case.name,
        "networks": case.config.matmul_precision,
        "devices": len(used),
        "fits": fits,
        "seconds": seconds,
        "s per fit": seconds / fits,
        "fits per hour": 3600 * fits / seconds,
        "compile s": compile_seconds,
        "peak GB a device": memory.get("peak_bytes_in_use", 0) / 1e9,
        "TFLOP/s a device": flops / 1e12,
        "share of matmul": flops / best,
        "GB/s a device": moved / 1e9,
        "share of copy": moved / ceilings["copy_bytes"],
    }


if __name__ == "__main__":
    main()
