"""The takes of films, without their clips: what `python run.py split` shows."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path

import numpy as np
from rich.console import Console

from experiments.base import films
from experiments.base.errors import UserError
from experiments.data.dataset import DatasetError
from experiments.detection import search, tracking
from experiments.detection.takes_table import Take
from experiments.loaders import film_parts, film_paths, film_people, film_stretches, videos
from experiments.loaders.film_people import LeftOutError

Array = np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class SplitFilm:
    """A film and its takes.

    name: of it. path: of it. seconds (F,): of its frames, the first 0. speed (F,): of the person followed, trunks per
    second, NaN in shots that are not used. boxes (F, 4): around the person, left, top, right, bottom, pixels; NaN = not seen
    or not used. frames: of each take. takes: the same in seconds. cuts: seconds. turn: degrees clockwise by
    which the film is turned, as in `films`.
    """

    name: str
    path: Path
    seconds: Array
    speed: Array
    boxes: Array
    frames: tuple[range, ...]
    takes: tuple[Take, ...]
    cuts: tuple[float, ...]
    turn: int = 0


def find(
    pattern: str,
    cache_dir: Path,
    console: Console | None = None,
    *,
    person: str | None = None,
    shots: str | None = None,
    split: str | None = None,
    turn: str | None = None,
    takes: str | Path | None = None,
    pose_model: str | None = None,
    detector: search.Detector | None = None,
) -> tuple[list[SplitFilm], list[str]]:
    """The films that can be used, with their takes, and sentences on the others; arguments as those of `videos.load`.

    Raises:
      UserError: as `videos.load`. DatasetError: no film can be used.
    """
    paths = film_paths.files(pattern)
    names = film_paths.names(paths)
    person = person or tracking.AUTO
    tracking.check_names(person, names, films=True)
    if tracking.asks_for_all(person):
        raise UserError(f"--person={person} asks for everybody, but takes are shown of one person a film; name one")
    choices = videos.choices_of(names, person, shots, split, turn, takes, detect=True)
    result, notes = [], []
    with contextlib.ExitStack() as opened:
        searcher = opened.enter_context(search.Searcher(detector or search.detector(pose_model), cache_dir, console))
        people = film_parts.People(searcher, choices.turned(paths, names))
        choices = people.agreeing(paths, names, choices, None)
        for path, name in zip(paths, names, strict=True):
            try:
                found = people.of(path)
                parts = film_parts.parts(path, name, found, choices)
                seconds = film_stretches.seconds(found)
                speed, boxes = np.full(len(seconds), np.nan), np.full((len(seconds), 4), np.nan)
                for part in parts:
                    own = slice(part.frames.start, part.frames.stop)
                    boxes[own] = film_people.boxes(part.found, part.who)
                    speed[own] = film_stretches.course(path, part.found, part.who).speed
            except (LeftOutError, films.VideoError) as error:
                notes.append(f"Left out: {error}.")
                continue
            step = seconds[-1] / max(len(seconds) - 1, 1)
            ends = [*seconds, seconds[-1] + step]
            frames = tuple(part.frames for part in parts)
            as_seconds = tuple(Take(n, ends[f.start], ends[f.stop]) for n, f in enumerate(frames, 1))
            cuts = tuple(float(seconds[frame]) for frame in found.shots[1:])
            turned = choices.turn_of(name)
            result.append(SplitFilm(name, path, seconds, speed, boxes, frames, as_seconds, cuts, turned))
            notes += [note for part in parts for note in part.notes]
        notes += searcher.notes
    if not result:
        raise DatasetError(f"no video of --videos={pattern} can be used: {'; '.join(notes)}")
    return result, notes
