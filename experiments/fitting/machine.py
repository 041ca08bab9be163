"""The machine that fits, one fit or many at once: from where each of them stands to its end, with checkpoints."""

import dataclasses
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from rich.console import Console

from experiments.base.errors import UserError
from experiments.fitting.checkpoints import Checkpoints, Snapshot
from experiments.fitting.compiled_programs import Chunk, CompiledFit, Position, end_of, stages_of
from experiments.fitting.inputs import Inputs
from experiments.fitting.progress import FitProgress
from nemo_jax import stacking

# Saving takes at most this share of the time.
_SAVING_SHARE = 0.05
_NOTHING_SPENT = {"before": 0.0, "compile": 0.0, "fit": 0.0}


class Lane:
    """One of the fits that a program runs at once: where it stands, and its checkpoints.

    Args:
      inputs: what it is given. checkpoints: its own. found: the checkpoint from which it goes on; None = it starts.
      spent: seconds that its run has taken so far beside the fit, by name.
    """

    def __init__(self, inputs: Inputs, checkpoints: Checkpoints, found: Snapshot | None, spent: Mapping[str, float]):
        self.inputs, self.checkpoints = inputs, checkpoints
        start = Snapshot(Position(), None, inputs.job.key, {}, _NOTHING_SPENT)
        self.at = _later(found or start, spent)

    def after(self, chunk: Chunk, number: int, seconds: float) -> None:
        """Moves on by a chunk in which it is fit `number`. Raises UserError: its losses are not finite."""
        history = with_losses(self.at, chunk, number)
        at = dataclasses.replace(self.at, position=chunk.position, carry=None, history=history)
        self.at = _later(at, {"before": seconds, "fit": seconds})

    def take(self, carry: Any, number: int) -> None:
        """Takes its own part of the stacked carry, which is on the host."""
        own = stacking.take_apart(carry, number, self.inputs.shapes.carry_at(self.at.position))
        self.at = dataclasses.replace(self.at, carry=own)


def run(
    lanes: dict[int, Lane],
    position: Position,
    programs: CompiledFit,
    console: Console,
    checkpoint_seconds: float,
    failed: Callable[[int, UserError], None],
) -> None:
    """Runs all lanes to their ends, whose carries they then hold, on the host; the ends are not saved yet.

    Args:
      lanes: by their numbers in the program, all of which stand at `position`; those that diverge are taken out.
      programs: of a stacked job of these fits. console: shows progress.
      checkpoint_seconds: a chunk's end is saved when the last save is at least so long ago.
      failed: is told of those that diverge.
    """
    if not lanes:
        return
    problem, carry = programs.start()
    if position != Position():
        # A lane that failed before it began is filled with another's.
        stand_in = next(iter(lanes.values()))
        carries = [lanes.get(number, stand_in).at.carry for number in range(max(lanes) + 1)]
        carry = stacking.put_together(carries, programs.shapes.carry_at(position))
    before = saved = time.perf_counter()
    cost = 0.0
    with FitProgress(console, stages_of(programs.job), position) as progress:
        for chunk in programs.run(problem, position, carry):
            now = time.perf_counter()
            seconds, before = (now - before) / len(lanes), now
            for number in list(lanes):
                try:
                    lanes[number].after(chunk, number, seconds)
                except UserError as error:
                    del lanes[number]
                    failed(number, error)
            if not lanes:
                return
            alive = list(lanes)
            progress.chunk(chunk._replace(losses={term: v[alive].mean(0) for term, v in chunk.losses.items()}))
            ended = chunk.position == end_of(programs.job)
            if ended or now - saved >= max(checkpoint_seconds, cost / _SAVING_SHARE):
                on_host = jax.tree.map(np.asarray, chunk.carry)
                for number, lane in lanes.items():
                    lane.take(on_host, number)
                    if not ended:
                        lane.checkpoints.save(lane.at)
                saved = time.perf_counter()
                cost = saved - now


def with_losses(at: Snapshot, chunk: Chunk, number: int) -> dict[str, dict[str, np.ndarray]]:
    """The losses of a fit after a chunk in which it is fit `number`. Raises UserError: they are not finite."""
    terms = {term: values.copy() for term, values in at.history.get(chunk.stage.name, {}).items()}
    for term, losses in chunk.losses.items():
        values = losses[number]
        if not np.isfinite(values).all():
            step = int(np.argmin(np.isfinite(values)))
            raise UserError(
                f"the fit diverged: {term} is {values[step]} at step {chunk.first + step} of the {chunk.stage.name} stage; "
                "lower the learning rates, such as --fit.lr_field, and add --resume=false"
            )
        terms.setdefault(term, np.full(chunk.stage.steps, np.nan, np.float32))
        terms[term][chunk.first : chunk.first + chunk.length] = values
    return {**at.history, chunk.stage.name: terms}


def _later(at: Snapshot, spent: Mapping[str, float]) -> Snapshot:
    return dataclasses.replace(at, seconds={name: value + spent.get(name, 0.0) for name, value in at.seconds.items()})
