"""Functions for drawing and for exporting a skinned mesh, in NumPy."""

import functools

import numpy as np
from scipy import sparse

Array = np.ndarray


def vertex_normals(points: Array, faces: Array) -> Array:
    """Outward unit normals (V, 3) of vertices (V, 3): means of the normals of adjacent faces (F, 3), weighted by area;
    0 for a vertex without faces."""
    faces = np.asarray(faces, np.intp)
    a, b, c = (points.take(corner, axis=0).T for corner in faces.T)
    (ux, uy, uz), (vx, vy, vz) = b - a, c - a
    crossed = np.stack([uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx], -1)
    total = _adjacent(faces.tobytes(), len(points)) @ crossed
    return total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-20)


@functools.lru_cache(8)
def _adjacent(faces: bytes, num_vertices: int) -> sparse.csr_array:
    """The matrix (V, F) that sums over the faces of each vertex; faces: (F, 3) intp as bytes, by which it is remembered."""
    corners = np.frombuffer(faces, np.intp)
    which = np.arange(len(corners)) // 3
    return sparse.coo_array((np.ones(len(corners)), (corners, which)), (num_vertices, len(corners) // 3)).tocsr()


def strongest_joints(weights: Array, count: int) -> tuple[Array, Array]:
    """The `count` joints (V, count) that move each vertex most, strongest first, and their weights; weights: (V, J)."""
    ids = np.argsort(-weights, axis=1, kind="stable")[:, :count]
    return ids, np.take_along_axis(weights, ids, axis=1)
