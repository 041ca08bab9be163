"""Jumps of the person in keypoints: farther, or by more in size, between two frames than anybody moves.

They are where a film is cut, or where a detector goes on with another person. On 228 annotated clips of five sports the
middle of the box around the joints moves from frame to frame by at most 0.17 of its diagonal, and the diagonal changes by
a factor of at most 1.33.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import numpy as np

from experiments.base.text import listed
from experiments.data import moving_cameras
from experiments.data.dataset import Dataset

Array = np.ndarray
Carried = Callable[[Array, Array, Array], Array]

_FARTHEST = 0.3  # of the box's diagonal, in a thirtieth of a second: 15 metres a second
_LARGEST = np.log(1.65)  # change of the diagonal, its logarithm
_RATE = 30.0  # frames per second, from which on a frame is as good as any shorter one
_FEWEST = 4  # joints that both frames must show
_NAMED = 3  # jumps of a clip


def frames(keypoints: Array, confidence: Array, fps: float, carried: Carried | None = None) -> list[int]:
    """The frames at which the person of a clip jumps.

    Args:
      keypoints: (F, K, 2) pixels. confidence: (F, K), 0 = not seen. fps: frames per second.
      carried: where pixels (P, K, 2) of some frames (P,) are in others (P,), as far as the camera moves; None = it does not.
    """
    seen = (np.asarray(confidence) > 0) & np.isfinite(keypoints).all(-1)
    there = np.flatnonzero(seen.sum(-1) >= _FEWEST)
    before, after = there[:-1], there[1:]
    both = seen[before] & seen[after]
    enough = both.sum(-1) >= _FEWEST
    before, after, both = before[enough], after[enough], both[enough]
    if not len(before):
        return []
    points = np.asarray(keypoints, float)[np.stack([before, after])]
    if carried is not None:
        points[0] = carried(points[0], before, after)
    low = np.where(both[..., None], points, np.inf).min(-2)
    high = np.where(both[..., None], points, -np.inf).max(-2)
    size = np.maximum(np.linalg.norm(high - low, axis=-1), 1.0)
    moved = np.linalg.norm(np.diff((high + low) / 2, axis=0)[0], axis=-1) / size.max(0)
    grown = np.abs(np.diff(np.log(size), axis=0)[0])
    # Frames between them in which nobody is seen give the person as much more time.
    time = (after - before) * max(1.0, _RATE / fps)
    return after[(moved > _FARTHEST * time) | (grown > _LARGEST * time)].tolist()


def noted(dataset: Dataset) -> Dataset:
    """The dataset with a note that names the clips in which the person jumps, and where; without one where nobody does."""
    clips, jumping = dataset.clips, []
    for n, name in enumerate(dataset.names):
        there = np.asarray(clips.frame_mask[n]) > 0
        fps = float(clips.fps[n])
        carried = functools.partial(moving_cameras.carried, clips, n) if moving_cameras.moves(clips, n) else None
        found = frames(np.asarray(clips.keypoints[n])[there], np.asarray(clips.confidence[n])[there], fps, carried)
        if found:
            places = listed([f"frame {frame} ({frame / fps:.2f} s)" for frame in found], _NAMED)
            jumping.append(f"{name} at {places}")
    note = (
        f"The person jumps farther, or changes in size by more, than anybody moves: {listed(jumping)}. The film may be cut "
        "there, or another person followed, and the fit takes it for one motion."
    )
    if not jumping or note in dataset.notes:
        return dataset
    return dataclasses.replace(dataset, notes=(*dataset.notes, note))
