"""Everybody in a film who does the action, `--person=all`, and who is left out and why."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from experiments.base.text import listed
from experiments.detection import shot_choice, take_choice, takes, takes_table, tracking
from experiments.detection.detections import Detections
from experiments.detection.self_similarity import Course
from experiments.detection.takes_table import Take
from experiments.loaders import film_people
from experiments.loaders.film_people import Followed, LeftOutError
from experiments.loaders.film_stretches import Part, Shot, Stretch, course, of_one_action, takes_of

Array = np.ndarray

_SMALL = 0.25  # size of somebody, as a share of the largest person's, below which keypoints are too coarse
_SLOW = 0.2  # speed, as a share of the fastest person's, below which somebody stands by
_BADLY_SEEN = 0.3  # share of frames in which somebody must be seen well
_IN_TAKE = 0.5  # share of a take of the table in which somebody must be seen
_NAMED = 6


def parts(path: Path, name: str, found: Detections, shots: Mapping[int, range], split: str) -> list[Part]:
    """A clip for each take of each person who does the action.

    Args:
      path: of the film. name: of it. found: in it. shots: frames by their numbers, 0 = a whole film. split: `--split` of it.

    Raises:
      LeftOutError: nobody does it.
    """
    people = [somebody for number, frames in shots.items() for somebody in _people(found, number, frames)]
    if not people:
        raise LeftOutError(f"nobody is in view in {path}")
    if split != take_choice.AUTO:
        best = max(people, key=lambda somebody: somebody.person.well_seen)
        people = [somebody for somebody in people if somebody.number == best.number]
    doing, aside = able(path, found, people)
    stretches: list[Stretch] = []
    for somebody, of in doing:
        try:
            stretches += takes_of(path, somebody, of, split)
        except LeftOutError:
            aside.append((somebody, f"does not repeat the action {split} times"))
    return _named(path, name, found, stretches, aside, {})


def of_table(
    path: Path, name: str, found: Detections, shots: Mapping[int, range], rows: Sequence[tuple[Take, range]]
) -> list[Part]:
    """The same for the takes that a table says, with their frames. Raises LeftOutError: nobody does the action in any."""
    around = {frames: next((s for s in shots.values() if _holds(s, frames)), frames) for _, frames in rows}
    people = [
        somebody for n, shot in enumerate(dict.fromkeys(around.values()), 1) for somebody in _people(found, n, shot)
    ]
    if not people:
        raise LeftOutError(f"nobody is in view in any take of {path} that {takes_table.FLAG} has")
    doing, aside = able(path, found, people)
    stretches, numbers = [], {}
    for somebody, of in doing:
        for take, frames in rows:
            own = range(max(frames.start, somebody.frames.start), min(frames.stop, somebody.frames.stop))
            if len(own) and (somebody.who(own) >= 0).sum() >= _IN_TAKE * len(frames):
                stretches.append(Stretch(own, somebody, of))
                numbers[id(stretches[-1])] = take.number
    return _named(path, name, found, stretches, aside, numbers)


def _holds(shot: range, frames: range) -> bool:
    return shot.start <= frames.start and frames.stop <= shot.stop


def _people(found: Detections, number: int, frames: range) -> list[Shot]:
    """Everybody in a shot, from when to when each is there."""
    return [present(number, frames, followed) for followed in film_people.several(found.part(frames))]


def present(number: int, frames: range, followed: Followed) -> Shot:
    """Somebody in a shot, from when to when that one is there; frames: of the shot."""
    there = np.flatnonzero(followed.who >= 0)
    own = slice(there[0], there[-1] + 1)
    doubts = tuple((first - int(there[0]), last - int(there[0])) for first, last in followed.doubts)
    return Shot(number, frames[own], dataclasses.replace(followed, who=followed.who[own], doubts=doubts))


def able(
    path: Path, found: Detections, people: Sequence[Shot]
) -> tuple[list[tuple[Shot, Course]], list[tuple[Shot, str]]]:
    """Those who may do the action, with their courses, and the others with what each is or does instead."""
    sizes, speeds, seconds, courses = [], [], [], []
    for somebody in people:
        part = found.part(somebody.frames)
        corners = film_people.boxes(part, somebody.person.who)
        sizes.append(float(np.nanmedian(np.linalg.norm(corners[:, 2:] - corners[:, :2], axis=1))))
        of = course(path, part, somebody.person.who)
        courses.append(of)
        speeds.append(float(np.percentile(of.speed[of.seen], 99)) if of.seen.any() else 0.0)
        seconds.append((somebody.person.who >= 0).sum() / of.fps)
    large = np.array(sizes) >= _SMALL * max(sizes)
    slow = max(takes.MOTION, _SLOW * max(np.array(speeds)[large]))
    doing, aside = [], []
    for n, somebody in enumerate(people):
        if seconds[n] < takes.SHORTEST:
            aside.append((somebody, f"is seen for {seconds[n]:.2g} s only"))
        elif not large[n]:
            aside.append((somebody, "is too small in the picture"))
        elif somebody.person.well_seen < _BADLY_SEEN * (somebody.person.who >= 0).sum():
            aside.append((somebody, "is badly seen"))
        elif speeds[n] < slow:
            aside.append((somebody, "stands by"))
        else:
            doing.append((somebody, courses[n]))
    return doing, aside


def _named(
    path: Path,
    name: str,
    found: Detections,
    stretches: list[Stretch],
    aside: list[tuple[Shot, str]],
    numbers: Mapping[int, int],
) -> list[Part]:
    """Clips of those stretches that show one action. numbers: of takes, by the stretches' `id`, where a table has them."""
    if not stretches:
        raise LeftOutError(f"nobody does the action in {path}: {_others(found, aside)}")
    chosen = of_one_action(stretches) if len(stretches) > 1 else stretches
    doing = list(dict.fromkeys(id(stretch.shot) for stretch in chosen))
    if numbers:
        # Which takes there are is not judged where a table says so, but who is in them.
        chosen = [stretch for stretch in stretches if id(stretch.shot) in doing]
    others = {id(stretch.shot): stretch.shot for stretch in stretches if id(stretch.shot) not in doing}
    aside = [*aside, *((somebody, "does something else") for somebody in others.values())]
    result = []
    for number, who in enumerate(doing, 1):
        own = [stretch for stretch in chosen if id(stretch.shot) == who]
        person = f"{name} person {number}" if len(doing) > 1 else name
        for take, stretch in enumerate(own, 1):
            counted = numbers.get(id(stretch), take)
            clip = f"{person} take {counted}" if len(own) > 1 or len(set(numbers.values())) > 1 else person
            note = film_people.doubts(str(path), clip, found, stretch.shot.person, stretch.shot.frames, stretch.frames)
            part = found.part(stretch.frames)
            notes = (note,) if note else ()
            result.append(Part(clip, stretch.frames, part, stretch.shot.who(stretch.frames), notes, number))
    notes = [_note(path, name, found, result, len(doing), aside), *result[0].notes]
    used = sorted({stretch.shot.number for stretch in chosen} - {0})
    if used and not numbers and len(found.shots) > 1:
        notes.insert(0, shot_choice.note_of_several(str(path), name, found, used))
    first = dataclasses.replace(result[0], notes=tuple(notes))
    return [first, *result[1:]]


def _note(
    path: Path, name: str, found: Detections, clips: Sequence[Part], count: int, aside: Sequence[tuple[Shot, str]]
) -> str:
    """Who is fitted and who is not, a sentence."""
    of = [f"{clip.name} ({shot_choice.when(found, clip.frames)})" for clip in clips]
    people = "people do" if count > 1 else "person does"
    left = f"; not {_others(found, aside)}" if aside else ""
    return (
        f"In {path} {count} {people} the action: {listed(of, _NAMED)}{left}; --person='{name}={tracking.LARGEST}' takes the "
        "largest alone."
    )


def _others(found: Detections, aside: Sequence[tuple[Shot, str]]) -> str:
    """People left out, where and when they are, and why."""
    said = []
    for somebody, why in aside:
        x, y = film_people.middles(found.part(somebody.frames), somebody.person.who)
        said.append(f"somebody near {x:.0f},{y:.0f} at {shot_choice.when(found, somebody.frames)}, who {why}")
    return listed(said, _NAMED)
