"""Which shot of a film with cuts is fitted, `--shots`, and what is said of the others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from experiments.base.errors import UserError
from experiments.base.text import listed
from experiments.data import per_clip
from experiments.detection.detections import Detections

Array = np.ndarray

AUTO, WHOLE = "auto", "all"
_FLAG = "--shots"
# Shoulders to wrists, hips to ankles, and their mean confidence from which on somebody is seen well.
_BODY = np.array([*range(2, 8), *range(9, 15)])
_CONFIDENT = 0.5


def _check(choice: str, flag: str) -> None:
    if choice in (AUTO, WHOLE) or (choice.isdecimal() and int(choice) > 0):
        return
    raise UserError(
        f"{_FLAG}={flag} is not understood at {choice!r}; expected {AUTO}, {WHOLE}, the number of a shot such as 2, "
        "or one of these for each film as name=choice"
    )


# `auto`, the shot that shows the most of the person followed; `all`, the whole film without regard to cuts; `2`, the second
# shot; or `name=choice` for single films.
SHOTS = per_clip.Choice(_FLAG, AUTO, _check)


def candidates(found: Detections, choice: str) -> dict[int, range]:
    """The frames of the shots among which to choose, by their numbers from 1; number 0 is a whole film.

    Raises:
      UserError: the choice is a shot that the film does not have; the message is to stand behind its name.
    """
    count = len(found.times)
    if choice == WHOLE or (len(found.shots) == 1 and choice == AUTO):
        return {0: range(count)}
    ends = [*found.shots[1:], count]
    every = {n: range(int(a), int(b)) for n, (a, b) in enumerate(zip(found.shots, ends, strict=True), 1)}
    if choice == AUTO:
        return every
    number = int(choice)
    if number not in every:
        number_of = f"{len(every)} shots" if len(every) > 1 else "no cut"
        most = f"a number from 1 to {len(every)}, " if len(every) > 1 else ""
        raise UserError(
            f"{_FLAG}={choice} asks for shot {number}, but it has {number_of}; give {most}{AUTO} or {WHOLE}"
        )
    return {number: every[number]}


def well_seen(confidence: Array) -> int:
    """In how many frames somebody is seen well. confidence (F, 25): of the BODY_25 keypoints."""
    return int((confidence[:, _BODY].mean(1) >= _CONFIDENT).sum())


def note(path: str, name: str, found: Detections, number: int, choice: str, shown: int) -> str:
    """What was taken and what was not, a sentence; empty for a whole film.

    Args:
      path: of the film. name: of its clip. found: in it.
      number: of the shot that is taken.
      choice: by which.
      shown: in how many of its frames the person is seen well.
    """
    every = candidates(found, AUTO)
    if number == 0 or len(every) == 1:
        return ""
    others = [f"{other} ({when(found, frames)})" for other, frames in every.items() if other != number]
    why = f"the person followed is seen well in {shown} of its frames" if choice == AUTO else "as asked for"
    return (
        f"{path} has {len(every)} shots; number {number} ({when(found, every[number])}) is used, {why}, and not "
        f"{listed(others)}; {_FLAG}='{name}=N' takes another one, {_FLAG}='{name}={WHOLE}' all of the film as one."
    )


def note_of_several(path: str, name: str, found: Detections, numbers: Sequence[int]) -> str:
    """What is said where several shots, by their numbers, show the action; the rest as `note`."""
    every = candidates(found, AUTO)
    others = [f"{other} ({when(found, frames)})" for other, frames in every.items() if other not in numbers]
    left = f", and not {listed(others)}" if others else ""
    return (
        f"{path} has {len(every)} shots; numbers {listed([str(n) for n in numbers], len(every))} show one action and are "
        f"used{left}; {_FLAG}='{name}=N' takes a single one, {_FLAG}='{name}={WHOLE}' all of the film as one."
    )


def when(found: Detections, frames: range) -> str:
    """From when to when frames are shown, seconds; by their numbers where the film has no times."""
    times = found.times
    ends = times[[frames.start, min(frames.stop, len(times) - 1)]]
    if not np.isfinite(ends).all():
        return f"frames {frames.start} to {frames.stop - 1}"
    first, last = ends - times[0]
    return f"{first:.2f} to {last:.2f} s"
