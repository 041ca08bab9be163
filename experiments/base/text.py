"""Words for people: lists cut short, names in their natural order, durations."""

import re
from collections.abc import Sequence

_MOST_NAMED = 5


def listed(items: Sequence[str], most: int = _MOST_NAMED) -> str:
    """Such as `a, b, c and 4 more`."""
    more = len(items) - most
    return ", ".join(items[:most]) + (f" and {more} more" if more > 0 else "")


def natural(text: str) -> list[tuple[int, int, str]]:
    """Sort key by which `clip2` comes before `clip10`."""
    pieces = re.split(r"(\d+)", text)
    return [(0, int(piece), "") if piece.isdecimal() else (1, 0, piece.casefold()) for piece in pieces if piece]


def duration(seconds: float) -> str:
    """Such as `42 s` or `3 min 05 s`."""
    whole = round(seconds)
    return f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60:02d} s"
