"""The suite `film`: films that go through the real detector. Real ones with measured joints, each a clip of its own, and
recorded motion that is rendered as films, of which everything is known."""

import dataclasses
import functools
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from body_models import loaders, smpl
from experiments.base.errors import UserError
from experiments.base.text import listed
from experiments.benchmarks.suites import film_truth, fits, mocap, rendered
from experiments.benchmarks.suites.film_truth import FilmTruth
from experiments.benchmarks.suites.fits import Case, Numbers
from experiments.benchmarks.suites.rendered import Film
from experiments.benchmarks.suites.rows import Cell
from experiments.benchmarks.suites.settings import SuiteSettings
from experiments.benchmarks.suites.variants import Variant
from experiments.data import calibrated
from experiments.data import takes as takes_of_clips
from experiments.data.dataset import Dataset, pad
from experiments.data.neutral_file import FileError
from experiments.fitting.finishing import Finished
from experiments.fitting.inputs import Cache
from experiments.loaders import film_paths, videos
from experiments.results import take_offsets
from experiments.simulation import amass
from nemo_jax import metrics
from nemo_jax.clips import GroundTruth

REAL, RENDERED, MOVING = "real film", "rendered film", "rendered film, moving camera"
_KINDS = {"still": (RENDERED,), "moving": (MOVING,), "both": (RENDERED, MOVING)}
# Folders of the results.
DETECTIONS, FILMS = "detections", "films"


def cases(settings: SuiteSettings, variants: list[Variant], console: Console) -> tuple[list[Case], list[str]]:
    """The fits of the suite, real films and rendered actions x seeds x variants, and sentences about the films.

    Raises:
      UserError, DatasetError: no such films or motion, no truth, or nobody in a film.
    """
    cache = Cache()
    body = cache.get(("body", "nose"), lambda: loaders.load_body(settings.body_model))
    found, notes = [], []
    if settings.films is not None:
        found += _real(settings, variants, body, cache, console)
    if settings.motion is not None:
        more, notes = _rendered(settings, variants, body, cache, console)
        found += more
    return found, notes


def _real(
    settings: SuiteSettings, variants: list[Variant], body: smpl.SMPL, cache: Cache, console: Console
) -> list[Case]:
    folder = Path(str(settings.films))
    if not folder.is_dir():
        raise UserError(f"--films={folder} is no folder; give one with films and truth.npz")
    truths = film_truth.read(folder)
    every = sorted(path for path in folder.iterdir() if path.suffix.lower() in film_paths.SUFFIXES)
    if not every:
        raise UserError(f"--films={folder} holds no films; expected some such as cam01.mp4 beside truth.npz")
    # Where motion is rendered too, actions are its.
    wanted = settings.actions if settings.motion is None else ()
    if unknown := [name for name in wanted if name not in [path.stem for path in every]]:
        there = listed([path.stem for path in every], 8)
        raise UserError(f"--actions={unknown[0]} is no film of {folder}, which holds {there}; name some of these")
    score = functools.partial(_score, truths)
    about = {f"truth {truth.name}": truth.digest for truth in truths}
    chosen = [path for path in every if not wanted or path.stem in wanted][: settings.instances]
    takes = {folder.resolve().name: chosen} if settings.together else {path.stem: [path] for path in chosen}
    found = []
    for name, paths in takes.items():
        dataset = shifted(_detected(paths, name, settings, body, console), settings.shift)
        dataset = takes_of_clips.with_same_take(dataset, "all" if settings.as_take else takes_of_clips.OFF)
        dataset = calibrated.with_calibration(dataset, settings.calibration or calibrated.OFF)
        for seed, variant in itertools.product(settings.fit_seeds, variants):
            cell = Cell(name, variant.name, REAL, seed)
            found.append(fits.case(cell, variant, dataset, settings, cache, holdout=0.0, score=score, about=about))
    return found


def shifted(dataset: Dataset, said: Sequence[str]) -> Dataset:
    """The clips of synchronous films, of which all but the first start so many frames later than it as is said.

    Raises:
      UserError: there are other numbers of films and shifts, or a film has no frame left.
    """
    if not said:
        return dataset
    flag, count = f"--shift={','.join(said)}", len(dataset.names)
    if len(said) != count - 1:
        raise UserError(
            f"{flag} has {len(said)} numbers for {count} films; expected {count - 1}, for all but the first"
        )
    starts = np.array([0, *map(int, said)])
    lengths = (np.asarray(dataset.clips.frame_mask) > 0).sum(1)
    begins = starts - starts.min()
    if short := [name for name, begin, length in zip(dataset.names, begins, lengths, strict=True) if begin >= length]:
        raise UserError(f"{flag} leaves no frame of {short[0]}; give smaller numbers")
    return dataset.select(frames=[range(begin, length) for begin, length in zip(begins, lengths, strict=True)])


def _rendered(
    settings: SuiteSettings, variants: list[Variant], body: smpl.SMPL, cache: Cache, console: Console
) -> tuple[list[Case], list[str]]:
    found, notes = [], []
    for action in mocap.actions(settings):
        for seed in settings.fit_seeds:
            drawn = settings.drawn(seed)
            for kind in _KINDS[settings.cameras]:
                make = lambda a=action, s=drawn, k=kind: _drawn(settings, a, s, k == MOVING, body, console)
                dataset, said = cache.get(("rendered", action, drawn, kind), make)
                notes += said
                for variant in variants:
                    cell = Cell(action, variant.name, kind, seed)
                    found.append(fits.case(cell, variant, dataset, settings, cache, holdout=0.0))
    return found, list(dict.fromkeys(notes))


def _drawn(
    settings: SuiteSettings, action: str, seed: int, moves: bool, body: smpl.SMPL, console: Console
) -> tuple[Dataset, list[str]]:
    """The rendered films of an action as the detector sees them, with their truth, and sentences about them."""
    folder, films, notes = settings.output / FILMS / action, {}, []
    for path in amass.find(str(settings.motion), action)[: settings.instances]:
        try:
            film = rendered.film(folder, path, body, seed, moves, textured=settings.cameras != "still")
        except FileError as error:
            notes.append(f"Left out {path} ({error})")
            continue
        films[str(film.path)] = film
    if not films:
        raise UserError(f"--motion={settings.motion} has no usable motion of {action}: {'; '.join(notes)}")
    dataset = _detected([film.path for film in films.values()], action, settings, body, console)
    return with_truth(dataset, films), notes + [note.rstrip(".") for note in dataset.notes]


def with_truth(dataset: Dataset, films: Mapping[str, Film]) -> Dataset:
    """The clips of rendered films, by their paths, with what is true of them."""
    assert dataset.videos is not None
    shown = [video for video in dataset.videos if video is not None]
    own, rows = [films[video.path] for video in shown], [np.asarray(video.frames) for video in shown]
    truth: dict[str, Any] = {
        "pose": pad([film.motion.pose[at] for film, at in zip(own, rows, strict=True)]),
        "translation": pad([film.motion.translation[at] for film, at in zip(own, rows, strict=True)]),
        "joints": pad([film.joints[at] for film, at in zip(own, rows, strict=True)]),
        "betas": np.stack([film.motion.betas for film in own]).astype(np.float32),
    }
    cameras = tuple(film.camera for film in own)
    return dataclasses.replace(dataset, truth=GroundTruth(**truth), cameras=cameras, synthetic=True)


def _detected(paths: list[Path], name: str, settings: SuiteSettings, body: smpl.SMPL, console: Console) -> Dataset:
    pattern, cache = ",".join(map(str, paths)), settings.output / DETECTIONS
    # The truth is that of whole films.
    model = settings.pose_model
    return videos.load(pattern, name, cache_dir=cache, body=body, split="off", pose_model=model, console=console)


def _score(truths: list[FilmTruth], fit: Finished) -> tuple[Numbers, dict[str, Numbers]]:
    """The scores of `metrics.json`, and the errors against every truth."""
    numbers, each = fits.scores_of(fit)
    late = clock_errors(fit)
    for n, (name, own) in enumerate(each.items()):
        joints, frames = fitted_joints(fit, n)
        if np.isfinite(late[n]):
            own["clock_error_frames"] = float(late[n])
        for truth in truths:
            found = film_truth.errors(joints, frames, truth)
            own |= {f"film_{kind}_mm/{truth.name}": value for kind, value in found.items()}
            if name in truth.focal:
                own["focal_error"] = abs(float(fit.fitted.focal[n]) / truth.focal[name] - 1)
    return numbers, each


def clock_errors(fit: Finished) -> np.ndarray:
    """By how many frames (N,) the start of each clip of synchronous films was missed; NaN where they are no take.

    The mean over the clips of a take is taken from it, as only differences can be seen.
    """
    dataset = fit.dataset
    found = take_offsets.of_clips(dataset, fit.fitted.params)
    if not np.isfinite(found).all() or dataset.videos is None:
        return np.full(len(dataset.names), np.nan)
    fps = np.asarray(dataset.clips.fps, float)
    true = np.array([0.0 if video is None else float(video.frames[0]) for video in dataset.videos]) / fps
    late = (found - true) * fps
    return np.abs(late - late.mean())


def fitted_joints(fit: Finished, clip: int) -> tuple[np.ndarray, np.ndarray]:
    """The first 15 joints (T, 15, 3) of the fit at every frame of one clip, and which frame (T,) of its film each is."""
    dataset: Dataset = fit.dataset
    video = dataset.videos[clip] if dataset.videos is not None else None
    if video is None:
        raise UserError(f"{dataset.names[clip]} is no film; the suite film is of films")
    frames = np.asarray(video.frames)
    joints = np.asarray(fit.fitted.prediction.keypoints)[clip, : len(frames), : metrics.PAPER_JOINTS]
    return joints, frames
