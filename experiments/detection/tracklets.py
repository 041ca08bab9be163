"""Tracks of people through a film, frame by frame, by where they are.

Everybody is linked into tracks by the assignment (Hungarian method) that is worth most in total: a track expects its
keypoints where the body's velocity takes them, so that two people who cross are not exchanged, and accepts somebody farther
away the longer it has seen nobody. Where another assignment was worth nearly as much, the track says so.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

Array = np.ndarray

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
_CERTAIN = 2.0  # logarithm of how much likelier the match that is made must be than another for it to be sure


@dataclasses.dataclass
class PersonTrack:
    """Somebody, over time.

    points (K, 2): pixels, where each keypoint was last, moved along with the body; NaN = never seen.
    velocity (2,): of the body, pixels per frame.
    members: frame -> index of the person in that frame.
    weight: sum over the frames of size (pixels) times mean confidence.
    rivals: frame -> the track that may as well be the one that is seen there, in frames where that is so.
    """

    points: Array
    velocity: Array
    members: dict[int, int]
    weight: float
    rivals: dict[int, PersonTrack] = dataclasses.field(default_factory=dict)

    @property
    def last(self) -> int:
        return next(reversed(self.members))


def link(people: Sequence[Array]) -> list[PersonTrack]:
    """All tracks through frames of people, as `tracking.follow` has them, in the order in which they begin."""
    tracks: list[PersonTrack] = []
    active: list[PersonTrack] = []
    for frame, detected in enumerate(people):
        points, confidence = split(detected)
        # In an order of their own, so that ties do not depend on the detector's.
        order = np.lexsort(np.nan_to_num(points).reshape(len(points), -1).T[::-1]) if len(points) else []
        order = [p for p in order if confidence[p].any()]
        active = [t for t in active if frame - t.last - 1 <= len(t.members) + _PATIENCE]
        pairs = _assign(active, frame, points[order]) if active and order else {}
        for row, index in enumerate(order):
            seen, weight = points[index], size(points[index]) * confidence[index].mean()
            if row in pairs:
                track, rival = pairs[row]
                _extend(track, frame, int(index), seen, weight)
                if rival is not None:
                    track.rivals[frame] = rival
            else:
                track = PersonTrack(points=seen, velocity=np.zeros(2), members={frame: int(index)}, weight=weight)
                tracks.append(track)
                active.append(track)
    return tracks


def split(detected: Array) -> tuple[Array, Array]:
    """Points (P, K, 2), NaN where not seen, and confidence (P, K) in [0, 1] of one frame."""
    detected = np.asarray(detected, float)
    if not detected.size:
        return np.zeros((0, 0, 2)), np.zeros((0, 0))
    seen = np.isfinite(detected).all(-1) & (detected[..., 2] > 0)
    return np.where(seen[..., None], detected[..., :2], np.nan), np.where(seen, np.clip(detected[..., 2], 0, 1), 0.0)


def size(points: Array) -> Array:
    """Diagonal (...,) of the box around points (..., K, 2), NaN = not seen; at least 1 pixel."""
    seen = np.isfinite(points)
    extent = np.where(seen, points, -np.inf).max(-2) - np.where(seen, points, np.inf).min(-2)
    return np.maximum(np.linalg.norm(extent, axis=-1), 1.0)


def _assign(tracks: list[PersonTrack], frame: int, points: Array) -> dict[int, tuple[PersonTrack, PersonTrack | None]]:
    """Row of `points` (P, K, 2) -> the track that it continues, and another that it may as well; None where that is sure."""
    gap = np.array([frame - track.last for track in tracks])
    apart = _distance(tracks, gap, points)
    chances = nearness(apart, gap[:, None])
    worth = np.where(chances > -np.inf, np.maximum(chances, _WORTH_LITTLE), 0.0)
    rows, columns = linear_sum_assignment(worth, maximize=True)
    matches = {int(t): int(p) for t, p in zip(rows, columns, strict=True) if worth[t, p] > 0}
    return {p: (tracks[t], _rival(tracks, worth, matches, t)) for t, p in matches.items()}


def nearness(apart: Array, gap: Array) -> Array:
    """The logarithm of how likely somebody is seen so far, in sizes, from where expected, after so many frames.

    It is that of a density that falls exponentially with the distance, over as much ground as is tolerated: an old track may
    match far away, and for that counts less nearby. 0 at the tolerance of a track just seen; -inf beyond what is tolerated.
    """
    tolerance = np.minimum(_TOLERANCE + _TOLERANCE_GROWTH * (gap - 1), _TOLERANCE_LIMIT)
    near = 1 - apart / tolerance
    return np.where(near > 0, _STEEPNESS * near - 2 * np.log(tolerance / _TOLERANCE), -np.inf)


def _rival(tracks: list[PersonTrack], worth: Array, matches: dict[int, int], own: int) -> PersonTrack | None:
    """The track that may as well be the one seen where `own` is matched, the two exchanged; None where that is sure."""
    seen = matches[own]
    best: tuple[float, PersonTrack | None] = (_CERTAIN, None)
    for other, track in enumerate(tracks):
        if other != own and worth[other, seen] > 0:
            there = matches.get(other)
            now = worth[own, seen] + (0.0 if there is None else worth[other, there])
            exchanged = worth[other, seen] + (0.0 if there is None else worth[own, there])
            if now - exchanged < best[0]:
                best = (now - exchanged, track)
    return best[1]


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
    larger = np.maximum(size(known)[:, None], size(points))
    scale = np.log2(_spread(points[None], shared) / _spread(expected, shared))
    unshared = 1 - count / either.sum(-1)
    return median / larger + _SCALE_WEIGHT * np.abs(scale) + _UNSHARED_WEIGHT * unshared


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
