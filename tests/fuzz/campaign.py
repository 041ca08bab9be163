"""A campaign of damaged files or folders: makes each, asks a worker what the project's readers make of it, prints a table.

A module of a campaign has `make(place, scratch, rng)`, which writes one and says what was done to it, and `begin` and
`answer` for its worker.
"""

import argparse
import collections
import random
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.fuzz.measure import Outcome
from tests.fuzz.worker import Worker

MAX_SECONDS = 10.0
MAX_BYTES = 2000 << 20
SURVIVES = ("refused", "loaded")
# (where, the folder in which the worker's `begin` wrote, chance) -> what was done, by what stands before a colon counted.
Make = Callable[[Path, Path, random.Random], str]


def run(
    module: str, make: Make, count: int, seed: int, max_seconds: float, max_bytes: int, kind: str = ""
) -> list[str]:
    """Prints the table; what failed, one line each. kind: only those with this in their description."""
    rows: dict[str, list[Outcome]] = collections.defaultdict(list)
    failed = []
    with tempfile.TemporaryDirectory() as scratch, Worker(module, Path(scratch)) as worker:
        worker.start()
        for number in range(count):
            place = Path(scratch) / f"try {number}"
            place.mkdir()
            what = make(place, Path(scratch), random.Random(f"{seed} {module} {number}"))
            if kind in what:
                outcome = worker.ask(place, max_seconds, max_bytes)
                rows[what.partition(":")[0]].append(outcome)
                # What nothing was done to must be read, or the others prove nothing.
                if outcome.answer not in (("loaded",) if what == "sound" else SURVIVES):
                    failed.append(f"{number} {what!a}: {outcome.answer}")
            shutil.rmtree(place, ignore_errors=True)
    show(rows)
    return failed


def show(rows: dict[str, list[Outcome]]) -> None:
    """Prints how many of each kind were refused, loaded and neither, the slowest and the most memory."""
    print(f"{'kind':<28}{'tried':>6}{'refused':>9}{'loaded':>8}{'failed':>8}{'slowest s':>11}{'most MB':>9}")
    total = [outcome for outcomes in rows.values() for outcome in outcomes]
    for kind, outcomes in [*sorted(rows.items()), ("all", total)]:
        answers = collections.Counter(outcome.answer for outcome in outcomes)
        failures = sum(outcome.answer not in SURVIVES for outcome in outcomes)
        slowest = max((outcome.seconds for outcome in outcomes), default=0.0)
        most = max((outcome.bytes for outcome in outcomes), default=0) / 2**20
        print(
            f"{kind[:27]:<28}{len(outcomes):>6}{answers['refused']:>9}{answers['loaded']:>8}{failures:>8}{slowest:>11.2f}"
            f"{most:>9.0f}"
        )


def main(module: str, make: Make, text: str | None) -> int:
    """The command line of a campaign; returns the status, 1 where something failed."""
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100, help="how many")
    parser.add_argument("--seed", type=int, default=0, help="of what is done to them")
    parser.add_argument("--kind", default="", help="only those with this in what was done to them")
    parser.add_argument("--seconds", type=float, default=MAX_SECONDS, help="allowed for each")
    parser.add_argument("--megabytes", type=int, default=MAX_BYTES >> 20, help="of memory allowed for each")
    given = parser.parse_args()
    failed = run(module, make, given.count, given.seed, given.seconds, given.megabytes << 20, given.kind)
    print("\n".join(failed))
    return bool(failed)
