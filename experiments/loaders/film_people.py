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
_LEAST_FRAMES = 5  # of somebody who is more than a mistake of the detector
_SAME_BOX = 0.5  # overlap (intersection over union) of boxes from which on they are one person's


class LeftOutError(ValueError):
    """A film that cannot be used; the message says which and why."""


@dataclasses.dataclass(frozen=True, eq=False)
class Followed:
    """Somebody in a stretch of film.

    who (F,): index of the person in each frame, -1 = not seen. well_seen: how many frames show the person well. doubts:
    frames, first and last, in which the person may have been exchanged for another. weight: how large for how long.
    """

    who: Array
    well_seen: int
    doubts: tuple[tuple[int, int], ...]
    weight: float


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


def several(found: Detections) -> list[Followed]:
    """Everybody who is there for more than a moment, none of them twice, from the left to the right."""
    people = _in_frames(found)
    least = max(_LEAST_FRAMES, tracking.GHOST_SHARE * len(people))
    lasting = [somebody for somebody in _everybody(found, people) if len(somebody.members) >= least]
    lasting.sort(key=lambda somebody: -somebody.weight)
    result: list[Followed] = []
    for somebody in lasting:
        followed = _followed(found, somebody)
        if not any(_twice(found, followed, other) for other in result):
            result.append(followed)
    return sorted(result, key=lambda followed: float(middles(found, followed.who)[0]))


def boxes(found: Detections, who: Array) -> Array:
    """The box (F, 4) around the landmarks of somebody in each frame, left, top, right, bottom, pixels; NaN = not seen."""
    points = found.landmarks[np.arange(len(who)), who, :, :2].astype(float)
    corners = np.concatenate([points.min(1), points.max(1)], 1)
    return np.where((who >= 0)[:, None], corners, np.nan)


def middles(found: Detections, who: Array) -> Array:
    """The middle (2,) of somebody in the picture, pixels, in most frames."""
    corners = boxes(found, who)
    return np.nanmedian((corners[:, :2] + corners[:, 2:]) / 2, 0)


def _twice(found: Detections, followed: Followed, other: Followed) -> bool:
    """Whether somebody is in the same place as another in most frames: one person, seen twice."""
    one, two = boxes(found, followed.who), boxes(found, other.who)
    both = np.minimum(one[:, 2:], two[:, 2:]) - np.maximum(one[:, :2], two[:, :2])
    shared = np.maximum(np.nan_to_num(both), 0).prod(1)
    areas = (one[:, 2:] - one[:, :2]).prod(1) + (two[:, 2:] - two[:, :2]).prod(1)
    return int((shared > _SAME_BOX * (areas - shared)).sum()) > 0.5 * int((followed.who >= 0).sum())


def doubts(path: str, name: str, found: Detections, followed: Followed, shot: range, frames: range) -> str:
    """A sentence on where the person of a clip may be another one; empty where that is sure.

    Args:
      path: of the film. name: of the clip. found: in all of the film. shot: the frames in which the person is followed.
      frames: those of the clip.
    """
    where = [range(shot.start + first, shot.start + last + 1) for first, last in followed.doubts]
    where = [own for own in where if own.start < frames.stop and frames.start < own.stop]
    if not where:
        return ""
    when = [shot_choice.when(found, range(own.start, own.stop - 1)) for own in where]
    return (
        f"In {path} somebody else is so near, or so like, the person of {name} at {listed(when, _NAMED)} that it may be "
        "another one from there on; look at the overlay, and leave out what is wrong by --takes, or choose by --person."
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
    return Followed(who, shot_choice.well_seen(confidence), somebody.doubts, somebody.weight)


def image_size(found: Detections) -> tuple[float, float]:
    return float(found.image_size[0]), float(found.image_size[1])
