"""Finishes fits: scores them together on the device, then writes the results of each to its own folder."""

import dataclasses
import functools
import importlib.metadata
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from rich.console import Console

from body_models import loaders, smpl
from experiments.base.errors import UserError
from experiments.base.text import listed
from experiments.data.dataset import Dataset
from experiments.data.exchanged import as_read
from experiments.evaluation import doubts, exchanged, expected_error, lens_error, scores, table
from experiments.evaluation.scores import ToScore
from experiments.fitting.checkpoints import Packed, Snapshot, write_packed
from experiments.fitting.compiled_programs import History
from experiments.fitting.inputs import Inputs
from experiments.fitting.settings import Settings
from experiments.fitting.workers import Later, Submit
from experiments.results import fitted_motion, reading, take_offsets, writing
from experiments.results.fitted_motion import FittedMotion, predict_many
from experiments.results.reading import Run
from nemo_jax.config import FitConfig

_MOST_NAMED = 6

# Waits for what is drawn and reports it: (run with its metrics, numbers of each clip, notes, console).
Finish = Callable[[Run, Mapping[str, Mapping[str, float]], Sequence[str], Console], None]
# Begins to draw what the settings ask for: (run, settings, hidden joints, losses, submit).
Present = Callable[[Run, Settings, np.ndarray | None, History, Submit], Finish]


@dataclasses.dataclass(frozen=True)
class Finished:
    """A finished and scored fit, on the host.

    numbers, each: the results of `scores.evaluate`. seconds: time spent so far, by name. checkpoint: the final
    checkpoint, if it is still to be written. rescued: names of the clips that the fit read anew (`nemo_jax.rescue`).
    exchanged (N, T, 2): 1 where it read left and right the other way round (`nemo_jax.exchange`), None = nowhere.
    starts, kept_start, spread (N, T): the losses of all starts, which of them this is, and how far they are apart
    (`starts.spread_mm`), if there are several. The other attributes are those of `inputs.Inputs`.
    """

    settings: Settings
    dataset: Dataset
    hidden: np.ndarray | None
    notes: tuple[str, ...]
    config: FitConfig
    fitted: FittedMotion
    numbers: Mapping[str, float]
    each: Mapping[str, Mapping[str, float]]
    history: History
    seconds: Mapping[str, float]
    device: str
    rescued: tuple[str, ...] = ()
    exchanged: np.ndarray | None = None
    checkpoint: Packed | None = None
    starts: tuple[float | None, ...] = ()
    kept_start: int = 0
    spread: np.ndarray | None = None

    @functools.cached_property
    def as_read(self) -> Dataset:
        """The dataset with left and right of its keypoints as the fit reads them."""
        return self.dataset if self.exchanged is None else as_read(self.dataset, self.exchanged)

    @functools.cached_property
    def features(self) -> np.ndarray:
        """What the fit shows of itself (N, T, F), see `expected_error.features`.

        It is said of the keypoints as the fit reads them; its scores are those of what was given.
        """
        return expected_error.features(self.as_read, self.fitted, float(self.config.confidence_threshold))

    @functools.cached_property
    def expected_mm(self) -> np.ndarray:
        """The expected errors (N, T), see `expected_error.of_frames`."""
        return expected_error.of_frames(self.dataset, self.features)

    @property
    def mirrored(self) -> list[str]:
        """Names of the clips that the fit mirrors because the person uses the other hand."""
        flags = self.fitted.params.mirrored
        return [name for name, flag in zip(self.dataset.names, flags, strict=True) if flag > 0.5]


def score(
    settings: Sequence[Settings],
    inputs: Sequence[Inputs],
    ends: Sequence[Snapshot],
    device: str,
    frames: int | None = None,
) -> list[Finished]:
    """Predicts and scores finished fits of one kind; the time taken is divided evenly among them.

    Args:
      settings, inputs, ends: the settings, inputs and final snapshot of each fit. device: description of the device.
      frames: length to which clips are padded; None = a length given by `padding.slots`.
    """
    begun = time.perf_counter()
    body = inputs[0].nose_body
    fitted = predict_many([(own.job, end.carry.params) for own, end in zip(inputs, ends, strict=True)], body, frames)
    thresholds = [float(own.job.config.confidence_threshold) for own in inputs]
    each = zip(inputs, fitted, thresholds, strict=True)
    scored = scores.evaluate_many(
        [ToScore(own.dataset, motion, own.hidden, least) for own, motion, least in each], body
    )
    share = (time.perf_counter() - begun) / len(inputs)
    read = [np.asarray(end.carry.exchanged) for end in ends]
    names = [_rescued(own.dataset, end) for own, end in zip(inputs, ends, strict=True)]
    return [
        Finished(
            settings=asked,
            dataset=own.dataset,
            hidden=own.hidden,
            notes=(
                *own.notes,
                *_notes_of_rescue(rescued),
                *exchanged.sentences(exchanged.as_metrics(own.dataset, other)),
            ),
            config=own.job.config,
            fitted=motion,
            numbers=numbers,
            each=exchanged.with_scores(
                _with_offsets(own.dataset, motion, each), own.dataset, motion, other, own.hidden, least
            ),
            history=end.history,
            seconds={**end.seconds, "before": end.seconds["before"] + share},
            device=device,
            rescued=rescued,
            exchanged=other,
        )
        for asked, own, motion, (numbers, each), end, rescued, other, least in zip(
            settings, inputs, fitted, scored, ends, names, read, thresholds, strict=True
        )
    ]


def _with_offsets(dataset: Dataset, motion: FittedMotion, each: Mapping[str, Mapping[str, float]]):
    """The numbers of each clip, with when it starts, where it is of a take."""
    found = take_offsets.of_takes(dataset, take_offsets.of_clips(dataset, motion.params))
    return take_offsets.with_offsets(each, found)


def _rescued(dataset: Dataset, end: Snapshot) -> tuple[str, ...]:
    return tuple(name for name, flag in zip(dataset.names, end.carry.rescued, strict=True) if flag > 0)


def _notes_of_rescue(rescued: Sequence[str]) -> list[str]:
    if not rescued:
        return []
    return [
        f"In the middle of the fit, another reading explained {listed(rescued, _MOST_NAMED)} better (other hand, camera, or "
        "part of the action), and the fit went on with it."
    ]


def compile_ahead(inputs: Sequence[Inputs], frames: int | None = None) -> None:
    """Compiles the programs that `score` uses for fits with these inputs, so that this can run in a separate thread."""
    body = inputs[0].nose_body
    # What is learned does not depend on the lengths of clips, each of which takes a second to trace.
    by_count = {own.job.clips.num_instances: own for own in reversed(inputs)}
    shapes = {count: own.shapes.last.params for count, own in by_count.items()}
    learned = [shapes[own.job.clips.num_instances] for own in inputs]
    fitted = fitted_motion.compile_ahead([own.job for own in inputs], learned, body, frames)
    each = zip(inputs, fitted, strict=True)
    scores.compile_ahead([ToScore(own.dataset, motion, own.hidden, 0.5) for own, motion in each], body, frames)


def write(
    fit: Finished,
    present: Present,
    console: Console | None = None,
    body: smpl.SMPL | None = None,
    submit: Submit = Later,
) -> dict[str, Any]:
    """Writes all results of a fit; `metrics.json` comes last.

    Args:
      fit: the fit. present: draws pictures and pages. console: where to report; None = no output.
      body: the body with the nose as keypoint 0; None = it is read again, for a process that does not have it.
      submit: takes the pieces of drawing, see `workers`.

    Returns:
      The metrics, as written to `metrics.json`.

    Raises:
      UserError: the folder has vanished, or cannot be written to.
    """
    try:
        return _write(fit, present, console, body, submit)
    except OSError as error:
        output = fit.settings.output
        writing.check_there(output)
        where = f" of {error.filename}" if error.filename else ""
        raise UserError(
            f"the results in {output} cannot be written ({error.strerror or error}{where}); make room or choose another "
            "--output_dir, and run the same command again"
        ) from error


def _write(
    fit: Finished, present: Present, console: Console | None, body: smpl.SMPL | None, submit: Submit
) -> dict[str, Any]:
    begun = time.perf_counter()
    writing.check_there(fit.settings.output)
    # The checkpoint is written first: once it exists the fit need not be repeated.
    if fit.checkpoint is not None:
        write_packed(fit.checkpoint)
    console = console or Console(quiet=True)
    output, dataset = fit.settings.output, fit.dataset
    settings = dataclasses.replace(fit.settings, fit=fit.config)
    threshold = float(fit.config.confidence_threshold)
    body_name = settings.body_model or "open_body"
    scale_sd = np.array([fit.each[name]["scale_sd_percent/fit"] / 100 for name in dataset.names])
    run = Run(
        folder=output,
        dataset=dataset,
        params=fit.fitted.params,
        config=fit.config,
        body=_body(settings.body_model) if body is None else body,
        settings=dataclasses.asdict(fit.settings),
        answer=fit.fitted,
        expected_mm=fit.expected_mm,
    )
    # Other processes draw while this one writes.
    finish = present(run, fit.settings, fit.hidden, fit.history, submit)
    lenses = lens_error.of_clips(dataset, fit.fitted, fit.config)
    offsets = take_offsets.of_clips(dataset, fit.fitted.params)
    takes = take_offsets.of_takes(dataset, offsets)
    writing.write_motions(
        output / "motion",
        dataset,
        fit.fitted,
        body_name,
        scale_sd=scale_sd,
        expected_mm=fit.expected_mm,
        spread_mm=fit.spread,
        focal_interval=lenses.intervals,
        offsets=offsets,
        exchanged=fit.exchanged,
    )
    reading.write(output, dataset, fit.fitted.params)
    writing.write_history(output / "history.npz", fit.history)
    writing.write_json(output / "instances.json", fit.each)
    table.write_csv(output / "evaluation.csv", dataset, fit.each)
    writing.write_config(output / "config.json", settings, versions())

    doubted = doubts.as_metrics(doubts.find(fit.as_read, fit.fitted, fit.each, threshold))

    def metrics() -> dict[str, Any]:
        return {
            **fit.numbers,
            doubts.KEY: doubted,
            expected_error.KEY: expected_error.as_metrics(dataset.names, fit.expected_mm),
            lens_error.KEY: lens_error.as_metrics(dataset.names, lenses),
            **({take_offsets.KEY: takes} if takes else {}),
            "num_instances": len(dataset.names),
            "num_frames": int(np.asarray(dataset.clips.frame_mask).sum()),
            "num_mirrored": len(fit.mirrored),
            "rescued": list(fit.rescued),
            exchanged.KEY: {} if fit.exchanged is None else exchanged.as_metrics(dataset, fit.exchanged),
            **({"starts": list(fit.starts), "kept_start": fit.kept_start} if fit.starts else {}),
            "synthetic": dataset.synthetic,
            # If the fit was interrupted, this is the sum over all its runs.
            "seconds/total": fit.seconds["before"] + time.perf_counter() - begun,
            "seconds/compile": fit.seconds["compile"],
            "seconds/fit": fit.seconds["fit"],
            "device": fit.device,
            **{f"version/{name}": version for name, version in versions().items()},
        }

    finish(dataclasses.replace(run, metrics=metrics()), fit.each, fit.notes, console)
    # A folder that has been deleted meanwhile must not come back with this file alone.
    writing.check_there(output)
    final = metrics()
    writing.write_json(output / "metrics.json", final)
    return final


@functools.cache
def _body(body_model: str | None) -> smpl.SMPL:
    return loaders.load_body(body_model)


@functools.cache
def versions() -> dict[str, str]:
    """Versions of the packages that the numbers depend on."""
    return {name: importlib.metadata.version(name) for name in ("jax", "jaxlib", "flax", "optax", "numpy")}
