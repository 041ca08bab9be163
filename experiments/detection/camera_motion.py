"""How the camera of a shot turns and zooms, by what is seen of the background.

Corners of a key frame, outside the people who are seen, are followed from frame to frame; most of them agree on how the
camera has turned and zoomed. Where a key frame has few corners, its texture is followed as a whole. Where the view has
moved on, the frame becomes a key frame itself. Then all key frames are put right together, with the focal length if nobody
knows it, and each frame by its key frame.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from experiments.detection import background, direct_alignment, optical_flow, turning_camera
from experiments.detection.optical_flow import Pyramid
from experiments.detection.turning_camera import STILL, Camera, Match

Array = np.ndarray

LONG_SIDE = 640  # of the small pictures that are looked at
GUESSES = 0.7, 3.0  # focal length in diagonals of the picture, where nothing tells: a phone's, else a long one
LOOKS = 12  # frames that are compared with the first, before anything is followed
_STILL = 0.002  # of the diagonal: a picture that stays within it stands still
_FEWEST = 10  # points that tell how a camera moves
_LEAST_SHARE = 0.3  # of the points followed that agree, else the frame tells nothing
_FEW_CORNERS = 40  # of a key frame, up to which its texture is followed where they fail
_FEW_TEXTURED = 1000  # points
_LEAST_BLOCKS, _LEAST_ALIKE = 10, 0.6  # parts of a picture with texture, and the share that must look the same
_CLOSE = 1.5  # pixels by which key frames may miss one another before another lens is guessed
_TOLERATED = 3.0  # pixels by which what is seen of the background may miss, by compression and small steps
_AGREE, _OF_FRAMES = 0.7, 20  # share of the points that agree with a camera that only turns, at least in 4 frames of 5
_MOST_MISSING, _LONGEST_GAP = 0.1, 8  # share of frames, and frames in a row, that may tell nothing
_NEW_SHIFT, _NEW_ZOOM, _NEW_ROLL, _NEW_SHARE = 0.15, 0.12, 0.12, 0.5  # of the width; logarithm; radians; of the points
_FAR_SHIFT, _FAR_ZOOM = 0.55, 0.25  # up to which two key frames are compared
_MOST_PAIRS = 60
_SURE, _WIDE = 0.06, np.radians(8.0)  # standard deviation of a log focal length that a pan of so much tells


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
    free: Array

    @functools.cached_property
    def textured(self) -> Array:
        return direct_alignment.textured(self.pyramid[0], self.free)


@dataclasses.dataclass(eq=False)
class _Path:
    """What following found. cameras, matches and tried (points followed) of each frame, None and 0 where it tells nothing;
    keys, the key frames; links, the matches between them. lens: focal length, pixels, that was taken for it. shape: of the
    pictures."""

    lens: float = 0.0
    shape: tuple[int, int] = (0, 0)
    cameras: list[Camera | None] = dataclasses.field(default_factory=list)
    matches: list[Match | None] = dataclasses.field(default_factory=list)
    tried: list[int] = dataclasses.field(default_factory=list)
    keys: list[_Key] = dataclasses.field(default_factory=list)
    links: list[Match] = dataclasses.field(default_factory=list)

    @property
    def middle(self) -> Array:
        """Of a picture (2,); what is followed is told from it."""
        return np.array(self.shape[::-1]) / 2


def stands_still(pictures: Sequence[Array], boxes: Callable[[int], Array], frames: list[int]) -> bool:
    """Whether some frames show the same view. pictures: grey, of these frames, the first of them the first of all.
    boxes: of the people in a frame, (P, 4) left, top, right, bottom."""
    free = [background.free(picture.shape, boxes(frame)) for frame, picture in zip(frames, pictures, strict=True)]
    pyramids = [optical_flow.pyramid(picture) for picture in pictures]
    points = optical_flow.corners(pyramids[0][0], free[0])
    limit = _STILL * np.hypot(*pictures[0].shape)
    if len(points) >= _FEWEST:
        for now, there in zip(pyramids[1:], free[1:], strict=True):
            found, good = optical_flow.track(pyramids[0], now, points, points)
            good &= background.at(there, found)
            good[good] = turning_camera.agreeing(points[good], found[good])
            shift = np.linalg.norm(found - points, axis=-1)[good]
            if good.sum() < max(_FEWEST, 0.4 * len(points)) or np.median(shift) > limit:
                return False
    # Corners that stand still may be an emblem's alone. Where nothing else can be followed, nothing says that it moves.
    emblems = direct_alignment.fixed(np.stack(pictures))
    if background.at(~emblems, points).sum() >= _FEWEST:
        return True
    textured = direct_alignment.textured(pyramids[0][0], free[0] & ~emblems)
    if len(textured) < _FEW_TEXTURED:
        return True
    for now, there in zip(pyramids[1:], free[1:], strict=True):
        scene = there & ~emblems
        if _alike(direct_alignment.compared(pyramids[0], now, textured, textured, scene)):
            continue
        blocks = direct_alignment.align(pyramids[0], now, textured, textured, scene)
        if blocks is None or not _alike(blocks):
            continue
        if np.median(np.linalg.norm(blocks.seen - blocks.points, axis=-1)[blocks.alike]) > limit:
            return False
    return True


def _alike(blocks: direct_alignment.Blocks) -> bool:
    """Whether enough of a picture's texture was found."""
    return bool(blocks.alike.sum() >= max(_LEAST_BLOCKS, _LEAST_ALIKE * len(blocks.alike)))


def find(
    pictures: Callable[[], Iterable[Array]],
    boxes: Callable[[int], Array],
    focal: float | None,
    emblems: Array | bool = False,
) -> Motion | None:
    """How the camera moves; None where it stands still, or the background shows nothing to follow.

    Args:
      pictures: called, gives grey ones (H, W), 0 to 255, with a longer side of `LONG_SIDE`, of all frames.
      boxes: of the people in a frame, (P, 4) left, top, right, bottom, pixels of these pictures.
      focal: pixels of these pictures; None = not known.
      emblems (H, W): where something lies over the scene, see `direct_alignment.fixed`.

    Raises:
      UnsolvedError: it moves, and not as a camera that turns and zooms where it stands.
    """

    def free(frame: int, shape: tuple[int, int]) -> Array:
        return background.free(shape, boxes(frame)) & ~np.asarray(emblems)

    paths, failure = [], None
    for diagonals in GUESSES[: 1 if focal else None]:
        try:
            path = _follow(pictures(), free, focal, diagonals)
        except UnsolvedError as error:
            failure = failure or error
            continue
        if path is None:
            return None
        paths.append((_apart(path), path))
        if not path.links or paths[-1][0] < _CLOSE:
            break
    if not paths:
        assert failure is not None
        raise failure
    # By the wrong one of two lenses that differ so much hardly two key frames fit together.
    _, path = min(paths, key=lambda each: each[0])
    tells, lens, shape = False, path.lens, path.shape
    keys = [_camera(path, key.frame) for key in path.keys]
    links = path.links + _far_links(path, keys)
    if len(keys) > 1:
        likely = focal or GUESSES[0] * float(np.hypot(*shape))
        keys, lens, spread = turning_camera.refine(keys, links, lens, focal is not None, likely)
        wide = max(np.arccos(np.clip(key.turn[2, 2], -1, 1)) for key in keys)
        tells = spread < _SURE and bool(wide > _WIDE)
        if focal is None and not tells:
            usual = turning_camera.between(likely, lens, spread)
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


def _follow(
    pictures: Iterable[Array],
    free_in: Callable[[int, tuple[int, int]], Array],
    focal: float | None,
    diagonals: float,
) -> _Path | None:
    """Follows the background, which is where `free_in` says for each frame and shape (H, W) of its picture, through all
    frames; None where the first shows nothing. Raises UnsolvedError: it is lost."""
    path = _Path()
    last, before, gap = STILL, None, 0
    for frame, picture in enumerate(pictures):
        shape = (int(picture.shape[0]), int(picture.shape[1]))
        now, free = optical_flow.pyramid(picture), free_in(frame, shape)
        if frame == 0:
            path.shape, path.lens = shape, focal or diagonals * float(np.hypot(*shape))
            key = _Key(0, now, optical_flow.corners(now[0], free) - path.middle, free)
            if len(key.points) < _FEWEST and len(key.textured) < _FEW_TEXTURED:
                return None
            path.keys.append(key)
            _add(path, STILL, None, 0)
            before = (now, free)
            continue
        look = functools.partial(_look, path, now, free, last)
        found = look()
        if found is None and path.keys[-1].frame != frame - 1 and gap == 0 and before is not None:
            # From the frame before it is a smaller step.
            _new_key(path, frame - 1, *before)
            found = look()
        if found is None:
            gap += 1
            _add(path, None, None, 0)
            if gap > _LONGEST_GAP:
                raise UnsolvedError(f"the background is lost in frame {frame - gap + 1}")
            continue
        match, tried, good = found
        last = turning_camera.fit(good, _camera(path, path.keys[-1].frame), last, path.lens)
        _add(path, last, match, tried)
        gap, before = 0, (now, free)
        if _moved_on(path, last, good):
            _new_key(path, frame, now, free)
    missing = sum(camera is None for camera in path.cameras)
    if missing > _MOST_MISSING * len(path.cameras):
        raise UnsolvedError(f"the background is lost in {missing} of {len(path.cameras)} frames")
    return path


def _apart(path: _Path) -> float:
    """By how many pixels key frames miss what they show of one another, the median; infinity where there is only one."""
    cameras = [_camera(path, key.frame) for key in path.keys]
    missed = [turning_camera.residuals(match, cameras, path.lens) for match in path.links]
    return (
        float(np.median(np.linalg.norm(np.nan_to_num(np.concatenate(missed), nan=99.0), axis=-1))) if missed else np.inf
    )


def _add(path: _Path, camera: Camera | None, match: Match | None, tried: int) -> None:
    path.cameras.append(camera)
    path.matches.append(match)
    path.tried.append(tried)


def _camera(path: _Path, frame: int) -> Camera:
    camera = path.cameras[frame]
    assert camera is not None
    return camera


def _look(path: _Path, now: Pyramid, free: Array, last: Camera) -> tuple[Match, int, Match] | None:
    """What the picture `now` shows of the last key frame: the points followed, their number, and those that agree."""
    return _look_at_corners(path, now, free, last) or _look_at_texture(path, now, free, last)


def _look_at_corners(path: _Path, now: Pyramid, free: Array, last: Camera) -> tuple[Match, int, Match] | None:
    key, number, middle = path.keys[-1], len(path.keys) - 1, path.middle
    start = turning_camera.transfer(key.points, _camera(path, key.frame), last, path.lens)
    inside = np.asarray(np.isfinite(start).all(-1) & (np.abs(start) < middle).all(-1))
    inside[inside] &= background.at(free, start[inside] + middle)
    points, start = key.points[inside], start[inside]
    found, good = optical_flow.track(key.pyramid, now, points + middle, start + middle)
    good &= background.at(free, found)
    found = found - middle
    agree = good.copy()
    agree[good] = turning_camera.agreeing(start[good], found[good])
    if agree.sum() < max(_FEWEST, _LEAST_SHARE * good.sum(), _LEAST_SHARE * 0.5 * len(points)):
        return None
    matches = [Match(number, -1, points[which], found[which]) for which in (good, agree)]
    return matches[0], int(good.sum()), matches[1]


def _look_at_texture(path: _Path, now: Pyramid, free: Array, last: Camera) -> tuple[Match, int, Match] | None:
    """The same for a key frame with few corners: parts of the picture in the place of points."""
    key, number, middle = path.keys[-1], len(path.keys) - 1, path.middle
    if len(key.points) > _FEW_CORNERS:
        # They are there and do not agree: the camera walks, or all else is in the way.
        return None
    points = key.textured - middle
    start = turning_camera.transfer(points, _camera(path, key.frame), last, path.lens)
    ahead = np.isfinite(start).all(-1)
    blocks = direct_alignment.align(key.pyramid, now, points[ahead] + middle, start[ahead] + middle, free)
    if blocks is None or not _alike(blocks):
        return None
    match = Match(number, -1, blocks.points[blocks.alike] - middle, blocks.seen[blocks.alike] - middle)
    return match, len(blocks.alike), match


def _moved_on(path: _Path, camera: Camera, good: Match) -> bool:
    """Whether a frame shows so much else than the last key frame that it should be one."""
    key = _camera(path, path.keys[-1].frame)
    shift = turning_camera.transfer(np.zeros((1, 2)), key, camera, path.lens)[0]
    roll = np.abs(Rotation.from_matrix(camera.turn @ key.turn.T).as_rotvec()[2])
    return bool(
        not np.linalg.norm(shift) < _NEW_SHIFT * max(path.shape)
        or abs(camera.zoom - key.zoom) > _NEW_ZOOM
        or roll > _NEW_ROLL
        or len(good.points) < _NEW_SHARE * len(path.keys[-1].points)
    )


def _new_key(path: _Path, frame: int, now: Pyramid, free: Array) -> None:
    """Makes a frame that was followed a key frame, if it shows enough."""
    match = path.matches[frame]
    key = _Key(frame, now, optical_flow.corners(now[0], free) - path.middle, free)
    if match is None or (len(key.points) < 2 * _FEWEST and len(key.textured) < _FEW_TEXTURED):
        return
    path.links.append(dataclasses.replace(match, second=len(path.keys)))
    path.keys.append(key)


def _far_links(path: _Path, keys: list[Camera]) -> list[Match]:
    """Matches of key frames that do not follow one another and show much the same, so that small errors do not add up."""
    lens, middle, pairs = path.lens, path.middle, []
    for second in range(2, len(keys)):
        for first in range(second - 1):
            shift = np.linalg.norm(turning_camera.transfer(np.zeros((1, 2)), keys[first], keys[second], lens)[0])
            if shift < _FAR_SHIFT * max(path.shape) and abs(keys[first].zoom - keys[second].zoom) < _FAR_ZOOM:
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
