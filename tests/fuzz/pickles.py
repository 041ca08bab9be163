"""Gives hostile files to the project's readers: `python -m tests.fuzz.pickles --count=100 --seed=0`.

Made are `count` pickles, and half as many archives (.npz), checkpoints with files of joblib, and outputs of pose methods
with odd entries. Each is read in a process of its own, and must be refused in one sentence, or loaded, within the limits.
Prints a table of kinds; ends with status 1 where a file survives as anything else, and says which.
"""

import argparse
import collections
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.fuzz import hostile_archives, hostile_pickles, hostile_torch, odd_entries, readers
from tests.fuzz.cases import Case
from tests.fuzz.measure import Outcome, measured

MAX_SECONDS = 5.0
MAX_BYTES = 800 << 20


def cases(count: int, seed: int) -> Iterator[Case]:
    half = (count + 1) // 2
    yield from hostile_pickles.make(random.Random(f"{seed} pickles"), count)
    yield from hostile_archives.make(random.Random(f"{seed} archives"), half)
    yield from hostile_torch.make(random.Random(f"{seed} torch"), half)
    yield from odd_entries.make(random.Random(f"{seed} entries"), half)


def run(
    count: int, seed: int, max_seconds: float = MAX_SECONDS, max_bytes: int = MAX_BYTES, kind: str = ""
) -> list[str]:
    """Prints the table; what failed, one line for each file and reader."""
    rows: dict[str, list[Outcome]] = collections.defaultdict(list)
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        for number, case in enumerate(cases(count, seed)):
            if kind not in case.kind:
                continue
            file = Path(folder) / f"{number}{case.suffix}"
            file.write_bytes(case.contents)
            for reader in case.readers:
                outcome = measured(lambda r=reader, f=file: readers.answer(r, f), max_seconds, max_bytes)
                rows[case.kind].append(outcome)
                if not _survives(outcome):
                    where = f" ({case.detail})" if case.detail else ""
                    failed.append(f"{number} {case.kind}{where}, read as {reader}: {outcome.answer}")
            file.unlink()
    _print(rows)
    return failed


def _survives(outcome: Outcome) -> bool:
    return outcome.answer in ("refused", "loaded")


def _print(rows: dict[str, list[Outcome]]) -> None:
    print(f"{'kind':<28}{'tried':>6}{'refused':>9}{'loaded':>8}{'failed':>8}{'slowest s':>11}{'most MB':>9}")
    total = [outcome for outcomes in rows.values() for outcome in outcomes]
    for kind, outcomes in [*rows.items(), ("all", total)]:
        answers = collections.Counter(outcome.answer for outcome in outcomes)
        failures = sum(not _survives(outcome) for outcome in outcomes)
        slowest = max((outcome.seconds for outcome in outcomes), default=0.0)
        most = max((outcome.bytes for outcome in outcomes), default=0) / 2**20
        print(
            f"{kind:<28}{len(outcomes):>6}{answers['refused']:>9}{answers['loaded']:>8}{failures:>8}{slowest:>11.2f}"
            f"{most:>9.0f}"
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100, help="how many pickles")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of files")
    parser.add_argument("--kind", default="", help="only kinds with this in their name")
    parser.add_argument("--seconds", type=float, default=MAX_SECONDS, help="allowed for each file")
    parser.add_argument("--megabytes", type=int, default=MAX_BYTES >> 20, help="of memory allowed for each file")
    given = parser.parse_args()
    failed = run(given.count, given.seed, given.seconds, given.megabytes << 20, given.kind)
    print("\n".join(failed))
    return bool(failed)


if __name__ == "__main__":
    raise SystemExit(main())
