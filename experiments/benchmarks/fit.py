"""Times a whole fit, and what compiling it takes cold and from the cache; states memory and whether repeats are equal.

    python -m experiments.benchmarks.fit --output=fit.json
    python -m experiments.benchmarks.fit --presets=default --precision=float32     # what a CPU can do in minutes

Every measurement has a process of its own: compiled programs and peaks of memory stay with a process.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from typing import Any

import jax
import numpy as np

from experiments.base import devices
from experiments.benchmarks import measure, problem
from nemo_jax.fit import fit


def main() -> None:
    """The command."""
    parser = measure.parser(__doc__)
    parser.add_argument("--presets", default="paper_v2,default", help="separated by commas")
    parser.add_argument("--precision", default="tensorfloat32", help="of the networks, separated by commas")
    parser.add_argument("--repeats", type=int, default=3, help="timed fits of one process")
    parser.add_argument("--one", help="measure this preset in this process and print JSON")
    args = parser.parse_args()
    if args.one:
        devices.keep_compiled()
        print(json.dumps(measure_one(problem.in_precision(problem.case(args.one), args.precision), args.repeats)))
        return
    rows = []
    for preset in args.presets.split(","):
        for precision in args.precision.split(","):
            with tempfile.TemporaryDirectory() as cache:
                cold, cached = (_in_own_process(preset, precision, n, cache) for n in (1, args.repeats))
            rows.append({"preset": preset, "networks": precision, **row(cold, cached)})
            print(rows[-1], flush=True)
    measure.report("A whole fit of 8 clips of 100 frames", rows, {}, args.output)


def row(cold: dict[str, Any], cached: dict[str, Any]) -> dict[str, Any]:
    """Columns of the table, from the measurements of two processes: one with an empty cache, one with a full cache."""
    return {
        "fit s": cached["seconds"],
        "compile s, cold": cold["compile"],
        "compile s, cached": cached["compile"],
        "trace s": cached["trace"],
        "peak MB": None if cached["peak_bytes"] is None else cached["peak_bytes"] / 1e6,
        "repeats equal": str(cached["equal"]),
        "processes equal": str(cold["digest"] == cached["digest"]),
    }


def measure_one(case: problem.Case, repeats: int) -> dict[str, Any]:
    """Seconds to trace, compile and run, and other measurements of this process; a CPU reports no peak memory."""
    given = (jax.random.key(0), case.clips, case.body, case.priors, case.config)
    begun = time.perf_counter()
    lowered = jax.jit(fit).lower(*given)
    traced = time.perf_counter()
    compiled = lowered.compile(compiler_options=devices.compiler_options())
    done = time.perf_counter()
    times, results = [], []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        result = jax.block_until_ready(compiled(*given))
        times.append(time.perf_counter() - start)
        results.append([np.asarray(leaf) for leaf in jax.tree.leaves((result.params, result.history))])
    equal = all(np.array_equal(a, b) for other in results[1:] for a, b in zip(results[0], other, strict=True))
    memory = jax.local_devices()[0].memory_stats() or {}
    return {
        "trace": traced - begun,
        "compile": done - traced,
        # The first run also loads the program.
        "seconds": float(np.median(times[1:])),
        "equal": equal,
        "digest": float(sum(np.abs(leaf.astype(np.float64)).sum() for leaf in results[0])),
        "peak_bytes": memory.get("peak_bytes_in_use"),
    }


def _in_own_process(preset: str, precision: str, repeats: int, cache: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "experiments.benchmarks.fit", f"--one={preset}", f"--precision={precision}"]
    environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": cache}
    done = subprocess.run([*command, f"--repeats={repeats}"], env=environment, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
