"""Files that are complete or not there: each is written under another name, then renamed."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

UNFINISHED = ".unfinished."


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A name beside `path` to write to; it takes the place of `path` when the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix stays, as writers choose their format by it; no process number, so that a killed run's is overwritten.
    temporary = path.with_name(f"{UNFINISHED}{path.name}")
    yield temporary
    os.replace(temporary, path)
