"""The pictures that clips are of: single files, or frames of a film."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image, UnidentifiedImageError

from experiments.data.calibration import Calibration
from experiments.data.dataset import Dataset
from experiments.data.footage import Video

Array = np.ndarray


def frames(dataset: Dataset, instance: int, which: Sequence[int] | None = None) -> Iterator[Array | None]:
    """The pictures of an instance, in order: RGB uint8 (H, W, 3), or None where there is none or it cannot be read.

    Where a calibration says how its lens distorts, they are those that a lens without distortion would have taken.

    Args:
      dataset: its `frame_paths` or `videos` say where they are.
      instance: its number.
      which: frames to read, never falling; None = all of the instance.
    """
    count = int(np.asarray(dataset.clips.frame_mask[instance]).sum())
    chosen = list(range(count)) if which is None else list(which)
    lens = dataset.picture_lenses[instance] if dataset.picture_lenses else None
    filmed = _filmed(dataset, instance, chosen)
    yield from filmed if lens is None else _straightened(filmed, lens)


def _straightened(filmed: Iterator[Array | None], lens: Calibration) -> Iterator[Array | None]:
    known: tuple[tuple[int, int], Array, Array] | None = None
    for picture in filmed:
        if picture is None:
            yield None
            continue
        size = picture.shape[1], picture.shape[0]
        if known is None or known[0] != size:
            known = size, *lens.straight_picture(size)
        _, pixel, inside = known
        yield np.where(inside[..., None], picture.reshape(-1, picture.shape[-1])[pixel], np.uint8(0))


def _filmed(dataset: Dataset, instance: int, chosen: Sequence[int]) -> Iterator[Array | None]:
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
    decoded = films.decode(video.path, distinct, video.turn)
    last: tuple[int, Array | None] = (-1, None)
    for index in wanted:
        if index >= 0 and index != last[0]:
            try:
                last = (index, next(decoded, None))
            except films.VideoError:
                last = (index, None)
        yield last[1] if index >= 0 else None
