"""Everybody in a film, frame by frame: found in whole pictures now and then, followed in between.

Looking for people in a whole picture is slow and misses those who are small; looking again at the region where somebody
was a frame ago is fast and sure. Whoever is found is followed back, too, through the frames since the search before. Nothing
is smoothed over time, so that fast motion does not lag behind.
"""

from __future__ import annotations

import collections
import dataclasses
import typing
from collections.abc import Iterable

import numpy as np

Array = np.ndarray

# Indices of MediaPipe's landmarks, left then right.
_SHOULDERS, _HIPS = (11, 12), (23, 24)
_BODY = (*range(11, 17), *range(23, 29))

_SCAN_EVERY = 8  # frames between searches of the whole picture for people who came
_SCAN_SOON, _SOON = 2, 24  # the same for so many frames after somebody was lost, as one who is crossed comes back
_SWEEP_EVERY = 24  # the same for small people, in parts of the picture, where somebody is seen; else at each search
_MOST_PEOPLE = 5
_REACH = 1.2  # half the side of a region, in distances of the farthest landmark from the hips
_SAME_BOX = 0.5  # overlap (intersection over union) of boxes from which on they are one person's
_SAME_BODY = 0.1  # median distance of landmarks, in sizes of the person, up to which they are one person's
_MOVED = 0.06  # move of a landmark, in sizes of the region, from which on a second look is taken
_CLOSER = (1.0, 0.8)  # sides of the regions in which a person is looked for who is not seen where expected
_STAYED = 0.2  # median distance of landmarks, in sizes of the person, up to which it is the same person there
# Sureness of newcomers beside somebody: parts of that one taken for people have 0.41 to 0.52 at first, people 0.63 and
# more, in six films.
_SURE = 0.55
_KNOWN = 0.12  # distance of the middles of regions, in sides, up to which they are one person's ...
_AS_LARGE = 1.5  # ... if their sides differ by no larger factor
_TILE = 0.6  # side of the tiles in which small people are searched, in short sides of the picture
_TILE_STEP = 0.6  # distance between tiles, in sides
# Parts of the large and patterns on walls look like people in a tile.
_PART = 0.7  # share of a box that is in somebody's from which on it is a part of that one
_TINY = 0.15  # size up to which it is nobody, in sides of a tile


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
    def area(self) -> float:
        """Square pixels of the box."""
        low, high = self.box
        return float(np.prod(high - low))

    @property
    def size(self) -> float:
        """Diagonal of the box, at least 1 pixel."""
        low, high = self.box
        return max(float(np.linalg.norm(high - low)), 1.0)

    @property
    def sureness(self) -> float:
        """Mean visibility times presence of arms and legs, 0 to 1."""
        return float(self.landmarks[_BODY, 2:].prod(-1).mean())


class Earlier(typing.NamedTuple):
    """Somebody in an earlier picture, so many before the last."""

    ago: int
    person: Person
    picture: Array


class Landmarker(typing.Protocol):
    """What finds people; BlazePose, or a stand-in."""

    def regions(self, picture: Array) -> list[Region]:
        """Where people may be in a picture, RGB uint8 (H, W, 3), the likeliest first."""
        ...

    def look(self, picture: Array, region: Region) -> Person | None:
        """The person in a region of a picture, None where there is none."""
        ...


class Watcher:
    """Sees the pictures of one film in order and says who is in each.

    earlier: those of the last picture who came into view, in the pictures before it, where they had not been found.
    """

    def __init__(self, landmarker: Landmarker):
        self._landmarker = landmarker
        self.earlier: list[Earlier] = []
        self._known: list[Person] = []
        self._before: collections.deque[tuple[Array, list[Person]]] = collections.deque(maxlen=_SCAN_EVERY)
        self._since_scan = _SCAN_EVERY
        self._since_sweep = _SWEEP_EVERY
        self._soon = 0

    def people(self, picture: Array) -> list[Person]:
        """Everybody in the next picture, those known from the picture before first."""
        followed = [(before, self._again(picture, before)) for before in self._known]
        present = _apart([(before, now) for before, now in followed if now is not None])
        num_followed = len(present)
        self._since_scan += 1
        self._since_sweep += 1
        due, lost = self._since_scan >= _SCAN_EVERY, len(present) < len(self._known)
        self._soon = _SOON if lost else max(0, self._soon - 1)
        again = self._soon % _SCAN_SOON == 1
        if due or lost or again or not present:
            self._meet(picture, present, self._landmarker.regions(picture))
        if due and self._may_hide(present):
            self._meet(picture, present, self._in_parts(picture), swept=True)
            self._since_sweep = 0
        if due:
            self._since_scan = 0
        self.earlier = [seen for newcomer in present[num_followed:] for seen in self._back(newcomer)]
        self._known = present
        self._before.append((picture, list(present)))
        return list(present)

    def _back(self, newcomer: Person) -> list[Earlier]:
        """A newcomer in the pictures before, as far back as one can be seen who is nobody else."""
        result, after = [], newcomer
        for ago, (picture, others) in enumerate(reversed(self._before), 1):
            now = self._landmarker.look(picture, after.region)
            if now is None or now.sureness < _SURE or _distance(now, after) >= _STAYED:
                break
            if any(same(now, other) for other in others):
                break
            others.append(now)
            result.append(Earlier(ago, now, picture))
            after = now
        return result

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

    def _may_hide(self, present: list[Person]) -> bool:
        """Whether to look in parts of the picture for people who are too small to be found in the whole."""
        if not present:
            return True
        # Somebody who was just lost comes back, small or not.
        return self._since_sweep >= (_SCAN_EVERY if self._soon else _SWEEP_EVERY)

    def _meet(self, picture: Array, present: list[Person], regions: Iterable[Region], swept: bool = False) -> None:
        """Adds the people in regions who are not known yet to those who are present."""
        tiny = _TINY * _tile_side(picture) if swept else 0.0
        for region in regions:
            if len(present) >= _MOST_PEOPLE:
                return
            if any(_near(region, p.region, picture) or (swept and _within(region, p, picture)) for p in present):
                continue
            candidate = self._newcomer(picture, region)
            if candidate is None or candidate.size < tiny or (present and candidate.sureness < _SURE):
                continue
            if not any(same(candidate, p) or (swept and _part_of(candidate, p)) for p in present):
                present.append(candidate)

    def _in_parts(self, picture: Array) -> list[Region]:
        """Where people may be by what is seen in parts of the picture, each once."""
        height, width = picture.shape[:2]
        apart: list[Region] = []
        for x, y, side in _tiles(picture):
            tile = np.ascontiguousarray(picture[y : y + side, x : x + side])
            for found in self._landmarker.regions(tile):
                region = _out_of_tile(found, x, y, side, width, height)
                if not any(_near(region, other, picture) for other in apart):
                    apart.append(region)
        return apart

    def _newcomer(self, picture: Array, region: Region) -> Person | None:
        """Somebody in a region, seen again in one that fits better."""
        found = self._landmarker.look(picture, region)
        return found and self._landmarker.look(picture, region_of(found.landmarks, picture))


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


def _out_of_tile(region: Region, x: int, y: int, side: int, width: int, height: int) -> Region:
    """A region of a square part of a picture, from x, y on, in shares of the picture."""
    return Region(
        (x + region.x_center * side) / width,
        (y + region.y_center * side) / height,
        region.width * side / width,
        region.height * side / height,
        region.rotation,
    )


def _near(a: Region, b: Region, picture: Array) -> bool:
    """Whether two regions are around one person."""
    height, width = picture.shape[:2]
    apart = np.hypot((a.x_center - b.x_center) * width, (a.y_center - b.y_center) * height)
    sides = np.array([max(region.width * width, region.height * height) for region in (a, b)])
    return bool(apart < _KNOWN * sides.min() and sides.max() < _AS_LARGE * sides.min())


def same(a: Person, b: Person) -> bool:
    """Whether two finds are of one person: the boxes overlap, or the landmarks are in the same places."""
    shared = _shared(a, b)
    either = a.area + b.area - shared
    return bool(shared > _SAME_BOX * either) or _distance(a, b) < _SAME_BODY


def _within(region: Region, person: Person, picture: Array) -> bool:
    """Whether the middle of a region is in somebody's box."""
    low, high = person.box
    middle = np.array([region.x_center * picture.shape[1], region.y_center * picture.shape[0]])
    return bool(((low <= middle) & (middle <= high)).all())


def _part_of(a: Person, b: Person) -> bool:
    """Whether a is hardly more than a part of b's box."""
    return bool(_shared(a, b) > _PART * a.area)


def _shared(a: Person, b: Person) -> float:
    """Square pixels that the boxes of two people share."""
    (a_low, a_high), (b_low, b_high) = a.box, b.box
    return float(np.prod(np.maximum(np.minimum(a_high, b_high) - np.maximum(a_low, b_low), 0)))


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


def _tile_side(picture: Array) -> int:
    return max(1, round(_TILE * min(picture.shape[:2])))


def _tiles(picture: Array) -> list[tuple[int, int, int]]:
    """Left, top and side of overlapping squares that cover a picture."""
    (height, width), side = picture.shape[:2], _tile_side(picture)

    def starts(length: int) -> list[int]:
        count = int(np.ceil((length - side) / (_TILE_STEP * side))) + 1
        return [round(start) for start in np.linspace(0, length - side, count)]

    return [(x, y, side) for y in starts(height) for x in starts(width)]
