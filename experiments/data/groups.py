"""Flags that put clips into groups by their names: `--same_camera`, `--same_take`."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence

import numpy as np

from experiments.base.errors import UserError
from experiments.base.text import listed

_MOST_NAMED = 6


def numbers(flag: str, said: str, names: Sequence[str], words: str = "all") -> np.ndarray:
    """The number (N,) of each clip's group; clips in no group have one of their own.

    Args:
      flag: its name. said: `all`, or groups of names separated by semicolons, of names separated by commas, in which *
        stands for any letters: 'serve*;volley1,volley2'. names: of all clips. words: what may be said in place of names.

    Raises:
      UserError: a name that no clip has, or a clip in two groups.
    """
    groups = [["*"]] if said.strip() == "all" else [group.split(",") for group in said.split(";")]
    found: dict[str, int] = {}
    for number, patterns in enumerate(groups):
        for pattern in (pattern.strip() for pattern in patterns):
            matching = fnmatch.filter(names, pattern)
            if not matching:
                raise UserError(
                    f"{flag}={said} names {pattern!r}, which is no clip; give {words}, or names of "
                    f"{listed(list(names), _MOST_NAMED)}"
                )
            for name in matching:
                if found.setdefault(name, number) != number:
                    raise UserError(f"{flag}={said} has {name} in two groups; leave it in one")
    return np.array([found.get(name, len(groups) + n) for n, name in enumerate(names)], np.float32)
