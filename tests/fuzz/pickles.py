"""Gives hostile files to the project's readers: `python -m tests.fuzz.pickles --count=100 --seed=0`.

Made are `count` pickles, and half as many archives (.npz), checkpoints with files of joblib, and outputs of pose methods
with odd entries. Each is read in a process of its own, and must be refused in one sentence, or loaded, within the limits.
Prints a table of kinds; ends with status 1 where a file survives as anything else, and says which.
"""

import argparse
import collections
import random
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.fuzz import hostile_archives, hostile_pickles, hostile_torch, odd_entries, readers
from tests.fuzz.campaign import SURVIVES, show
from tests.fuzz.cases import Case
from tests.fuzz.measure import Outcome, measured

MAX_SECONDS = 5.0
MAX_BYTES = 800 << 20


def cases(count: int, seed: int, wanted: Callable[[str], bool] = lambda kind: True) -> Iterator[Case]:
    """The files of the kinds that are wanted. Each depends on the seed and its number alone."""
    half = (count + 1) // 2
    makers = ((hostile_pickles, count), (hostile_archives, half), (hostile_torch, half), (odd_entries, half))
    for maker, most in makers:
        kinds = random.Random(f"{seed} {maker.__name__}").sample(maker.NAMES, len(maker.NAMES))
        for index in range(most):
            # All kinds in turn.
            kind = kinds[index % len(kinds)]
            if wanted(kind):
                yield maker.make(kind, random.Random(f"{seed} {maker.__name__} {index}"))


def run(count: int, seed: int, max_seconds: float, max_bytes: int, kind: str = "", skip: str = "") -> list[str]:
    """Prints the table; what failed, one line for each file and reader.

    Args:
      kind: only kinds with this in their name.
      skip: not those with this, whose files are not even made.
    """
    rows: dict[str, list[Outcome]] = collections.defaultdict(list)
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        for number, case in enumerate(cases(count, seed, lambda name: kind in name and not (skip and skip in name))):
            file = Path(folder) / f"{number}{case.suffix}"
            file.write_bytes(case.contents)
            for reader in case.readers:
                outcome = measured(lambda r=reader, f=file: readers.answer(r, f), max_seconds, max_bytes)
                rows[case.kind].append(outcome)
                if outcome.answer not in SURVIVES:
                    where = f" ({case.detail})" if case.detail else ""
                    failed.append(f"{number} {case.kind}{where}, read as {reader}: {outcome.answer}")
            file.unlink()
    show(rows)
    return failed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100, help="how many pickles")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of files")
    parser.add_argument("--kind", default="", help="only kinds with this in their name")
    parser.add_argument("--seconds", type=float, default=MAX_SECONDS, help="allowed for each file")
    parser.add_argument("--megabytes", type=int, default=MAX_BYTES >> 20, help="of memory allowed for each file")
    parser.add_argument("--skip", default="", help="no kinds with this in their name")
    given = parser.parse_args()
    failed = run(given.count, given.seed, given.seconds, given.megabytes << 20, given.kind, given.skip)
    print("\n".join(failed))
    return bool(failed)


if __name__ == "__main__":
    raise SystemExit(main())
