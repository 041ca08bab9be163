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
from experiments.loaders import film_people
from experiments.loaders.film_people import Followed, LeftOutError

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


@dataclasses.dataclass(frozen=True, eq=False)
class _Shot:
    """Somebody in a shot: its number, 0 = the whole film, its frames, and who is followed there."""

    number: int
    frames: range
    person: Followed


@dataclasses.dataclass(frozen=True, eq=False)
class _Stretch:
    """A take: frames of the film, the shot that has it, and its course."""

    frames: range
    shot: _Shot
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
            followed.append(_Shot(number, frames, film_people.one(path, found.part(frames), person)))
        except LeftOutError as error:
            reasons.append(error)
    if not followed:
        raise reasons[0]
    best = max(followed, key=lambda shot: (shot.person.well_seen, int((shot.person.who >= 0).sum())))
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
    points, confidence = keypoints.body_25(found.landmarks[every, who], film_people.image_size(found))
    confidence[who < 0] = 0.0
    try:
        return self_similarity.course(points, confidence, rate(found))
    except LeftOutError as error:
        raise LeftOutError(f"{path} {error}; convert it to a film that plays at the speed of the motion") from error


def _takes(path: Path, found: Detections, shot: _Shot, split: str) -> list[_Stretch]:
    """The takes of a shot, or all of it. Raises LeftOutError: it has not as many as are asked for."""
    of = course(path, found.part(shot.frames), shot.person.who)
    whole = range(len(shot.person.who))
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
    worth = [s.shot.person.well_seen * len(s.frames) / len(s.shot.frames) for s in stretches]
    return [stretches[number] for number in same_action.group(same, worth)]


def _named(path: Path, name: str, found: Detections, stretches: list[_Stretch], choice: str) -> list[Part]:
    """Parts with their names, and notes on what else the film has."""
    shots = list(dict.fromkeys(s.shot.number for s in stretches))
    if len(shots) > 1:
        notes = [shot_choice.note_of_several(str(path), name, found, shots)]
    else:
        notes = [shot_choice.note(str(path), name, found, shots[0], choice, stretches[0].shot.person.well_seen)]
    whole = stretches[0].shot.frames
    if len(stretches) > len(shots) or len(shots) == 1:
        notes.append(take_choice.note(str(path), name, found, [s.frames for s in stretches], whole))
    shots_of = list({id(s.shot): s.shot for s in stretches}.values())
    result = []
    for number, stretch in enumerate(stretches, 1):
        own = slice(stretch.frames.start - stretch.shot.frames.start, stretch.frames.stop - stretch.shot.frames.start)
        clip = f"{name} take {number}" if len(stretches) > 1 else name
        result.append(Part(clip, stretch.frames, found.part(stretch.frames), stretch.shot.person.who[own]))
    notes += [film_people.doubts(str(path), name, found, shot.person, shot.frames.start) for shot in shots_of]
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
    followed: dict[range, Followed | None] = {}
    for take, frames in zip(table[name], takes_table.frames(table[name], times, name), strict=True):
        # Who is the largest of a shot is told by all of it.
        around = next((s for s in shots.values() if s.start <= frames.start and frames.stop <= s.stop), frames)
        if around not in followed:
            try:
                followed[around] = film_people.one(path, found.part(around), person)
            except LeftOutError:
                followed[around] = None
        own = followed[around]
        who = (
            np.full(len(frames), -1)
            if own is None
            else own.who[frames.start - around.start : frames.stop - around.start]
        )
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
