"""Some of a dataset's instances."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments.data.dataset import Dataset

Array = np.ndarray
_TIMED = ("keypoints", "confidence", "frame_mask", "init_pose", "init_mask")
_FIXED = ("image_size", "focal_length", "fps")


def subset(dataset: Dataset, instances: Sequence[int]) -> Dataset:
    """The dataset of these instances, in this order, padded to the longest of them.

    Args:
      dataset: N instances.
      instances: numbers in [0, N), at least one.
    """
    rows = np.array(instances, int)
    longest = int(np.asarray(dataset.clips.frame_mask)[rows].sum(-1).max())

    def fixed(array: Array | None) -> Any:
        return None if array is None else np.asarray(array)[rows]

    def timed(array: Array) -> Array:
        return np.asarray(array)[rows, :longest]

    def each(items: Sequence | None) -> Any:
        return None if items is None else tuple(items[row] for row in rows)

    def of(fields: Any, in_time: Sequence[str], constant: Sequence[str]) -> Any:
        picked = {name: timed(getattr(fields, name)) for name in in_time}
        return dataclasses.replace(fields, **picked, **{name: fixed(getattr(fields, name)) for name in constant})

    truth = dataset.truth
    return dataclasses.replace(
        dataset,
        clips=of(dataset.clips, _TIMED, _FIXED),
        names=each(dataset.names),
        box_size=timed(dataset.box_size),
        truth=None if truth is None else of(truth, ("pose", "translation", "joints"), ("betas",)),
        cameras=each(dataset.cameras),
        frame_paths=each(dataset.frame_paths),
        videos=each(dataset.videos),
        view=each(dataset.view),
        other_poses={name: (timed(pose), timed(mask)) for name, (pose, mask) in dataset.other_poses.items()},
        reference_2d=None if dataset.reference_2d is None else tuple(map(timed, dataset.reference_2d)),  # pyright: ignore
        source_frames=fixed(dataset.source_frames),
    )
