"""Runs one or many fits at once from their current positions to their ends, with checkpoints."""

import dataclasses
import time
from collections.abc import Callable, Mapping

import jax
import numpy as np
from rich.console import Console

from body_models.pytree import Tree
from experiments.base.errors import UserError
from experiments.fitting.checkpoints import Checkpoints, Snapshot
from experiments.fitting.compiled_programs import Chunk, CompiledFit, Position, end_of, stages_of
from experiments.fitting.inputs import Inputs
from experiments.fitting.progress import FitProgress
from nemo_jax import stacking
from nemo_jax.clips import Clips

# Saving checkpoints takes at most this share of the time.
_SAVING_SHARE = 0.05
_NOTHING_SPENT = {"before": 0.0, "compile": 0.0, "fit": 0.0}


class Lane:
    """One of the fits that a program runs at once: its current state and its checkpoints.

    Args:
      inputs: the inputs of the fit. checkpoints: those of this fit. found: the checkpoint from which the fit is
        resumed; None = it starts from the beginning.
      spent: seconds that the run has taken so far outside of the fit itself, by name.
    """

    def __init__(self, inputs: Inputs, checkpoints: Checkpoints, found: Snapshot | None, spent: Mapping[str, float]):
        self.inputs, self.checkpoints = inputs, checkpoints
        start = Snapshot(Position(), None, inputs.job.key, {}, _NOTHING_SPENT)
        self.at = _later(found or start, spent)

    def after(self, chunk: Chunk, number: int, seconds: float, waited: float) -> None:
        """Updates the state after a chunk, in which this is fit `number`. Raises UserError if a loss is not finite."""
        history = with_losses(self.at, chunk, number)
        at = dataclasses.replace(self.at, position=chunk.position, carry=None, history=history)
        self.at = _later(at, {"before": seconds, "compile": waited, "fit": seconds - waited})

    def take(self, carry: Tree, number: int, clips: Clips) -> None:
        """Stores this fit's part of the stacked carry, which is on the host; `clips` are the stacked ones."""
        if _shapes(clips, 1) == _shapes(self.inputs.job.clips):
            # Without padding it is whole, and known before all stages are traced.
            own = jax.tree.map(lambda leaf: leaf[number].copy(), carry)
        else:
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
    """Runs all lanes to their ends. Each lane then holds its final carry on the host, which is not saved yet.

    Args:
      lanes: the lanes by their numbers in the program, all at `position`; lanes that diverge are removed.
      programs: the programs of a stacked job of these fits. console: shows progress.
      checkpoint_seconds: a checkpoint is saved at the end of a chunk if the last one is at least this many seconds old.
      failed: called for each lane that diverges.
    """
    if not lanes:
        return
    problem, carry = programs.start()
    if position != Position():
        # The place of a lane that failed before it began is filled with the state of another lane.
        stand_in = next(iter(lanes.values()))
        carries = [lanes.get(number, stand_in).at.carry for number in range(max(lanes) + 1)]
        carry = stacking.put_together(carries, programs.shapes.carry_at(position))
    before = saved = time.perf_counter()
    cost = 0.0
    with FitProgress(console, stages_of(programs.job), position) as progress:
        for chunk in programs.run(problem, position, carry):
            now = time.perf_counter()
            seconds, before = (now - before) / len(lanes), now
            waited = chunk.waited / len(lanes)
            for number in list(lanes):
                try:
                    lanes[number].after(chunk, number, seconds, waited)
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
                    lane.take(on_host, number, programs.job.clips)
                    if not ended:
                        lane.checkpoints.save(lane.at)
                saved = time.perf_counter()
                cost = saved - now


def with_losses(at: Snapshot, chunk: Chunk, number: int) -> dict[str, dict[str, np.ndarray]]:
    """The losses of a fit, extended by a chunk in which it is fit `number`. Raises UserError if they are not finite."""
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


def _shapes(tree: Tree, axis: int = 0) -> list[tuple[int, ...]]:
    """The shapes of all leaves, from this axis on."""
    return [np.shape(leaf)[axis:] for leaf in jax.tree.leaves(tree)]


def _later(at: Snapshot, spent: Mapping[str, float]) -> Snapshot:
    return dataclasses.replace(at, seconds={name: value + spent.get(name, 0.0) for name, value in at.seconds.items()})
