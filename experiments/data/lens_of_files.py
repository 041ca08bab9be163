"""The lens that films and pictures name themselves, and clips that share one.

Phones write the focal length as the 35 mm equivalent: that of a lens which shows as much on a full frame, 36 x 24 mm,
compared by the diagonals. QuickTime's key is Apple's, the tag of pictures is EXIF's FocalLengthIn35mmFilm.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping

import numpy as np
from PIL import Image, UnidentifiedImageError

from experiments.base.text import listed
from experiments.data import groups
from experiments.data.dataset import Dataset

FULL_FRAME = math.hypot(36.0, 24.0)
_FILM_KEYS = (
    "com.apple.quicktime.camera.focal_length.35mm_equivalent",
    "com.android.camera.focal_length.35mm_equivalent",
)
_EXIF, _EQUIVALENT = 0x8769, 0xA405
# Of a fisheye to a telescope; other numbers are mistakes.
_LEAST, _MOST = 5.0, 2000.0
_MOST_NAMED = 6


def with_lenses(dataset: Dataset) -> Dataset:
    """The dataset with the focal lengths that films and pictures name, where the clips do not tell, and a note of them."""
    focal = np.array(dataset.clips.focal_length, np.float32)
    found = {}
    for n in np.flatnonzero(np.isnan(focal)):
        equivalent = _of_instance(dataset, int(n))
        if equivalent is not None:
            diagonal = math.hypot(*np.asarray(dataset.clips.image_size)[n])
            focal[n] = equivalent / FULL_FRAME * diagonal
            found[dataset.names[n]] = equivalent
    if not found:
        return dataset
    said = listed([f"{name} {value:g} mm" for name, value in found.items()], _MOST_NAMED)
    note = f"The focal length is read from the files (35 mm equivalent): {said}."
    clips = dataclasses.replace(dataset.clips, focal_length=focal)
    return dataclasses.replace(dataset, clips=clips, notes=(*dataset.notes, note))


def _of_instance(dataset: Dataset, instance: int) -> float | None:
    video = dataset.videos[instance] if dataset.videos else None
    if video is not None:
        # Not before it is needed: most runs read no film.
        from experiments.base import films

        try:
            return of_tags(films.tags(video.path))
        except films.VideoError:
            # A film that cannot be read is named where its pictures are needed.
            return None
    paths = dataset.frame_paths[instance] if dataset.frame_paths else None
    first = next((path for path in paths or () if path), None)
    return None if first is None else of_picture(first)


def of_tags(tags: Mapping[str, str]) -> float | None:
    """The 35 mm equivalent in a film's tags, in mm, or None."""
    for key in _FILM_KEYS:
        if (match := re.match(r"\s*(\d+(?:\.\d+)?)", tags.get(key, ""))) and (value := _plausible(float(match[1]))):
            return value
    return None


def of_picture(path: str) -> float | None:
    """The 35 mm equivalent in a picture's EXIF data, in mm, or None."""
    try:
        with Image.open(path) as opened:
            value = opened.getexif().get_ifd(_EXIF).get(_EQUIVALENT)
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError):
        # A picture that cannot be read is named where its pixels are needed.
        return None
    return _plausible(float(value)) if isinstance(value, int | float) else None


def _plausible(value: float) -> float | None:
    return value if _LEAST <= value <= _MOST else None


def with_same_camera(dataset: Dataset, said: str) -> Dataset:
    """The dataset in which clips share lenses as `--same_camera` says.

    Args:
      said: `all`, or groups of names separated by semicolons, of names separated by commas, in which * stands for any
        letters: 'serve*;volley1,volley2'.

    Raises:
      UserError: a name that no clip has, or a clip in two groups.
    """
    lens = groups.numbers("--same_camera", said, dataset.names)
    return dataclasses.replace(dataset, clips=dataclasses.replace(dataset.clips, lens=lens))
