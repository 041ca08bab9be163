"""How the camera of a shot turns and zooms, by what is seen of the background.

Corners of a key frame, outside the people who are seen, are followed from frame to frame; most of them agree on how the
camera has turned and zoomed. Where the view has moved on, the frame becomes a key frame itself. Then all key frames are put
right together, with the focal length if nobody knows it, and each frame by its key frame.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from experiments.detection import optical_flow, turning_camera
from experiments.detection.optical_flow import Pyramid
from experiments.detection.turning_camera import STILL, Camera, Match

Array = np.ndarray

LONG_SIDE = 640  # of the small pictures that are looked at
GUESS = 0.7  # focal length in diagonals of the picture, where nothing tells: a phone's
LOOKS = 12  # frames that are compared with the first, before anything is followed
_STILL = 0.002  # of the diagonal: a picture that stays within it stands still
_FEWEST = 10  # points that tell how a camera moves
_LEAST_SHARE = 0.3  # of the points followed that agree, else the frame tells nothing
_TOLERATED = 3.0  # pixels by which what is seen of the background may miss, by compression and small steps
_AGREE, _OF_FRAMES = 0.7, 20  # share of the points that agree with a camera that only turns, at least in 4 frames of 5
_MOST_MISSING, _LONGEST_GAP = 0.1, 8  # share of frames, and frames in a row, that may tell nothing
_NEW_SHIFT, _NEW_ZOOM, _NEW_ROLL, _NEW_SHARE = 0.15, 0.12, 0.12, 0.5  # of the width; logarithm; radians; of the points
_FAR_SHIFT, _FAR_ZOOM = 0.55, 0.25  # up to which two key frames are compared
_MOST_PAIRS = 60
_SURE, _WIDE = 0.06, np.radians(8.0)  # standard deviation of a log focal length that a pan of so much tells
_BODY_MARGIN = 0.12  # of a person's diagonal, around the landmarks


@dataclasses.dataclass(frozen=True, eq=False)
class Motion:
    """turn (F, 3, 3): each frame's camera from that of the first. zoom (F,): focal length over that of the first. focal:
    pixels of the small pictures, with which the turns were found. tells_focal: whether the pictures themselves told it."""

    turn: Array
    zoom: Array
    focal: float
    tells_focal: bool


class UnsolvedError(ValueError):
    """The camera moves, and how is not found; the message says why, as a clause."""


@dataclasses.dataclass(frozen=True, eq=False)
class _Key:
    frame: int
    pyramid: Pyramid
    points: Array


@dataclasses.dataclass(eq=False)
class _Path:
    """What following found. cameras, matches and tried (points followed) of each frame, None and 0 where it tells nothing;
    keys, the key frames; links, the matches between them."""

    cameras: list[Camera | None]
    matches: list[Match | None]
    tried: list[int]
    keys: list[_Key]
    links: list[Match]


def stands_still(pictures: Iterable[Array], boxes: Callable[[int], Array], frames: list[int]) -> bool:
    """Whether some frames show the same view. pictures: grey, of these frames, the first of them the first of all.
    boxes: of the people in a frame, (P, 4) left, top, right, bottom."""
    first, points = None, np.zeros((0, 2))
    for frame, picture in zip(frames, pictures, strict=False):
        now = optical_flow.pyramid(picture)
        if first is None:
            first = now
            points = optical_flow.corners(first[0], _free(picture.shape, boxes(frame)))
            if len(points) < _FEWEST:
                # Nothing can be followed, and nothing says that the camera moves.
                return True
            continue
        found, good = optical_flow.track(first, now, points, points)
        good &= _outside(found, boxes(frame))
        good[good] = turning_camera.agreeing(points[good], found[good])
        shift = np.linalg.norm(found - points, axis=-1)[good]
        if good.sum() < max(_FEWEST, 0.4 * len(points)) or np.median(shift) > _STILL * np.hypot(*picture.shape):
            return False
    return True


def find(pictures: Iterable[Array], boxes: Callable[[int], Array], focal: float | None) -> Motion | None:
    """How the camera moves; None where it stands still, or the background shows nothing to follow.

    Args:
      pictures: grey (H, W), 0 to 255, with a longer side of `LONG_SIDE`, of all frames.
      boxes: of the people in a frame, (P, 4) left, top, right, bottom, pixels of these pictures.
      focal: pixels of these pictures; None = not known.

    Raises:
      UnsolvedError: it moves, and not as a camera that turns and zooms where it stands.
    """
    shape: tuple[int, int] = (0, 0)

    def seen() -> Iterable[Array]:
        nonlocal shape
        for picture in pictures:
            shape = (int(picture.shape[0]), int(picture.shape[1]))
            yield picture

    start = seen()
    path = _follow(start, boxes, focal)
    if path is None:
        return None
    diagonal = float(np.hypot(*shape))
    guess = focal or GUESS * diagonal
    tells, lens = False, guess
    keys = [_camera(path, key.frame) for key in path.keys]
    links = path.links + _far_links(path, keys, shape, guess)
    if len(keys) > 1:
        keys, lens, spread = turning_camera.refine(keys, links, guess, focal is not None)
        wide = max(np.arccos(np.clip(key.turn[2, 2], -1, 1)) for key in keys)
        tells = spread < _SURE and bool(wide > _WIDE)
        if focal is None and not tells:
            usual = turning_camera.between(guess, lens, spread)
            start = [turning_camera.by_lens(key, lens, usual) for key in keys]
            (keys, *_), lens = turning_camera.refine(start, links, usual, known=True), usual
    cameras = [
        None if match is None or camera is None else turning_camera.fit(match, keys[match.first], camera, lens)
        for match, camera in zip(path.matches, path.cameras, strict=True)
    ]
    for number, key in enumerate(path.keys):
        cameras[key.frame] = keys[number]
    agree = _agreement(path, cameras, keys, lens)
    turn, zoom = _every(cameras)
    if not _moves(turn, zoom, lens, shape):
        return None
    if agree < _AGREE:
        raise UnsolvedError(f"only {agree:.0%} of what is seen of the background moves as if the camera only turned")
    return Motion(turn, zoom, lens, tells)


def _follow(pictures: Iterable[Array], boxes: Callable[[int], Array], focal: float | None) -> _Path | None:
    """Follows the background through all frames; None where the first shows nothing. Raises UnsolvedError: it is lost."""
    path = _Path([], [], [], [], [])
    middle, last, before, gap = np.zeros(2), STILL, None, 0
    lens, size = 0.0, np.zeros(2)
    for frame, picture in enumerate(pictures):
        now, free = optical_flow.pyramid(picture), _free(picture.shape, boxes(frame))
        if frame == 0:
            size = np.array(picture.shape[::-1], float)
            middle, lens = size / 2, focal or GUESS * float(np.hypot(*size))
            points = optical_flow.corners(now[0], free)
            if len(points) < _FEWEST:
                return None
            path.keys.append(_Key(0, now, points - middle))
            _add(path, STILL, None, 0)
            before = (now, free)
            continue
        found = _look(path, now, boxes(frame), last, lens, middle)
        if found is None and path.keys[-1].frame != frame - 1 and gap == 0 and before is not None:
            # From the frame before it is a smaller step.
            _new_key(path, frame - 1, *before, middle)
            found = _look(path, now, boxes(frame), last, lens, middle)
        if found is None:
            gap += 1
            _add(path, None, None, 0)
            if gap > _LONGEST_GAP:
                raise UnsolvedError(f"the background is lost in frame {frame - gap + 1}")
            continue
        match, tried, good = found
        last = turning_camera.fit(good, _camera(path, path.keys[-1].frame), last, lens)
        _add(path, last, match, tried)
        gap, before = 0, (now, free)
        if _moved_on(path, last, good, lens, size):
            _new_key(path, frame, now, free, middle)
    missing = sum(camera is None for camera in path.cameras)
    if missing > _MOST_MISSING * len(path.cameras):
        raise UnsolvedError(f"the background is lost in {missing} of {len(path.cameras)} frames")
    return path


def _add(path: _Path, camera: Camera | None, match: Match | None, tried: int) -> None:
    path.cameras.append(camera)
    path.matches.append(match)
    path.tried.append(tried)


def _camera(path: _Path, frame: int) -> Camera:
    camera = path.cameras[frame]
    assert camera is not None
    return camera


def _look(
    path: _Path, now: Pyramid, boxes: Array, last: Camera, lens: float, middle: Array
) -> tuple[Match, int, Match] | None:
    """The points of the last key frame in the picture `now`: those followed, their number, and those that agree."""
    key, number = path.keys[-1], len(path.keys) - 1
    start = turning_camera.transfer(key.points, _camera(path, key.frame), last, lens)
    inside = np.asarray(np.isfinite(start).all(-1) & (np.abs(start) < middle).all(-1))
    inside[inside] &= _outside(start[inside] + middle, boxes)
    points, start = key.points[inside], start[inside]
    found, good = optical_flow.track(key.pyramid, now, points + middle, start + middle)
    good &= _outside(found, boxes)
    found = found - middle
    agree = good.copy()
    agree[good] = turning_camera.agreeing(start[good], found[good])
    if agree.sum() < max(_FEWEST, _LEAST_SHARE * good.sum(), _LEAST_SHARE * 0.5 * len(points)):
        return None
    matches = [Match(number, -1, points[which], found[which]) for which in (good, agree)]
    return matches[0], int(good.sum()), matches[1]


def _moved_on(path: _Path, camera: Camera, good: Match, lens: float, size: Array) -> bool:
    """Whether a frame shows so much else than the last key frame that it should be one."""
    key = _camera(path, path.keys[-1].frame)
    shift = turning_camera.transfer(np.zeros((1, 2)), key, camera, lens)[0]
    roll = np.abs(Rotation.from_matrix(camera.turn @ key.turn.T).as_rotvec()[2])
    return bool(
        not np.linalg.norm(shift) < _NEW_SHIFT * size.max()
        or abs(camera.zoom - key.zoom) > _NEW_ZOOM
        or roll > _NEW_ROLL
        or len(good.points) < _NEW_SHARE * len(path.keys[-1].points)
    )


def _new_key(path: _Path, frame: int, now: Pyramid, free: Array, middle: Array) -> None:
    """Makes a frame that was followed a key frame, if it shows enough."""
    match = path.matches[frame]
    points = optical_flow.corners(now[0], free)
    if match is None or len(points) < 2 * _FEWEST:
        return
    path.links.append(dataclasses.replace(match, second=len(path.keys)))
    path.keys.append(_Key(frame, now, points - middle))


def _far_links(path: _Path, keys: list[Camera], shape: tuple[int, int], lens: float) -> list[Match]:
    """Matches of key frames that do not follow one another and show much the same, so that small errors do not add up."""
    middle = np.array(shape[::-1]) / 2
    pairs = []
    for second in range(2, len(keys)):
        for first in range(second - 1):
            shift = np.linalg.norm(turning_camera.transfer(np.zeros((1, 2)), keys[first], keys[second], lens)[0])
            if shift < _FAR_SHIFT * max(shape) and abs(keys[first].zoom - keys[second].zoom) < _FAR_ZOOM:
                pairs.append((first, second))
    if len(pairs) > _MOST_PAIRS:
        pairs = [pairs[i] for i in np.linspace(0, len(pairs) - 1, _MOST_PAIRS).astype(int)]
    links = []
    for first, second in pairs:
        one, other = path.keys[first], path.keys[second]
        start = turning_camera.transfer(one.points, keys[first], keys[second], lens)
        inside = np.isfinite(start).all(-1) & (np.abs(start) < middle).all(-1)
        points, start = one.points[inside], start[inside]
        found, good = optical_flow.track(one.pyramid, other.pyramid, points + middle, start + middle)
        found = found - middle
        good[good] = turning_camera.agreeing(start[good], found[good])
        if good.sum() >= _FEWEST:
            links.append(Match(first, second, points[good], found[good]))
    return links


def _agreement(path: _Path, cameras: list[Camera | None], keys: list[Camera], lens: float) -> float:
    """The share of points followed that agree with the frame's camera, which a fifth of the frames do not reach."""
    shares = []
    for match, camera, tried in zip(path.matches, cameras, path.tried, strict=True):
        if match is not None and camera is not None and tried:
            apart = match.seen - turning_camera.transfer(match.points, keys[match.first], camera, lens)
            shares.append((np.linalg.norm(np.nan_to_num(apart, nan=99.0), axis=-1) < _TOLERATED).mean())
    return float(np.percentile(shares, _OF_FRAMES)) if shares else 1.0


def _every(cameras: list[Camera | None]) -> tuple[Array, Array]:
    """Turns (F, 3, 3) and zooms (F,) of all frames, those between others where a frame tells nothing."""
    known = [frame for frame, camera in enumerate(cameras) if camera is not None]
    there = [camera for camera in cameras if camera is not None]
    at = np.clip(np.arange(len(cameras)), known[0], known[-1])
    zoom = np.exp(np.interp(at, known, [camera.zoom for camera in there]))
    if len(known) == 1:
        return np.tile(there[0].turn, (len(cameras), 1, 1)), zoom
    turn = Slerp(known, Rotation.from_matrix(np.stack([camera.turn for camera in there])))(at).as_matrix()
    return turn, zoom


def _moves(turn: Array, zoom: Array, lens: float, shape: tuple[int, int]) -> bool:
    """Whether the picture moves by more than what is called still, over all of it on average."""
    half = np.array(shape[::-1]) / 2
    grid = np.stack(np.meshgrid([-0.8, 0.0, 0.8], [-0.8, 0.0, 0.8]), -1).reshape(-1, 2) * half
    for own, factor in zip(turn, zoom, strict=True):
        there = turning_camera.transfer(grid, STILL, Camera(own, float(np.log(factor))), lens)
        # What is behind the camera has moved far.
        if not np.linalg.norm(there - grid, axis=-1).mean() <= _STILL * 2 * np.linalg.norm(half):
            return True
    return False


def _free(shape: tuple[int, ...], boxes: Array) -> Array:
    """Where (H, W) nobody is."""
    free = np.ones(shape[:2], bool)
    for left, top, right, bottom in np.round(boxes).astype(int):
        free[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = False
    return free


def _outside(points: Array, boxes: Array) -> Array:
    """Which (P,) of the points (P, 2) are in no box (B, 4)."""
    inside = (points[:, None] >= boxes[:, :2]) & (points[:, None] <= boxes[:, 2:])
    return np.asarray(~inside.all(-1).any(-1))


def boxes_of(landmarks: Array, seen: Array, scale: float) -> Array:
    """Boxes (P, 4) around the landmarks (P', 33, 4) of the people seen (P',) in a frame, times a scale of the picture."""
    points = landmarks[seen][..., :2] * scale
    if not len(points):
        return np.zeros((0, 4))
    low, high = points.min(1), points.max(1)
    margin = _BODY_MARGIN * np.linalg.norm(high - low, axis=-1, keepdims=True)
    return np.concatenate([low - margin, high + margin], -1)
