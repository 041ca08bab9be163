"""Padding to one of a few lengths, so that clips of different lengths share the programs compiled for these lengths.

Padding is zeros behind the frames that exist, and the frame mask is 0 there; it changes no result.
"""

from typing import Any

import numpy as np

from experiments.data import select
from experiments.data.dataset import Dataset
from nemo_jax import stacking
from nemo_jax.clips import Clips


def slots(num_frames: int) -> int:
    """The length, one of a few, to which clips of so many frames are padded."""
    return stacking.bucket(num_frames)


def array(values: Any, frames: int) -> np.ndarray:
    """(N, T, ...) as (N, frames, ...)."""
    values = np.asarray(values)
    return np.pad(values, [(0, 0), (0, frames - values.shape[1]), *[(0, 0)] * (values.ndim - 2)])


def clips(given: Clips) -> Clips:
    """Clips padded to that length, as NumPy arrays."""
    return select.take(given, select.choose(given.frame_mask, None, _slots(given)))


def dataset(given: Dataset, frames: int | None = None) -> Dataset:
    """A dataset whose arrays are padded to `frames`, None = that length; lists of pictures and frames of films are not."""
    return given.select(frames=_slots(given.clips, frames))


def grown(given: Any, names: tuple[str, ...], frames: int) -> dict[str, Any]:
    """Fields (N, T, ...) by these names, as (N, frames, ...)."""
    return {name: array(getattr(given, name), frames) for name in names}


def _slots(given: Clips, length: int | None = None) -> np.ndarray:
    """For each instance, the frames that there are and then empty slots, (N, length)."""
    frames = np.arange(slots(given.num_frames) if length is None else length)
    return np.tile(np.where(frames < given.num_frames, frames, -1), (given.num_instances, 1))
