"""Feet that stand still: a clip whose planted feet do not move at all, as animators and engines want them.

A fit holds planted feet still within a few millimetres; here they become exactly still, by changing legs alone. A point
is planted while its contact is more likely than not. Heels move with the ankle, toes with the ball of the foot. Where
both stand, the foot keeps its mean pose of that time; where one does, it stays in its mean place and the foot turns
about it. Before and after, what was changed fades out. Hips and knees follow in closed form, the knee in its own plane
(two-bone inverse kinematics); where a foot is out of reach the pelvis comes nearer.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation

from body_models import joints as jn
from experiments.export.animation import Animation, posed

Array = np.ndarray
FADE = 0.15  # seconds
REACH = 0.9995  # of a leg: straighter ones leave the direction of the knee open
_PULLS = 30  # projections of the pelvis into the reach of both feet, in turn
_SIDES = ("left", "right")
_STRAIGHT = 1e-3  # share of the body's own axis in that of a knee, so that a straight knee has one


def locked(clip: Animation) -> Animation:
    """The clip with planted feet that do not move; a clip without contacts stays as it is."""
    if clip.contact is None or not clip.standing.any():
        return clip
    planted = clip.standing
    fade = max(1, round(FADE * clip.fps))
    turned, places = _posed(clip)
    feet = [
        _targets(turned, places, _offsets(clip, side), planted[:, 2 * number : 2 * number + 2], fade, _joints(side))
        for number, side in enumerate(_SIDES)
    ]
    shift = _nearer(clip, places, [ankle for ankle, _, _ in feet], fade)
    rotations = clip.rotations.astype(float).copy()
    for side, (ankle, foot_turn, ball_turn) in zip(_SIDES, feet, strict=True):
        _bend(rotations, turned, places + shift[:, None], _joints(side), ankle, foot_turn, ball_turn)
    found = posed(
        clip.name,
        clip.action,
        clip.fps,
        clip.phases,
        rotations,
        clip.translation + shift,
        clip.betas,
        clip.body,
        clip.contact,
    )
    return dataclasses.replace(found, locked=True)


def soles(clip: Animation) -> Array:
    """The points (T, 4, 3) that are held: left toe, left heel, right toe, right heel, moving with one joint each."""
    turned, places = _posed(clip)
    found = []
    for side in _SIDES:
        joints, (_, toe, heel) = _joints(side), _offsets(clip, side)
        found += [places[:, joints[3]] + turned[:, joints[3]] @ toe, places[:, joints[2]] + turned[:, joints[2]] @ heel]
    return np.stack(found, 1)


def _joints(side: str) -> tuple[int, int, int, int]:
    """Hip, knee, ankle and ball of the foot."""
    hip, knee, ankle, foot = (jn.SMPL_JOINTS.index(f"{side}_{part}") for part in ("hip", "knee", "ankle", "foot"))
    return hip, knee, ankle, foot


def _offsets(clip: Animation, side: str) -> tuple[Array, Array, Array]:
    """In the unposed body: the ball of the foot from the ankle, the big toe from the ball, the heel from the ankle."""
    _, _, ankle, foot = _joints(side)
    points, rest = clip.rest_landmarks, clip.rest_joints
    toe, heel = (points[jn.LANDMARKS.index(f"{side}_{part}")] for part in ("big_toe", "heel"))
    return rest[foot] - rest[ankle], toe - rest[foot], heel - rest[ankle]


def _posed(clip: Animation) -> tuple[Array, Array]:
    """World rotations (T, 24, 3, 3) and places (T, 24, 3) of the joints."""
    turned, places = np.empty(clip.rotations.shape), np.empty(clip.joints.shape)
    for joint, parent in enumerate(jn.PARENTS):
        own = clip.rotations[:, joint].astype(float)
        if parent < 0:
            turned[:, joint], places[:, joint] = own, clip.rest_joints[0] + clip.translation
        else:
            offset = clip.rest_joints[joint] - clip.rest_joints[parent]
            turned[:, joint] = turned[:, parent] @ own
            places[:, joint] = places[:, parent] + turned[:, parent] @ offset
    return turned, places


def _targets(
    turned: Array,
    places: Array,
    offsets: tuple[Array, Array, Array],
    planted: Array,
    fade: int,
    joints: tuple[int, int, int, int],
) -> tuple[Array, Array, Array]:
    """Of one foot: where its ankle (T, 3) is to be, and how it (T, 3, 3) and the ball (T, 3, 3) are to be turned.

    planted (T, 2): toe, heel.
    """
    ball, toe, heel = offsets
    ankle, foot = joints[2:]
    flat = np.asarray(planted.all(-1))
    turns = []
    for joint in (ankle, foot):
        change = np.zeros((len(flat), 3))
        for first, end in _runs(flat):
            own = Rotation.from_matrix(turned[first:end, joint])
            change[first:end] = (own.mean() * own.inv()).as_rotvec()
        turns.append(Rotation.from_rotvec(_faded(change, flat, fade)).as_matrix() @ turned[:, joint])
    # From the ankle to the two points, and where these would be if the ankle stayed where it is.
    arms = np.stack([turns[0] @ ball + turns[1] @ toe, turns[0] @ heel], 1)
    points = places[:, ankle, None] + arms
    moves = np.where(planted[..., None], _held(points, planted) - points, 0.0)
    count = planted.sum(-1)
    change = moves.sum(1) / np.maximum(count, 1)[:, None]
    return places[:, ankle] + _faded(change, count > 0, fade), turns[0], turns[1]


def _held(points: Array, planted: Array) -> Array:
    """Where the toe and the heel (T, 2, 3) are to stay, of points (T, 2, 3), in frames (T, 2) in which they stand.

    Where both stand the foot is rigid, so that the place of one is that of the other; times that overlap form a chain, which
    is followed from its first.
    """
    held = points.copy()
    spans = sorted((first, end, point) for point in (0, 1) for first, end in _runs(planted[:, point]))
    place: dict[tuple[int, int, int], Array] = {}
    for number, (first, end, point) in enumerate(spans):
        own = points[first:end, point].mean(0)
        for other in spans[:number]:
            begin, stop = max(first, other[0]), min(end, other[1])
            if other[2] != point and begin < stop:
                own = place[other] + points[begin, point] - points[begin, other[2]]
        place[first, end, point] = own
        held[first:end, point] = own
    return held


def _runs(flags: Array) -> list[tuple[int, int]]:
    """First frames and ends of the runs of flags (T,) that are set."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(int), [0]])))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _faded(values: Array, known: Array, fade: int) -> Array:
    """Values (T, 3) where they are known (T,), and between these as much of the nearest as is left after so many frames."""
    if not known.any():
        return np.zeros_like(values)
    frames, at = np.arange(len(values)), np.flatnonzero(known)
    after = np.searchsorted(at, frames)
    last, following = at[np.maximum(after - 1, 0)], at[np.minimum(after, len(at) - 1)]
    parts = []
    for nearest, there in ((last, after > 0), (following, after < len(at))):
        far = np.clip(1 - np.abs(frames - nearest) / (fade + 1), 0, 1)
        parts.append(np.where(there, far**2 * (3 - 2 * far), 0.0))
    weights = np.stack(parts)
    weights = weights / np.maximum(weights.sum(0), 1.0)
    between = weights[0][:, None] * values[last] + weights[1][:, None] * values[following]
    return np.where(known[:, None], values, between)


def _nearer(clip: Animation, places: Array, ankles: list[Array], fade: int) -> Array:
    """How the pelvis (T, 3) moves so that both ankles are in reach; smooth, and exact in the end."""
    shift = np.zeros_like(ankles[0])
    pulls = []
    for side, ankle in zip(_SIDES, ankles, strict=True):
        hip, knee, foot, _ = _joints(side)
        rest = clip.rest_joints
        length = np.linalg.norm(rest[knee] - rest[hip]) + np.linalg.norm(rest[foot] - rest[knee])
        # A leg that was as straight before may stay so.
        before = np.linalg.norm(places[:, foot] - places[:, hip], axis=-1)
        pulls.append((places[:, hip], ankle, np.maximum(REACH * length, np.minimum(before, length))))
    for smooth in (True, False):
        for _ in range(_PULLS):
            for hip, ankle, reach in pulls:
                apart = ankle - hip - shift
                far = np.linalg.norm(apart, axis=-1)
                shift = shift + apart * (np.maximum(far - reach, 0) / np.maximum(far, 1e-9))[:, None]
        if smooth and shift.any():
            shift = gaussian_filter1d(shift, fade / 3, axis=0, mode="nearest")
    return shift


def _bend(
    rotations: Array,
    turned: Array,
    places: Array,
    joints: tuple[int, int, int, int],
    ankle: Array,
    foot_turn: Array,
    ball_turn: Array,
) -> None:
    """Changes the rotations (T, 24, 3, 3) of one leg so that the ankle is at `ankle` (T, 3) and foot and ball are turned so.

    turned, places: the leg before, the places moved with the pelvis already.
    """
    hip, knee, foot, ball = joints
    thigh, shin = places[:, knee] - places[:, hip], places[:, foot] - places[:, knee]
    wanted = ankle - places[:, hip]
    lengths = np.linalg.norm(thigh, axis=-1), np.linalg.norm(shin, axis=-1)
    far = np.minimum(np.linalg.norm(wanted, axis=-1), lengths[0] + lengths[1])
    cosine = np.clip((far**2 - lengths[0] ** 2 - lengths[1] ** 2) / (2 * lengths[0] * lengths[1]), -1, 1)
    along = thigh / lengths[0][:, None]
    # The shin bends about the axis of the knee, which is the body's left-right one where the leg is straight.
    axis = np.cross(along, shin / lengths[1][:, None]) + _STRAIGHT * turned[:, hip, :, 0]
    across = np.cross(axis, along)
    across /= np.maximum(np.linalg.norm(across, axis=-1), 1e-12)[:, None]
    bent = lengths[1][:, None] * (cosine[:, None] * along + np.sqrt(1 - cosine**2)[:, None] * across)
    swing = _between(thigh + bent, wanted)
    upper = swing @ turned[:, hip]
    lower = swing @ _between(shin, bent) @ turned[:, knee]
    parent = turned[:, jn.PARENTS[hip]]
    back = lambda matrices: np.swapaxes(matrices, -1, -2)
    rotations[:, hip] = back(parent) @ upper
    rotations[:, knee] = back(upper) @ lower
    rotations[:, foot] = back(lower) @ foot_turn
    rotations[:, ball] = back(foot_turn) @ ball_turn


def _between(first: Array, second: Array) -> Array:
    """The smallest rotations (T, 3, 3) that turn vectors (T, 3) to the directions of others (T, 3)."""
    unit = lambda vectors: vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
    first, second = unit(first), unit(second)
    axis = np.cross(first, second)
    sine = np.linalg.norm(axis, axis=-1, keepdims=True)
    angle = np.arctan2(sine, (first * second).sum(-1, keepdims=True))
    return Rotation.from_rotvec(axis / np.maximum(sine, 1e-12) * angle).as_matrix()
