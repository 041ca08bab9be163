"""How tall people are, where somebody says so: `--height`."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING

import numpy as np

from experiments.base.errors import UserError
from experiments.data import per_clip
from experiments.data.ranges import HEIGHT

if TYPE_CHECKING:  # it takes long to import, and a flag is checked before
    from experiments.data.dataset import Dataset

_FLAG = "--height"


def parse(text: str) -> tuple[float | None, dict[str, float]]:
    """The height of all people, None where only single ones are given, and those of single clips, in metres.

    Raises:
      UserError: it is not understood, or no person is so tall.
    """
    default, single = per_clip.parse(_FLAG, text, _check)
    return None if default is None else float(default), {name: float(height) for name, height in single.items()}


def _check(choice: str, text: str) -> None:
    number = float(choice) if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{0,9})?", choice) else None
    if number is None:
        raise UserError(
            f"{_FLAG}={text} has {choice or 'nothing'!r} as a height; expected metres such as 1.83, for all people or for "
            "single clips as 'serve 1=1.83,serve 2=1.7'"
        )
    if not HEIGHT.least <= number <= HEIGHT.most:
        raise UserError(
            f"{_FLAG}={text} has a height of {choice}; expected {HEIGHT.what} from {HEIGHT.least:g} to {HEIGHT.most:g}"
        )


def with_heights(dataset: Dataset, text: str) -> Dataset:
    """The dataset with the heights that `--height` gives, in place of those that its files say.

    A height of one clip of a take is that of all its clips.

    Raises:
      UserError: it names a clip that is not there, is not understood, or gives two heights for one take.
    """
    default, single = parse(text)
    per_clip.check_names(_FLAG, text, single, dataset.names)
    given = dataset.clips.height
    known = np.full(len(dataset.names), np.nan, np.float32) if given is None else np.asarray(given, np.float32)
    said = _one_of_takes(dataset, np.array([single.get(name, np.nan) for name in dataset.names], np.float32))
    said = np.where(np.isnan(said), np.float32(np.nan if default is None else default), said)
    clips = dataclasses.replace(dataset.clips, height=np.where(np.isnan(said), known, said))
    return dataclasses.replace(dataset, clips=clips)


def of_takes(dataset: Dataset) -> Dataset:
    """The dataset in which a height that is known of one clip of a take is known of all, since they show one person.

    Raises:
      UserError: two clips of a take have different heights.
    """
    if dataset.clips.height is None or dataset.clips.take is None:
        return dataset
    height = _one_of_takes(dataset, np.asarray(dataset.clips.height, np.float32))
    return dataclasses.replace(dataset, clips=dataclasses.replace(dataset.clips, height=height))


def _one_of_takes(dataset: Dataset, heights: np.ndarray) -> np.ndarray:
    """Heights (N,), NaN where unknown, each known of its whole take. Raises UserError: one take has two."""
    take = dataset.clips.take
    found = heights.copy()
    for number in np.unique([] if take is None else np.asarray(take)):
        own = np.flatnonzero(np.asarray(take) == number)
        known = own[np.isfinite(heights[own])]
        if not len(known):
            continue
        first = known[0]
        for other in known[heights[known] != heights[first]]:
            raise UserError(
                f"{dataset.names[first]} has a person of {heights[first]:g} m ({_FLAG}, or height in its file) and "
                f"{dataset.names[other]} one of {heights[other]:g} m, but both show one performance, of one person; give "
                "one height for both, or leave one of them out of the take (--same_take)"
            )
        found[own] = heights[first]
    return found
