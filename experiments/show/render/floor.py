"""The floor that a fit has found, as a grid of squares in a clip's picture, which shows whether it leans.

The squares lie at whole steps of the world, so that they stand still while a person walks over them.
"""

import dataclasses

import numpy as np

from experiments.results.reading import Run
from experiments.show.render import marks
from experiments.show.render.rasterizer import Projection
from nemo_jax.contact import FEET

Array = np.ndarray

SQUARE = 0.5  # metres
_SQUARES = 6  # from the feet to each side
_ALPHA = 0.5  # under the feet; less and less to the end of the grid
_LIGHT, _DARK = "#FFFFFF", "#000000"  # side by side they are seen on any ground


def camera(run: Run, instance: int, frame: int, own: Projection) -> Projection:
    """The camera of a frame for points of the world; `own` is that for points in its own axes."""
    turn, move, _ = run.fitted.camera(instance, frame)
    return dataclasses.replace(own, camera_from_world=turn, translation=move)


def feet(run: Run, instance: int) -> Array:
    """Where the feet of an instance are on the floor: (T, 2) world x and z, metres, the middle of toes and heels."""
    points = np.asarray(run.fitted.prediction.keypoints)[instance][:, np.array(FEET)]
    return points.mean(1)[:, [0, 2]].astype(np.float64)


def draw(picture: Array, seen_by: Projection, centre: Array) -> Array:
    """The picture (H, W, 3) with the grid of the floor y = 0 around world x and z `centre` (2,); a copy.

    seen_by: the camera for points of the world, of the picture's size.
    """
    out = picture.copy()
    start, end, alpha = lines(centre)
    start, end, kept = in_picture(start, end, seen_by)
    marks.draw_lines(out, start, end, _ALPHA * alpha[kept], _LIGHT, _DARK)
    return out


def lines(centre: Array) -> tuple[Array, Array, Array]:
    """Sides of squares around world x and z `centre` (2,): both ends (S, 3), metres, and strengths (S,), 0 to 1."""
    ticks = np.arange(-_SQUARES, _SQUARES + 1)
    across, along = (part.ravel() for part in np.meshgrid(ticks, ticks[:-1], indexing="ij"))
    zero = np.zeros(len(across))
    one = np.stack([across, zero, along], -1), np.stack([across, zero, along + 1], -1)
    start, end = (np.concatenate([side, side[:, ::-1]]) for side in one)
    origin = np.round(np.asarray(centre) / SQUARE)
    moved = np.array([origin[0], 0.0, origin[1]])
    start, end = (start + moved) * SQUARE, (end + moved) * SQUARE
    away = np.linalg.norm(((start + end) / 2)[:, [0, 2]] - centre, axis=-1)
    strength = 1 - (away / (_SQUARES * SQUARE)) ** 2
    near = strength > 0
    return start[near], end[near], strength[near]


def in_picture(start: Array, end: Array, seen_by: Projection) -> tuple[Array, Array, Array]:
    """Pixels (S', 2), (S', 2) of the ends of world lines (S, 3), (S, 3), cut at the near plane, and which (S',) of the lines
    are in front of it."""
    one, other = seen_by.to_camera(start), seen_by.to_camera(end)
    kept = np.flatnonzero(np.maximum(one[:, 2], other[:, 2]) > seen_by.near)
    one, other = one[kept], other[kept]
    cut = [_cut(a, b, seen_by.near) for a, b in ((one, other), (other, one))]
    first, last = (seen_by.focal * ends[:, :2] / ends[:, 2:] + seen_by.principal for ends in cut)
    return first, last, kept


def _cut(end: Array, other: Array, near: float) -> Array:
    """The ends (S, 3), camera axes, moved towards the others, which are in front of the near plane where these are not."""
    behind = end[:, 2] < near
    depth = np.where(behind, other[:, 2] - end[:, 2], 1.0)
    share = np.where(behind, (near - end[:, 2]) / depth, 0.0)[:, None]
    return end + share * (other - end)
