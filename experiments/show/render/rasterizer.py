"""Rasterises triangle meshes on the CPU with NumPy alone: finds the visible face of each pixel, without OpenGL or
display.

Every triangle is cut into the rows of pixel centres that it covers, and the rows into pixels, all triangles at once, so
that the work grows with the pixels drawn and not with the box around a triangle. Corners are snapped to 1/256 of a
sample, which makes the edge tests exact: two triangles that share an edge leave no gap between them, however small they
are (edge functions: Pineda, A parallel algorithm for polygon rasterization, SIGGRAPH 1988).

Shapes use V vertices, F faces, M triangles, P samples of the picture; a sample is a pixel, or a part of one where edges
are to be smooth. Pixel (0, 0) covers [0, 1] x [0, 1]; its centre is (0.5, 0.5).
"""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np

Array = np.ndarray

_SNAP = 256.0  # corners are rounded to 1/256 of a sample


@dataclasses.dataclass(frozen=True)
class Projection:
    """A pinhole camera: x right, y down, z into the scene.

    A world point x is at (X, Y, Z) = camera_from_world x + translation in camera axes (metres) and at focal (X, Y) / Z
    + principal in the picture (pixels). size: width, height in pixels. Surfaces nearer than `near` metres are cut off.
    """

    camera_from_world: Array
    translation: Array
    focal: float
    principal: Array
    size: tuple[int, int]
    near: float = 0.05

    def to_camera(self, points: Array) -> Array:
        """World points (..., 3) in camera axes, metres."""
        return points @ np.asarray(self.camera_from_world, np.float64).T + self.translation

    def view(self, corner: Sequence[float], scale: float, size: tuple[int, int]) -> "Projection":
        """The camera of the part of the picture that starts at pixel `corner`, enlarged by `scale`."""
        principal = (np.asarray(self.principal, np.float64) - corner) * scale
        return dataclasses.replace(self, focal=self.focal * scale, principal=principal, size=size)


@dataclasses.dataclass(frozen=True)
class Samples:
    """The samples of a picture in which a mesh is visible, without duplicates, in no particular order.

    index (P,): row * width + column of the sample. face (P,): index of the visible face. weights (3, P): barycentric
    coordinates of the visible point on the face (in 3D, not in the picture). depth (P,): its z in camera axes, metres.
    """

    index: Array
    face: Array
    weights: Array
    depth: Array


def rasterize(points: Array, faces: Array, camera: Projection, both_sides: bool = False) -> Samples:
    """Finds the visible face of each sample: the nearest face that covers the sample's centre.

    Args:
      points: (V, 3) in camera axes, metres. faces: (F, 3).
      camera: intrinsics and size, in samples.
      both_sides: whether faces seen from behind are drawn too.
    """
    faces = np.asarray(faces, np.intp)
    num_faces = len(faces)
    # The order of corners is reversed: y points down in the picture, and edge functions are to be positive inside.
    corners = faces[:, [0, 2, 1]].T
    if both_sides:
        corners = np.concatenate([corners, faces.T], 1)
    triangles, cut = _project(points, corners, camera)
    rows = _rows(triangles, camera.size)
    index, triangle, x, y = _nearest(rows, triangles, camera.size)
    # Barycentric coordinates in the picture are the areas of the triangles between the point and the opposite edges;
    # those on the surface are weighted by 1 / depth (perspective correction).
    at = triangles.take(triangle)
    weights = np.stack([_edge(at.x[a], at.y[a], at.x[b], at.y[b], x, y) for a, b in ((1, 2), (2, 0), (0, 1))])
    weights *= at.nearness
    total = weights[0] + weights[1] + weights[2]
    weights /= total
    if cut is not None:
        weights = np.einsum("cp,pcf->fp", weights, cut[at.piece])
    order = np.array([[0, 2, 1], [0, 1, 2]])[(at.face >= num_faces).astype(int)] if both_sides else None
    weights = weights[[0, 2, 1]] if order is None else np.take_along_axis(weights, order.T, 0)
    return Samples(index=index, face=at.face % num_faces, weights=weights, depth=at.area / total)


@dataclasses.dataclass(frozen=True)
class _Triangles:
    """Projected triangles; the first axis is that of corners: x, y (3, M), integers in units of 1/256 sample; nearness
    (3, M), 1 / depth.

    area (M,): twice the area, positive. face (M,): index of the original face. piece (M,): row in the coordinates that
    `_project` returns.
    """

    x: Array
    y: Array
    nearness: Array
    area: Array
    face: Array
    piece: Array

    def take(self, which: Array) -> "_Triangles":
        fields = (self.x, self.y, self.nearness, self.area, self.face, self.piece)
        return _Triangles(*(field.take(which, axis=-1) for field in fields))


def _project(points: Array, corners: Array, camera: Projection) -> tuple[_Triangles, Array | None]:
    """The triangles (3, F of corners) that face the camera and may be in its picture.

    Faces that cross the near plane are cut. If there are any, the second result (M, 3, 3) has the barycentric
    coordinates of each triangle's corners in its original face.
    """
    beyond = points[:, 2] >= camera.near
    nearness = 1 / np.where(beyond, points[:, 2], camera.near)
    pixels = camera.focal * points[:, :2].T * nearness + np.asarray(camera.principal)[:, None]
    snapped = np.rint(pixels * _SNAP)
    if beyond.all():
        x, y = snapped.take(corners, axis=1)
        area = _edge(x[0], y[0], x[1], y[1], x[2], y[2])
        seen = np.flatnonzero(area > 0)
        own = nearness.take(corners.take(seen, axis=1))
        return _Triangles(x.take(seen, axis=1), y.take(seen, axis=1), own, area[seen], seen, seen), None
    count = beyond[corners].sum(0, dtype=np.int8)
    face = np.flatnonzero(count == 3)
    x, y = snapped[:, corners[:, face]]
    nearness = nearness[corners[:, face]]
    shares = None
    crossing = np.flatnonzero((count > 0) & (count < 3))
    if crossing.size:
        pieces, piece_shares, piece_face = _clip(points, corners, crossing, camera.near)
        piece_nearness = 1 / pieces[..., 2].T
        piece_pixels = camera.focal * pieces[..., :2].T * piece_nearness + np.asarray(camera.principal)[:, None, None]
        shares = np.concatenate([np.broadcast_to(np.eye(3), (len(face), 3, 3)), piece_shares])
        x, y = np.concatenate([[x, y], np.rint(piece_pixels * _SNAP)], -1)
        nearness = np.concatenate([nearness, piece_nearness], -1)
        face = np.concatenate([face, piece_face])
    area = _edge(x[0], y[0], x[1], y[1], x[2], y[2])
    everything = _Triangles(x, y, nearness, area, face, np.arange(len(face)))
    return everything.take(np.flatnonzero(area > 0)), shares


def _clip(points: Array, corners: Array, which: Array, near: float) -> tuple[Array, Array, Array]:
    """Cuts faces at the near plane and divides the remaining parts into triangles.

    Returns corners (M, 3, 3), their barycentric coordinates in the original face (M, 3, 3), and that face's index (M,).
    """
    clipped, shares, source = [], [], []
    for face in which:
        triangle = points[corners[:, face]]
        depth = triangle[:, 2]
        outline = []  # barycentric coordinates of the corners of the remaining polygon
        for a, b in ((0, 1), (1, 2), (2, 0)):
            if depth[a] >= near:
                outline.append(np.eye(3)[a])
            if (depth[a] >= near) != (depth[b] >= near):
                # Always computed from the nearer end, so that both faces at an edge cut it at exactly the same point.
                low, high = (a, b) if depth[a] < depth[b] else (b, a)
                along = (near - depth[low]) / (depth[high] - depth[low])
                outline.append((1 - along) * np.eye(3)[low] + along * np.eye(3)[high])
        for second, third in itertools.pairwise(outline[1:]):
            piece = np.stack([outline[0], second, third])
            shares.append(piece)
            clipped.append(piece @ triangle)
            source.append(face)
    return np.stack(clipped), np.stack(shares), np.array(source)


def _edge(ax: Array, ay: Array, bx: Array, by: Array, x: Array, y: Array) -> Array:
    """Twice the area of the triangle a, b, (x, y): positive on the inner side of the edge from a to b."""
    return (bx - ax) * (y - ay) - (by - ay) * (x - ax)


@dataclasses.dataclass(frozen=True)
class _Rows:
    """Runs of samples that a triangle covers in one row: triangle, row, first column and number of columns (R,)."""

    triangle: Array
    row: Array
    first: Array
    count: Array


def _rows(triangles: _Triangles, size: tuple[int, int]) -> _Rows:
    """The runs of samples of all triangles in a picture of `size` samples, width and height."""
    x, y = triangles.x, triangles.y
    half = _SNAP / 2
    top, bottom = (np.ceil((low - half) / _SNAP) for low in (y.min(0), y.max(0) + 1))
    top, bottom = (np.clip(row, 0, size[1]).astype(np.int64) for row in (top, bottom))
    reached = (x.max(0) >= half) & (x.min(0) <= size[0] * _SNAP - half)
    triangle, offset = _expand(np.where(reached, bottom - top, 0))
    row = top[triangle] + offset
    y_centre = row * _SNAP + half
    low, high = np.zeros(len(row)), np.full(len(row), size[0] - 1.0)
    for a, b in ((0, 1), (1, 2), (2, 0)):
        # The edge function along the row is value - dy * _SNAP * column: whole numbers, below 2^53 for corners within
        # 100,000 samples of the picture, so that the rounded quotient never crosses a column that it does not reach.
        dx, dy = x[b] - x[a], y[b] - y[a]
        constant = dx * y[a] + dy * (half - x[a])
        value, dy = dx[triangle] * y_centre - constant[triangle], dy[triangle]
        with np.errstate(divide="ignore", invalid="ignore"):
            bound = value / (_SNAP * dy)
        low = np.where(dy < 0, np.maximum(low, np.ceil(bound)), low)
        high = np.where(dy > 0, np.minimum(high, np.floor(bound)), high)
        high = np.where((dy == 0) & (value < 0), -1.0, high)
    covered = np.flatnonzero(high >= low)
    first = low[covered].astype(np.int64)
    return _Rows(triangle[covered], row[covered], first, high[covered].astype(np.int64) - first + 1)


def _nearest(rows: _Rows, triangles: _Triangles, size: tuple[int, int]) -> tuple[Array, Array, Array, Array]:
    """The nearest triangle of every sample that is covered: index, triangle, and the snapped centre's x and y (P,)."""
    run, offset = _expand(rows.count)
    # 1 / depth is linear in the picture: it is computed at the start of each row, then advanced by its gradient.
    (dx1, dx2), (dy1, dy2), (d1, d2) = (a[1:] - a[0] for a in (triangles.x, triangles.y, triangles.nearness))
    along_x = (d1 * dy2 - d2 * dy1) / triangles.area
    along_y = (dx1 * d2 - dx2 * d1) / triangles.area
    t = rows.triangle
    x, y = (rows.first + 0.5) * _SNAP, (rows.row + 0.5) * _SNAP
    start = triangles.nearness[0, t] + along_x[t] * (x - triangles.x[0, t]) + along_y[t] * (y - triangles.y[0, t])
    nearness = start[run] + (along_x[t] * _SNAP)[run] * offset
    index = (rows.row * size[0] + rows.first)[run] + offset
    best = np.zeros(size[0] * size[1])
    np.maximum.at(best, index, nearness)
    winner = np.full(len(best), -1)
    wins = np.flatnonzero(nearness == best[index])
    winner[index[wins]] = wins
    seen = winner[winner >= 0]
    run, offset = run[seen], offset[seen]
    return index[seen], t[run], x[run] + offset * _SNAP, y[run]


def _expand(counts: Array) -> tuple[Array, Array]:
    """Each index i repeated counts[i] times, and the number of each repetition; both have shape (sum of counts,)."""
    which = np.repeat(np.arange(len(counts)), counts)
    return which, np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
