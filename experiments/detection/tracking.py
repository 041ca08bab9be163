"""Which of the people that a detector sees in each frame is the one to fit.

Everybody is linked into tracks, frame by frame, by the assignment (Hungarian method) that is worth most in total: a track
expects its keypoints where the body's velocity takes them, so that two people who cross are not exchanged, and accepts
somebody farther away the longer it has seen nobody. Then one track is chosen: by default the person that is largest for
longest, which no passing ghost is.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from experiments.base.errors import UserError
from experiments.data import per_clip

Array = np.ndarray

LARGEST = "largest"
# Distances are medians over the keypoints that track and person share, in units of the person's size: the diagonal of
# the box around the keypoints.
_TOLERANCE = 0.4  # farthest a body may be from where it was expected one frame after it was seen
_TOLERANCE_GROWTH = 0.1  # more, for each frame without it
_TOLERANCE_LIMIT = 1.5
_STEEPNESS = 4.5  # logarithm of how much likelier a body is just where expected than at the tolerance
_WORTH_LITTLE = 1e-6  # of a match that is tolerated but less likely than none
_SCALE_WEIGHT = 0.3  # distance that a change of size by a factor of 2 counts as
_UNSHARED_WEIGHT = 0.2  # distance that having no keypoint in common would count as: prefers a body to a part of it
_COAST = 0.9  # share of its velocity that an unseen body keeps from frame to frame
_SMOOTHING = 0.3  # weight of the newest displacement in the velocity
_PATIENCE = 10  # a track is given up when unseen for so many frames more than it was seen
_GHOST_SHARE = 0.05  # a track in a smaller share of the frames is nobody, where people are counted
_PIXEL = re.compile(r"(\d+(?:\.\d+)?)\s*,\s*(\d+(?:\.\d+)?)")


@dataclasses.dataclass
class PersonTrack:
    """Somebody, over time.

    points (K, 2): pixels, where each keypoint was last, moved along with the body; NaN = never seen.
    velocity (2,): of the body, pixels per frame.
    members: frame -> index of the person in that frame.
    weight: sum over the frames of size (pixels) times mean confidence.
    """

    points: Array
    velocity: Array
    members: dict[int, int]
    weight: float

    @property
    def last(self) -> int:
        return next(reversed(self.members))


def follow(people: Sequence[Array], person: str = LARGEST) -> Array:
    """Index (F,) of the followed person in each of the F frames; -1 = not seen.

    The order of the people within a frame does not matter.

    Args:
      people: per frame (P_t, K, 3): x, y in pixels and confidence; a keypoint with confidence 0, or that is not finite, is
        not seen.
      person: whom to follow: `largest`; `2`, the second from the left in the first frame with so many people; or
        `310,140`, the one at this pixel in the first frame where somebody is there.

    Raises:
      UserError: the choice is none of these, or fits nobody although people are seen.
    """
    _check_choice(person, person)
    tracks = link(people)
    which = np.full(len(people), -1, int)
    if tracks:
        for frame, index in _choose(tracks, people, person).members.items():
            which[frame] = index
    return which


def link(people: Sequence[Array]) -> list[PersonTrack]:
    """All tracks through frames of people, as in `follow`, in the order in which they begin."""
    tracks: list[PersonTrack] = []
    active: list[PersonTrack] = []
    for frame, detected in enumerate(people):
        points, confidence = _split(detected)
        # In an order of their own, so that ties do not depend on the detector's.
        order = np.lexsort(np.nan_to_num(points).reshape(len(points), -1).T[::-1]) if len(points) else []
        order = [p for p in order if confidence[p].any()]
        active = [t for t in active if frame - t.last - 1 <= len(t.members) + _PATIENCE]
        pairs = _assign(active, frame, points[order]) if active and order else {}
        for row, index in enumerate(order):
            seen, weight = points[index], _size(points[index]) * confidence[index].mean()
            if row in pairs:
                _extend(pairs[row], frame, int(index), seen, weight)
            else:
                track = PersonTrack(points=seen, velocity=np.zeros(2), members={frame: int(index)}, weight=weight)
                tracks.append(track)
                active.append(track)
    return tracks


def _split(detected: Array) -> tuple[Array, Array]:
    """Points (P, K, 2), NaN where not seen, and confidence (P, K) in [0, 1] of one frame."""
    detected = np.asarray(detected, float)
    if not detected.size:
        return np.zeros((0, 0, 2)), np.zeros((0, 0))
    seen = np.isfinite(detected).all(-1) & (detected[..., 2] > 0)
    return np.where(seen[..., None], detected[..., :2], np.nan), np.where(seen, np.clip(detected[..., 2], 0, 1), 0.0)


def _size(points: Array) -> Array:
    """Diagonal (...,) of the box around points (..., K, 2), NaN = not seen; at least 1 pixel."""
    seen = np.isfinite(points)
    extent = np.where(seen, points, -np.inf).max(-2) - np.where(seen, points, np.inf).min(-2)
    return np.maximum(np.linalg.norm(extent, axis=-1), 1.0)


def _assign(tracks: list[PersonTrack], frame: int, points: Array) -> dict[int, PersonTrack]:
    """Row of `points` (P, K, 2) -> the track that it continues."""
    gap = np.array([frame - track.last for track in tracks])
    tolerance = np.minimum(_TOLERANCE + _TOLERANCE_GROWTH * (gap - 1), _TOLERANCE_LIMIT)
    # The logarithm of a density that falls exponentially with the distance, over as much ground as is tolerated: an old
    # track may match far away, and for that counts less nearby. 0 at the tolerance of a track just seen.
    nearness = 1 - _distance(tracks, gap, points) / tolerance[:, None]
    worth = _STEEPNESS * nearness - 2 * np.log(tolerance[:, None] / _TOLERANCE)
    worth = np.where(nearness > 0, np.maximum(worth, _WORTH_LITTLE), 0.0)
    rows, columns = linear_sum_assignment(worth, maximize=True)
    return {int(p): tracks[t] for t, p in zip(rows, columns, strict=True) if worth[t, p] > 0}


def _distance(tracks: list[PersonTrack], gap: Array, points: Array) -> Array:
    """How far (A, P) each of P people (P, K, 2) is from where each of A tracks is expected, in sizes; inf without a
    keypoint in common.
    """
    known = np.stack([track.points for track in tracks])
    coasting = (1 - _COAST**gap) / (1 - _COAST)
    expected = (known + coasting[:, None, None] * np.stack([t.velocity for t in tracks])[:, None])[:, None]
    # x alone tells: a keypoint has both coordinates or neither.
    shared = np.isfinite(expected[..., 0]) & np.isfinite(points[..., 0])
    either = np.isfinite(expected[..., 0]) | np.isfinite(points[..., 0])
    count = shared.sum(-1)

    apart = np.sort(np.where(shared, np.linalg.norm(points - expected, axis=-1), np.inf), -1)
    median = np.take_along_axis(apart, np.maximum(count - 1, 0)[..., None] // 2, -1)[..., 0]
    size = np.maximum(_size(known)[:, None], _size(points))
    scale = np.log2(_spread(points[None], shared) / _spread(expected, shared))
    unshared = 1 - count / either.sum(-1)
    return median / size + _SCALE_WEIGHT * np.abs(scale) + _UNSHARED_WEIGHT * unshared


def _spread(points: Array, shared: Array) -> Array:
    """Root mean square distance, at least 1 pixel, of the shared points (..., K, 2) from their mean."""
    count = np.maximum(shared.sum(-1), 1)
    points = np.where(shared[..., None], points, 0.0)
    centre = points.sum(-2) / count[..., None]
    squares = (shared[..., None] * (points - centre[..., None, :]) ** 2).sum((-2, -1))
    return np.maximum(np.sqrt(squares / count), 1.0)


def _extend(track: PersonTrack, frame: int, index: int, points: Array, weight: float) -> None:
    moved = np.nanmedian(points - track.points, axis=0)
    velocity = moved / (frame - track.last)
    newest = _SMOOTHING if len(track.members) > 1 else 1.0
    track.velocity = newest * velocity + (1 - newest) * track.velocity
    track.points = np.where(np.isfinite(points), points, track.points + moved)
    track.members[frame] = index
    track.weight += weight


def _choose(tracks: list[PersonTrack], people: Sequence[Array], person: str) -> PersonTrack:
    if person == LARGEST:
        return max(tracks, key=lambda track: track.weight)
    if pixel := _PIXEL.fullmatch(person):
        return _at_pixel(tracks, people, np.array([float(pixel[1]), float(pixel[2])]), person)
    number = int(person)
    lasting = [track for track in tracks if len(track.members) >= _GHOST_SHARE * len(people)] or tracks
    most = 0
    for frame, detected in enumerate(people):
        present = [track for track in lasting if frame in track.members]
        most = max(most, len(present))
        if len(present) >= number:
            points = _split(detected)[0]
            return sorted(present, key=lambda track: np.nanmean(points[track.members[frame], :, 0]))[number - 1]
    raise UserError(
        f"--person={person} asks for the {number}. person from the left, but no frame shows more than {most}; give a number "
        f"from 1 to {most}, or {LARGEST}"
    )


def _at_pixel(tracks: list[PersonTrack], people: Sequence[Array], pixel: Array, person: str) -> PersonTrack:
    for frame, detected in enumerate(people):
        points = _split(detected)[0]
        distances = []
        for track in (t for t in tracks if frame in t.members):
            own = points[track.members[frame]]
            if (np.nanmin(own, 0) <= pixel).all() and (pixel <= np.nanmax(own, 0)).all():
                distances.append((float(np.nanmin(np.linalg.norm(own - pixel, axis=-1))), track))
        if distances:
            return min(distances, key=lambda pair: pair[0])[1]
    raise UserError(
        f"--person={person} is a pixel where nobody is in any frame; give x,y inside the person, or {LARGEST}"
    )


def parse_person(flag: str) -> tuple[str, dict[str, str]]:
    """The choice for all clips and those of single ones, of `--person=`.

    The flag is one choice, as `follow` takes it, or `name=choice` for single clips, separated by commas, or both, the one
    for all others first: `2`, `clip a=2,clip b=310,140`, `1,clip b=largest`.

    Raises:
      UserError: it is none of these.
    """
    default, single = per_clip.parse("--person", str(flag), _check_choice)
    return default or LARGEST, single


def choice_for(flag: str, instance_name: str) -> str:
    """What `--person=` says of one clip, as `follow` takes it. Raises UserError, as `parse_person`."""
    default, single = parse_person(flag)
    return single.get(instance_name, default)


def check_names(flag: str, instance_names: Iterable[str]) -> None:
    """Raises UserError: `--person=` names a clip that is not among these, or is no choice at all."""
    per_clip.check_names("--person", flag, parse_person(flag)[1], instance_names)


def _check_choice(choice: str, flag: str) -> None:
    if choice == LARGEST or _PIXEL.fullmatch(choice) or (choice.isdecimal() and int(choice) > 0):
        return
    raise UserError(
        f"--person={flag} is not understood at {choice!r}; expected {LARGEST}, a number counted from the left such as 2, a "
        "pixel such as 310,140, or one of these for each clip as name=choice"
    )
