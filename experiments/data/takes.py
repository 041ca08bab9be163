"""Clips that are cameras on one performance: what says so, and when each of them starts."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from experiments.base.text import listed
from experiments.data import groups, take_sound
from experiments.data.dataset import Dataset
from nemo_jax.clips import Clips

Array = np.ndarray
OFF = "off"  # of `--same_take`
_MOST_NAMED = 6
_RATE = 60.0  # at which motions are compared, per second
_LEAST_OVERLAP = 0.4  # of the shorter clip


def with_same_take(dataset: Dataset, said: str) -> Dataset:
    """The dataset in which clips form takes as `--same_take` says, and start when their sound or their motion agrees.

    Args:
      said: `off`, none; `all`; or groups of names separated by semicolons, of names separated by commas, in which * stands
        for any letters: 'left1,right1;left2,right2'. Clips in no group are performances of their own.

    Raises:
      UserError: a name that no clip has, or a clip in two groups.
    """
    if said.strip() == OFF:
        return dataclasses.replace(dataset, clips=dataclasses.replace(dataset.clips, take=None, offset=None))
    take = groups.numbers("--same_take", said, dataset.names, "all, off")
    return with_starts(dataset, take)


def with_starts(dataset: Dataset, take: Array) -> Dataset:
    """The dataset with these takes (N,), whose clips start when their sound agrees, else when their motion does.

    Notes say which it was, and when.
    """
    names, notes = dataset.names, []
    offset = np.zeros(len(take), np.float32)
    for number in dict.fromkeys(take.tolist()):
        own = np.flatnonzero(take == number)
        if len(own) < 2:
            continue
        way = "motion"
        if dataset.videos and any(dataset.videos[n] for n in own):
            try:
                offset[own] = take_sound.offsets([dataset.videos[n] for n in own], [names[n] for n in own])
                way = "sound"
            except take_sound.UnsureError as error:
                way = f"motion, not the sound ({error}),"
        if way != "sound":
            offset[own] = _by_motion(dataset.clips, own)
        said_of = listed([f"{names[n]} {offset[n]:+.2f} s" for n in own], _MOST_NAMED)
        notes.append(f"One performance; by the {way} its clips start, before the fit corrects it, at: {said_of}.")
    clips = dataclasses.replace(dataset.clips, take=take, offset=offset)
    return dataclasses.replace(dataset, clips=clips, notes=(*dataset.notes, *notes))


def offsets(clips: Clips, take: Array) -> Array:
    """When (N,), seconds, each clip starts after the first of its take, so that the first poses, without their roots, agree.

    A clip without first poses starts with the first one of its take.
    """
    found = np.zeros(len(take), np.float32)
    for number in np.unique(take):
        own = np.flatnonzero(take == number)
        found[own] = _by_motion(clips, own)
    return found


def _by_motion(clips: Clips, own: Array) -> Array:
    """When (M,) each of the clips with numbers `own` (M,) starts after the first of them, 0 without first poses."""
    first, *others = (_motion(clips, n) for n in own)
    lags = [_lag(first, other) if min(len(first), len(other)) > 1 else 0 for other in others]
    return (np.array([0, *lags]) / _RATE).astype(np.float32)


def _motion(clips: Clips, n: int) -> Array:
    """The first poses (F, D) of one clip at `_RATE`, as matrices of the joints that move, without the root."""
    count = int(np.asarray(clips.frame_mask)[n].sum())
    known = np.flatnonzero(np.asarray(clips.init_mask)[n, :count] > 0)
    if len(known) < 2:
        return np.zeros((0, 1))
    pose = np.asarray(clips.init_pose, float)[n, known, 1:]
    matrices = Rotation.from_rotvec(pose.reshape(-1, 3)).as_matrix().reshape(len(known), -1)
    times = np.arange(count) / float(clips.fps[n])
    at = np.arange(0.0, times[-1], 1 / _RATE)
    return np.stack([np.interp(at, times[known], column) for column in matrices.T], 1)


def _lag(first: Array, other: Array) -> int:
    """By how many steps `other` starts after `first` where the two, each about its mean, differ least."""
    least = max(int(_LEAST_OVERLAP * min(len(first), len(other))), 2)
    costs = {}
    for lag in range(least - len(other), len(first) - least + 1):
        a, b = first[max(lag, 0) :], other[max(-lag, 0) :]
        both = min(len(a), len(b))
        a, b = a[:both] - a[:both].mean(0), b[:both] - b[:both].mean(0)
        # Of the variance of what overlaps, so that little motion does not count as agreement.
        costs[lag] = np.sum((a - b) ** 2) / max(np.sum(a**2) + np.sum(b**2), 1e-9)
    return min(costs, key=costs.__getitem__)


def entries(clips: Clips, n: int) -> dict[str, Any]:
    """What the neutral format says of the take of instance `n`."""
    if clips.take is None:
        return {}
    offset = 0.0 if clips.offset is None else clips.offset[n]
    return {"take": np.array(int(clips.take[n])), "offset_seconds": np.array(offset, np.float32)}


def of_entries(rows: Sequence[Mapping[str, Array]], clips: Clips) -> Clips:
    """The clips with the takes that rows of the neutral format name; those that name none are by themselves."""
    named = [int(row["take"]) for row in rows if "take" in row]
    if not named:
        return clips
    free = max(named) + 1
    take = np.array([int(row.get("take", free + n)) for n, row in enumerate(rows)], np.float32)
    offset = np.array([float(row.get("offset_seconds", 0.0)) for row in rows], np.float32)
    return dataclasses.replace(clips, take=take, offset=offset)
