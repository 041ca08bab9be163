"""Gives damaged checkpoints to their reader: `python -m tests.fuzz.checkpoints --count=50 --seed=0`.

What is read must be, bit for bit, one of the two that were written, or be refused.
"""

import random
import shutil
from pathlib import Path
from typing import Any

from tests.fuzz import campaign, mutations, worker

_given: dict[str, Any] = {}


def make(place: Path, scratch: Path, rng: random.Random) -> str:
    """A folder `checkpoints` with one thing changed, or several."""
    folder = place / "checkpoints"
    shutil.copytree(scratch / "checkpoints", folder)
    if rng.random() < 0.03:
        return "sound"
    what = mutations.folder(folder, rng)
    for _ in range(rng.choice((0, 0, 3))):
        if any(path.is_file() for path in folder.rglob("*")):
            mutations.folder(folder, rng)
    return what


def begin(scratch: Path) -> None:
    from tests.fuzz import tiny

    _given.update(tiny.checkpoints(scratch / "checkpoints"))


def answer(place: Path) -> str:
    from experiments.base.errors import UserError
    from experiments.fitting import checkpoints

    folder = place / "checkpoints"
    try:
        with checkpoints.Checkpoints(folder, _given["job"], _given["identity"]) as kept:
            found = kept.latest()
    except UserError as error:
        return worker.sentence(error)
    if found is None:
        return "silently begins anew" if any(path.name.isdecimal() for path in folder.glob("*/")) else "loaded"
    own = (checkpoints.digest(found.carry), found.seconds)
    return "loaded" if own == _given["written"].get(found.position) else "loaded other numbers"


if __name__ == "__main__":
    raise SystemExit(campaign.main("checkpoints", make, __doc__))
