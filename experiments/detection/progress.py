"""What the search for people says: one live line on a terminal, and a plain line for each film."""

from __future__ import annotations

import time
from types import TracebackType

import numpy as np
from rich.console import Console
from rich.live import Live
from rich.text import Text

from experiments.base.text import duration

_BAR = 20


class FilmProgress:
    """Reports one film; a context, within which the live line stands. Without a console, it says nothing."""

    def __init__(self, console: Console | None, name: str, num_frames: int | None):
        self._console, self._name, self._total = console, name, num_frames
        self._begun = time.perf_counter()
        self._live: Live | None = None

    def __enter__(self) -> FilmProgress:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._live is not None:
            self._live.stop()

    def frame(self, done: int) -> None:
        """Shows how many frames are done."""
        if self._console is None or not self._console.is_terminal:
            return
        if self._live is None:
            self._live = Live(console=self._console, refresh_per_second=4, transient=True)
            self._live.start()
        line = Text(no_wrap=True, overflow="ellipsis")
        line.append(f"{self._name}  ", "bold").append(f"frame {done}")
        if self._total:
            share = min(done / self._total, 1.0)
            left = (time.perf_counter() - self._begun) * (1 - share) / share
            line.append(f"/{self._total}  ").append(
                "━" * round(_BAR * share) + "·" * (_BAR - round(_BAR * share)), "cyan"
            )
            line.append(f"  {duration(left)} left")
        self._live.update(line)

    def done(self, seen: np.ndarray, kept: bool) -> None:
        """The film's line. seen (F, P): who is found in it. kept: not now, but by an earlier run."""
        if self._console is not None:
            how = "as an earlier run found" if kept else f"in {duration(time.perf_counter() - self._begun)}"
            self._console.print(Text(f"{self._name}: people in {int(seen.any(1).sum())} of {len(seen)} frames, {how}"))
