"""Other people in the frames of a clip, whom nobody follows: where they are, for pictures of who is followed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

Array = np.ndarray
KEY = "bystanders"


@dataclasses.dataclass(frozen=True, eq=False)
class Bystanders:
    """boxes (F, P, 4): left, top, right, bottom in pixels, of at most P people in each of F frames; zeros = nobody."""

    boxes: Array

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Bystanders) and np.array_equal(self.boxes, other.boxes)

    def select(self, frames: Array | range) -> Bystanders:
        """Those of some frames, by their numbers; those that the clip does not have are left out."""
        known = [frame for frame in frames if 0 <= frame < len(self.boxes)]
        return Bystanders(self.boxes[known])

    def at(self, frame: int) -> Array:
        """The boxes (P, 4) of a frame."""
        boxes = self.boxes[frame]
        return boxes[(boxes[:, 2:] > boxes[:, :2]).all(1)]


def entries(of_clips: Sequence[Bystanders | None] | None, n: int) -> dict[str, Array]:
    """What the neutral format has of the people in the frames of clip `n`."""
    own = of_clips[n] if of_clips else None
    return {} if own is None else {KEY: own.boxes}


def of_entries(rows: Sequence[Mapping[str, Array]]) -> tuple[Bystanders | None, ...] | None:
    """What `entries` wrote of each clip, None where none has any."""
    if not any(KEY in row for row in rows):
        return None
    return tuple(Bystanders(row[KEY].astype(np.float32)) if KEY in row else None for row in rows)


def of_landmarks(landmarks: Array, there: Array, image_size: tuple[float, float]) -> Bystanders | None:
    """The boxes of people, None where nobody is.

    Args:
      landmarks (F, P, K, 2): pixels. there (F, P): who is in a frame, and not the one followed.
      image_size: width and height of the picture, to which boxes are cut.
    """
    corners = np.concatenate([landmarks.min(-2), landmarks.max(-2)], -1)
    corners = np.where(there[..., None], np.clip(corners, 0, np.tile(image_size, 2)), 0.0)
    order = np.argsort(~there, axis=1, kind="stable")[:, : int(there.sum(1).max(initial=0))]
    if not order.size:
        return None
    return Bystanders(np.take_along_axis(corners, order[..., None], 1).astype(np.float32))
