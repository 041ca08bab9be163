"""One run from settings to results: read, fit with checkpoints, score, draw, write."""

import contextlib
import dataclasses
import importlib.metadata
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console

from body_models import joints as jn
from body_models import loaders, smpl
from experiments.base import devices
from experiments.base.errors import UserError
from experiments.base.text import duration
from experiments.data import holdout, resample
from experiments.data.dataset import Dataset, HeadPoint
from experiments.evaluation import scores, summary, table
from experiments.fitting import prior_files
from experiments.fitting.checkpoints import Checkpoints, Snapshot, identity_of
from experiments.fitting.compiled_programs import Chunk, CompiledFit, Job, Position
from experiments.fitting.progress import FitProgress
from experiments.fitting.settings import Settings, size_of
from experiments.loaders import registry
from experiments.results import fitted_motion, reading, writing
from experiments.show import presentation
from nemo_jax import fit
from nemo_jax.model import Assets
from nemo_jax.priors import Priors, published_limits

_HEAD_KEYPOINT = {"nose": jn.NOSE, "top_of_head": jn.TOP_OF_HEAD, "head_centre": jn.HEAD_CENTRE}
_ANNOTATION_HOLDOUT = 0.1


@dataclasses.dataclass(frozen=True)
class Inputs:
    """What a run reads. dataset: as read, nothing hidden. hidden (N, T, K): keypoints hidden from the fit, or None.
    nose_body: with the nose as keypoint 0. notes: sentences for the user.
    holdout: share of the visible keypoints that was hidden."""

    dataset: Dataset
    hidden: np.ndarray | None
    nose_body: smpl.SMPL
    job: Job
    notes: tuple[str, ...]
    holdout: float


def run(settings: Settings, console: Console | None = None, checkpoint_seconds: float = 2.0) -> dict[str, Any]:
    """Does what the settings say and returns the metrics, as `metrics.json` has them.

    Args:
      settings: checked ones.
      console: where to report; None = standard output.
      checkpoint_seconds: a chunk's end is saved when the last save is at least so long ago, a stage's end always.

    Raises:
      UserError, DatasetError, BodyModelError: one sentence for the user.
    """
    begun = time.perf_counter()
    console = console or Console(highlight=False, soft_wrap=True)
    output = settings.output
    device = devices.choose(settings.accelerator)
    devices.keep_compiled()
    inputs = load(settings, console)
    with writing.held(output):
        return _run(settings, inputs, console, checkpoint_seconds, begun, device)


def _run(
    settings: Settings, inputs: Inputs, console: Console, checkpoint_seconds: float, begun: float, device: str
) -> dict[str, Any]:
    dataset = inputs.dataset
    console.print(f"{dataset.action}: {len(dataset.names)} clips, {_num_frames(dataset)} frames; {device}")
    for note in inputs.notes:
        console.print(f"Note: {note}")

    problem, end = run_fit(inputs, settings, console, checkpoint_seconds, begun)
    return finish(settings, inputs, problem.assets, end, console, begun, device)


def finish(
    settings: Settings, inputs: Inputs, assets: Assets, end: Snapshot, console: Console, begun: float, device: str
) -> dict[str, Any]:
    """Scores a finished fit and writes all its results.

    Args:
      settings: of this fit. inputs: what it read. assets: what it was given. end: the fit's end.
      console: where the closing table goes.
      begun: when the run that finished it began, on `time.perf_counter`'s clock; `end.seconds` tells of earlier runs.
      device: what it ran on, in words.

    Returns:
      The metrics, as `metrics.json` has them.
    """
    output, dataset, job = settings.output, inputs.dataset, inputs.job
    fitted = fitted_motion.predict(end.carry.params, assets, inputs.nose_body, job.config, job.clips)
    mirrored = [name for name, flag in zip(dataset.names, fitted.params.mirrored, strict=True) if flag > 0.5]
    if mirrored:
        console.print(
            f"Note: taken for the other hand, so that the motion is mirrored for them: {', '.join(mirrored)}."
        )
    threshold = float(job.config.confidence_threshold)
    numbers, each = scores.evaluate(dataset, fitted, inputs.nose_body, inputs.hidden, threshold)
    writing.write_motions(output / "motion", dataset, fitted, settings.body_model or "open_body")
    reading.write(output, dataset, fitted.params)
    writing.write_history(output / "history.npz", end.history)
    writing.write_json(output / "instances.json", each)
    table.write_csv(output / "evaluation.csv", dataset, each)
    writing.write_config(output / "config.json", dataclasses.replace(settings, fit=job.config), versions())
    metrics = {
        **numbers,
        "num_instances": len(dataset.names),
        "num_frames": _num_frames(dataset),
        "num_mirrored": len(mirrored),
        "synthetic": dataset.synthetic,
        # Of all runs, where a fit was interrupted.
        "seconds/total": end.seconds["before"] + time.perf_counter() - begun,
        "seconds/compile": end.seconds["compile"],
        "seconds/fit": end.seconds["fit"],
        "device": device,
        **{f"version/{name}": version for name, version in versions().items()},
    }
    run = reading.Run(
        folder=output,
        dataset=dataset,
        params=fitted.params,
        config=job.config,
        body=inputs.nose_body,
        settings=dataclasses.asdict(settings),
        metrics=metrics,
        answer=fitted,
    )
    presentation.write_all(run, settings, each, inputs.notes, inputs.hidden, end.history, console)
    metrics["seconds/total"] = end.seconds["before"] + time.perf_counter() - begun
    writing.write_json(output / "metrics.json", metrics)
    summary.print_table(console, dataset, metrics, output)
    return metrics


def _num_frames(dataset: Dataset) -> int:
    return int(np.asarray(dataset.clips.frame_mask).sum())


class Shelf:
    """What was read stands here, so that several fits read it once and share it."""

    def __init__(self) -> None:
        self._kept: dict[Any, Any] = {}

    def get(self, key: tuple[Any, ...], read: Callable[[], Any]) -> Any:
        """What `read` returns, or returned when this key was first asked for."""
        if key not in self._kept:
            self._kept[key] = read()
        return self._kept[key]


def load(settings: Settings, console: Console | None = None, shelf: Shelf | None = None) -> Inputs:
    """Reads body and clips, hides what is to be held out, and puts the fit together.

    Args:
      settings: of one fit. console: shows progress. shelf: of several fits that have all in common but action, seed and
        fields of the fit.
    """
    shelf = shelf or Shelf()
    nose_body = shelf.get(("body", "nose"), lambda: loaders.load_body(settings.body_model))
    # Only what is made up depends on the seed.
    seed = settings.seed if settings.data_dir is None and settings.videos is None else None
    dataset = shelf.get(("clips", settings.action, seed), lambda: read(settings, nose_body, console))
    if settings.fit.resample == "shortest":
        dataset = resample.shortest(dataset)
    if settings.fit.head_keypoint == "top_of_head":
        dataset = dataclasses.replace(dataset, head_point="top_of_head")
    notes = list(dataset.notes)
    body = nose_body
    if dataset.head_point != "nose":
        if nose_body.has_extra_joints:
            head = dataset.head_point
            body = shelf.get(("body", head), lambda: body_with(head, settings.body_model))
        else:
            dataset = _without_head(dataset)
            notes.append(
                f"The body model has no J_regressor_extra, so it cannot say where the {dataset.head_point} is; the clips' "
                "head points are left out."
            )
    share = _holdout_share(dataset) if settings.holdout is None else settings.holdout
    clips, hidden = dataset.clips, None
    if share > 0:
        clips, hidden = holdout.hold_out(clips, share, settings.seed, dataset.annotated)
        notes.append(
            f"{share:.0%} of the visible joints, {int(hidden.sum())}, are hidden from the fit to score it on them."
        )
    config = fit.for_clips(settings.fit, clips)
    job = Job(
        key=jax.random.key(settings.seed),
        clips=jax.tree.map(jnp.asarray, clips),
        body=body,
        priors=shelf.get(("priors", settings.fit.prior_set), lambda: load_priors(settings)),
        config=config,
    )
    return Inputs(dataset=dataset, hidden=hidden, nose_body=nose_body, job=job, notes=tuple(notes), holdout=share)


def body_with(head_point: HeadPoint, body_model: str | None) -> smpl.SMPL:
    """The body whose keypoint 0 is the head point; `body_model` as the flag has it."""
    return loaders.load_body(body_model, keypoint_ids=[_HEAD_KEYPOINT[head_point], *jn.BODY_25[1:]])


def read(settings: Settings, body: smpl.SMPL, console: Console | None) -> Dataset:
    """The clips that the settings name."""
    return registry.load(
        settings.action,
        settings.data_dir,
        settings.dataset,
        settings.max_instances,
        settings.seed,
        body,
        videos=settings.videos,
        openpose=settings.openpose,
        init=settings.init,
        person=settings.person,
        pose_model=settings.pose_model,
        ids=settings.ids,
        image_size=size_of(settings.image_size) if settings.image_size else None,
        fps=settings.fps,
        focal_length=settings.focal_length,
        cache_dir=settings.output / "detections",
        console=console,
    )


def load_priors(settings: Settings) -> Priors:
    """The priors that the settings give; joint limits unless the published set is asked for."""
    return Priors(
        joint_limits=published_limits() if settings.fit.prior_set == "open" else None,
        gmm=prior_files.load_gmm(settings.gmm) if settings.gmm else None,
        vposer=prior_files.load_vposer(settings.vposer) if settings.vposer else None,
    )


def run_fit(
    inputs: Inputs, settings: Settings, console: Console, checkpoint_seconds: float, begun: float
) -> tuple[fit.Problem, Snapshot]:
    """Fits, from the last checkpoint in the output folder on, and returns the problem and the end of the fit."""
    job = inputs.job
    with checkpoints_of(settings, inputs) as checkpoints:
        if not settings.resume:
            checkpoints.clear()
        found = checkpoints.latest()
        here = found.position if found else Position()
        if here == Position(len(job.stages)):
            console.print("This fit is finished: its results are written again (--resume=false fits anew).")
        elif found:
            console.print(
                f"Continuing an interrupted fit at step {here.step} of the {job.stages[here.stage].name} stage."
            )

        with (
            console.status("compiling, about a minute the first time")
            if console.is_terminal
            else contextlib.nullcontext()
        ):
            compiled = CompiledFit(job, here)
            problem, state = compiled.start()
        if found and not job.stages[here.stage :]:
            return problem, found
        console.print(f"compiled in {duration(compiled.seconds)}")
        spent = found.seconds if found else {"before": 0.0, "compile": 0.0, "fit": 0.0}
        spent = {**spent, "compile": spent["compile"] + compiled.seconds}
        at = found or Snapshot(here, state, job.key, {}, spent)
        fit_begun = reading = time.perf_counter()
        with FitProgress(console, job.stages, here) as progress:
            for chunk in compiled.run(problem, here, at.carry):
                progress.chunk(chunk)
                now = time.perf_counter()
                times = {"before": spent["before"] + now - begun, "fit": spent["fit"] + now - fit_begun}
                at = dataclasses.replace(after(at, chunk), seconds={**spent, **times})
                stage_ends = chunk.first + chunk.length == chunk.stage.steps
                if stage_ends or now - reading >= checkpoint_seconds:
                    checkpoints.save(at)
                    reading = now
    return problem, dataclasses.replace(at, seconds={**at.seconds, "before": spent["before"]})


def checkpoints_of(settings: Settings, inputs: Inputs) -> Checkpoints:
    """The checkpoints of a fit, in its results folder."""
    about = {"action": settings.action, "seed": settings.seed, "holdout": inputs.holdout}
    return Checkpoints(
        settings.output / "checkpoints", inputs.job, identity_of(inputs.job, about, inputs.dataset.names)
    )


def after(before: Snapshot, chunk: Chunk) -> Snapshot:
    """The snapshot after a chunk. Raises UserError: its losses are not finite."""
    terms = {term: values.copy() for term, values in before.history.get(chunk.stage.name, {}).items()}
    for term, values in chunk.losses.items():
        if not np.isfinite(values).all():
            step = int(np.argmin(np.isfinite(values)))
            raise UserError(
                f"the fit diverged: {term} is {values[step]} at step {chunk.first + step} of the {chunk.stage.name} stage; "
                "lower the learning rates, such as --fit.lr_field, and add --resume=false"
            )
        terms.setdefault(term, np.full(chunk.stage.steps, np.nan, np.float32))
        terms[term][chunk.first : chunk.first + chunk.length] = values
    history = {**before.history, chunk.stage.name: terms}
    return dataclasses.replace(before, position=chunk.position, carry=chunk.carry, history=history)


def _holdout_share(dataset: Dataset) -> float:
    """A tenth of what people annotated where nothing else tells how good a fit is: sure of every joint, no ground truth."""
    confidence = np.asarray(dataset.clips.confidence)
    annotations = bool(np.isin(confidence, (0.0, 1.0)).all())
    return _ANNOTATION_HOLDOUT if annotations and dataset.truth is None else 0.0


def _without_head(dataset: Dataset) -> Dataset:
    confidence = np.array(dataset.clips.confidence)
    confidence[..., 0] = 0
    clips = dataclasses.replace(dataset.clips, confidence=confidence)  # pyright: ignore[reportArgumentType]
    return dataclasses.replace(dataset, clips=clips, annotated=tuple(k for k in dataset.annotated if k != 0))


def versions() -> dict[str, str]:
    """Versions of what the numbers depend on."""
    return {name: importlib.metadata.version(name) for name in ("jax", "jaxlib", "flax", "optax", "numpy")}
