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

    Raises:
      UserError: it names a clip that is not there, or is not understood.
    """
    default, single = parse(text)
    per_clip.check_names(_FLAG, text, single, dataset.names)
    given = dataset.clips.height
    known = np.full(len(dataset.names), np.nan, np.float32) if given is None else np.asarray(given, np.float32)
    said = [single.get(name, default) for name in dataset.names]
    height = np.array([old if new is None else new for old, new in zip(known, said, strict=True)], np.float32)
    clips = dataclasses.replace(dataset.clips, height=height)
    return dataclasses.replace(dataset, clips=clips)
