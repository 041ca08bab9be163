"""Who is followed in a stretch of film that has no cut."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from experiments.base.errors import UserError
from experiments.base.text import listed
from experiments.detection import identities, keypoints, shot_choice, tracking
from experiments.detection.detections import Detections
from experiments.detection.identities import Somebody

Array = np.ndarray
_NAMED = 4  # moments of a film


class LeftOutError(ValueError):
    """A film that cannot be used; the message says which and why."""


@dataclasses.dataclass(frozen=True, eq=False)
class Followed:
    """Somebody in a stretch of film.

    who (F,): index of the person in each frame, -1 = not seen. well_seen: how many frames show the person well. doubts:
    frames, first and last, in which the person may have been exchanged for another.
    """

    who: Array
    well_seen: int
    doubts: tuple[tuple[int, int], ...]


def one(path: Path, found: Detections, person: str) -> Followed:
    """The one whom `--person=` asks for. Raises LeftOutError: nobody is as it says."""
    if not found.seen.any():
        raise LeftOutError(f"nobody is in view in {path}")
    people = _in_frames(found)
    try:
        chosen = tracking.choose(_everybody(found, people), people, person)
    except UserError as error:
        raise LeftOutError(f"in {path}, {error}") from error
    if chosen is None:
        raise LeftOutError(f"nobody is in view in {path}")
    return _followed(found, chosen)


def doubts(path: str, name: str, found: Detections, followed: Followed, start: int) -> str:
    """A sentence on where the person of a clip may be another one; empty where that is sure.

    Args:
      path: of the film. name: of the clip. found: in all of the film. start: the frame in which the stretch begins.
    """
    if not followed.doubts:
        return ""
    when = [shot_choice.when(found, range(start + first, start + last)) for first, last in followed.doubts]
    return (
        f"In {path} somebody else is so near, or so like, the person of {name} at {listed(when, _NAMED)} that it may be "
        f"another one from there on; look at the overlay, and leave out what is wrong by --takes, or choose by --person."
    )


def _in_frames(found: Detections) -> list[Array]:
    """The people (P_t, 25, 3) of each frame, x, y and confidence."""
    points, confidence = keypoints.body_25(found.landmarks, image_size(found))
    everybody = np.concatenate([points, confidence[..., None]], -1)
    return [row[present] for row, present in zip(everybody, found.seen, strict=True)]


def _everybody(found: Detections, people: Sequence[Array]) -> list[Somebody]:
    worn = [row[present] for row, present in zip(found.clothes, found.seen, strict=True)]
    return identities.find(people, worn)


def _followed(found: Detections, somebody: Somebody) -> Followed:
    among_present = tracking.frames_of(somebody, len(found.seen))
    columns = [np.flatnonzero(present) for present in found.seen]
    who = np.array([c[i] if i >= 0 else -1 for c, i in zip(columns, among_present, strict=True)])
    there = np.flatnonzero(who >= 0)
    confidence = keypoints.body_25(found.landmarks[there, who[there]], image_size(found))[1]
    return Followed(who, shot_choice.well_seen(confidence), somebody.doubts)


def image_size(found: Detections) -> tuple[float, float]:
    return float(found.image_size[0]), float(found.image_size[1])
