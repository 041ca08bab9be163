"""Frame slots added to what is predicted and scored, so that clips of other lengths find the compiled programs again.

Padding is zeros behind the frames that exist, whose masks are 0 there; it changes no number.
"""

import dataclasses
from typing import Any

import numpy as np

from experiments.data.dataset import Dataset
from nemo_jax import stacking
from nemo_jax.clips import TIMED, Clips

_OF_TRUTH = ("pose", "translation", "joints")


def slots(num_frames: int) -> int:
    """Frames up to which so many are padded: one of a few numbers."""
    return stacking.bucket(num_frames)


def array(values: Any, frames: int) -> np.ndarray:
    """(N, T, ...) as (N, frames, ...)."""
    values = np.asarray(values)
    return np.pad(values, [(0, 0), (0, frames - values.shape[1]), *[(0, 0)] * (values.ndim - 2)])


def clips(given: Clips) -> Clips:
    """Clips with all their slots, on the host."""
    frames = slots(given.num_frames)
    return dataclasses.replace(given, **grown(given, TIMED, frames))


def dataset(given: Dataset) -> Dataset:
    """A dataset whose arrays have all their slots; pictures and films are those that there are."""
    frames = slots(given.clips.num_frames)
    truth, reference = given.truth, given.reference_2d
    return dataclasses.replace(
        given,
        clips=clips(given.clips),
        box_size=array(given.box_size, frames),
        truth=None if truth is None else dataclasses.replace(truth, **grown(truth, _OF_TRUTH, frames)),
        other_poses={
            name: (array(pose, frames), array(mask, frames)) for name, (pose, mask) in given.other_poses.items()
        },
        reference_2d=None if reference is None else (array(reference[0], frames), array(reference[1], frames)),
    )


def grown(given: Any, names: tuple[str, ...], frames: int) -> dict[str, Any]:
    """Fields (N, T, ...) by these names, as (N, frames, ...)."""
    return {name: array(getattr(given, name), frames) for name in names}
