"""What drawing and exporting a skinned mesh both need, in NumPy."""

import numpy as np

Array = np.ndarray


def vertex_normals(points: Array, faces: Array) -> Array:
    """Unit normals (V, 3), outwards, of vertices (V, 3): those of the faces (F, 3) around each, weighed by their areas; 0
    without faces."""
    corners = np.asarray(faces).T
    a, b, c = (points.T[:, corner] for corner in corners)
    (ux, uy, uz), (vx, vy, vz) = b - a, c - a
    crossed = (uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx)
    total = np.stack([np.bincount(corners.ravel(), np.tile(axis, 3), len(points)) for axis in crossed], -1)
    return total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-20)


def strongest_joints(weights: Array, count: int) -> tuple[Array, Array]:
    """The `count` joints (V, count) that move each vertex most, strongest first, and their weights, of weights (V, J)."""
    ids = np.argsort(-weights, axis=1, kind="stable")[:, :count]
    return ids, np.take_along_axis(weights, ids, axis=1)
