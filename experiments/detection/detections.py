"""Everybody seen in a film, kept in a file of its own, so that no film is searched twice."""

from __future__ import annotations

import dataclasses
import hashlib
import typing
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from body_models import safe_npz
from experiments.base import films
from experiments.base.files import replacing
from experiments.detection import appearance, cuts
from experiments.detection.people import Landmarker, Person, Watcher

Array = np.ndarray

NUM_LANDMARKS = 33
_MOST_BYTES = 4 << 30  # of a file of detections, unpacked: an hour of 60 frames a second with four people has 1.2 GB
# Higher with every change of what is detected: older files are then detected again.
VERSION = 6


class Identified(typing.Protocol):
    """A model that finds people."""

    @property
    def digest(self) -> str:
        """A name for what it is, hexadecimal."""
        ...


@dataclasses.dataclass(frozen=True, eq=False)
class Detections:
    """Who is seen in a film. F frames, at most P people at a time; the order of people means nothing.

    times (F,): seconds, NaN where the film does not tell.
    seen (F, P): whether there is such a person.
    landmarks (F, P, 33, 4): x, y in pixels, visibility, presence.
    world (F, P, 33, 3): metres, from the middle of the hips, x right, y down, z away from the camera; NaN
      where the model tells no depth.
    clothes (F, P, 2, B): histograms of the colours of trunk and legs, as `appearance.clothes` has them.
    image_size (2,): width, height of the pictures.
    shots (S,): the frames in which a shot begins, the first of them 0.
    claimed_fps: frames per second by the film's header, NaN where it does not tell.
    damage: what is wrong with the film, a sentence; empty where nothing is.
    """

    times: Array
    seen: Array
    landmarks: Array
    world: Array
    clothes: Array
    image_size: Array
    shots: Array
    claimed_fps: float
    damage: str

    def __post_init__(self) -> None:
        if np.ndim(self.seen) != 2:
            raise ValueError(f"seen has shape {np.shape(self.seen)}, expected frames and people")
        count, people = self.seen.shape
        expected = {
            "times": (count,),
            "landmarks": (count, people, NUM_LANDMARKS, 4),
            "world": (count, people, NUM_LANDMARKS, 3),
            "clothes": (count, people, appearance.REGIONS, appearance.BINS),
            "image_size": (2,),
        }
        for name, shape in expected.items():
            array = getattr(self, name)
            if np.shape(array) != shape:
                raise ValueError(f"{name} has shape {np.shape(array)}, expected {shape}")
            if np.asarray(array).dtype.kind not in "fiu":
                raise ValueError(f"{name} holds no numbers")
        for name in ("landmarks", "world", "image_size"):
            finite = np.isfinite(getattr(self, name))
            # A model without depth has no place in the world, of anybody.
            if not finite.all() and not (name == "world" and not finite.any()):
                raise ValueError(f"{name} holds numbers that are not finite")
        if self.seen.dtype != bool:
            raise ValueError(f"seen is of type {self.seen.dtype}, expected bool")
        ends = np.array([*np.ravel(self.shots), count])
        if np.ndim(self.shots) != 1 or self.shots.dtype.kind != "i" or ends[0] != 0 or (np.diff(ends) <= 0).any():
            raise ValueError(f"shots begin in frames {self.shots} of {count}, expected 0 and higher and higher ones")

    def part(self, frames: range) -> Detections:
        """Some frames that follow one another, as if the film had no others: they are one shot."""
        of = slice(frames.start, frames.stop)
        arrays = {name: getattr(self, name)[of] for name in ("times", "seen", "landmarks", "world", "clothes")}
        return dataclasses.replace(self, **arrays, shots=np.zeros(1, int))


def cache_file(folder: Path, video: Path, model: Identified, turn: int = 0) -> Path:
    """Where the detections of a film so turned are kept, by its content, whatever it is called.

    Raises:
      VideoError: the film cannot be read.
    """
    name = hashlib.sha256(f"{content_of(video, turn)} {model.digest} {VERSION}".encode()).hexdigest()[:32]
    return folder / f"{name}.npz"


def content_of(video: Path, turn: int = 0) -> str:
    """A name for what a film shows that is turned so many degrees. Raises VideoError: it cannot be read."""
    try:
        with video.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise films.VideoError(f"{video} cannot be read ({(error.strerror or str(error)).lower()})") from error
    # What was found in films before they could be turned is found again.
    return f"{digest} turned {turn}" if turn else digest


class DamagedError(ValueError):
    """A file of detections that is not what `save` wrote; the message says what it is."""


def load(path: Path) -> Detections | None:
    """What `save` wrote; None where there is nothing. Raises DamagedError: something else is there."""
    if not path.is_file():
        return None
    try:
        with safe_npz.opened(path, _MOST_BYTES) as file:
            fields = {field.name: file[field.name] for field in dataclasses.fields(Detections)}
        return Detections(**{**fields, "claimed_fps": float(fields["claimed_fps"]), "damage": str(fields["damage"])})
    except KeyError as error:
        raise DamagedError(f"no {error.args[0]} in it") from error
    except (safe_npz.NpzError, ValueError, TypeError) as error:
        raise DamagedError(str(error)) from error


def save(detections: Detections, path: Path) -> None:
    """Writes the file at once or not at all."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **dataclasses.asdict(detections))


def detect(
    video: Path, landmarker: Landmarker, progress: Callable[[int], None] = lambda count: None, turn: int = 0
) -> Detections:
    """Looks for people in all frames of a film.

    Args:
      video: the film.
      landmarker: finds them.
      progress: told after each frame how many are done.
      turn: degrees clockwise by which the film is turned, as in `films`.

    Raises:
      VideoError: it cannot be read, or has no frame.
    """
    claimed_fps = films.probe(video).fps or float("nan")
    times: list[float] = []
    people: list[list[Person]] = []
    worn: list[list[Array]] = []
    shots: list[int] = []
    size, damage = (0, 0), []
    watcher = Watcher(landmarker)
    for header, picture, begins in cuts.marked(_pictures(video, turn, damage)):
        time, size = header
        if begins and times:
            # Nobody is where somebody was before the cut.
            watcher = Watcher(landmarker)
        if begins:
            shots.append(len(times))
        people.append(watcher.people(picture))
        worn.append([appearance.clothes(picture, person.landmarks) for person in people[-1]])
        for ago, person, then in watcher.earlier:
            people[-1 - ago].append(person)
            worn[-1 - ago].append(appearance.clothes(then, person.landmarks))
        times.append(time)
        progress(len(times))
    most = max(len(row) for row in people)
    seen = np.zeros((len(people), most), bool)
    landmarks = np.zeros((len(people), most, NUM_LANDMARKS, 4), np.float32)
    world = np.zeros((len(people), most, NUM_LANDMARKS, 3), np.float32)
    clothes = np.zeros((len(people), most, appearance.REGIONS, appearance.BINS), np.uint8)
    for frame, row in enumerate(people):
        for index, person in enumerate(row):
            seen[frame, index] = True
            landmarks[frame, index] = person.landmarks
            world[frame, index] = person.world
            clothes[frame, index] = worn[frame][index]
    sizes = np.array(size, float)
    shots_at, said = np.array(shots), "".join(damage)
    return Detections(np.array(times), seen, landmarks, world, clothes, sizes, shots_at, claimed_fps, said)


def _pictures(video: Path, turn: int, damage: list[str]) -> Iterator[tuple[tuple[float, tuple[int, int]], Array]]:
    """Time and size of the frames and their pictures, up to where the film is cut short, which is then added to `damage`."""
    try:
        for frame in _of_one_size(video, turn):
            yield (frame.time, frame.size), frame.picture()
    except films.CutShortError as error:
        damage.append(str(error))


def _of_one_size(video: Path, turn: int) -> Iterator[films.Frame]:
    """Raises CutShortError where the size of the pictures changes, which keypoints in pixels cannot follow."""
    first = None
    for frame in films.walk(video, turn):
        first = first or frame.size
        if frame.size != first:
            raise films.CutShortError(
                f"the pictures of {video} change from {first[0]}x{first[1]} to {frame.size[0]}x{frame.size[1]} pixels at "
                f"frame {frame.index}; what follows is not used"
            )
        yield frame
