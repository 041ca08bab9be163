"""Many fits from one command line: planned, fitted together in as few programs as they need, written one by one.

Every fit has its own folder with results, checkpoints and, where it failed, `error.txt`; what happens to one does not touch
the others. A run that was interrupted goes on where each fit stood, and leaves finished ones alone.
"""

import contextlib
import dataclasses
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console

from experiments.base import devices
from experiments.base.errors import UserError
from experiments.base.files import replacing
from experiments.base.text import duration
from experiments.data import padding
from experiments.data.dataset import DatasetError
from experiments.fitting import batch as many_batch
from experiments.fitting import fits_table, plan, processes, runner
from experiments.fitting.checkpoints import Checkpoints, Snapshot
from experiments.fitting.compiled_programs import Chunk, CompiledFit, Position
from experiments.fitting.plan import Planned
from experiments.fitting.progress import FitProgress
from experiments.fitting.settings import Settings
from experiments.results import writing
from nemo_jax import model

_CHECKPOINT_SECONDS = 10.0
# Saving takes at most this share of the time.
_SAVING_SHARE = 0.05
_prepare = jax.jit(model.prepare)


@dataclasses.dataclass(frozen=True)
class Ready:
    """A fit whose clips are read. position: where its checkpoint left it."""

    planned: Planned
    inputs: runner.Inputs
    position: Position


@dataclasses.dataclass
class Report:
    """What the run says while it goes, and the sentences of the fits that failed, by their folders."""

    console: Console
    device: str
    failed: dict[Path, str] = dataclasses.field(default_factory=dict)

    def say(self, text: str) -> None:
        self.console.print(text, markup=False)

    def fail(self, planned: Planned, error: Exception) -> None:
        """One fit came to its end; its folder and the user are told why."""
        self.failed[planned.folder] = str(error)
        self.say(f"{planned.name} failed: {error}")
        # Where nothing can be written, the closing table still says it.
        with contextlib.suppress(OSError), replacing(planned.folder / fits_table.ERROR) as temporary:
            temporary.write_text(f"{error}\n")


def run(
    settings: Settings, console: Console | None = None, checkpoint_seconds: float = _CHECKPOINT_SECONDS
) -> dict[str, Any] | list[dict[str, Any]]:
    """Does what a command line says, one fit or many.

    Args:
      settings: checked ones.
      console: where to report; None = standard output.
      checkpoint_seconds: fits are saved when the last save is at least so long ago, and at their end.

    Returns:
      The metrics of the one fit, or the rows of the table of all.

    Raises:
      UserError, DatasetError, BodyModelError: nothing could be fitted, or some fits failed; one sentence.
    """
    fits = plan.plan(settings)
    finished = [settings.resume and (planned.folder / fits_table.METRICS).exists() for planned in fits]
    share = processes.share(settings, [planned.name for planned in fits], finished)
    console = console or Console(highlight=False, soft_wrap=True)
    if not settings.many:
        if share.mine:
            return runner.run(fits[0].settings, console)
        console.print(f"Process {share.process} of {share.processes}: the one fit is another process's.")
        return {}
    report = Report(console, devices.choose(settings.accelerator))
    devices.keep_compiled()
    processes.check_alone()
    mine = [fits[number] for number in share.mine]
    others = (
        f", {len(mine)} of them here, in process {share.process} of {share.processes}" if share.processes > 1 else ""
    )
    report.say(f"{len(fits)} fits{others}; {report.device}")
    ready = _ready(mine, settings.resume, report)
    if len(report.failed) == len(fits) > 0 and len(set(report.failed.values())) == 1:
        raise UserError(next(iter(report.failed.values())))
    for batch in _batches(ready):
        _fit_all(batch, settings.fits_per_batch, report, checkpoint_seconds)
    return _close(settings, fits, report)


def _close(settings: Settings, fits: Sequence[Planned], report: Report) -> list[dict[str, Any]]:
    """The table of all fits, those of other processes as far as they have come. Raises UserError: some here failed."""
    path = plan.root(settings) / fits_table.NAME
    rows = fits_table.write(path, fits, report.failed)
    report.console.print(fits_table.table(rows))
    report.say(f"Table: {path}; the results of each fit are in its folder")
    if report.failed:
        count, first = len(report.failed), next(iter(report.failed))
        raise UserError(
            f"{count} of {len(fits)} fits failed; {path} says why, and {first / fits_table.ERROR} of the first"
        )
    return rows


def _ready(fits: Iterable[Planned], resume: bool, report: Report) -> list[Ready]:
    """Those that are to be fitted, their clips read; of those that are finished the missing results are written."""
    shelf, ready = runner.Shelf(), []
    for planned in fits:
        try:
            inputs = runner.load(planned.settings, report.console, shelf)
            with writing.held(planned.folder), runner.checkpoints_of(planned.settings, inputs) as checkpoints:
                if not resume:
                    checkpoints.clear()
                    (planned.folder / fits_table.METRICS).unlink(missing_ok=True)
                found = checkpoints.latest()
                if found and found.position == Position(len(inputs.job.stages)):
                    if (planned.folder / fits_table.METRICS).exists():
                        # Of a command with other settings, which left this fit alone.
                        (planned.folder / fits_table.ERROR).unlink(missing_ok=True)
                    else:
                        _finish(planned, inputs, found, report)
                    continue
        except (UserError, DatasetError) as error:
            report.fail(planned, error)
            continue
        ready.append(Ready(planned, inputs, found.position if found else Position()))
    return ready


def _batches(ready: Sequence[Ready]) -> list[list[Ready]]:
    """Fits of one kind that stand at the same position, in order."""
    groups: dict[Any, list[Ready]] = {}
    for each in ready:
        groups.setdefault((many_batch.kind_of(each.inputs.job), each.position), []).append(each)
    return list(groups.values())


def _fit_all(batch: Sequence[Ready], most: int | None, report: Report, checkpoint_seconds: float) -> None:
    """Fits of one kind and position, as many at a time as go together."""
    position = batch[0].position
    with report.console.status("compiling") if report.console.is_terminal else contextlib.nullcontext():
        programs, size, slots = many_batch.compiled([each.inputs.job for each in batch], position, most)
    report.say(f"compiled for {size} fits at once in {duration(programs.seconds)}")
    for first in range(0, len(batch), size):
        part = batch[first : first + size]
        turn = programs.of(many_batch.stack([each.inputs.job for each in part], size, slots))
        report.say("Fitting " + "; ".join(each.planned.name for each in part))
        _fit_together(part, turn, programs.seconds / len(batch), report, checkpoint_seconds)


class _Lane:
    """One fit of a program: where it stands and its checkpoints."""

    def __init__(self, ready: Ready, checkpoints: Checkpoints, compile_seconds: float):
        self.ready, self.checkpoints = ready, checkpoints
        found = checkpoints.latest() if ready.position != Position() else None
        at = found or Snapshot(Position(), None, ready.inputs.job.key, {}, {"before": 0.0, "compile": 0.0, "fit": 0.0})
        self.at = _later(at, before=compile_seconds, compile=compile_seconds)

    def after(self, chunk: Chunk, lane: int, seconds: float) -> None:
        """Takes its own losses. Raises UserError: they are not finite."""
        own = chunk._replace(losses={term: values[lane] for term, values in chunk.losses.items()}, carry=None)
        self.at = _later(runner.after(self.at, own), before=seconds, fit=seconds)

    def save(self, carry: Any, lane: int) -> None:
        """Saves its own part of the stacked carry (on the host)."""
        shapes = self.ready.inputs.job.carry_at(self.at.position)
        self.at = dataclasses.replace(self.at, carry=many_batch.take_apart(carry, lane, shapes))
        self.checkpoints.save(self.at)


def _later(at: Snapshot, **seconds: float) -> Snapshot:
    return dataclasses.replace(at, seconds={name: spent + seconds.get(name, 0.0) for name, spent in at.seconds.items()})


def _fit_together(
    part: Sequence[Ready], programs: CompiledFit, compile_seconds: float, report: Report, checkpoint_seconds: float
) -> None:
    """Runs the fits of one turn to their ends and writes their results."""
    with contextlib.ExitStack() as stack:
        lanes: dict[int, _Lane] = {}
        for number, ready in enumerate(part):
            try:
                stack.enter_context(writing.held(ready.planned.folder))
                own = stack.enter_context(runner.checkpoints_of(ready.planned.settings, ready.inputs))
                lanes[number] = _Lane(ready, own, compile_seconds)
            except UserError as error:
                report.fail(ready.planned, error)
        _run(lanes, part[0].position, programs, report, checkpoint_seconds)
        for lane in lanes.values():
            _finish(lane.ready.planned, lane.ready.inputs, lane.at, report)


def _run(
    lanes: dict[int, _Lane], position: Position, programs: CompiledFit, report: Report, checkpoint_seconds: float
) -> None:
    """Runs until all lanes are at their ends; those that diverge are taken out of `lanes`."""
    if not lanes:
        return
    problem, carry = programs.start()
    if position != Position():
        # A lane that failed before it began is filled with another's.
        stand_in = next(iter(lanes.values()))
        carries = [lanes.get(number, stand_in).at.carry for number in range(max(lanes) + 1)]
        carry = many_batch.put_together(carries, programs.job.carry_at(position))
    before = saved = time.perf_counter()
    cost = 0.0
    with FitProgress(report.console, programs.job.stages, position) as progress:
        for chunk in programs.run(problem, position, carry):
            now = time.perf_counter()
            seconds, before = (now - before) / len(lanes), now
            for number in list(lanes):
                try:
                    lanes[number].after(chunk, number, seconds)
                except UserError as error:
                    report.fail(lanes.pop(number).ready.planned, error)
            if not lanes:
                return
            alive = list(lanes)
            progress.chunk(chunk._replace(losses={term: v[alive].mean(0) for term, v in chunk.losses.items()}))
            ended = chunk.position == Position(len(programs.job.stages))
            if ended or now - saved >= max(checkpoint_seconds, cost / _SAVING_SHARE):
                on_host = jax.tree.map(np.asarray, chunk.carry)
                for number, lane in lanes.items():
                    lane.save(on_host, number)
                saved = time.perf_counter()
                cost = saved - now


def _finish(planned: Planned, inputs: runner.Inputs, end: Snapshot, report: Report) -> None:
    """Writes the results of one fit, without the words that one alone would have."""
    begun = time.perf_counter()
    job = inputs.job
    assets = _prepare(padding.clips(job.clips), job.body, job.priors, job.config)
    quiet = Console(quiet=True)
    try:
        metrics = runner.finish(planned.settings, inputs, assets, end, quiet, begun, report.device)
    except (UserError, DatasetError) as error:
        report.fail(planned, error)
        return
    (planned.folder / fits_table.ERROR).unlink(missing_ok=True)
    report.say(f"{planned.name}: {fits_table.headline(metrics)}")
