"""The clips of Penn Action in the paper's experiments: a part of each action, those that its authors found usable.

Source: the lists of the published code (the five `penn-action-*-r` configurations), written here as ranges.
"""

from __future__ import annotations

_RANGES = {
    "baseball_pitch": "1-8 10-18 21-25 27 29-36 39-50",
    "baseball_swing": "168-169 171-183 185-187 189-200 202-217",
    "golf_swing": "789-816 818-838",
    "tennis_serve": "2141 2145-2190",
    "tennis_forehand": "1984 1989-2014 2016-2026 2029-2033",
}


def of_paper(action: str) -> frozenset[str]:
    """Names such as `0001` of the paper's clips of an action, by Penn Action's name of it; none of other actions."""
    names = set()
    for part in _RANGES.get(action, "").split():
        first, _, last = part.partition("-")
        names |= {f"{number:04d}" for number in range(int(first), int(last or first) + 1)}
    return frozenset(names)
