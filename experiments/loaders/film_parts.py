"""The parts of a film that become clips: which shots, which takes of them, and who is followed there."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from experiments.base.errors import UserError
from experiments.base.text import listed
from experiments.detection import (
    keypoints,
    same_action,
    self_similarity,
    shot_choice,
    take_choice,
    takes,
    takes_table,
    timing,
    tracking,
)
from experiments.detection.detections import Detections
from experiments.detection.self_similarity import Course
from experiments.detection.takes_table import Take

Array = np.ndarray


@dataclasses.dataclass(frozen=True)
class Choices:
    """What the user says of whom to follow, `--person=`, in which shots, `--shots=`, and of takes, `--split=`.

    takes: by film, of `--takes=`; None = none is given.
    """

    person: str
    shots: str
    split: str
    takes: Mapping[str, Sequence[Take]] | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Part:
    """A part of a film that becomes a clip.

    name: of the clip. frames: of the film. found: in these frames. who (F,): index of the followed person in each, -1 = not
    seen. notes: on what else the film has.
    """

    name: str
    frames: range
    found: Detections
    who: Array
    notes: tuple[str, ...] = ()


class LeftOutError(ValueError):
    """A film that cannot be used; the message says which and why."""


@dataclasses.dataclass(frozen=True, eq=False)
class _Followed:
    """Somebody in a shot: its number, 0 = the whole film, its frames, who (F,) it is in each, and how many show it well."""

    number: int
    frames: range
    who: Array
    well_seen: int


@dataclasses.dataclass(frozen=True, eq=False)
class _Stretch:
    """A take: frames of the film, the shot that has it, and its course."""

    frames: range
    shot: _Followed
    course: Course


def parts(path: Path, name: str, found: Detections, choices: Choices) -> list[Part]:
    """The parts of a film that become clips, in the order of their times.

    Raises:
      LeftOutError: nobody to follow in it, or not what was asked for.
      UserError: the table of takes does not fit the film.
    """
    if choices.takes is not None:
        return _of_table(path, name, found, choices)
    choice = shot_choice.choice_for(choices.shots, name)
    try:
        shots = shot_choice.candidates(found, choice)
    except UserError as error:
        raise LeftOutError(f"in {path}, {error}") from error
    person = tracking.choice_for(choices.person, name)
    followed, reasons = [], []
    for number, frames in shots.items():
        try:
            followed.append(_followed(path, found, number, frames, person))
        except LeftOutError as error:
            reasons.append(error)
    if not followed:
        raise reasons[0]
    best = max(followed, key=lambda shot: (shot.well_seen, int((shot.who >= 0).sum())))
    split = take_choice.choice_for(choices.split, name)
    chosen = followed if split == take_choice.AUTO else [best]
    stretches = [stretch for shot in chosen for stretch in _takes(path, found, shot, split)]
    if len(chosen) > 1:
        stretches = _of_one_action(found, stretches)
    return _named(path, name, found, stretches, choice)


def seconds(found: Detections) -> Array:
    """The times (F,) of a film's frames in seconds, the first of them 0; by its rate where it has none."""
    times = np.asarray(found.times, float)
    if np.isfinite(times).all() and (np.diff(times) > 0).all():
        return times - times[0]
    return np.arange(len(times)) / rate(found)


def rate(found: Detections) -> float:
    """Frames per second. Raises LeftOutError: none that films have; the message is to stand behind the film's name."""
    try:
        return timing.uniform(found.times, found.claimed_fps).fps
    except timing.RateError as error:
        raise LeftOutError(str(error)) from error


def course(path: Path, found: Detections, who: Array) -> Course:
    """The course of the person followed. Raises LeftOutError: the film has no rate."""
    every = np.arange(len(who))
    points, confidence = keypoints.body_25(found.landmarks[every, who], _size(found))
    confidence[who < 0] = 0.0
    try:
        return self_similarity.course(points, confidence, rate(found))
    except LeftOutError as error:
        raise LeftOutError(f"{path} {error}; convert it to a film that plays at the speed of the motion") from error


def _size(found: Detections) -> tuple[float, float]:
    return float(found.image_size[0]), float(found.image_size[1])


def _followed(path: Path, found: Detections, number: int, frames: range, person: str) -> _Followed:
    """Who is followed in a shot. Raises LeftOutError: nobody is as `person` says."""
    part = found.part(frames)
    who = _who(path, part, person)
    there = np.flatnonzero(who >= 0)
    confidence = keypoints.body_25(part.landmarks[there, who[there]], _size(part))[1]
    return _Followed(number, frames, who, shot_choice.well_seen(confidence))


def _who(path: Path, found: Detections, person: str) -> Array:
    """Index (F,) of the followed person in each frame; -1 = not seen. Raises LeftOutError: nobody is as `person` says."""
    if not found.seen.any():
        raise LeftOutError(f"nobody is in view in {path}")
    points, confidence = keypoints.body_25(found.landmarks, _size(found))
    everybody = np.concatenate([points, confidence[..., None]], -1)
    people = [row[present] for row, present in zip(everybody, found.seen, strict=True)]
    try:
        among_present = tracking.follow(people, person)
    except UserError as error:
        raise LeftOutError(f"in {path}, {error}") from error
    if (among_present < 0).all():
        raise LeftOutError(f"nobody is in view in {path}")
    columns = [np.flatnonzero(present) for present in found.seen]
    return np.array([c[i] if i >= 0 else -1 for c, i in zip(columns, among_present, strict=True)])


def _takes(path: Path, found: Detections, shot: _Followed, split: str) -> list[_Stretch]:
    """The takes of a shot, or all of it. Raises LeftOutError: it has not as many as are asked for."""
    of = course(path, found.part(shot.frames), shot.who)
    whole = range(len(shot.who))
    if split == take_choice.OFF:
        every = (whole,)
    else:
        count = None if split == take_choice.AUTO else int(split)
        result = takes.find(of, count)
        if result is None:
            raise LeftOutError(
                f"in {path}, --split={split} asks for {split} takes, but so many are not found; look at "
                "`python run.py split`, whose takes.csv can be corrected and given as --takes"
            )
        every = result.takes
    start = shot.frames.start
    return [_Stretch(range(start + own.start, start + own.stop), shot, of) for own in every]


def _of_one_action(found: Detections, stretches: list[_Stretch]) -> list[_Stretch]:
    """Those, of all shots, that show the action of which there is most."""
    own = [range(s.frames.start - s.shot.frames.start, s.frames.stop - s.shot.frames.start) for s in stretches]
    same = same_action.alike([(s.course, frames) for s, frames in zip(stretches, own, strict=True)])
    worth = [s.shot.well_seen * len(s.frames) / len(s.shot.frames) for s in stretches]
    return [stretches[number] for number in same_action.group(same, worth)]


def _named(path: Path, name: str, found: Detections, stretches: list[_Stretch], choice: str) -> list[Part]:
    """Parts with their names, and notes on what else the film has."""
    shots = list(dict.fromkeys(s.shot.number for s in stretches))
    if len(shots) > 1:
        notes = [shot_choice.note_of_several(str(path), name, found, shots)]
    else:
        notes = [shot_choice.note(str(path), name, found, shots[0], choice, stretches[0].shot.well_seen)]
    whole = stretches[0].shot.frames
    if len(stretches) > len(shots) or len(shots) == 1:
        notes.append(take_choice.note(str(path), name, found, [s.frames for s in stretches], whole))
    result = []
    for number, stretch in enumerate(stretches, 1):
        own = slice(stretch.frames.start - stretch.shot.frames.start, stretch.frames.stop - stretch.shot.frames.start)
        clip = f"{name} take {number}" if len(stretches) > 1 else name
        result.append(Part(clip, stretch.frames, found.part(stretch.frames), stretch.shot.who[own]))
    result[0] = dataclasses.replace(result[0], notes=tuple(note for note in notes if note))
    return result


def _of_table(path: Path, name: str, found: Detections, choices: Choices) -> list[Part]:
    """The takes that the table says. Raises LeftOutError: it has none of this film, or nobody is in one of them."""
    table = choices.takes or {}
    if name not in table:
        raise LeftOutError(f"{takes_table.FLAG} has no row of {name}")
    person = tracking.choice_for(choices.person, name)
    shots = shot_choice.candidates(found, shot_choice.AUTO)
    try:
        times = seconds(found)
    except LeftOutError as error:
        raise LeftOutError(f"{path} {error}; convert it to a film that plays at the speed of the motion") from error
    result, empty = [], []
    several = len(table[name]) > 1
    followed: dict[range, Array] = {}
    for take, frames in zip(table[name], takes_table.frames(table[name], times, name), strict=True):
        # Who is the largest of a shot is told by all of it.
        around = next((s for s in shots.values() if s.start <= frames.start and frames.stop <= s.stop), frames)
        if around not in followed:
            try:
                followed[around] = _who(path, found.part(around), person)
            except LeftOutError:
                followed[around] = np.full(len(around), -1)
        who = followed[around][frames.start - around.start : frames.stop - around.start]
        if (who < 0).all():
            empty.append(str(take.number))
            continue
        clip = f"{name} take {take.number}" if several else name
        result.append(Part(clip, frames, found.part(frames), who))
    if not result:
        raise LeftOutError(f"nobody is in view in any take of {path} that {takes_table.FLAG} has")
    if empty:
        note = f"Left out: nobody is in view in {path}, take {listed(empty)} of {takes_table.FLAG}."
        result[0] = dataclasses.replace(result[0], notes=(note,))
    return result
