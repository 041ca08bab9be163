"""When the clips of one performance start, as the fit has found it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from experiments.base.text import listed
from experiments.data.dataset import Dataset
from nemo_jax import takes
from nemo_jax.model import Params

Array = np.ndarray
Take = dict[str, float]

KEY = "takes"  # of `metrics.json`: for each take, seconds by the clip's name
OF_CLIP = "offset_seconds/fit"  # of `instances.json`
_MOST_NAMED = 8


def of_clips(dataset: Dataset, params: Params) -> Array:
    """When (N,) each clip starts, seconds on the clock of its take; NaN where no other clip shows the same performance."""
    take = dataset.clips.take
    if take is None:
        return np.full(len(dataset.names), np.nan)
    found = np.asarray(takes.offsets(params, dataset.clips), float)
    alone = (np.asarray(take)[:, None] == np.asarray(take)).sum(1) < 2
    return np.where(alone, np.nan, found)


def of_takes(dataset: Dataset, offsets: Array) -> list[Take]:
    """For each take of several clips, when each of them starts; offsets (N,) as of `of_clips`."""
    found: dict[float, Take] = {}
    for n in np.flatnonzero(np.isfinite(offsets)):
        assert dataset.clips.take is not None
        found.setdefault(float(dataset.clips.take[n]), {})[dataset.names[n]] = float(offsets[n])
    return list(found.values())


def with_offsets(each: Mapping[str, Mapping[str, float]], takes_found: Sequence[Take]) -> dict[str, dict[str, float]]:
    """The numbers of each clip with when it starts, where it is of a take."""
    starts = {name: seconds for take in takes_found for name, seconds in take.items()}
    return {name: {**own, **({OF_CLIP: starts[name]} if name in starts else {})} for name, own in each.items()}


def sentences(found: Sequence[Mapping[str, float]]) -> list[str]:
    """A sentence for each take, such as `cam1 and cam2 are one performance; they start at 0 and 0.23 s.`"""
    return [
        f"{_joined(list(take))} are one performance; they start at {_joined([_seconds(at) for at in take.values()])} s."
        for take in found
    ]


def _joined(items: Sequence[str]) -> str:
    if len(items) > _MOST_NAMED:
        return listed(items, _MOST_NAMED)
    return f"{', '.join(items[:-1])} and {items[-1]}"


def _seconds(value: float) -> str:
    return f"{value:.2f}" if abs(value) >= 0.005 else "0"
