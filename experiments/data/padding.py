"""Frame slots added to what is predicted and scored, so that clips of other lengths find the compiled programs again.

Padding is zeros behind the frames that exist, whose masks are 0 there; it changes no number.
"""

from typing import Any

import numpy as np

from experiments.data import select
from experiments.data.dataset import Dataset
from nemo_jax import parallel
from nemo_jax.clips import Clips


def slots(num_frames: int) -> int:
    """Frames up to which so many are padded: one of a few numbers."""
    return parallel.bucket(num_frames)


def array(values: Any, frames: int) -> np.ndarray:
    """(N, T, ...) as (N, frames, ...)."""
    values = np.asarray(values)
    return np.pad(values, [(0, 0), (0, frames - values.shape[1]), *[(0, 0)] * (values.ndim - 2)])


def clips(given: Clips) -> Clips:
    """Clips with all their slots, on the host."""
    return select.take(given, select.choose(given.frame_mask, None, _slots(given)))


def dataset(given: Dataset) -> Dataset:
    """A dataset whose arrays have all their slots; pictures and films are those that there are."""
    return given.select(frames=_slots(given.clips))


def grown(given: Any, names: tuple[str, ...], frames: int) -> dict[str, Any]:
    """Fields (N, T, ...) by these names, as (N, frames, ...)."""
    return {name: array(getattr(given, name), frames) for name in names}


def _slots(given: Clips) -> np.ndarray:
    """For each instance, the frames that there are and then empty slots, (N, slots)."""
    frames = np.arange(slots(given.num_frames))
    return np.tile(np.where(frames < given.num_frames, frames, -1), (given.num_instances, 1))
