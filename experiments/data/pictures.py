"""The pictures that clips are of: single files, or frames of a film."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image, UnidentifiedImageError

if typing.TYPE_CHECKING:
    from experiments.data.dataset import Dataset

Array = np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Video:
    """Where the frames of an instance are in a film.

    path: the film. frames (F,): index of the decoded picture that each frame of the instance is, never falling; -1 = none.
    """

    path: str
    frames: Array

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Video) and self.path == other.path and np.array_equal(self.frames, other.frames)


def frames(dataset: Dataset, instance: int, which: Sequence[int] | None = None) -> Iterator[Array | None]:
    """The pictures of an instance, in order: RGB uint8 (H, W, 3), or None where there is none or it cannot be read.

    Args:
      dataset: its `frame_paths` or `videos` say where they are.
      instance: its number.
      which: frames to read, never falling; None = all of the instance.
    """
    count = int(np.asarray(dataset.clips.frame_mask[instance]).sum())
    chosen = list(range(count)) if which is None else list(which)
    video = dataset.videos[instance] if dataset.videos else None
    paths = dataset.frame_paths[instance] if dataset.frame_paths else None
    if video is not None:
        yield from _of_film(video, chosen)
    else:
        for frame in chosen:
            path = paths[frame] if paths else None
            yield _of_file(path) if path else None


def _of_file(path: str) -> Array | None:
    try:
        with Image.open(path) as opened:
            return np.asarray(opened.convert("RGB"))
    except (OSError, UnidentifiedImageError):
        return None


def _of_film(video: Video, chosen: Sequence[int]) -> Iterator[Array | None]:
    # Not before it is needed: most runs read no film.
    from experiments.base import films

    wanted = [int(video.frames[frame]) for frame in chosen]
    distinct = sorted({index for index in wanted if index >= 0})
    decoded = films.decode(video.path, distinct)
    last: tuple[int, Array | None] = (-1, None)
    for index in wanted:
        if index >= 0 and index != last[0]:
            try:
                last = (index, next(decoded, None))
            except films.VideoError:
                last = (index, None)
        yield last[1] if index >= 0 else None
