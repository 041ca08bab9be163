"""The progress output of a running fit: one live line on a terminal, one plain line per stage elsewhere."""

import math
import time
from collections.abc import Mapping, Sequence
from types import TracebackType

import numpy as np
from rich.console import Console
from rich.live import Live
from rich.text import Text

from experiments.base.text import duration
from experiments.fitting.compiled_programs import Chunk, Position
from nemo_jax.stages import Stage

# Cost of a step relative to a step of the joint stage, to estimate the remaining time of stages that have not run yet.
_COST = {"lift": 1.0, "warmup": 0.6, "camera": 0.3, "early": 1.0, "rescue": 2.0, "joint": 1.0}
_BAR = 20


class FitProgress:
    """Reports the chunks of a fit; a context manager, which shows the live line until it ends."""

    def __init__(self, console: Console, stages: Sequence[Stage], position: Position):
        self._console, self._stages = console, stages
        self._skipped = _work(stages, position)
        self._total = _work(stages, Position(len(stages)))
        self._begun = time.perf_counter()
        self._stage_begun = self._begun
        self._first: dict[str, float] = {}
        self._live = Live(console=console, refresh_per_second=4, transient=True) if console.is_terminal else None

    def __enter__(self) -> "FitProgress":
        if self._live:
            self._live.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._live:
            self._live.stop()

    def chunk(self, chunk: Chunk) -> None:
        """Shows the state after a chunk; if the chunk ends a stage, prints the line of the stage."""
        now = time.perf_counter()
        # Waiting for the compiler is no part of a stage.
        self._begun, self._stage_begun = self._begun + chunk.waited, self._stage_begun + chunk.waited
        losses = {term: float(np.mean(values)) for term, values in chunk.losses.items()}
        self._first = self._first or {term: float(values[0]) for term, values in chunk.losses.items()}
        done = chunk.first + len(next(iter(chunk.losses.values())))
        finished = done == chunk.stage.steps
        if self._live:
            work = _work(self._stages, chunk.position)
            left = (now - self._begun) * (self._total - work) / max(work - self._skipped, 1e-9)
            bar = "━" * round(_BAR * work / self._total)
            line = Text(no_wrap=True, overflow="ellipsis")
            line.append(f"{chunk.stage.name:<7}", "bold").append(f"step {done:>4}/{chunk.stage.steps}  ")
            line.append(bar.ljust(_BAR, "·"), "cyan").append(f"  {duration(left)} left  {losses_text(losses)}")
            self._live.update(line)
        if finished:
            main = "total" if "total" in losses else next(iter(losses))
            self._console.print(
                f"{chunk.stage.name:<7} {chunk.stage.steps} steps in {duration(now - self._stage_begun)}, "
                f"loss {self._first[main]:.4g} -> {float(chunk.losses[main][-1]):.4g}"
            )
            self._stage_begun, self._first = now, {}


def losses_text(losses: Mapping[str, float]) -> str:
    """The losses as text, such as `total 31.2 · keypoints 20.1`: the total first, then the largest terms."""
    order = sorted(losses, key=lambda term: (term != "total", -losses[term]))
    return " · ".join(f"{term} {losses[term]:.3g}" for term in order if math.isfinite(losses[term]))


def _work(stages: Sequence[Stage], position: Position) -> float:
    """The work done: the number of steps, each weighted by its stage's cost."""
    before = sum(stage.steps * _COST.get(stage.name, 1.0) for stage in stages[: position.stage])
    here = position.step * _COST.get(stages[position.stage].name, 1.0) if position.stage < len(stages) else 0.0
    return before + here
