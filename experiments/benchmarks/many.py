"""Times many whole fits in one program, spread over the devices: fits per hour, memory, and the rates they mean.

    python -m experiments.benchmarks.many --fits=32,256 --output=many.json
    python -m experiments.benchmarks.many --fits=256 --devices=1,2,4

Efficiency is fits per hour on n devices over n times those of as many fits on one; it needs a row with one device.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from experiments.base import devices
from experiments.benchmarks import counts, measure, problem, traffic
from nemo_jax import parallel, stacking

_NAMES = ("preset", "networks", "devices", "fits")
_TIMES = (*_NAMES, "seconds", "s per fit", "fits per hour", "efficiency", "GB a device", "compile s")
_NOTES = (
    "Rates are those of one device. GB a device: arguments, results and temporaries of the compiled program. compile s: of "
    "programs that compile side by side, or come from the cache of an earlier run. "
)


def main() -> None:
    """The command."""
    parser = measure.parser(__doc__)
    parser.add_argument("--preset", default="default", help="the preset to fit")
    parser.add_argument("--fits", default="1,32,256", help="how many at once, separated by commas")
    parser.add_argument("--devices", default="0", help="how many devices, separated by commas; 0 = all")
    parser.add_argument("--precision", default="tensorfloat32", help="of the networks")
    args = parser.parse_args()
    here = len(jax.local_devices())
    used = [int(count) or here for count in args.devices.split(",")]
    if max(used) > here:
        raise SystemExit(f"--devices={args.devices}: there are {here} devices here; ask for no more than that")
    devices.keep_compiled()
    case = problem.in_precision(problem.case(args.preset), args.precision)
    found = measure.ceilings()
    rows = table(case, [int(count) for count in args.fits.split(",")], used, found)
    extra = {"ceilings": found, "notes": _NOTES + measure.RATES_NOTE}
    parts = [_TIMES, (*_NAMES, *measure.RATES)]
    measure.report("Many whole fits of 8 clips of 100 frames", rows, extra, args.output, parts)


def table(
    case: problem.Case, fits: Sequence[int], used: Sequence[int], ceilings: dict[str, float]
) -> list[dict[str, Any]]:
    """One row for each number of devices and each number of fits."""
    todo = [(count, arguments(case, count), jax.local_devices()[:size]) for size in used for count in fits]
    programs = measure.compile_all(lower(given, where) for _, given, where in todo)
    needed = counts.of_fit(case)
    rows = []
    for (count, given, where), (compiled, spent) in zip(todo, programs, strict=True):
        rows.append(time_fits(case, count, given, compiled, len(where), needed, ceilings) | {"compile s": spent})
        print(f"{count} fits on {len(where)}: {rows[-1]['seconds']:.4g} s", flush=True)
    return with_efficiency(rows)


def arguments(case: problem.Case, fits: int) -> tuple[Any, ...]:
    """The arguments of `parallel.fit_many`: the case repeated `fits` times, each with its own key."""
    keys = jax.random.split(jax.random.key(0), fits)
    clips = jax.tree.map(lambda x: jnp.broadcast_to(x, (fits, *x.shape)), case.clips)
    return keys, clips, case.body, case.priors, stacking.stack_configs([case.config] * fits)


def lower(given: tuple[Any, ...], used: Sequence[Any]) -> Any:
    """The lowered program of all these fits on these devices, not compiled yet."""
    return jax.jit(lambda *arrays: parallel.fit_many(*arrays, devices=used)).lower(*given)


def time_fits(
    case: problem.Case,
    fits: int,
    given: tuple[Any, ...],
    compiled: Any,
    used: int,
    needed: counts.Count,
    ceilings: dict[str, float],
) -> dict[str, Any]:
    """One row, without the efficiency."""
    _, seconds = measure.run(lambda: compiled(*given))
    memory = compiled.memory_analysis()
    held = memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes
    # The compiled program is that of one device.
    moved = traffic.of_program(compiled).bytes
    own = counts.Count(*(fits / used * part for part in needed))
    return {
        "preset": case.name,
        "networks": case.config.matmul_precision,
        "devices": used,
        "fits": fits,
        "seconds": seconds,
        "s per fit": seconds / fits,
        "fits per hour": 3600 * fits / seconds,
        "GB a device": held / 1e9,
        **measure.rates(seconds, own, moved, ceilings, case.config.matmul_precision),
    }


def with_efficiency(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Adds the efficiency to rows: fits per hour on n devices over n times those on one; None without a row for one."""
    alone = {row["fits"]: row["fits per hour"] for row in rows if row["devices"] == 1}

    def efficiency(row: dict[str, Any]) -> float | None:
        one = alone.get(row["fits"])
        return row["fits per hour"] / (row["devices"] * one) if one else None

    return [row | {"efficiency": efficiency(row)} for row in rows]


if __name__ == "__main__":
    main()
