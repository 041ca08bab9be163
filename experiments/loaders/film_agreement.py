"""Whom to follow where films of one action show several people: the one who does what most films show, `--person=auto`.

The largest person of a film may be one who stands nearer and does something else. Everybody who may do the action is
compared with everybody else of all films (`same_action`). Where those who agree are the largest of at least half of the
films, or somebody whom the user has named is among them, the other films follow whoever of theirs agrees with them;
otherwise each film follows its largest. One who agrees much better is taken for one who agrees, too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from experiments.detection import same_action, tracking
from experiments.detection.detections import Detections
from experiments.detection.self_similarity import Course
from experiments.loaders import film_everyone, film_people
from experiments.loaders.film_people import Followed, LeftOutError

Array = np.ndarray

_BETTER = 0.5  # of the largest one's unlikeness to other films: up to it another one is followed


@dataclasses.dataclass(frozen=True, eq=False)
class Searched:
    """A film in which people are found: where it is, its name, what is found, the frames of the shots in which one of them
    is followed, and its `--person`."""

    path: Path
    name: str
    found: Detections
    shots: Sequence[range]
    person: str

    @property
    def asked(self) -> bool:
        """Whether the user has named who is followed, of whom others then may be known."""
        return self.person not in (tracking.AUTO, tracking.LARGEST)

    def people(self, frames: range) -> list[Followed]:
        """Who may be followed in a shot."""
        part = self.found.part(frames)
        if not part.seen.any():
            return []
        if self.person == tracking.AUTO:
            return film_people.several(part)
        try:
            return [film_people.one(self.path, part, self.person)]
        except LeftOutError:  # Said where the film is left out.
            return []


@dataclasses.dataclass(frozen=True, eq=False)
class Instead:
    """Who is followed in a shot in the place of the largest, and a sentence that says so."""

    followed: Followed
    note: str


@dataclasses.dataclass(frozen=True, eq=False)
class _Candidate:
    """Somebody who may do the action. shot: number of the shot, of all films. followed: in all of it. course: from the first
    appearance to the last. size: 1 for the largest there, who is `largest`. asked: whether the user has named this one."""

    shot: int
    followed: Followed
    course: Course
    size: float
    asked: bool

    @property
    def largest(self) -> bool:
        return self.size == 1.0


def choose(films: Sequence[Searched]) -> dict[tuple[str, range], Instead]:
    """Who is followed instead of the largest, by a film's name and the frames of its shot; empty where that is nobody."""
    if sum(len(film.shots) for film in films) < 2:
        return {}
    everybody = [{frames: film.people(frames) for frames in film.shots} for film in films]
    if not any(len(people) > 1 for of_film in everybody for people in of_film.values()):
        return {}
    candidates: list[_Candidate] = []
    shots: list[tuple[Searched, range]] = []
    for film, of_film in zip(films, everybody, strict=True):
        people = [
            (len(shots) + n, frames, somebody) for n, frames in enumerate(of_film) for somebody in of_film[frames]
        ]
        shots += [(film, frames) for frames in of_film]
        candidates += _candidates(film, people)
    return _agreed(shots, candidates)


def _candidates(film: Searched, people: Sequence[tuple[int, range, Followed]]) -> list[_Candidate]:
    """Those of a film's people who may do the action. people: the number of the shot, its frames, and somebody there."""
    there = [film_everyone.present(shot, frames, somebody) for shot, frames, somebody in people]
    in_all = {id(present): somebody for present, (_, _, somebody) in zip(there, people, strict=True)}
    try:
        able, _ = film_everyone.able(film.path, film.found, there) if there else ([], [])
    except LeftOutError:  # Said where the film is left out.
        return []
    most: dict[int, float] = {}
    for shot, _, somebody in people:
        most[shot] = max(most.get(shot, 0.0), somebody.weight)
    return [
        _Candidate(shot.number, in_all[id(shot)], of, shot.person.weight / max(most[shot.number], 1e-9), film.asked)
        for shot, of in able
    ]


def _agreed(
    shots: Sequence[tuple[Searched, range]], candidates: Sequence[_Candidate]
) -> dict[tuple[str, range], Instead]:
    if not candidates:
        return {}
    apart = same_action.unlikeness([(one.course, range(len(one.course.points))) for one in candidates])
    # One whom the user has named counts more than all others.
    worth = [len(candidates) if one.asked else one.size for one in candidates]
    agreeing = same_action.group(same_action.told(apart), worth)
    of_shot: dict[int, list[int]] = {}
    for n in agreeing:
        of_shot.setdefault(candidates[n].shot, []).append(n)
    chosen = [candidates[_best(shot, of_shot, candidates, apart)] for shot in of_shot]
    # Where the largest stands by, nothing is known of whom a film is about.
    enough = 2 * sum(one.largest for one in chosen) >= sum(one.largest for one in candidates)
    if len(chosen) < 2 or not (enough or any(one.asked for one in chosen)):
        return {}
    return {
        (shots[one.shot][0].name, shots[one.shot][1]): _instead(*shots[one.shot], one.followed)
        for one in chosen
        if not one.largest
    }


def _best(shot: int, of_shot: Mapping[int, Sequence[int]], candidates: Sequence[_Candidate], apart: Array) -> int:
    """The number of whom to follow in a shot, among those of it who agree with others, by the numbers of shots."""
    others = [members for other, members in of_shot.items() if other != shot]
    unlike = {n: float(np.mean([apart[n, members].min() for members in others] or [0.0])) for n in of_shot[shot]}
    largest = max(unlike, key=lambda n: candidates[n].size)
    nearest = min(unlike, key=lambda n: unlike[n])
    return nearest if unlike[nearest] <= _BETTER * unlike[largest] else largest


def _instead(film: Searched, frames: range, followed: Followed) -> Instead:
    x, y = film_people.middles(film.found.part(frames), followed.who)
    note = (
        f"In {film.path} the person near {x:.0f},{y:.0f} is followed, who does what others show, and not the largest; "
        f"--person='{film.name}={tracking.LARGEST}' follows that one."
    )
    return Instead(followed, note)


def people_of(
    instead: Mapping[tuple[str, range], Instead], path: Path, name: str, found: Detections, frames: range, person: str
) -> tuple[Followed, str]:
    """Who is followed in a shot of a film, by `--person` or in the place of that one, and a sentence if so.

    Raises:
      LeftOutError: as `film_people.one`.
    """
    if (other := instead.get((name, frames))) is not None:
        return other.followed, other.note
    return film_people.one(path, found.part(frames), person), ""
