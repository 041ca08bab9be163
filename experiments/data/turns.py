"""How films that are stored sideways are turned, where somebody says so: `--turn`."""

from __future__ import annotations

from experiments.base.errors import UserError
from experiments.data import per_clip

DEGREES = (0, 90, 180, 270)  # clockwise
_FLAG = "--turn"


def _check(choice: str, text: str) -> None:
    if choice not in {str(turn) for turn in DEGREES}:
        raise UserError(
            f"{_FLAG}={text} is not understood at {choice!r}; expected 0, 90, 180 or 270, the degrees clockwise by which "
            "the picture is to be turned, or one of these for each film as name=choice"
        )


# `90`, all films by a quarter turn clockwise; or `name=choice` for single films.
TURN = per_clip.Choice(_FLAG, "0", _check)
