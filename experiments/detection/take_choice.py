"""Whether films are split into takes, `--split`, and what is said of it."""

from __future__ import annotations

from collections.abc import Sequence

from experiments.base.errors import UserError
from experiments.base.text import listed
from experiments.data import per_clip
from experiments.detection import shot_choice
from experiments.detection.detections import Detections

AUTO, OFF = "auto", "off"
MOST = 1000
_FLAG = "--split"
_NAMED = 12


def _check(choice: str, flag: str) -> None:
    if choice in (AUTO, OFF) or (choice.isascii() and choice.isdecimal() and 0 < int(choice) <= MOST):
        return
    raise UserError(
        f"{_FLAG}={flag} is not understood at {choice!r}; expected {AUTO}, {OFF}, a number of takes from 1 to {MOST}, or "
        "one of these for each film as name=choice"
    )


# `auto`, as many takes as the film has; `off`, none; `8`, so many; or `name=choice` for single films.
SPLIT = per_clip.Choice(_FLAG, AUTO, _check)


def note(path: str, name: str, found: Detections, takes: Sequence[range], of: range) -> str:
    """What was cut out of a film, a sentence; empty where it is used whole.

    Args:
      path: of the film. name: of it. found: in it. takes: the frames of each, of the film. of: frames of the shots used.
    """
    when = [shot_choice.when(found, frames) for frames in takes]
    if len(takes) > 1:
        return (
            f"{path} comes apart into {len(takes)} takes of one action, each a clip: {listed(when, _NAMED)}; "
            f"`python run.py split` shows them, {_FLAG}='{name}={OFF}' leaves the film whole."
        )
    if takes[0] != of:
        return (
            f"Of {path} {when[0]} is used: before and after the person stands still or is out of view; "
            f"{_FLAG}='{name}={OFF}' uses all of it."
        )
    return ""
