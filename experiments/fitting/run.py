"""Runs the fits of a command line, one or many: plans and reads them, fits them together in as few programs as
possible, and writes the results of each.

Every fit has its own folder with results, checkpoints and, if it is one of many and failed, `error.txt`; a failure does
not affect other fits. An interrupted run is resumed from the last checkpoint of each fit; of many fits, finished ones
are skipped.
"""

import contextlib
import dataclasses
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from rich.console import Console

from experiments.base import devices, programs
from experiments.base.errors import UserError
from experiments.base.files import replacing
from experiments.base.text import duration
from experiments.data import padding
from experiments.data.dataset import Dataset, DatasetError
from experiments.evaluation import doubts, summary
from experiments.fitting import finishing, fits_table, inputs, machine, plan, processes
from experiments.fitting.checkpoints import Checkpoints, Snapshot
from experiments.fitting.clips import read_apart
from experiments.fitting.compiled_programs import (
    CompiledFit,
    Position,
    compile_together,
    end_of,
    size_of_a_turn,
    stages_of,
)
from experiments.fitting.finishing import Finished, Present
from experiments.fitting.inputs import Cache, Inputs
from experiments.fitting.machine import Lane
from experiments.fitting.plan import Planned
from experiments.fitting.settings import Settings
from experiments.fitting.workers import Workers
from experiments.results import writing
from nemo_jax import stacking

_CHECKPOINT_SECONDS, _CHECKPOINT_SECONDS_OF_MANY = 2.0, 10.0
_ERRORS = (UserError, DatasetError)


@dataclasses.dataclass(frozen=True)
class Ready:
    """A fit whose clips are read. found: its last state, or None. saved: whether this state is a checkpoint on disk."""

    planned: Planned
    inputs: Inputs
    found: Snapshot | None
    saved: bool = True

    @property
    def position(self) -> Position:
        return self.found.position if self.found else Position()

    def checkpoints(self) -> Checkpoints:
        """The checkpoints of this fit, not opened yet."""
        folder = self.planned.folder / "checkpoints"
        return Checkpoints(folder, self.inputs.job, self.inputs.identity, self.inputs.shapes_of)


class Session:
    """The running fits of one command line.

    Args:
      settings: those of the command line. console: where to report. present: draws a finished fit.
      checkpoint_seconds: a fit is saved if its last checkpoint is at least this many seconds old, and at its end.
      begun: start of the command, as a time of `time.perf_counter`.
    """

    def __init__(
        self,
        settings: Settings,
        console: Console,
        present: Present,
        checkpoint_seconds: float,
        begun: float,
        device: str,
    ):
        self.settings, self.console, self.present = settings, console, present
        self.checkpoint_seconds, self.begun, self.device = checkpoint_seconds, begun, device
        self.failed: dict[Path, str] = {}
        self.metrics: dict[Path, dict[str, Any]] = {}
        self._writing: list[tuple[Ready, Future[Any], contextlib.ExitStack]] = []

    def say(self, text: str) -> None:
        """Prints a line for the user."""
        self.console.print(text, markup=False)

    def fail(self, planned: Planned, error: Exception) -> None:
        """Reports that one of many fits failed, in its folder and to the user. Raises the error of an only fit."""
        if not self.settings.many:
            raise error
        self.failed[planned.folder] = str(error)
        self.say(f"{planned.name} failed: {error}")
        # If the folder cannot be written to, the closing table still shows the error.
        with contextlib.suppress(OSError), replacing(planned.folder / fits_table.ERROR) as temporary:
            temporary.write_text(f"{error}\n")

    def run(self, fits: Sequence[Planned], workers: Workers) -> None:
        """Runs all fits, except finished ones if there are many."""
        ready = self._ready(fits, workers)
        if self.settings.many and len(self.failed) == len(fits) and len(set(self.failed.values())) == 1:
            raise UserError(next(iter(self.failed.values())))
        for group in _groups(ready):
            if group[0].position == end_of(group[0].inputs.job):
                self._write_again(group, workers)
            else:
                self._fit(group, workers)
        self._collect(0)

    # --- reading ---

    def _ready(self, fits: Sequence[Planned], workers: Workers) -> list[Ready]:
        """Reads the clips of the fits that are still to be fitted or written."""
        cache, ready = _Ahead(fits, workers), []
        for planned in fits:
            try:
                own = inputs.load(planned.settings, self.console, cache)
                if not self.settings.many:
                    self._introduce(own)
                each = self._found(Ready(planned, own, None))
                done = each.position == end_of(own.job)
                if done and self.settings.many and (planned.folder / fits_table.METRICS).exists():
                    # An earlier command with other settings may have left an error file for this finished fit.
                    (planned.folder / fits_table.ERROR).unlink(missing_ok=True)
                    continue
                ready.append(each)
            except _ERRORS as error:
                self.fail(planned, error)
        return ready

    def _found(self, each: Ready) -> Ready:
        """The fit with its last checkpoint, if it is to be resumed."""
        settings, folder = each.planned.settings, each.planned.folder
        with writing.held(folder), each.checkpoints() as checkpoints:
            if not settings.resume:
                checkpoints.clear()
                if self.settings.many:
                    (folder / fits_table.METRICS).unlink(missing_ok=True)
            found = checkpoints.latest()
        own = dataclasses.replace(each, found=found)
        for number in checkpoints.damaged:
            self.say(f"Note: the checkpoint {number} of {folder} is damaged; the one before it is taken.")
        if found and not self.settings.many:
            if own.position == end_of(own.inputs.job):
                self.say("This fit is finished: its results are written again (--resume=false fits anew).")
            else:
                stage = stages_of(own.inputs.job)[own.position.stage].name
                self.say(f"Continuing an interrupted fit at step {own.position.step} of the {stage} stage.")
        return own

    def _introduce(self, own: Inputs) -> None:
        self.say(f"{own.dataset.action}: {len(own.dataset.names)} clips, {own.num_frames} frames; {self.device}")
        for note in own.notes:
            self.say(f"Note: {note}")

    # --- fitting ---

    def _fit(self, group: Sequence[Ready], workers: Workers) -> None:
        """Runs fits of one kind and position, as many at a time as one program can run."""
        position, many = group[0].position, self.settings.many
        waiting = "compiling, about a minute the first time" if not many else "compiling"
        with self.console.status(waiting) if self.console.is_terminal else contextlib.nullcontext():
            jobs = [each.inputs.job for each in group]
            compiled, size, widths = compile_together(jobs, position, self.settings.fits_per_batch)
        try:
            # The fits run while the rest of their programs compile, and then those that score them.
            scoring = _Scoring(group, self.settings.fits_per_batch)
            ahead = programs.beside(finishing.compile_ahead, scoring.example, scoring.frames)
            if many:
                self.say(f"compiled for {size} fits at once in {duration(compiled.seconds)}")
            # For a single fit all time since the start of the command is counted.
            before = compiled.seconds / len(group) if many else time.perf_counter() - self.begun
            spent = {"compile": compiled.seconds / len(group), "before": before}
            for first in range(0, len(group), size):
                part = group[first : first + size]
                turn = compiled.of(stacking.stack(jobs[first : first + size], size, widths))
                if many:
                    self.say("Fitting " + "; ".join(each.planned.name for each in part))
                ends = self._turn(part, position, turn, spent)
                ahead.result()
                self._write_all(ends, scoring, workers)
                # Results that wait to be written are kept in memory, so their number is limited.
                self._collect(2 * size)
        finally:
            compiled.cancel()

    def _turn(
        self, part: Sequence[Ready], position: Position, compiled: CompiledFit, spent: dict[str, float]
    ) -> list[tuple[Ready, contextlib.ExitStack]]:
        """Runs the fits of one turn and returns those that reached their ends, each with the lock on its folder."""
        lanes: dict[int, Lane] = {}
        locks: dict[int, contextlib.ExitStack] = {}
        with contextlib.ExitStack() as opened:
            for number, each in enumerate(part):
                try:
                    locks[number] = opened.enter_context(contextlib.ExitStack())
                    locks[number].enter_context(writing.held(each.planned.folder))
                    own = opened.enter_context(each.checkpoints())
                    lanes[number] = Lane(each.inputs, own, each.found, spent)
                except UserError as error:
                    self.fail(each.planned, error)
            failed = lambda number, error: self.fail(part[number].planned, error)
            machine.run(lanes, position, compiled, self.console, self.checkpoint_seconds, failed)
            ends = {
                number: dataclasses.replace(part[number], found=lane.at, saved=False) for number, lane in lanes.items()
            }
            return [(end, locks[number].pop_all()) for number, end in ends.items()]

    # --- writing ---

    def _write_again(self, group: Sequence[Ready], workers: Workers) -> None:
        """Writes the results of finished fits whose results are missing or are to be written again."""
        scoring = _Scoring(group, None)
        for first in range(0, len(group), scoring.size):
            part = []
            for each in group[first : first + scoring.size]:
                lock = contextlib.ExitStack()
                try:
                    lock.enter_context(writing.held(each.planned.folder))
                except UserError as error:
                    self.fail(each.planned, error)
                    continue
                part.append((each, lock))
            self._write_all(part, scoring, workers)
            self._collect(0)

    def _write_all(
        self, ends: Sequence[tuple[Ready, contextlib.ExitStack]], scoring: "_Scoring", workers: Workers
    ) -> None:
        """Scores finished fits together, then writes the results of each."""
        for first in range(0, len(ends), scoring.size):
            part = ends[first : first + scoring.size]
            # Missing fits are replaced by the last one, so that the compiled program can be reused.
            filled = [each for each, _ in [*part, *[part[-1]] * (scoring.size - len(part))]]
            settings, own = [each.planned.settings for each in filled], [each.inputs for each in filled]
            snapshots = [each.found for each in filled if each.found]
            finished = finishing.score(settings, own, snapshots, self.device, scoring.frames)
            for (each, lock), fit in zip(part, finished[: len(part)], strict=True):
                packed = each.checkpoints().packed(each.found) if each.found and not each.saved else None
                self._write(each, dataclasses.replace(fit, checkpoint=packed), lock, workers)

    def _write(self, each: Ready, fit: Finished, lock: contextlib.ExitStack, workers: Workers) -> None:
        if not self.settings.many and fit.mirrored:
            names = ", ".join(fit.mirrored)
            self.say(f"Note: taken for the other hand, so that the motion is mirrored for them: {names}.")
        if workers.apart:
            future = workers.submit(finishing.write, fit, self.present)
        else:
            console = None if self.settings.many else self.console
            future = workers.submit(finishing.write, fit, self.present, console, each.inputs.nose_body, workers.draw)
        self._writing.append((each, future, lock))

    def _collect(self, most: int) -> None:
        """Waits until at most `most` fits are still being written, and reports the results of the others."""
        while len(self._writing) > most:
            each, future, lock = self._writing.pop(0)
            planned = each.planned
            with lock:
                try:
                    self.metrics[planned.folder] = metrics = future.result()
                except _ERRORS as error:
                    self.fail(planned, error)
                    continue
                except BrokenProcessPool:
                    self.fail(planned, UserError("the process that wrote its results died; run the same command again"))
                    continue
                (planned.folder / fits_table.ERROR).unlink(missing_ok=True)
            if self.settings.many:
                self.say(f"{planned.name}: {fits_table.headline(metrics)}")
                for sentence in doubts.shown(metrics[doubts.KEY]):
                    self.say(f"Warning: in {planned.name}, {sentence}")
            else:
                summary.print_table(self.console, each.inputs.dataset, metrics, planned.folder)


class _Scoring:
    """The size of the program that scores fits of one kind: `size` fits at once, clips padded to `frames`."""

    def __init__(self, group: Sequence[Ready], most: int | None):
        self.size = min(size_of_a_turn(len(group), most), _SCORED_TOGETHER)
        self.frames = padding.slots(max(each.inputs.job.clips.num_frames for each in group))
        chosen = [each.inputs for each in group[: self.size]]
        self.example = [*chosen, *[chosen[-1]] * (self.size - len(chosen))]


# Maximal number of fits whose meshes are compared in one program.
_SCORED_TOGETHER = 32


class _Ahead(Cache):
    """A cache for many fits of different clips, which lets worker processes read the clips in advance."""

    def __init__(self, fits: Sequence[Planned], workers: Workers):
        super().__init__()
        first = {inputs.dataset_key(planned.settings): planned.settings for planned in reversed(fits)}
        self._coming: dict[Any, Future[Dataset]] = {}
        if workers.apart and len(first) > 1:
            self._coming = {key: workers.submit(read_apart, settings) for key, settings in first.items()}

    def get(self, key: tuple[Any, ...], read: Any) -> Any:
        coming = self._coming.get(key)
        return super().get(key, read if coming is None else coming.result)


def run(
    settings: Settings, present: Present, console: Console | None = None, checkpoint_seconds: float | None = None
) -> dict[str, Any] | list[dict[str, Any]]:
    """Runs the fits of a command line, one or many.

    Args:
      settings: settings that have been checked.
      present: draws pictures and pages of a finished fit; must be picklable.
      console: where to report; None = standard output.
      checkpoint_seconds: a fit is saved if its last checkpoint is at least this many seconds old, and at its end; None
        means 2 for a single fit, 10 for many.

    Returns:
      The metrics of a single fit, or the rows of the table of all fits.

    Raises:
      UserError, DatasetError, BodyModelError: nothing could be fitted, or some fits failed; the message is one
        sentence.
    """
    begun = time.perf_counter()
    fits = plan.plan(settings)
    finished = [settings.resume and (planned.folder / fits_table.METRICS).exists() for planned in fits]
    share = processes.share(settings, [planned.name for planned in fits], finished)
    console = console or Console(highlight=False, soft_wrap=True)
    if not share.mine and not settings.many:
        console.print(f"Process {share.process} of {share.processes}: the one fit is another process's.")
        return {}
    mine = [fits[number] for number in share.mine]
    if checkpoint_seconds is None:
        checkpoint_seconds = _CHECKPOINT_SECONDS_OF_MANY if settings.many else _CHECKPOINT_SECONDS
    # Before the devices, which take as long to start as the workers.
    drawing = not settings.many and (settings.overlay or settings.figures)
    with Workers(len(mine), drawing) as workers:
        device = devices.choose(settings.accelerator)
        devices.keep_compiled()
        session = Session(settings, console, present, checkpoint_seconds, begun, device)
        if settings.many:
            processes.check_alone()
            others = f", {len(mine)} of them here, in process {share.process} of {share.processes}"
            session.say(f"{len(fits)} fits{others if share.processes > 1 else ''}; {device}")
        session.run(mine, workers)
    return _close(settings, fits, session) if settings.many else session.metrics[mine[0].folder]


def _close(settings: Settings, fits: Sequence[Planned], session: Session) -> list[dict[str, Any]]:
    """Prints and writes the table of all fits, including those of other processes as far as they are finished.

    Raises:
      UserError: some fits of this process failed, or the table cannot be written.
    """
    path = plan.root(settings) / fits_table.NAME
    try:
        rows = fits_table.write(path, fits, session.failed)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UserError(f"{path} cannot be written ({reason}); make room, and run the same command again") from error
    session.console.print(fits_table.table(rows))
    session.say(f"Table: {path}; the results of each fit are in its folder")
    if session.failed:
        count, first = len(session.failed), next(iter(session.failed))
        raise UserError(
            f"{count} of {len(fits)} fits failed; {path} says why, and {first / fits_table.ERROR} of the first"
        )
    return rows


def _groups(ready: Iterable[Ready]) -> list[list[Ready]]:
    """Groups fits that are of one kind, are at the same position and share body and priors; order is kept."""
    groups: dict[Any, list[Ready]] = {}
    for each in ready:
        job = each.inputs.job
        key = (stacking.kind_of(job.clips, job.config), id(job.body), id(job.priors), each.position)
        groups.setdefault(key, []).append(each)
    return list(groups.values())
