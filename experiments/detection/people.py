"""Everybody in a film, frame by frame: found in whole pictures now and then, followed in between.

Looking for people in a whole picture is slow and misses those who are small; looking again at the region where somebody
was a frame ago is fast and sure. Nothing is smoothed over time, so that fast motion does not lag behind.
"""

from __future__ import annotations

import dataclasses
import typing

import numpy as np

Array = np.ndarray

# Indices of MediaPipe's landmarks, left then right.
_SHOULDERS, _HIPS = (11, 12), (23, 24)
_BODY = (*range(11, 17), *range(23, 29))

_SCAN_EVERY = 8  # frames between searches of the whole picture for people who came
_SCAN_SOON, _SOON = 2, 24  # the same for so many frames after somebody was lost, as one who is crossed comes back
_MOST_PEOPLE = 5
_REACH = 1.2  # half the side of a region, in distances of the farthest landmark from the hips
_SAME_BOX = 0.5  # overlap (intersection over union) of boxes from which on they are one person's
_SAME_BODY = 0.1  # median distance of landmarks, in sizes of the person, up to which they are one person's
_MOVED = 0.06  # move of a landmark, in sizes of the region, from which on a second look is taken
_CLOSER = (1.0, 0.8)  # sides of the regions in which a person is looked for who is not seen where expected
_STAYED = 0.2  # median distance of landmarks, in sizes of the person, up to which it is the same person there
_TILE = 0.6  # side of the tiles in which small people are searched, in short sides of the picture
_TILE_STEP = 0.6  # distance between tiles, in sides


@dataclasses.dataclass(frozen=True)
class Region:
    """Where to look: a rectangle in shares of the picture's width and height, turned by `rotation` radians, clockwise as
    seen.
    """

    x_center: float
    y_center: float
    width: float
    height: float
    rotation: float


@dataclasses.dataclass(frozen=True, eq=False)
class Person:
    """Somebody in a picture.

    landmarks (33, 4): x, y in pixels, visibility and presence in [0, 1].
    world (33, 3): metres, x right, y down, z away from the camera, from the middle of the hips.
    region: where to look for the person in the next picture.
    """

    landmarks: Array
    world: Array
    region: Region

    @property
    def box(self) -> tuple[Array, Array]:
        """The corners of the body's box."""
        points = self.landmarks[:, :2]
        return points.min(0), points.max(0)

    @property
    def size(self) -> float:
        """Diagonal of the box, at least 1 pixel."""
        low, high = self.box
        return max(float(np.linalg.norm(high - low)), 1.0)


class Landmarker(typing.Protocol):
    """What finds people; BlazePose, or a stand-in."""

    def find(self, picture: Array) -> list[tuple[Array, Array]]:
        """Landmarks and world landmarks, as `Person` has them, of the people in a picture, RGB uint8 (H, W, 3)."""
        ...

    def look(self, picture: Array, region: Region) -> Person | None:
        """The person in a region of a picture, None where there is none."""
        ...


class Watcher:
    """Sees the pictures of one film in order and says who is in each."""

    def __init__(self, landmarker: Landmarker):
        self._landmarker = landmarker
        self._known: list[Person] = []
        self._since_scan = _SCAN_EVERY
        self._soon = 0

    def people(self, picture: Array) -> list[Person]:
        """Everybody in the next picture, those known from the picture before first."""
        followed = [(before, self._again(picture, before)) for before in self._known]
        present = _apart([(before, now) for before, now in followed if now is not None])
        self._since_scan += 1
        due, lost = self._since_scan >= _SCAN_EVERY, len(present) < len(self._known)
        self._soon = _SOON if lost else max(0, self._soon - 1)
        again = self._soon % _SCAN_SOON == 1
        if due or lost or again or not present:
            for candidate in self._newcomers(picture, thorough=due and not present):
                if len(present) < _MOST_PEOPLE and not any(same(candidate, person) for person in present):
                    present.append(candidate)
        if due:
            self._since_scan = 0
        self._known = present
        return list(present)

    def _again(self, picture: Array, before: Person) -> Person | None:
        now = self._landmarker.look(picture, before.region) or self._elsewhere(picture, before)
        if now is None:
            return None
        moved = np.linalg.norm(now.landmarks[_BODY, :2] - before.landmarks[_BODY, :2], axis=-1).max()
        side = before.region.height * picture.shape[0]
        # The region was where the person was, not where the person is.
        return (self._landmarker.look(picture, now.region) or now) if moved > _MOVED * side else now

    def _elsewhere(self, picture: Array, before: Person) -> Person | None:
        """A person who is not seen where expected, in the region around the landmarks before, or closer to them."""
        region = region_of(before.landmarks, picture)
        for share in _CLOSER:
            closer = dataclasses.replace(region, width=share * region.width, height=share * region.height)
            now = self._landmarker.look(picture, closer)
            if now is not None and _distance(now, before) < _STAYED:
                return now
        return None

    def _newcomers(self, picture: Array, thorough: bool) -> list[Person]:
        found = self._landmarker.find(picture)
        if not found and thorough:
            for x, y, side in _tiles(picture.shape[1], picture.shape[0]):
                tile = np.ascontiguousarray(picture[y : y + side, x : x + side])
                shift = np.array([x, y, 0, 0], np.float32)
                found += [(landmarks + shift, world) for landmarks, world in self._landmarker.find(tile)]
        looked = (self._landmarker.look(picture, region_of(landmarks, picture)) for landmarks, _ in found)
        return [person for person in looked if person is not None]


def region_of(landmarks: Array, picture: Array) -> Region:
    """The square, with the body upright in it, around landmarks (33, 4)."""
    height, width = picture.shape[:2]
    points = landmarks[:, :2].astype(float)
    centre = points[list(_HIPS)].mean(0)
    dx, dy = points[list(_SHOULDERS)].mean(0) - centre
    side = 2 * _REACH * max(float(np.linalg.norm(points - centre, axis=-1).max()), 1.0)
    rotation = np.pi / 2 - np.arctan2(-dy, dx)
    rotation = (rotation + np.pi) % (2 * np.pi) - np.pi
    return Region(centre[0] / width, centre[1] / height, side / width, side / height, float(rotation))


def same(a: Person, b: Person) -> bool:
    """Whether two finds are of one person: the boxes overlap, or the landmarks are in the same places."""
    (a_low, a_high), (b_low, b_high) = a.box, b.box
    shared = np.prod(np.maximum(np.minimum(a_high, b_high) - np.maximum(a_low, b_low), 0))
    either = np.prod(a_high - a_low) + np.prod(b_high - b_low) - shared
    return bool(shared > _SAME_BOX * either) or _distance(a, b) < _SAME_BODY


def _distance(a: Person, b: Person) -> float:
    """Median distance of the body's landmarks, in sizes of the smaller person."""
    apart = np.linalg.norm(a.landmarks[_BODY, :2] - b.landmarks[_BODY, :2], axis=-1)
    return float(np.median(apart)) / min(a.size, b.size)


def _apart(followed: list[tuple[Person, Person]]) -> list[Person]:
    """Those followed, without the ones whose region has slipped onto somebody else, who moved less."""
    kept: list[Person] = []
    for _, now in sorted(followed, key=lambda pair: _distance(*pair)):
        if all(_distance(now, other) >= _SAME_BODY for other in kept):
            kept.append(now)
    order = [id(now) for _, now in followed]
    return sorted(kept, key=lambda person: order.index(id(person)))


def _tiles(width: int, height: int) -> list[tuple[int, int, int]]:
    """Left, top and side of overlapping squares that cover a picture."""
    side = max(1, round(_TILE * min(width, height)))

    def starts(length: int) -> list[int]:
        count = int(np.ceil((length - side) / (_TILE_STEP * side))) + 1
        return [round(start) for start in np.linspace(0, length - side, count)]

    return [(x, y, side) for y in starts(height) for x in starts(width)]
