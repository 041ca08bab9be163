"""Raw videos: the people in them are found, one is followed, and its landmarks become keypoints and first poses."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path

import numpy as np
from rich.console import Console

from body_models import joints as jn
from body_models import smpl
from experiments.base import films
from experiments.base.errors import UserError
from experiments.data.dataset import Dataset, DatasetError, Instance, stack, visible_box_size
from experiments.data.footage import Video
from experiments.detection import keypoints, landmarks, search, shot_choice, sides, timing, tracking
from experiments.detection.detections import Detections
from experiments.loaders import film_paths

Array = np.ndarray

_MOST_NAMED = 5  # films named one by one in an error
_SELDOM = 0.5  # share of frames with the person, below which a note says so


@dataclasses.dataclass(frozen=True, eq=False)
class _Film:
    """A film that can be used; its frames are on a steady clock."""

    name: str
    video: Video
    instance: Instance
    notes: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class _Choices:
    """What the user says of whom to follow, `--person=`, and in which shot, `--shots=`."""

    person: str
    shots: str


@dataclasses.dataclass(frozen=True, eq=False)
class _Shot:
    """The shot of a film that is used, or all of the film.

    frames: of the film. found: in these frames. who (F,): index of the followed person in each, -1 = not seen.
    notes: on what else the film has.
    """

    frames: range
    found: Detections
    who: Array
    notes: tuple[str, ...]


class _LeftOutError(ValueError):
    """A film that cannot be used; the message says which and why."""


def load(
    pattern: str,
    action: str,
    max_instances: int | None = None,
    *,
    cache_dir: Path,
    body: smpl.SMPL,
    person: str = tracking.LARGEST,
    shots: str | None = None,
    pose_model: str | None = None,
    detect: bool = True,
    console: Console | None = None,
    detector: search.Detector | None = None,
) -> Dataset:
    """Reads films of one action.

    Args:
      pattern: which, as `--videos=` has it: a pattern, a folder, a file, or several of these separated by commas.
      action: what they show.
      max_instances: the first so many that can be used, in natural order; None = all.
      cache_dir: folder in which the people found are kept, by the films' content.
      body: the body of which first poses are.
      person: whom to follow, as `--person=` has it (see `tracking.parse_person`).
      shots: which shot of films with cuts, as `--shots=` has it (see `shot_choice.parse`); None = chosen in each film.
      pose_model: `heavy`, `full`, `rtmpose` or a pose landmarker's `.task` file; None = the heavy one.
      detect: False = nobody is looked for, and all confidences are 0; keypoints come from elsewhere.
      console: where to report each film; None = nowhere.
      detector: another one in tests.

    Raises:
      UserError: the pattern matches nothing, person, shot or model are not understood, or what runs it is not installed.
      DatasetError: none of the films can be used.
    """
    paths = film_paths.files(pattern)
    names = film_paths.names(paths)
    tracking.check_names(person, names)
    if shots is not None and not detect:
        raise UserError(
            f"--shots={shots} says nothing where --openpose has the keypoints, of whole films; leave it out"
        )
    shots = shots or shot_choice.AUTO
    shot_choice.check_names(shots, names)
    with contextlib.ExitStack() as opened:
        searcher = None
        if detect:
            chosen = detector or search.detector(pose_model)
            searcher = opened.enter_context(search.Searcher(chosen, cache_dir, console))
        found, left_out = _films(paths, names, searcher, _Choices(person, shots), body, max_instances)
    if not found:
        more = len(left_out) - _MOST_NAMED
        reasons = "; ".join(left_out[:_MOST_NAMED]) + (f"; and {more} more" if more > 0 else "")
        raise DatasetError(f"no video of --videos={pattern} can be used: {reasons}")

    clips = stack([film.instance for film in found])
    notes = [f"Left out: {reason}." for reason in left_out]
    notes += [*(searcher.notes if searcher else ()), *(note for film in found for note in film.notes)]
    if len(found) == 1:
        notes.append(f"Only one clip of {action}: its motion is fitted from a single view, with nothing to share.")
    return Dataset(
        clips=clips,
        names=tuple(film.name for film in found),
        action=action,
        box_size=visible_box_size(np.asarray(clips.keypoints), np.asarray(clips.confidence)),
        videos=tuple(film.video for film in found),
        notes=tuple(notes),
        annotated=tuple(sorted(int(k) for k in keypoints.KEYPOINTS)),
        head_point="nose",
    )


def _films(
    paths: list[Path],
    names: list[str],
    searcher: search.Searcher | None,
    choices: _Choices,
    body: smpl.SMPL,
    most: int | None,
) -> tuple[list[_Film], list[str]]:
    """Those that can be used, at most so many, and why others cannot."""
    found: list[_Film] = []
    left_out: list[str] = []
    for path, name in zip(paths, names, strict=True):
        if most is not None and len(found) >= most:
            break
        try:
            found.append(_searched(path, name, searcher, choices, body) if searcher else _plain(path, name))
        except (_LeftOutError, films.VideoError) as error:
            left_out.append(str(error))
    return found, left_out


def _plain(path: Path, name: str) -> _Film:
    """A film in which nobody is looked for. Raises VideoError: it cannot be read. _LeftOutError: no rate."""
    info = films.probe(path)
    clock = _clock(path, films.timestamps(path), info.fps)
    count = len(clock.frames)
    instance = Instance(
        np.zeros((count, jn.NUM_KEYPOINTS, 2)),
        np.zeros((count, jn.NUM_KEYPOINTS)),
        (float(info.width), float(info.height)),
        fps=clock.fps,
    )
    return _Film(name, Video(str(path), clock.frames), instance, _clock_notes(path, clock))


def _searched(path: Path, name: str, searcher: search.Searcher, choices: _Choices, body: smpl.SMPL) -> _Film:
    """A film with its person. Raises VideoError: it cannot be read. _LeftOutError: nobody to follow in it, or no rate."""
    whole = searcher.people(path)
    shot = _chosen(path, name, whole, choices)
    found, who = shot.found, shot.who
    size = (float(found.image_size[0]), float(found.image_size[1]))
    seen, every = who >= 0, np.arange(len(who))
    marks = np.where(seen[:, None, None], found.landmarks[every, who], 0.0)
    world = np.where(seen[:, None, None], found.world[every, who], 0.0)
    wrong = sides.exchanged(marks[..., :2], seen)
    marks = np.where(wrong[..., None], marks[:, sides.MIRROR], marks)
    points, confidence = keypoints.body_25(marks, size)
    confidence[keypoints.spikes(points, seen)] = 0.0
    # First poses go by no landmark that the keypoints do not, nor by depths that were guessed for the wrong side.
    visibility = marks[..., 2] * marks[..., 3]
    visibility[:, keypoints.LANDMARKS] = confidence[:, keypoints.KEYPOINTS]
    visibility[wrong] = 0.0

    clock = _clock(path, found.times, found.claimed_fps)
    at = clock.frames
    flat = np.isnan(world[seen]).all()
    pose, mask = (None, None) if flat else landmarks.initial_pose(body, world[at], visibility[at], clock.fps)
    notes = shot.notes + _clock_notes(path, clock)
    if found.damage:
        notes += (f"{found.damage}; these are used.",)
    if seen.mean() < _SELDOM:
        notes += (f"In {path} the person followed is seen in only {seen.sum()} of {len(seen)} frames.",)
    instance = Instance(points[at], confidence[at], size, pose, mask, fps=clock.fps)
    return _Film(name, Video(str(path), shot.frames.start + at), instance, notes)


def _clock(path: Path, times: Array, claimed_fps: float | None) -> timing.Clock:
    """Raises _LeftOutError: the film has no rate that films have."""
    try:
        return timing.uniform(times, claimed_fps)
    except timing.RateError as error:
        raise _LeftOutError(f"{path} {error}; convert it to a film that plays at the speed of the motion") from error


def _clock_notes(path: Path, clock: timing.Clock) -> tuple[str, ...]:
    return (f"The times in {path} are not used: {clock.note}.",) if clock.note else ()


def _chosen(path: Path, name: str, whole: Detections, choices: _Choices) -> _Shot:
    """The shot that is asked for, or that shows the most of the person followed. Raises _LeftOutError: nobody to follow."""
    choice = shot_choice.choice_for(choices.shots, name)
    try:
        candidates = shot_choice.candidates(whole, choice)
    except UserError as error:
        raise _LeftOutError(f"in {path}, {error}") from error
    person = tracking.choice_for(choices.person, name)
    best, reasons = None, []
    for number, frames in candidates.items():
        found = whole.part(frames)
        try:
            who = _followed(path, found, person)
        except _LeftOutError as error:
            reasons.append(error)
            continue
        followed = np.flatnonzero(who >= 0)
        confidence = keypoints.body_25(found.landmarks[followed, who[followed]], tuple(found.image_size))[1]
        worth = (shot_choice.well_seen(confidence), len(followed))
        if best is None or worth > best[0]:
            best = worth, number, _Shot(frames, found, who, ())
    if best is None:
        raise reasons[0]
    (well_seen, _), number, shot = best
    note = shot_choice.note(str(path), name, whole, number, choice, well_seen)
    return dataclasses.replace(shot, notes=(note,) if note else ())


def _followed(path: Path, found: Detections, person: str) -> Array:
    """Index (F,) of the followed person in each frame; -1 = not seen. Raises _LeftOutError: nobody is as `person` says."""
    if not found.seen.any():
        raise _LeftOutError(f"nobody is in view in {path}")
    points, confidence = keypoints.body_25(found.landmarks, tuple(found.image_size))
    everybody = np.concatenate([points, confidence[..., None]], -1)
    people = [row[present] for row, present in zip(everybody, found.seen, strict=True)]
    try:
        among_present = tracking.follow(people, person)
    except UserError as error:
        raise _LeftOutError(f"in {path}, {error}") from error
    if (among_present < 0).all():
        raise _LeftOutError(f"nobody is in view in {path}")
    columns = [np.flatnonzero(present) for present in found.seen]
    return np.array([c[i] if i >= 0 else -1 for c, i in zip(columns, among_present, strict=True)])
