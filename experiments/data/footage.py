"""What the frames of an instance are: a folder of numbered pictures, or a film."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from experiments.data import select

Array = np.ndarray
PICTURES = (".png", ".jpg", ".jpeg")


class BrokenClipError(ValueError):
    """An instance that cannot be used; the message says why, to stand behind its name."""


@dataclasses.dataclass(frozen=True, eq=False)
class Video:
    """Where the frames of an instance are in a film.

    path: the film. frames (F,): index of the decoded picture that each frame of the instance is, never falling; -1 = none.
    turn: degrees clockwise by which its pictures are turned, as in `films`.
    """

    path: str
    frames: Array
    turn: int = 0

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Video) or (self.path, self.turn) != (other.path, other.turn):
            return False
        return np.array_equal(self.frames, other.frames)

    def select(self, frames: Array | range) -> Video:
        """Some of the instance's frames, by their numbers; those that it does not have are left out."""
        known = [frame for frame in frames if 0 <= frame < len(self.frames)]
        return dataclasses.replace(self, frames=self.frames[known])


@dataclasses.dataclass(frozen=True)
class Footage:
    """F frames.

    image_size: width, height. paths: the picture of each frame, None where one is missing; or None for a film.
    video: the film, or None for pictures. fps: frames per second, None where nothing tells.
    """

    num_frames: int
    image_size: tuple[int, int]
    paths: tuple[str | None, ...] | None = None
    video: Video | None = None
    fps: float | None = None

    def cut(self, count: int) -> Footage:
        """The first `count` frames."""
        paths, video = (select.own_frames(own, range(count)) for own in (self.paths, self.video))
        return dataclasses.replace(self, num_frames=count, paths=paths, video=video)


def stems(paths: tuple[str | None, ...] | None) -> list[str | None] | None:
    """The names of pictures without their endings; None where a picture, or all of them, are missing."""
    return [Path(path).stem if path else None for path in paths] if paths else None


def read(place: Path) -> Footage:
    """The frames at a path: a folder of pictures, or a film.

    Raises:
      BrokenClipError: there is nothing, or nothing that can be shown.
    """
    if place.is_dir():
        return _pictures(place)
    if place.is_file():
        return _film(place)
    raise BrokenClipError(f"there is no {place}, neither a folder of pictures nor a film")


def in_order(folder: Path, count: int | None = None, endings: tuple[str, ...] = PICTURES) -> tuple[Path | None, ...]:
    """The pictures of a folder by the frames that they are, None where one of the numbers is missing.

    Names that are numbers count from the least one, or, of a known number of frames that they do not span exactly, from 0 or
    1; other names are in alphabetical order.

    Args:
      folder: of the pictures.
      count: of frames, where it is known: as many are returned. None = as many as there are numbers from first to last.
      endings: of the names of pictures, in small letters.
    """
    found = sorted(
        path for path in folder.glob("*") if path.suffix.lower() in endings and not path.name.startswith(".")
    )
    by_number = {int(path.stem): path for path in found if path.stem.isdecimal()}
    if found and len(by_number) == len(found):
        first, span = min(by_number), max(by_number) - min(by_number) + 1
        if count is not None and span != count and first < count:
            found = [by_number.get(number) for number in range(min(first, 1), min(first, 1) + count)]
        # Numbers with more gaps than pictures are names, not frames.
        elif span <= 2 * len(by_number):
            found = [by_number.get(number) for number in range(first, first + span)]
        else:
            found = [by_number[number] for number in sorted(by_number)]
    return tuple(found) if count is None else (*found, *[None] * count)[:count]


def _pictures(folder: Path) -> Footage:
    frames = in_order(folder)
    if not frames:
        raise BrokenClipError(f"{folder} holds no pictures ({', '.join(PICTURES)})")
    for path in frames:
        size = path and picture_size(path)
        if size:
            return Footage(len(frames), size, tuple(str(path) if path else None for path in frames))
    raise BrokenClipError(f"none of the pictures in {folder} can be read")


def picture_size(path: str | Path) -> tuple[int, int] | None:
    """Width and height of a picture; None where it cannot be read."""
    try:
        with Image.open(path) as picture:
            return picture.size
    except (OSError, UnidentifiedImageError):
        return None


def _film(path: Path) -> Footage:
    # Not before it is needed: most runs read no film.
    from experiments.base import films

    try:
        film = films.probe(path)
        # What the header says of the number of frames is often wrong.
        count = len(films.timestamps(path))
    except films.VideoError as error:
        raise BrokenClipError(str(error)) from error
    return Footage(count, (film.width, film.height), video=Video(str(path), np.arange(count)), fps=film.fps)
