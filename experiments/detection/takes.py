"""Takes: the repetitions of one action in a film, by self-similarity, and where an action is that is done once.

Somebody who repeats an action comes to a stop, or turns back, at about the same pose each time. So takes begin and end
where the person is slowest. Of all stretches between two such frames each is tried as the pattern: the others that are like
it and do not overlap are chosen by dynamic programming, so that as much of the motion as possible is explained by the
pattern, less the pattern itself. That is the fitness of audio thumbnailing (Müller, Jiang and Grosche, A robust fitness
measure for capturing repetitions in music recordings, IEEE TASLP 2013), and it prefers one repetition to two in a row, as
two explain less for their length.

Steps of somebody who walks or runs are no takes unless asked for: nothing stops between them. Nor is what precedes the
fastest motion of the film, as a ball that is bounced before a serve.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.signal import find_peaks

from experiments.detection import self_similarity
from experiments.detection.self_similarity import Course

Array = np.ndarray

SHORTEST, LONGEST = 0.5, 20.0  # seconds, of a take
_STILL = 0.12  # speed, trunks per second, below which somebody stands still ...
_STILL_SHARE = 0.06  # ... or as a share of the fastest
_IDLE = 1.0  # seconds of standing still that are not of the action
_IDLE_LEFT = 0.5  # seconds of them that are kept
_PROMINENCE = np.log(1.6)  # of a stop: by what factor one is slower than before and after
_SLOWEST = 0.02  # share of the fastest below which no slower is told
_LOST = 0.5  # seconds in which nobody is seen that no take goes over
_ALIKE = 0.35  # unlikeness up to which a stretch is like the pattern
_PRICE = 0.15  # of a take, and of ends in full motion, in patterns
_RATIO = 2.0  # in length
_ONSET = 0.3  # share of a take's median speed from which on it moves
_MARGIN = 0.08  # seconds before and after
_TURN = 0.2  # seconds of rest that are none: one take goes over into the next
MOTION = 0.4  # speed, trunks per second, that a film must reach before its rest is told from its motion
_PATTERNS, _STOPS = 160, 260  # at most
# What is a repetition without being asked for.
_LEAST_FITNESS = 0.25
_STOPPED = 0.5  # speed at the ends, as a share of the fastest within
_FASTEST = 0.6  # fastest of the takes, as a share of the film's
_SLOW = 0.15  # share of the fastest that counts as no motion of the action


@dataclasses.dataclass(frozen=True)
class Found:
    """takes: the frames of each, in order. likeness (K,): of each to the pattern, 1 = equal; empty where nothing repeats."""

    takes: tuple[range, ...]
    likeness: tuple[float, ...] = ()


def find(of: Course, count: int | None = None) -> Found | None:
    """The takes of a film.

    Args:
      of: the motion of its person.
      count: how many there are; None = found out: one where nothing repeats.

    Returns:
      None where there are not so many.
    """
    whole = trimmed(of)
    if count == 1:
        return Found((whole,))
    stops = _stops(of)
    stretches = _stretches(of, stops)
    if not stretches:
        return None if count else Found((whole,))
    chosen = _repeated(of, stops, stretches, count)
    if chosen is None:
        return None if count else Found((whole,))
    takes, likeness, fitness = chosen
    if count is None and (len(takes) < 2 or fitness < _LEAST_FITNESS or not _stopping(of, takes)):
        return Found((whole,))
    return Found(_tight(of, takes), likeness)


def still(of: Course) -> float:
    """The speed below which the person stands still."""
    return max(_STILL, _STILL_SHARE * float(np.percentile(of.speed, 99)))


def trimmed(of: Course) -> range:
    """All frames but those before and after the action in which the person clearly stands still, or is not there."""
    count = len(of.speed)
    moves = np.flatnonzero((of.speed > still(of)) & of.seen)
    if not len(moves) or np.percentile(of.speed, 99) < MOTION:
        return range(count)
    idle, kept = round(_IDLE * of.fps), round(_IDLE_LEFT * of.fps)
    first, last = int(moves[0]), int(moves[-1])
    start = first - kept if first > idle else 0
    stop = last + 1 + kept if count - 1 - last > idle else count
    return range(start, stop)


def _stops(of: Course) -> Array:
    """Frames between which takes are sought, the first of the film and the one behind its last among them."""
    count = len(of.speed)
    fastest = float(np.percentile(of.speed, 99))
    slow = -np.log(np.maximum(of.speed, max(_SLOWEST * fastest, 1e-3)))
    # A film may begin and end at rest.
    padded = np.concatenate([[slow.min()], slow, [slow.min()]])
    peaks, about = find_peaks(padded, prominence=_PROMINENCE, plateau_size=1)
    if len(peaks) > _STOPS:
        best = np.sort(np.argsort(-about["prominences"])[:_STOPS])
        peaks, about = peaks[best], {name: values[best] for name, values in about.items()}
    stops = {0, count, *(peaks - 1), *(about["left_edges"] - 1), *(about["right_edges"] - 1)}
    moving = np.concatenate([[False], (of.speed > still(of)) & of.seen, [False]])
    edges = np.flatnonzero(moving[1:] != moving[:-1])
    long = [(a, b) for a, b in zip(edges[1:-1:2], edges[2::2], strict=True) if b - a > _IDLE_LEFT * of.fps]
    stops |= {int(frame) for pair in long for frame in pair}
    if len(edges):
        stops |= {int(edges[0]), int(edges[-1])}
    # Stops a few frames apart are one.
    result: list[int] = []
    for frame in sorted(int(s) for s in stops if 0 <= s <= count):
        if not result or frame - result[-1] > 0.08 * of.fps:
            result.append(frame)
    result[-1] = count
    return np.array(result)


def _stretches(of: Course, stops: Array) -> list[tuple[int, int]]:
    """Pairs of numbers of stops with a possible take between them."""
    lost = np.concatenate([[0], np.cumsum(~of.seen)])
    gap = _longest_gap(of.seen) > _LOST * of.fps
    moves = np.concatenate([[0.0], np.cumsum(of.speed)])
    least = still(of)
    found = []
    for i, a in enumerate(stops):
        for j in range(i + 1, len(stops)):
            b = stops[j]
            if b - a > LONGEST * of.fps:
                break
            if b - a < SHORTEST * of.fps or (gap and _longest_gap(of.seen[a:b]) > _LOST * of.fps):
                continue
            if lost[b] - lost[a] > 0.5 * (b - a) or (moves[b] - moves[a]) / (b - a) < least:
                continue
            found.append((i, j))
    return found


def _longest_gap(seen: Array) -> int:
    edges = np.flatnonzero(np.concatenate([[True], seen, [True]]))
    return int(np.diff(edges).max() - 1)


def _repeated(
    of: Course, stops: Array, stretches: list[tuple[int, int]], count: int | None
) -> tuple[list[tuple[int, int]], tuple[float, ...], float] | None:
    """The frames of the takes of the best pattern, their likenesses and its fitness; None = there are not `count`."""
    pairs = np.array(stretches)
    ends = stops[pairs]
    length = ends[:, 1] - ends[:, 0]
    moving = np.maximum(of.speed - _SLOW * np.percentile(of.speed, 99), 0.0)
    moves = np.concatenate([[0.0], np.cumsum(moving)])
    energy = moves[ends[:, 1]] - moves[ends[:, 0]]
    points, weight = self_similarity.samples(of, [(int(a), int(b)) for a, b in ends])
    # Of too many patterns some, of all lengths and places.
    patterns = np.unique(np.linspace(0, len(pairs) - 1, min(_PATTERNS, len(pairs))).astype(int))
    fastest = np.array([of.speed[a:b].max() for a, b in ends])
    at_end = of.speed[np.minimum(ends, len(of.speed) - 1)]
    # The film's own ends are no stop of the person's.
    hurry = np.where((ends == 0) | (ends == len(of.speed)), np.minimum(at_end, still(of)), at_end).mean(1) / fastest
    best = None
    for pattern in patterns:
        near = np.flatnonzero((length < _RATIO * length[pattern]) & (length * _RATIO > length[pattern]))
        unlike = self_similarity.unlikeness(points[[pattern]], weight[[pattern]], points[near], weight[near])[0]
        likeness = 1 - unlike / _ALIKE
        worth = likeness * energy[near] - _PRICE * energy[pattern] * (1 + 2 * hurry[near])
        good = worth > 0
        rows = near[good]
        if not len(rows):
            continue
        gained, chosen = _most_worth(pairs[rows], worth[good], len(stops), count)
        if not chosen:
            continue
        fitness = (gained - energy[pattern] * (1 - _PRICE)) / max(moves[-1], 1e-9)
        if best is None or fitness > best[0]:
            like = dict(zip(rows, likeness[good], strict=True))
            takes = [int(rows[k]) for k in chosen]
            best = fitness, takes, tuple(float(like[t]) for t in takes)
    if best is None:
        return None
    return [(int(ends[t, 0]), int(ends[t, 1])) for t in best[1]], best[2], float(best[0])


def _most_worth(pairs: Array, worth: Array, num_stops: int, count: int | None) -> tuple[float, list[int]]:
    """The sum of the worths of, and which, stretches that do not overlap are worth most; exactly `count`, if it is given."""
    ending: list[list[int]] = [[] for _ in range(num_stops)]
    for k, (_, j) in enumerate(pairs):
        ending[j].append(k)
    levels = 1 if count is None else count + 1
    # By the number of takes so far; with any number there is one level.
    total = np.full((num_stops, levels), -np.inf)
    total[:, 0] = 0.0
    last: list[list[tuple[int, int] | None]] = [[None] * levels for _ in range(num_stops)]
    for stop in range(1, num_stops):
        for level in range(levels):
            total[stop, level], last[stop][level] = total[stop - 1, level], None
            before = level if count is None else level - 1
            if before < 0:
                continue
            for k in ending[stop]:
                value = total[pairs[k, 0], before] + worth[k]
                if value > total[stop, level]:
                    total[stop, level], last[stop][level] = value, (k, before)
    level = levels - 1
    gained, chosen, stop = float(total[-1, level]), [], num_stops - 1
    if not np.isfinite(gained):
        return 0.0, []
    while stop > 0:
        step = last[stop][level]
        if step is None:
            stop -= 1
            continue
        chosen.append(step[0])
        stop, level = int(pairs[step[0], 0]), step[1]
    return gained, chosen[::-1]


def _stopping(of: Course, takes: list[tuple[int, int]]) -> bool:
    """Whether the person stops between takes, and is nowhere else as fast as in them."""
    count = len(of.speed)
    fastest = [of.speed[a:b].max() for a, b in takes]
    inner = [of.speed[[f for f in (a, b) if 0 < f < count]] / top for (a, b), top in zip(takes, fastest, strict=True)]
    ends = np.concatenate(inner)
    return bool((not len(ends) or np.median(ends) < _STOPPED) and np.median(fastest) > _FASTEST * of.speed.max())


def _tight(of: Course, takes: list[tuple[int, int]]) -> tuple[range, ...]:
    """Takes without the rest before and after, but for a margin."""
    margin, count = round(_MARGIN * of.fps), len(of.speed)
    ends = []
    for a, b in takes:
        moves = a + np.flatnonzero(of.speed[a:b] > max(still(of), _ONSET * np.median(of.speed[a:b])))
        ends.append([max(int(moves[0]) - margin, 0), min(int(moves[-1]) + 1 + margin, count)])
    # Where one goes over into the next without a rest they meet, as the film's ends are theirs.
    turn = _TURN * of.fps
    for number, (a, b) in enumerate(takes):
        follows = a == 0 or (number > 0 and takes[number - 1][1] == a)
        near = ends[number][0] - (ends[number - 1][1] if number and a else 0) <= turn
        if follows and near:
            ends[number][0] = a
            if number and a:
                ends[number - 1][1] = a
        if b == count and count - ends[number][1] <= turn:
            ends[number][1] = count
    return tuple(range(start, max(stop, start + 1)) for start, stop in ends)
