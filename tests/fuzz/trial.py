"""What a worker answers of files that say it themselves: a module of a campaign without imports, which starts at once."""

import os
from pathlib import Path


def begin(scratch: Path) -> None:
    (scratch / "begun").touch()


def answer(place: Path) -> str:
    """The name of the only file, or what that name asks for."""
    (what,) = (path.name for path in place.iterdir())
    if what == "hang":
        while True:
            pass
    if what == "grow":
        grown = []
        while True:
            grown.append(bytes(range(256)) * 40_000)
    if what == "die":
        os.abort()
    if what == "fail":
        raise ValueError("a trace\nof two lines")
    return what
