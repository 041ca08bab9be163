"""A film written in pieces at the same time, where there are more processes than films, and then joined."""

import itertools
import math
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from experiments.base import devices
from experiments.fitting.workers import Later, Submit
from experiments.show.render import mp4

_LEAST = 24  # pictures of a piece: fewer take longer to begin than to draw


class Film:
    """A film of so many pictures, begun here; `results` waits for it.

    Args:
      path: of the film. count: of its pictures. beside: how many films are written at the same time, with this one.
      submit: takes the work. function: writes some pictures, `function(path, range, *args)`, from whichever process.
    """

    def __init__(self, path: Path, count: int, beside: int, submit: Submit, function: Callable[..., Any], *args: Any):
        self._path = path
        own = _split(count, 1 if submit is Later else math.ceil(devices.num_cores() / max(beside, 1)))
        # Whoever writes a folder's films deletes all others in it, so that no piece of an interrupted run stays.
        self._pieces = [path] if len(own) == 1 else [path.with_suffix(f".{k}.part.mp4") for k in range(len(own))]
        self._work: list[Future[Any]] = [
            submit(function, piece, pictures, *args) for piece, pictures in zip(self._pieces, own, strict=True)
        ]

    def results(self) -> list[Any]:
        """What the function returned for each piece, once the film is there."""
        found = [piece.result() for piece in self._work]
        if len(self._pieces) > 1:
            mp4.join(self._pieces, self._path)
            for piece in self._pieces:
                piece.unlink()
        return found


def _split(count: int, most: int) -> list[range]:
    """Ranges of about equal length, at most so many and none of fewer pictures than are worth it."""
    number = max(1, min(most, count // _LEAST))
    ends = [round(count * k / number) for k in range(number + 1)]
    return [range(first, last) for first, last in itertools.pairwise(ends)]
