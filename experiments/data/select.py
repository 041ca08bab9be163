"""Some of an action's instances and frames, chosen for every field at once.

Which axes a field has is said in one place: for `Dataset` in the metadata of its fields, for the types of `nemo_jax` in
`_AXES` below. A field that says nothing cannot be selected from, so that none can be forgotten.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from nemo_jax.clips import Clips, GroundTruth

Array = np.ndarray
T = TypeVar("T")
Frames = int | slice | Sequence[Sequence[int] | Array] | Array | None
"""Frames to take: see `Dataset.select`."""

_KEY = "axes"
# Metadata of a field, by the axes that its value has.
SHARED = {_KEY: "shared"}  # said of the action, and the same for any choice of instances
PER_INSTANCE = {_KEY: "instance"}  # an array (N, ...) or a tuple of N
PER_FRAME = {
    _KEY: "frame"
}  # an array (N, T, ...), or a tuple or mapping of such arrays, zeros behind an instance's frames
# A tuple of N: for each instance None, a tuple (F,) of its F frames, or an object with a method `select` of frame numbers.
PER_OWN_FRAME = {_KEY: "own frame"}
PARTS = {_KEY: "parts"}  # a dataclass whose fields have axes of their own

_AXES: dict[type, dict[str, dict[str, str]]] = {
    Clips: {
        "keypoints": PER_FRAME,
        "confidence": PER_FRAME,
        "frame_mask": PER_FRAME,
        "init_pose": PER_FRAME,
        "init_mask": PER_FRAME,
        "image_size": PER_INSTANCE,
        "focal_length": PER_INSTANCE,
        "fps": PER_INSTANCE,
        "lens": PER_INSTANCE,
        "take": PER_INSTANCE,
        "offset": PER_INSTANCE,
        "real": PER_INSTANCE,
        "height": PER_INSTANCE,
        "principal": PER_INSTANCE,
        "camera_known": PER_INSTANCE,
        "camera_turn": PER_FRAME,
        "zoom": PER_FRAME,
        "turn_focal": PER_INSTANCE,
    },
    GroundTruth: {
        "pose": PER_FRAME,
        "translation": PER_FRAME,
        "betas": PER_INSTANCE,
        "joints": PER_FRAME,
    },
}


@dataclasses.dataclass(frozen=True, eq=False)
class Choice:
    """instances (M,): numbers of those to take, in this order; None = all. frames (M, F): the frame that stands in each slot
    of each of them, -1 = an empty slot.
    """

    instances: Array | None
    frames: Array


def axes_of(kind: type) -> dict[str, str]:
    """The axes of every field of a type, by name.

    Raises:
      TypeError: a field does not say.
    """
    table = _AXES.get(kind, {})
    found = {f.name: table.get(f.name, f.metadata).get(_KEY) for f in dataclasses.fields(kind)}
    for name, axes in found.items():
        if axes is None:
            raise TypeError(f"{kind.__name__}.{name} does not say which axes it has; see experiments/data/select.py")
    return {name: str(axes) for name, axes in found.items()}


def choose(frame_mask: Any, instances: Sequence[int] | Array | None, frames: Frames) -> Choice:
    """What `Dataset.select` takes, as frame numbers.

    Args:
      frame_mask (N, T): 1 where a frame exists.
      instances, frames: as in `Dataset.select`.

    Raises:
      ValueError: an instance would be left without a frame, or with an empty slot before one; or `frames` has another number
        of rows than instances are taken.
    """
    mask = np.asarray(frame_mask) > 0
    rows = None if instances is None else np.array(instances, int)
    mask = mask if rows is None else mask[rows]
    lengths = mask.sum(-1)
    if frames is None:
        # The padding is taken as it is, as far as the longest of them reaches.
        slots = np.broadcast_to(np.arange(lengths.max()), (len(mask), lengths.max()))
    elif isinstance(frames, int | slice):
        part = frames if isinstance(frames, slice) else slice(frames)
        slots = _padded([range(int(length))[part] for length in lengths])
    else:
        slots = _padded(frames)
    if len(slots) != len(mask):
        raise ValueError(f"frames are chosen of {len(slots)} instances, expected {len(mask)}")
    left = np.take_along_axis(mask, np.maximum(slots, 0), 1) & (slots >= 0)
    for number, (own, had) in enumerate(zip(left, lengths, strict=True)):
        if had and not own.any():
            raise ValueError(f"no frame is left of instance {number} of those chosen")
        if (own[1:] > own[:-1]).any():
            raise ValueError(f"instance {number} of those chosen has an empty slot before a frame")
    return Choice(rows, slots)


def take(fields: T, choice: Choice) -> T:
    """The chosen part of a dataclass whose fields say their axes; None stays None."""
    axes = axes_of(type(fields))
    taken = {name: _TAKE[axes[name]](getattr(fields, name), choice) for name in axes}
    return dataclasses.replace(fields, **taken)  # pyright: ignore[reportArgumentType, reportCallIssue]


def first(item: T, count: int, like: type) -> T:
    """The first `count` frames of what holds the fields of `like` for a single instance, as arrays (F, ...)."""
    timed = [name for name, axes in axes_of(like).items() if axes == PER_FRAME[_KEY]]
    arrays = {name: getattr(item, name, None) for name in timed}
    cut = {name: array[:count] for name, array in arrays.items() if array is not None}
    return dataclasses.replace(item, **cut)  # pyright: ignore[reportArgumentType, reportCallIssue]


def own_frames(value: Any, frames: Array | range) -> Any:
    """Of what ONE instance has for its own frames, as `PER_OWN_FRAME` says, that of the frames given."""
    if value is None:
        return None
    if isinstance(value, tuple):
        return tuple(value[frame] for frame in frames if 0 <= frame < len(value))
    return value.select(frames)


def _padded(rows: Sequence[Any] | Array) -> Array:
    """Frame numbers (M, F) of rows of any lengths, -1 behind."""
    slots = np.full((len(rows), max(map(len, rows))), -1)
    for slot, row in zip(slots, rows, strict=True):
        slot[: len(row)] = row
    return slots


def _instance(value: Any, choice: Choice) -> Any:
    if value is None or choice.instances is None:
        return value
    if isinstance(value, tuple):
        return tuple(value[row] for row in choice.instances)
    return np.asarray(value)[choice.instances]


def _frame(value: Any, choice: Choice) -> Any:
    if value is None:
        return None
    if isinstance(value, tuple):
        return tuple(_frame(part, choice) for part in value)
    if isinstance(value, Mapping):
        return {name: _frame(part, choice) for name, part in value.items()}
    array = np.asarray(value)
    rows = np.arange(len(array)) if choice.instances is None else choice.instances
    taken = array[rows[:, None], np.maximum(choice.frames, 0)]
    taken[choice.frames < 0] = 0
    return taken


def _own_frame(value: Any, choice: Choice) -> Any:
    chosen = _instance(value, choice)
    if chosen is None:
        return None
    return tuple(own_frames(own, frames) for own, frames in zip(chosen, choice.frames, strict=True))


_TAKE = {
    "shared": lambda value, _: value,
    "instance": _instance,
    "frame": _frame,
    "own frame": _own_frame,
    "parts": lambda value, choice: None if value is None else take(value, choice),
}
