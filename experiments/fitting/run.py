"""Runs the fits of a command line, one or many: plans and reads them, fits them together in as few programs as
possible, and writes the results of each.

Every fit has its own folder with results, checkpoints and, if it is one of many and failed, `error.txt`; a failure does
not affect other fits. A fit may have several starts (`starts.py`), of which the best is written. An interrupted run is
resumed from the last checkpoint of each fit; of many fits, finished ones are skipped.
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
from experiments.fitting import finishing, fits_table, inputs, machine, plan, processes, starts
from experiments.fitting.clips import read_apart
from experiments.fitting.compiled_programs import (
    CompiledFit,
    Position,
    compile_together,
    size_of_a_turn,
)
from experiments.fitting.finishing import Finished, Present
from experiments.fitting.inputs import Cache, Inputs
from experiments.fitting.machine import Lane
from experiments.fitting.plan import Planned
from experiments.fitting.settings import Settings
from experiments.fitting.starts import Gathered, Ready
from experiments.fitting.workers import Workers
from experiments.results import writing
from nemo_jax import stacking

_CHECKPOINT_SECONDS, _CHECKPOINT_SECONDS_OF_MANY = 2.0, 10.0
_ERRORS = (UserError, DatasetError)


class Session:
    """The running fits of one command line.

    Args:
      settings: those of the command line. console: where to report. present: draws a finished fit.
      checkpoint_seconds: a fit is saved if its last checkpoint is at least this many seconds old, and at its end.
      begun: since when time is not counted yet, at first the start of the command, as a time of `time.perf_counter`.
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
        self._writing: list[tuple[Ready, Future[Any]]] = []
        self._gathered = Gathered()

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
        try:
            self._run(fits, workers)
        finally:
            self._gathered.release()

    def _run(self, fits: Sequence[Planned], workers: Workers) -> None:
        ready = self._ready(fits, workers)
        if self.settings.many and len(self.failed) == len(fits) and len(set(self.failed.values())) == 1:
            raise UserError(next(iter(self.failed.values())))
        for group in _groups(ready):
            if group[0].ended:
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
                each = self._found(planned, own)
                done = all(start.ended for start in each)
                if done and self.settings.many and fits_table.num_starts(planned.folder) == len(each):
                    # An earlier command with other settings may have left an error file for this finished fit.
                    (planned.folder / fits_table.ERROR).unlink(missing_ok=True)
                    continue
                ready += each
            except _ERRORS as error:
                self.fail(planned, error)
        return ready

    def _found(self, planned: Planned, own: Inputs) -> list[Ready]:
        """The starts of a fit, each with its last checkpoint, if it is to be resumed."""
        folder, found = planned.folder, []
        with writing.held(folder):
            if not planned.settings.resume:
                starts.clear(folder)
                if self.settings.many:
                    (folder / fits_table.METRICS).unlink(missing_ok=True)
            for each in starts.of(planned, own):
                with each.checkpoints() as checkpoints:
                    if not planned.settings.resume:
                        checkpoints.clear()
                    found.append(dataclasses.replace(each, found=checkpoints.latest()))
                for number in checkpoints.damaged:
                    which = f" of start {each.number}" if each.number else ""
                    self.say(
                        f"Note: the checkpoint {number}{which} of {folder} is damaged; the one before it is taken."
                    )
        if not self.settings.many:
            if not planned.settings.starts and len(found) > 1:
                self.say(
                    f"Note: few clips, and none has a first pose: they are fitted {len(found)} times from different random "
                    "numbers, and the fit of the least loss is kept (--starts=1 fits them once)."
                )
            for sentence in starts.said_of(found):
                self.say(sentence)
        return found

    def _introduce(self, own: Inputs) -> None:
        self.say(f"{own.dataset.action}: {len(own.dataset.names)} clips, {own.num_frames} frames; {self.device}")
        for note in own.notes:
            self.say(f"Note: {note}")

    # --- fitting ---

    def _fit(self, group: Sequence[Ready], workers: Workers) -> None:
        """Runs starts of fits of one kind and position, as many at a time as one program can run."""
        position, many = group[0].position, self.settings.many or group[0].several
        waiting = "compiling, about a minute the first time" if not many else "compiling"
        with self.console.status(waiting) if self.console.is_terminal else contextlib.nullcontext():
            jobs = [each.inputs.job for each in group]
            compiled, size, widths = compile_together(jobs, position, self.settings.fits_per_batch)
        try:
            # The fits run while the rest of their programs compile, and then those that score them.
            scoring = _Scoring(group, self.settings.fits_per_batch)
            ahead = programs.in_turn(finishing.compile_ahead, scoring.example, scoring.frames)
            if many:
                self.say(f"compiled for {size} fits at once in {duration(compiled.seconds)}")
            # For a single fit all time since the start of the command is counted.
            before = compiled.seconds if self.settings.many else time.perf_counter() - self.begun
            spent = {"compile": compiled.seconds / len(group), "before": before / len(group)}
            for first in range(0, len(group), size):
                part = group[first : first + size]
                turn = compiled.of(stacking.stack(jobs[first : first + size], size, widths))
                if many:
                    self.say("Fitting " + "; ".join(each.name for each in part))
                self._turn(part, position, turn, spent)
                ahead.result()
                self._write_all(scoring, workers)
                # Results that wait to be written are kept in memory, so their number is limited.
                self._collect(2 * size)
        finally:
            compiled.cancel()
        self.begun = time.perf_counter()

    def _turn(self, part: Sequence[Ready], position: Position, compiled: CompiledFit, spent: dict[str, float]) -> None:
        """Runs the starts of one turn and gathers those that reached their ends."""
        lanes: dict[int, Lane] = {}
        with contextlib.ExitStack() as opened:
            for number, each in enumerate(part):
                try:
                    self._gathered.hold(each.planned.folder)
                    own = opened.enter_context(each.checkpoints())
                    lanes[number] = Lane(each.inputs, own, each.found, spent)
                except UserError as error:
                    self._lose(each, error)
            failed = lambda number, error: self._lose(part[number], error)
            machine.run(lanes, position, compiled, self.console, self.checkpoint_seconds, failed)
            for number, lane in lanes.items():
                # A fit of one start is written, with its checkpoint, at once; others may wait for their other starts.
                if several := part[number].several:
                    lane.checkpoints.save(lane.at)
                self._gathered.end(dataclasses.replace(part[number], found=lane.at, saved=several))
        for folder in {each.planned.folder for each in part if each.planned.folder in self.failed}:
            self._gathered.lock_of(folder).close()

    def _lose(self, each: Ready, error: UserError) -> None:
        """Reports that a start failed, and with the last one its fit."""
        if found := self._gathered.lose(each, error):
            self.fail(each.planned, found)
        elif each.several:
            self.say(f"{each.name} is left out: {error}")

    # --- writing ---

    def _write_again(self, group: Sequence[Ready], workers: Workers) -> None:
        """Writes the results of finished fits whose results are missing or are to be written again."""
        scoring = _Scoring(group, None)
        for first in range(0, len(group), scoring.size):
            for each in group[first : first + scoring.size]:
                try:
                    self._gathered.hold(each.planned.folder)
                except UserError as error:
                    self._lose(each, error)
                else:
                    self._gathered.end(each)
            self._write_all(scoring, workers)
            self._collect(0)

    def _write_all(self, scoring: "_Scoring", workers: Workers) -> None:
        """Scores the finished fits together, then writes the results of each."""
        whole = self._gathered.whole()
        ends = [each for fit in whole for each in fit]
        scored: list[Finished] = []
        for first in range(0, len(ends), scoring.size):
            part = ends[first : first + scoring.size]
            # Missing fits are replaced by the last one, so that the compiled program can be reused.
            filled = [*part, *[part[-1]] * (scoring.size - len(part))]
            settings, own = [each.planned.settings for each in filled], [each.inputs for each in filled]
            snapshots = [each.found for each in filled if each.found]
            scored += finishing.score(settings, own, snapshots, self.device, scoring.frames)[: len(part)]
            while whole and len(scored) >= len(whole[0]):
                fit = whole.pop(0)
                self._write(fit[0], starts.best(fit, scored[: len(fit)]), workers)
                scored = scored[len(fit) :]

    def _write(self, each: Ready, fit: Finished, workers: Workers) -> None:
        if fit.starts:
            self.say(f"{each.planned.name}: {starts.sentence(fit.starts, fit.kept_start)}")
        if not self.settings.many and fit.mirrored:
            names = ", ".join(fit.mirrored)
            self.say(f"Note: taken for the other hand or foot, so that the motion is mirrored for them: {names}.")
        if workers.apart:
            future = workers.submit(finishing.write, fit, self.present)
        else:
            console = None if self.settings.many else self.console
            future = workers.submit(finishing.write, fit, self.present, console, each.inputs.nose_body, workers.draw)
        self._writing.append((each, future))

    def _collect(self, most: int) -> None:
        """Waits until at most `most` fits are still being written, and reports the results of the others."""
        while len(self._writing) > most:
            each, future = self._writing.pop(0)
            planned = each.planned
            with self._gathered.lock_of(planned.folder):
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
