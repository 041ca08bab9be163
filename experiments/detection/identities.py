"""Who is who in a film: pieces of tracks, put together by what people wear, where they are and how large they are.

A track that goes on with somebody else, as where a batter crosses a pitcher, shows other clothes from there on. So tracks
are cut where the clothes change, and where two people were so near that they may have been exchanged; and the pieces are put
together again by the assignment of ends to beginnings (Hungarian method) that is likeliest in total, over any gap: that is
how somebody is known again who has left the picture. Likelihoods are logarithms against that of two different people.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from experiments.detection import appearance, tracklets
from experiments.detection.tracklets import PersonTrack

Array = np.ndarray

_WINDOW = 5  # frames before and after, whose clothes are compared to find a change
_CHUNK = 4000  # frames at once, for memory
_CHANGE = 0.4  # unlikeness of these from which on it is one
_COVERED = 0.3  # share of somebody's box that another's covers, from which on colours are not to be believed
# Of the same person's clothes in different frames the unlikeness is 0.02 to 0.15, half hidden 0.3; of different people's 0.5
# and more, measured on films of pitches.
_OTHERS = 0.4  # unlikeness that speaks neither for one person nor for two
_STEEPNESS = 15.0  # logarithm of the likelihood, per unlikeness
_MOST, _LEAST = 4.0, -8.0  # of the logarithm
_FEW = 2  # frames of clothes that count half
_POLLUTED = 0.5  # what a frame counts in which somebody else is before or behind
_CONTINUED = 4.0  # of a track that was never in doubt, and less where somebody else was as likely
_DOUBTED = 1.5
_FOLLOWED = 0.5  # more, for having been followed frame by frame
_ELSEWHERE = -1.0  # of somebody who is seen again at any other place that can be reached
_REACH = 0.35  # sizes per frame
_LONGEST_GAP = 900  # frames
_GROWTH = 1.0  # cost of a change of size by a factor of 2, beyond what is free
_FREE_GROWTH = 0.3
_PACE = 5  # frames whose mean displacement tells where somebody goes
_COAST = 0.9
_LASTING = 10  # frames of a piece for which somebody may be exchanged
_SURE = 1.5  # by which the likeliest way must be likelier than others


@dataclasses.dataclass(eq=False)
class Somebody:
    """A person over a film. members: frame -> index of the person in that frame. weight: as that of `PersonTrack`.

    doubts: frames (first, last) in which the person may have been exchanged for another.
    """

    members: dict[int, int]
    weight: float
    doubts: tuple[tuple[int, int], ...] = ()


@dataclasses.dataclass(eq=False)
class _Piece:
    """A part of a track: its members, whether it is one in which people may be exchanged, and its clothes (2, B).

    count: frames that tell clothes, those partly of others for less. following: the piece of the same track behind it.
    """

    track: PersonTrack
    members: dict[int, int]
    doubtful: bool
    clothes: Array
    count: float
    following: _Piece | None = None

    @property
    def first(self) -> int:
        return next(iter(self.members))

    @property
    def last(self) -> int:
        return next(reversed(self.members))


def find(people: Sequence[Array], clothes: Sequence[Array] | None = None) -> list[Somebody]:
    """Everybody in a film, in the order in which they are first seen.

    Args:
      people: per frame (P_t, K, 3), as `tracking.follow` has them.
      clothes: per frame (P_t, 2, B), as `appearance.clothes` has them; None = unknown: tracks are taken as they are.
    """
    tracks = tracklets.link(people)
    if clothes is None:
        return [Somebody(track.members, track.weight) for track in tracks]
    hidden = [_covered(detected) for detected in people]
    chains = [_pieces(track, people, clothes, hidden) for track in tracks]
    sure = [piece for chain in chains for piece in chain if not piece.doubtful]
    links, unsure = _joined(sure, people)
    return _people(chains, sure, links, unsure, people, clothes)


def _covered(detected: Array) -> Array:
    """Who (P,) of a frame is partly behind or before somebody else."""
    low, high = _boxes(detected)
    shared = np.maximum(np.minimum(high[:, None], high) - np.maximum(low[:, None], low), 0).prod(-1)
    np.fill_diagonal(shared, 0.0)
    return (shared > _COVERED * np.maximum((high - low).prod(-1), 1.0)[:, None]).any(1)


def _boxes(detected: Array) -> tuple[Array, Array]:
    """Corners (P, 2) of the boxes of people (P, K, 3); of those of whom nothing is seen they are empty."""
    points, _ = tracklets.split(detected)
    seen = np.isfinite(points)
    low, high = (
        np.where(seen, points, np.inf).min(-2, initial=np.inf),
        np.where(seen, points, -np.inf).max(-2, initial=-np.inf),
    )
    empty = ~np.isfinite(low)
    return np.where(empty, 0.0, low), np.where(empty, 0.0, high)


def _pieces(
    track: PersonTrack, people: Sequence[Array], clothes: Sequence[Array], hidden: Sequence[Array]
) -> list[_Piece]:
    """A track, cut where its clothes change and around frames in which somebody else may be seen."""
    frames = list(track.members)
    told = np.stack([clothes[t][track.members[t]] for t in frames])
    clean = told.any((-1, -2)) & ~np.array([hidden[t][track.members[t]] for t in frames])
    doubtful = np.array([t in track.rivals for t in frames])
    # What lies between two doubtful frames nearby is doubtful.
    for a, b in zip(np.flatnonzero(doubtful)[:-1], np.flatnonzero(doubtful)[1:], strict=True):
        if b - a <= _WINDOW:
            doubtful[a:b] = True
    edges = {0, len(frames), *(np.flatnonzero(np.diff(doubtful)) + 1).tolist(), *_changes(told)}
    result: list[_Piece] = []
    for start, stop in itertools.pairwise(sorted(edges)):
        part = slice(start, stop)
        use = clean[part] if clean[part].any() else told[part].any((-1, -2))
        own = told[part][use]
        piece = _Piece(
            track,
            {t: track.members[t] for t in frames[part]},
            bool(doubtful[start]),
            appearance.model(own) if len(own) else np.zeros(told.shape[1:]),
            float(clean[part].sum() or _POLLUTED * len(own)),
        )
        if result:
            result[-1].following = piece
        result.append(piece)
    return result


def _changes(told: Array) -> list[int]:
    """Where, in a sequence (F, 2, B) of clothes, others begin."""
    count = len(told)
    if count < 2 * _WINDOW:
        return []
    at = np.arange(1, count)
    change = np.concatenate([_change(told, part) for part in np.array_split(at, -(-count // _CHUNK))])
    change[: _WINDOW - 1], change[count - _WINDOW :] = 0, 0
    result: list[int] = []
    while change.max() > _CHANGE:
        best = int(change.argmax())
        result.append(_sharp(told, int(at[best])))
        change[max(0, best - _WINDOW + 1) : best + _WINDOW] = 0
    return result


def _change(told: Array, at: Array) -> Array:
    """How unlike (A,) the clothes (F, 2, B) before and from frames on are, where these tell any."""
    start, stop = max(0, at[0] - _WINDOW), min(len(told), at[-1] + _WINDOW)
    sums = np.concatenate([np.zeros((1, *told.shape[1:])), np.cumsum(told[start:stop], 0)])
    before = sums[at - start] - sums[np.maximum(at - _WINDOW, start) - start]
    after = sums[np.minimum(at + _WINDOW, stop) - start] - sums[at - start]
    return np.nan_to_num(appearance.unlikeness(before, after))


def _sharp(told: Array, change: int) -> int:
    """The frame near a change from which on clothes are more like those well behind it than those well before it."""
    reach = slice(max(change - _WINDOW, 1), min(change + _WINDOW, len(told) - 1))
    before = told[max(0, reach.start - _WINDOW) : reach.start].sum(0)
    after = told[reach.stop : reach.stop + _WINDOW].sum(0)
    near = told[reach]
    apart = np.nan_to_num(appearance.unlikeness(before, near) - appearance.unlikeness(after, near))
    return reach.start + int(np.argmin(np.concatenate([[0], np.cumsum(apart)])))


def _joined(pieces: list[_Piece], people: Sequence[Array]) -> tuple[dict[int, int], dict[int, float]]:
    """Number of a piece -> that of the one that goes on with it; and by how much other ways are less likely."""
    if not pieces:
        return {}, {}
    score = _scores(pieces, people)
    worth = np.maximum(score, 0.0)
    rows, columns = linear_sum_assignment(worth, maximize=True)
    links = {int(i): int(j) for i, j in zip(rows, columns, strict=True) if worth[i, j] > 0}
    lasting = np.array([len(piece.members) >= _LASTING for piece in pieces])
    return links, {i: _margin(worth, links, i, lasting) for i in links}


def _margin(worth: Array, links: dict[int, int], i: int, lasting: Array) -> float:
    """By how much a link is likelier than none, or than what comes of another, with a piece that is
    `lasting` (S,), for one of its pieces.
    """
    j = links[i]
    before = {column: row for row, column in links.items()}
    margin = float(worth[i, j])
    for other in np.flatnonzero((worth[i] > 0) & lasting):
        if other != j:
            row = before.get(int(other))
            now = worth[i, j] + (0.0 if row is None else worth[row, other])
            margin = min(margin, float(now - worth[i, other] - (0.0 if row is None else worth[row, j])))
    for other in np.flatnonzero((worth[:, j] > 0) & lasting):
        if other != i and other not in links:
            margin = min(margin, float(worth[i, j] - worth[other, j]))
    return margin


def _scores(pieces: list[_Piece], people: Sequence[Array]) -> Array:
    """The logarithm (S, S) of how much likelier two pieces are of one person, the second behind the first, than of two."""
    count = len(pieces)
    first, last = np.array([p.first for p in pieces]), np.array([p.last for p in pieces])
    clothes = np.stack([p.clothes for p in pieces])
    apart = np.stack([appearance.unlikeness(own, clothes) for own in clothes])
    at_once = (first[:, None] <= last) & (first <= last[:, None])
    # Clothes tell somebody from others only as far as others wear others.
    rival = np.where(at_once & ~np.eye(count, dtype=bool) & np.isfinite(apart), apart, np.inf).min(1, initial=np.inf)
    score = np.full((count, count), -np.inf)
    ends = [_end(piece, people) for piece in pieces]
    begins = [(_points(people, p.first, p.members[p.first])) for p in pieces]
    for i, one in enumerate(pieces):
        for j in np.flatnonzero((first > last[i]) & (first - last[i] <= _LONGEST_GAP)):
            other = pieces[j]
            gap = int(first[j] - last[i])
            continued = _continued(one, other)
            moved = _motion(ends[i], begins[j], gap)
            if continued is not None:
                moved = max(moved, continued) + _FOLLOWED
            share = min(one.count, other.count) / (min(one.count, other.count) + _FEW)
            score[i, j] = moved + share * _likeness(apart[i, j], min(rival[i], rival[j]))
    return score


def _likeness(apart: float, rival: float) -> float:
    """What clothes say, by their unlikeness and the least of those of people seen at the same time."""
    if not np.isfinite(apart):
        return 0.0
    if apart > _OTHERS:
        return max(_LEAST, _STEEPNESS * (_OTHERS - apart))
    return min(_MOST, max(0.0, _STEEPNESS * (min(_OTHERS, rival / 2) - apart)))


def _continued(one: _Piece, other: _Piece) -> float | None:
    """What the track says of two of its pieces; None where they do not follow one another in one."""
    if one.following is other:
        return _CONTINUED
    if one.following is not None and one.following.doubtful and one.following.following is other:
        return _DOUBTED
    return None


def _points(people: Sequence[Array], frame: int, index: int) -> Array:
    return tracklets.split(people[frame])[0][index]


def _end(piece: _Piece, people: Sequence[Array]) -> tuple[Array, Array]:
    """Points (K, 2) at the end of a piece, and the velocity (2,) there, pixels per frame."""
    frames = list(piece.members)[-_PACE:]
    points = [_points(people, t, piece.members[t]) for t in frames]
    if len(frames) < 2:
        return points[-1], np.zeros(2)
    moved = points[-1] - points[0]
    known = np.isfinite(moved).all(-1)
    velocity = np.median(moved[known], 0) / (frames[-1] - frames[0]) if known.any() else np.zeros(2)
    return points[-1], velocity


def _motion(end: tuple[Array, Array], begin: Array, gap: int) -> float:
    """What place and size say of an end and a beginning so many frames later."""
    points, velocity = end
    expected = points + (1 - _COAST**gap) / (1 - _COAST) * velocity
    known = np.isfinite(expected).all(-1) & np.isfinite(begin).all(-1)
    if not known.any():
        return _ELSEWHERE
    size = tracklets.size(np.stack([points, begin]))
    apart = float(np.median(np.linalg.norm(begin - expected, axis=-1)[known]) / size.max())
    way = float(np.median(np.linalg.norm(begin - points, axis=-1)[known]) / size.max())
    near = float(tracklets.nearness(np.array(apart), np.array(gap)))
    place = max(near, _ELSEWHERE if way <= _REACH * gap else -np.inf)
    grown = max(0.0, abs(float(np.log2(size[1] / size[0]))) - _FREE_GROWTH)
    return place - _GROWTH * grown


def _people(
    chains: list[list[_Piece]],
    sure: list[_Piece],
    links: dict[int, int],
    margins: dict[int, float],
    people: Sequence[Array],
    clothes: Sequence[Array],
) -> list[Somebody]:
    """The people that the linked pieces are, with doubtful frames given to whom they are likeliest of."""
    owner: dict[int, int] = {}
    groups: list[list[_Piece]] = []
    behind = set(links.values())
    for start in range(len(sure)):
        if start in behind:
            continue
        group, number = [], start
        while True:
            group.append(sure[number])
            if number not in links:
                break
            number = links[number]
        owner |= {id(piece): len(groups) for piece in group}
        groups.append(group)
    result = []
    for group in groups:
        members = {t: i for piece in group for t, i in piece.members.items()}
        result.append(Somebody(members, 0.0, _doubts(group, sure, margins)))
    worn = [_worn(group) for group in groups]
    for chain in chains:
        for number, piece in enumerate(chain):
            if not piece.doubtful:
                continue
            around = [chain[n] for n in (number - 1, number + 1) if 0 <= n < len(chain)]
            claimed = list(dict.fromkeys(owner[id(other)] for other in around if id(other) in owner))
            if not claimed:
                result.append(Somebody(dict(piece.members), 0.0))
                continue
            _give(piece, [result[n] for n in claimed], [worn[n] for n in claimed], clothes)
    for somebody in result:
        somebody.members = dict(sorted(somebody.members.items()))
        somebody.weight = _weight(somebody.members, people)
    return sorted(result, key=lambda somebody: next(iter(somebody.members)))


def _worn(group: list[_Piece]) -> Array:
    total = np.zeros_like(group[0].clothes)
    for piece in group:
        total += piece.count * piece.clothes
    return total


def _give(piece: _Piece, claimed: list[Somebody], worn: list[Array], clothes: Sequence[Array]) -> None:
    """Frames of a doubtful piece, to the person before it up to some frame, and to the one after it from there on."""
    frames = list(piece.members)
    change = len(frames)
    if len(claimed) == 2:
        each = np.stack([clothes[t][piece.members[t]] for t in frames])
        apart = np.nan_to_num(np.stack([appearance.unlikeness(own, each) for own in worn]), nan=0.5)
        before = np.concatenate([[0], np.cumsum(apart[0])])
        after = apart[1].sum() - np.concatenate([[0], np.cumsum(apart[1])])
        change = int(np.argmin(before + after))
    for number, t in enumerate(frames):
        somebody = claimed[0] if number < change else claimed[-1]
        somebody.members.setdefault(t, piece.members[t])


def _doubts(group: list[_Piece], sure: list[_Piece], margins: dict[int, float]) -> tuple[tuple[int, int], ...]:
    """Where the way of a person through its pieces is not much likelier than another."""
    number = {id(piece): n for n, piece in enumerate(sure)}
    return tuple(
        (one.last, other.first)
        for one, other in itertools.pairwise(group)
        if margins.get(number[id(one)], np.inf) < _SURE
    )


def _weight(members: dict[int, int], people: Sequence[Array]) -> float:
    total = 0.0
    for t, index in members.items():
        points, confidence = tracklets.split(people[t])
        total += float(tracklets.size(points[index]) * confidence[index].mean())
    return total
