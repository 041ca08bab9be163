"""Draws lit meshes over a picture.

Shapes use V vertices, F faces, P samples of the picture.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from body_models.mesh import vertex_normals
from experiments.show.render.rasterizer import Projection, Samples, rasterize

Array = np.ndarray

AMBIENT = 0.35  # light that reaches every surface
LIGHT = (
    -0.35,
    -0.55,
    -1.0,
)  # direction to the light in camera axes: behind the camera, above and to its left


@dataclasses.dataclass(frozen=True)
class Mesh:
    """A surface to draw.

    vertices (V, 3): metres, in the world. faces (F, 3): counter-clockwise as seen from outside. colour: RGB in [0, 1],
    one for all (3,), one per vertex (V, 3), or with `by_face` one per face (F, 3). alpha: 1 = opaque. closed: True
    draws no back faces, False draws both sides.
    """

    vertices: Array
    faces: Array
    colour: Array | tuple[float, float, float] = (1.0, 1.0, 1.0)
    alpha: float = 1.0
    by_face: bool = False
    closed: bool = True


def draw(picture: Array, meshes: Sequence[Mesh], camera: Projection, supersample: int = 2) -> Array:
    """Draws the meshes over the picture; in each pixel nearer meshes cover farther ones.

    Args:
      picture: (H, W, 3) uint8, of the camera's size; it is not changed.
      meshes: any number; through a transparent mesh other meshes are visible, but not its own farther surfaces.
      camera: the camera that sees the meshes.
      supersample: samples across a pixel; more give smoother edges, and the time grows with the square.

    Raises:
      ValueError: the picture does not have the camera's size, or a vertex is not finite.
    """
    if picture.shape != (camera.size[1], camera.size[0], 3):
        raise ValueError(f"the picture's shape is {picture.shape}, the camera's size {camera.size}")
    seen = [_in_camera(mesh, camera) for mesh in meshes]
    out = picture.copy()
    box = _bounding_box(seen, camera)
    if box is None:
        return out
    (left, top), (right, bottom) = box
    width, height = int(right - left) * supersample, int(bottom - top) * supersample
    fine = camera.view((left, top), supersample, (width, height))
    layers = []
    for mesh, points in zip(meshes, seen, strict=True):
        samples = rasterize(points, mesh.faces, fine, both_sides=not mesh.closed)
        layers.append((samples, shade(mesh, points, samples), mesh.alpha))
    drawn = _average(_composite(layers, width * height).reshape(height, width, 4), supersample)
    part = out[top:bottom, left:right]
    part[:] = np.clip(255 * drawn[..., :3] + drawn[..., 3:] * part + 0.5, 0, 255)
    return out


def shade(mesh: Mesh, points: Array, samples: Samples) -> Array:
    """Colour (P, 3) of the samples, with brightness computed at the vertices and interpolated (Gouraud shading).

    points (V, 3): the vertices in camera axes.
    """
    facing = vertex_normals(points, mesh.faces) @ (np.asarray(LIGHT) / np.linalg.norm(LIGHT))
    if not mesh.closed:
        # The visible side is the lit side.
        facing = np.abs(facing)
    lit = AMBIENT + (1 - AMBIENT) * np.maximum(facing, 0)
    corners = np.asarray(mesh.faces).T.take(samples.face, axis=1)
    colour = np.asarray(mesh.colour, np.float64)
    if mesh.by_face:
        colour = colour[samples.face]
    elif colour.ndim == 2:
        colour = sum(w[:, None] * colour[c] for w, c in zip(samples.weights, corners, strict=True))
    brightness = sum(w * lit[c] for w, c in zip(samples.weights, corners, strict=True))
    return brightness[:, None] * colour  # pyright: ignore[reportIndexIssue, reportOptionalSubscript]


def _in_camera(mesh: Mesh, camera: Projection) -> Array:
    points = camera.to_camera(np.asarray(mesh.vertices, np.float64))
    if not np.isfinite(points).all():
        raise ValueError("a mesh to draw has vertices that are not finite")
    return points


def _bounding_box(meshes: Sequence[Array], camera: Projection) -> tuple[Array, Array] | None:
    """First and one past the last pixel (x, y) that the meshes can reach; None = they reach no pixel."""
    size = np.array(camera.size)
    points = np.concatenate([np.zeros((3, 0)), *(mesh.T for mesh in meshes)], 1)
    depth = points[2]
    if not (depth >= camera.near).any():
        return None
    if (depth < camera.near).any():
        # A mesh that crosses the near plane may reach any pixel.
        return np.zeros(2, int), size
    pixels = camera.focal * points[:2] / depth + np.asarray(camera.principal)[:, None]
    low = np.clip(np.floor(pixels.min(1)) - 1, 0, size).astype(int)
    high = np.clip(np.ceil(pixels.max(1)) + 1, 0, size).astype(int)
    return (low, high) if (high > low).all() else None


def _composite(layers: Sequence[tuple[Samples, Array, float]], num_samples: int) -> Array:
    """Colour of the layers, nearer over farther, and the share of the background that remains visible: (P, 4)."""
    drawn = np.zeros((num_samples, 4), np.float32)
    drawn[:, 3] = 1
    depth = np.full((len(layers) if len(layers) > 1 else 0, num_samples), np.inf, np.float32)
    for own, (samples, _, _) in zip(depth, layers, strict=False):
        own[samples.index] = samples.depth
    for layer, (samples, shades, alpha) in enumerate(layers):
        at, own_depth = samples.index, samples.depth.astype(np.float32)
        share = np.full(len(at), alpha, np.float32)
        for other, (_, _, other_alpha) in enumerate(layers):
            if other != layer:
                # Of two layers at the same depth the first one counts as nearer.
                nearer = depth[other, at] <= own_depth if other < layer else depth[other, at] < own_depth
                share *= np.where(nearer, np.float32(1 - other_alpha), np.float32(1))
        own = drawn[at]
        own[:, :3] += share[:, None] * shades
        own[:, 3] *= 1 - alpha
        drawn[at] = own
    return drawn


def _average(image: Array, block: int) -> Array:
    """Means (H / block, W / block, C) over square blocks."""
    rows = sum(image[i::block] for i in range(block))
    return sum(rows[:, j::block] for j in range(block)) / block**2  # pyright: ignore[reportIndexIssue, reportReturnType]
