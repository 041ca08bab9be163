"""Stretches of film that show an action: somebody in a shot, the takes there, and which of them show the same."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from experiments.detection import keypoints, same_action, self_similarity, take_choice, takes, timing
from experiments.detection.detections import Detections
from experiments.detection.self_similarity import Course
from experiments.loaders.film_people import Followed, LeftOutError, image_size

Array = np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Shot:
    """Somebody in a shot: its number, 0 = the whole film, the frames of the film, and who is followed in them."""

    number: int
    frames: range
    person: Followed

    def who(self, frames: range) -> Array:
        """Index (F,) of the person in some of the frames, by their numbers in the film; -1 = not seen."""
        return self.person.who[frames.start - self.frames.start : frames.stop - self.frames.start]


@dataclasses.dataclass(frozen=True, eq=False)
class Stretch:
    """A take: frames of the film, the shot that has it, and the course of all of the shot."""

    frames: range
    shot: Shot
    course: Course

    @property
    def within(self) -> range:
        """The frames, counted from the first of the shot."""
        start = self.shot.frames.start
        return range(self.frames.start - start, self.frames.stop - start)


@dataclasses.dataclass(frozen=True, eq=False)
class Part:
    """A part of a film that becomes a clip.

    name: of the clip. frames: of the film. found: in these frames. who (F,): index of the followed person in each, -1 = not
    seen. notes: on what else the film has. person: number of the person, where everybody is fitted, else 0.
    """

    name: str
    frames: range
    found: Detections
    who: Array
    notes: tuple[str, ...] = ()
    person: int = 0


def landmarks_of(parts: Sequence[Part]) -> Array:
    """The landmarks (F, 33, 4) of those followed, in all frames of the parts in which they are seen."""
    return np.concatenate(
        [part.found.landmarks[(seen := np.flatnonzero(part.who >= 0)), part.who[seen]] for part in parts]
    )


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
    points, confidence = keypoints.body_25(found.landmarks[every, who], image_size(found))
    confidence[who < 0] = 0.0
    try:
        return self_similarity.course(points, confidence, rate(found))
    except LeftOutError as error:
        raise LeftOutError(f"{path} {error}; convert it to a film that plays at the speed of the motion") from error


def takes_of(path: Path, shot: Shot, of: Course, split: str) -> list[Stretch]:
    """The takes of a shot, whose course is `of`, or all of it. Raises LeftOutError: it has not as many as are asked for."""
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
    return [Stretch(range(start + own.start, start + own.stop), shot, of) for own in every]


def of_one_action(stretches: Sequence[Stretch]) -> list[Stretch]:
    """Those that show the action of which there is most."""
    same = same_action.alike([(s.course, s.within) for s in stretches])
    worth = [s.shot.person.well_seen * len(s.frames) / len(s.shot.frames) for s in stretches]
    return [stretches[number] for number in same_action.group(same, worth)]
