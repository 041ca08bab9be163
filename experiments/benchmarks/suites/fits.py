"""The fits of a suite, as many as possible in one program, and their scores; finished ones are not done again."""

import contextlib
import dataclasses
import functools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from rich.console import Console

from experiments.base.text import duration, listed
from experiments.benchmarks.suites.rows import Cell, Row, Rows, identity_of
from experiments.benchmarks.suites.settings import SuiteSettings
from experiments.benchmarks.suites.variants import Variant
from experiments.data.dataset import Dataset
from experiments.evaluation import expected_error, lens_error, synchrony
from experiments.fitting import checkpoints, finishing, inputs, machine
from experiments.fitting.checkpoints import Checkpoints
from experiments.fitting.compiled_programs import Position, compile_together
from experiments.fitting.finishing import Finished
from experiments.fitting.inputs import Cache, Inputs
from experiments.fitting.machine import Lane
from experiments.fitting.settings import Settings
from nemo_jax import stacking

Numbers = dict[str, float]
# The scores of a finished fit: of the whole, and of each clip.
Score = Callable[[Finished], tuple[Numbers, dict[str, Numbers]]]
_SCORED_TOGETHER = 32
_KEPT = 24  # frames of a clip that a calibration looks at
_LAST_STEPS = 50  # the loss of a step is that of a random batch


@dataclasses.dataclass(frozen=True)
class Case:
    """A fit to be done.

    cell: what it is of. settings, inputs: those of the fit. score: what is said of it. about: digests of what the scores
    depend on besides the fit.
    """

    cell: Cell
    settings: Settings
    inputs: Inputs
    score: Score
    about: Mapping[str, str]

    @functools.cached_property
    def identity(self) -> str:
        """A digest of all that the row depends on."""
        truth = self.inputs.dataset.truth
        known = {} if truth is None else {"truth": checkpoints.digest(truth)}
        return identity_of({**self.inputs.identity, **known, **self.about})


def case(
    cell: Cell,
    variant: Variant,
    dataset: Dataset,
    settings: SuiteSettings,
    cache: Cache,
    *,
    holdout: float | None = None,
    score: Score | None = None,
    about: Mapping[str, str] | None = None,
) -> Case:
    """The fit of a dataset by a variant; its inputs are made as those of `run.py fit` are.

    Args:
      cell, variant, dataset: what is fitted. settings: of the suite. cache: of all its cases.
      holdout: share of the keypoints to hide, as `--holdout`. score: None = `scores_of`. about: see `Case`.
    """
    own = Settings(
        # A name of the clips, under which the cache has them.
        action=", ".join((cell.action, cell.poses, cell.without)),
        body_model=settings.body_model,
        gmm=variant.gmm,
        vposer=variant.vposer,
        seed=cell.seed,
        holdout=holdout,
        fit=variant.config,
    )
    cache.get(inputs.dataset_key(own), lambda: dataset)
    return Case(cell, own, inputs.load(own, cache=cache), score or scores_of, about or {})


def run(cases: Sequence[Case], rows: Rows, settings: SuiteSettings, console: Console, device: str) -> list[Row]:
    """The rows of all cases, in order; those that are not there yet are fitted and written."""
    found: dict[Cell, Row] = {}
    missing = []
    for each in cases:
        row = rows.find(each.cell, each.identity)
        if row is None:
            missing.append(each)
        else:
            found[each.cell] = row
    done = f", {len(found)} of them finished before" if found else ""
    console.print(f"{len(cases)} fits{done}; {device}", markup=False)
    for group in _groups(missing):
        for each, row in _fit(group, settings, console, device, rows):
            rows.write(row, each.identity)
            found[each.cell] = row
    return [found[each.cell] for each in cases]


def _groups(cases: Iterable[Case]) -> list[list[Case]]:
    """Cases that one program can run."""
    groups: dict[Any, list[Case]] = {}
    for each in cases:
        job = each.inputs.job
        key = (stacking.kind_of(job.clips, job.config), id(job.body), id(job.priors))
        groups.setdefault(key, []).append(each)
    return list(groups.values())


def _fit(
    group: Sequence[Case], settings: SuiteSettings, console: Console, device: str, rows: Rows
) -> Iterable[tuple[Case, Row]]:
    """Runs fits of one kind, as many at a time as one program can; yields those of a turn when it has ended."""
    jobs = [each.inputs.job for each in group]
    waiting = console.status("compiling") if console.is_terminal else contextlib.nullcontext()
    with waiting:
        programs, size, widths = compile_together(jobs, Position(), settings.fits_per_batch)
    console.print(f"compiled for {size} fits at once in {duration(programs.seconds)}", markup=False)
    for first in range(0, len(group), size):
        part = group[first : first + size]
        names = listed([each.cell.name for each in part])
        console.print(f"Fitting {first + 1} to {first + len(part)} of {len(group)}: {names}", markup=False)
        lanes = {number: Lane(each.inputs, _nowhere(each, rows), None, {}) for number, each in enumerate(part)}
        failed: dict[int, str] = {}
        turn = programs.of(stacking.stack(jobs[first : first + size], size, widths))
        fail = lambda number, error, failed=failed: failed.__setitem__(number, str(error))
        machine.run(lanes, Position(), turn, console, math.inf, fail)
        for number, reason in failed.items():
            console.print(f"{part[number].cell.name} failed: {reason}", markup=False)
            yield part[number], Row(part[number].cell, {}, {}, reason)
        yield from _scored([(part[number], lane) for number, lane in lanes.items()], size, device, rows)


def _nowhere(each: Case, rows: Rows) -> Checkpoints:
    """Checkpoints that are never written: a suite goes on from finished fits."""
    own = each.inputs
    return Checkpoints(rows.path(each.cell).with_suffix(".checkpoints"), own.job, own.identity, own.shapes_of)


def _scored(ends: Sequence[tuple[Case, Lane]], size: int, device: str, rows: Rows) -> Iterable[tuple[Case, Row]]:
    together = min(size, _SCORED_TOGETHER)
    for first in range(0, len(ends), together):
        part = ends[first : first + together]
        # Filled up with the last one, so that the compiled program can be used again.
        filled = [*part, *[part[-1]] * (together - len(part))]
        given = [each.settings for each, _ in filled], [each.inputs for each, _ in filled]
        finished = finishing.score(*given, [lane.at for _, lane in filled], device)
        for (each, _), fit in zip(part, finished[: len(part)], strict=True):
            yield each, _row(each, fit, rows)


def _row(each: Case, fit: Finished, rows: Rows) -> Row:
    numbers, clips = each.score(fit)
    if fit.dataset.truth is not None:
        rows.write_frames(each.cell, _of_frames(fit))
    return Row(each.cell, _finite(numbers), {name: _finite(values) for name, values in clips.items()})


def _of_frames(fit: Finished) -> dict[str, Any]:
    """Features, true errors and clips of some frames of every clip, evenly spread."""
    errors = expected_error.errors_mm(fit.dataset, fit.fitted)
    counts = (np.asarray(fit.dataset.clips.frame_mask) > 0).sum(1)
    which = [(n, np.unique(np.linspace(0, count - 1, _KEPT).astype(int))) for n, count in enumerate(counts) if count]
    return {
        "features": np.concatenate([fit.features[n, rows] for n, rows in which]).astype(np.float32),
        "errors_mm": np.concatenate([errors[n, rows] for n, rows in which]).astype(np.float32),
        "clips": np.concatenate([np.full(len(rows), n) for n, rows in which]),
    }


def scores_of(fit: Finished) -> tuple[Numbers, dict[str, Numbers]]:
    """The scores of `metrics.json`, the last loss, how far clips are apart at the same phase, and the error of the lens of
    clips whose lens is known."""
    each = {name: {**fit.each.get(name, {}), **_lens(fit, n)} for n, name in enumerate(fit.dataset.names)}
    for name, value in expected_error.as_metrics(fit.dataset.names, fit.expected_mm).items():
        each[name]["expected_mm"] = value
    loss = float(np.mean(fit.history["joint"]["total"][-_LAST_STEPS:]))
    more = {"loss": loss, "num_mirrored": float(len(fit.mirrored)), "seconds/fit": fit.seconds["fit"]}
    more |= synchrony.of(fit.dataset, fit.fitted)
    return {**fit.numbers, **more}, each


def _lens(fit: Finished, clip: int) -> Numbers:
    """How far the focal length that was taken or fitted is from the true one: a share, and where the fit guessed it the
    difference of the logarithms too."""
    if fit.dataset.cameras is None:
        return {}
    ratio = float(fit.fitted.focal[clip]) / fit.dataset.cameras[clip].focal
    guessed = lens_error.guessed(fit.dataset, fit.config)[clip]
    return {"focal_error": abs(ratio - 1), **({"focal_error_log": math.log(ratio)} if guessed else {})}


def _finite(values: dict[str, float]) -> Numbers:
    return {key: float(value) for key, value in values.items() if math.isfinite(value)}
