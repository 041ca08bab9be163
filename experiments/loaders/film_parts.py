"""The parts of a film that become clips: which shots, which takes of them, and who is followed there."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from experiments.base import films
from experiments.base.errors import UserError
from experiments.base.text import listed
from experiments.data import turns
from experiments.detection import search, shot_choice, take_choice, takes_table, tracking, upright
from experiments.detection.detections import Detections
from experiments.detection.takes_table import Take
from experiments.loaders import film_agreement, film_everyone, film_people
from experiments.loaders.film_agreement import Instead, Searched
from experiments.loaders.film_people import LeftOutError
from experiments.loaders.film_stretches import (
    Part,
    Shot,
    Stretch,
    course,
    landmarks_of,
    of_one_action,
    seconds,
    takes_of,
)

Array = np.ndarray


@dataclasses.dataclass(frozen=True)
class Choices:
    """What the user says of whom to follow, `--person=`, in which shots, `--shots=`, of takes, `--split=`, and of how films
    are turned, `--turn=`.

    takes: by film, of `--takes=`; None = none is given. instead: who is followed instead of the largest, as
    `film_agreement.choose` has it.
    """

    person: str
    shots: str
    split: str
    turn: str = turns.TURN.default
    takes: Mapping[str, Sequence[Take]] | None = None
    instead: Mapping[tuple[str, range], Instead] = dataclasses.field(default_factory=dict)

    def turn_of(self, name: str) -> int:
        """Degrees clockwise by which a film is turned."""
        return int(turns.TURN.of(self.turn, name))

    def turned(self, paths: Sequence[Path], names: Sequence[str]) -> dict[Path, int]:
        """The same of all films."""
        return {path: self.turn_of(name) for path, name in zip(paths, names, strict=True)}


def parts(path: Path, name: str, found: Detections, choices: Choices) -> list[Part]:
    """The parts of a film that become clips, in the order of their times.

    Raises:
      LeftOutError: nobody to follow in it, or not what was asked for.
      UserError: the table of takes does not fit the film.
    """
    result = _parts(path, name, found, choices)
    said = upright.note(str(path), name, landmarks_of(result), choices.turn_of(name))
    if said:
        result[0] = dataclasses.replace(result[0], notes=(*result[0].notes, said))
    return result


def _parts(path: Path, name: str, found: Detections, choices: Choices) -> list[Part]:
    if choices.takes is not None:
        return _of_table(path, name, found, choices)
    choice = shot_choice.SHOTS.of(choices.shots, name)
    try:
        shots = shot_choice.candidates(found, choice)
    except UserError as error:
        raise LeftOutError(f"in {path}, {error}") from error
    person = tracking.PERSON.of(choices.person, name)
    split = take_choice.SPLIT.of(choices.split, name)
    if person == tracking.ALL:
        return film_everyone.parts(path, name, found, shots, split)
    followed, reasons, said = [], [], {}
    for number, frames in shots.items():
        try:
            who, said[number] = film_agreement.people_of(choices.instead, path, name, found, frames, person)
        except LeftOutError as error:
            reasons.append(error)
        else:
            followed.append(Shot(number, frames, who))
    if not followed:
        raise reasons[0]
    best = max(followed, key=lambda shot: (shot.person.well_seen, int((shot.person.who >= 0).sum())))
    chosen = followed if split == take_choice.AUTO else [best]
    stretches: list[Stretch] = []
    for shot in chosen:
        of = course(path, found.part(shot.frames), shot.person.who)
        stretches += takes_of(path, shot, of, split)
    if len(chosen) > 1:
        stretches = of_one_action(stretches)
    return _named(path, name, found, stretches, choice, said)


class People:
    """What a searcher finds in films, each searched once.

    turned: degrees clockwise, as in `films`, by which each of them is turned.
    """

    def __init__(self, searcher: search.Searcher, turned: Mapping[Path, int]):
        self._searcher, self._turned = searcher, turned
        self._found: dict[Path, Detections | films.VideoError] = {}

    def of(self, path: Path) -> Detections:
        """Raises VideoError: the film cannot be read."""
        if path not in self._found:
            try:
                self._found[path] = self._searcher.people(path, self._turned[path])
            except films.VideoError as error:
                self._found[path] = error
        found = self._found[path]
        if isinstance(found, films.VideoError):
            raise found
        return found

    def agreeing(self, paths: list[Path], names: list[str], choices: Choices, most: int | None) -> Choices:
        """The choices with whom films follow instead of the largest, so that all show one action (`film_agreement`).

        Args:
          most: the first so many films in which somebody is seen are compared; None = all.
        """
        searched: list[Searched] = []
        for path, name in zip(paths, names, strict=True):
            if most is not None and len(searched) >= most:
                break
            person = tracking.PERSON.of(choices.person, name)
            try:
                found = self.of(path)
            except films.VideoError:  # Said where the film is left out.
                continue
            if not found.seen.any():
                continue
            try:
                searched.append(Searched(path, name, found, _shots(name, found, choices, person), person))
            except (LeftOutError, UserError):  # As well.
                continue
        return dataclasses.replace(choices, instead=film_agreement.choose(searched))


def _shots(name: str, found: Detections, choices: Choices, person: str) -> list[range]:
    """Frames of the shots in which one person is followed; none where everybody is.

    Raises:
      UserError: it has none that is asked for. LeftOutError: it has no rate, by which a table of takes is read.
    """
    if person == tracking.ALL:
        return []
    if choices.takes is None:
        return list(shot_choice.candidates(found, shot_choice.SHOTS.of(choices.shots, name)).values())
    own = choices.takes.get(name, ())
    shots = shot_choice.candidates(found, shot_choice.AUTO)
    frames = takes_table.frames(own, seconds(found), name) if own else []
    return list(dict.fromkeys(_around(shots, take) for take in frames))


def _around(shots: Mapping[int, range], take: range) -> range:
    """The shot that has a take, whose frames tell who is the largest; the take itself where it has a cut."""
    return next((s for s in shots.values() if s.start <= take.start and take.stop <= s.stop), take)


def _named(
    path: Path, name: str, found: Detections, stretches: list[Stretch], choice: str, said: Mapping[int, str]
) -> list[Part]:
    """Parts with their names, and notes on what else the film has. said: of who is followed, by the numbers of shots."""
    shots = list(dict.fromkeys(s.shot.number for s in stretches))
    if len(shots) > 1:
        notes = [shot_choice.note_of_several(str(path), name, found, shots)]
    else:
        notes = [shot_choice.note(str(path), name, found, shots[0], choice, stretches[0].shot.person.well_seen)]
    notes += [said[number] for number in shots]
    whole = stretches[0].shot.frames
    if len(stretches) > len(shots) or len(shots) == 1:
        notes.append(take_choice.note(str(path), name, found, [s.frames for s in stretches], whole))
    result = []
    for number, stretch in enumerate(stretches, 1):
        clip = f"{name} take {number}" if len(stretches) > 1 else name
        result.append(Part(clip, stretch.frames, found.part(stretch.frames), stretch.shot.who(stretch.frames)))
        notes.append(
            film_people.doubts(str(path), clip, found, stretch.shot.person, stretch.shot.frames, stretch.frames)
        )
    result[0] = dataclasses.replace(result[0], notes=tuple(note for note in notes if note))
    return result


def _of_table(path: Path, name: str, found: Detections, choices: Choices) -> list[Part]:
    """The takes that the table says. Raises LeftOutError: it has none of this film, or nobody is in one of them."""
    table = choices.takes or {}
    if name not in table:
        raise LeftOutError(f"{takes_table.FLAG} has no row of {name}")
    person = tracking.PERSON.of(choices.person, name)
    shots = shot_choice.candidates(found, shot_choice.AUTO)
    try:
        times = seconds(found)
    except LeftOutError as error:
        raise LeftOutError(f"{path} {error}; convert it to a film that plays at the speed of the motion") from error
    if person == tracking.ALL:
        rows = list(zip(table[name], takes_table.frames(table[name], times, name), strict=True))
        return film_everyone.of_table(path, name, found, shots, rows)
    result, empty, notes = [], [], []
    several = len(table[name]) > 1
    followed: dict[range, Shot | None] = {}
    for take, frames in zip(table[name], takes_table.frames(table[name], times, name), strict=True):
        # Who is the largest of a shot is told by all of it.
        around = _around(shots, frames)
        if around not in followed:
            try:
                who, said = film_agreement.people_of(choices.instead, path, name, found, around, person)
            except LeftOutError:
                followed[around] = None
            else:
                followed[around] = Shot(0, around, who)
                notes.append(said)
        own = followed[around]
        if own is None or (own.who(frames) < 0).all():
            empty.append(str(take.number))
            continue
        clip = f"{name} take {take.number}" if several else name
        result.append(Part(clip, frames, found.part(frames), own.who(frames)))
        notes.append(film_people.doubts(str(path), clip, found, own.person, around, frames))
    if not result:
        raise LeftOutError(f"nobody is in view in any take of {path} that {takes_table.FLAG} has")
    if empty:
        notes.append(f"Left out: nobody is in view in {path}, take {listed(empty)} of {takes_table.FLAG}.")
    result[0] = dataclasses.replace(result[0], notes=tuple(note for note in notes if note))
    return result
