"""Times a step of the joint stage without the open learned priors, with that over poses, and with that over motions too.

    python -m experiments.benchmarks.priors --output=priors.json

The programs take turns, many times, so that what else the machine does weighs on all of them alike.
"""

import dataclasses
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from experiments.base import devices
from experiments.benchmarks import measure, problem, stages
from nemo_jax import parallel
from nemo_jax.priors import open_limbs, open_motion

WITHOUT = "without"


def main() -> None:
    """The command."""
    parser = measure.parser(__doc__)
    parser.add_argument("--steps", type=int, default=20, help="steps of a timed scan")
    parser.add_argument("--rounds", type=int, default=15, help="turns that each program takes")
    parser.add_argument("--windows", default="32,64", help="motion_windows tried, separated by commas")
    args = parser.parse_args()
    devices.keep_compiled()
    found = cases([int(count) for count in args.windows.split(",") if count])
    rows = table(times(found, args.steps, args.rounds), args.steps)
    measure.report("One step of the joint stage (8 clips of 100 frames)", rows, {}, args.output)


def cases(windows: Sequence[int]) -> list[problem.Case]:
    """The default preset with more and more priors; joint limits are in all."""
    plain = problem.in_precision(problem.case("default"), "float32", motion_windows=0)
    poses = dataclasses.replace(plain.priors, limbs=open_limbs())
    found = [
        dataclasses.replace(plain, name=WITHOUT),
        dataclasses.replace(plain, name="poses", priors=poses),
    ]
    for count in windows:
        config = dataclasses.replace(plain.config, motion_windows=count)
        priors = dataclasses.replace(poses, motion=open_motion())
        found.append(dataclasses.replace(plain, name=f"poses, motions of {count}", priors=priors, config=config))
    return found


def times(found: Sequence[problem.Case], steps: int, rounds: int) -> dict[str, list[float]]:
    """Seconds of each turn of each case, in turns."""
    calls = dict(zip([each.name for each in found], programs(found, steps), strict=True))
    for call in calls.values():
        jax.block_until_ready(call())
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            begun = time.perf_counter()
            jax.block_until_ready(call())
            seconds[name].append(time.perf_counter() - begun)
    return seconds


def programs(found: Sequence[problem.Case], steps: int) -> list[Callable[[], Any]]:
    """Calls that run so many steps of the joint stage of each case."""
    index = jnp.arange(steps, dtype=jnp.int32)
    functions = parallel.functions(tuple(jax.local_devices()[:1]))
    ready = [one for case in found for one in stages.prepare(case, 1, ["joint"])]
    compiled = measure.compile_all(functions.steps(one.stage).lower(one.given, one.carry, index) for one in ready)
    return [
        # A copy each time, as the program consumes what it is given.
        lambda run=run, one=one: run(one.given, jax.tree.map(jnp.copy, one.carry), index)
        for one, (run, _) in zip(ready, compiled, strict=True)
    ]


def table(seconds: dict[str, list[float]], steps: int) -> list[dict[str, Any]]:
    """A row for each case: milliseconds of a step, and how much longer it takes than without, as the median over turns of
    the ratio within a turn."""
    rows = []
    for name, own in seconds.items():
        ratios = [mine / other for mine, other in zip(own, seconds[WITHOUT], strict=True)]
        rows.append(
            {
                "priors": name,
                "ms": 1e3 * statistics.median(own) / steps,
                "fastest": 1e3 * min(own) / steps,
                "longer by %": 100 * (statistics.median(ratios) - 1),
                "of fastest %": 100 * (min(own) / min(seconds[WITHOUT]) - 1),
            }
        )
    return rows


if __name__ == "__main__":
    main()
