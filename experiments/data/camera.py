"""The camera of a clip, where it is known."""

from __future__ import annotations

import dataclasses

import numpy as np

Array = np.ndarray


def is_rotation(matrix: Array) -> bool:
    """Whether the columns of a matrix (3, 3) are right-handed, of length 1 and perpendicular, up to 0.001."""
    matrix = np.asarray(matrix, float)
    return bool(np.abs(matrix @ matrix.T - np.eye(3)).max() <= 1e-3 and np.linalg.det(matrix) > 0)


@dataclasses.dataclass(frozen=True)
class Camera:
    """A static pinhole camera: world_from_camera (3, 3), position (3,) metres, focal pixels, image_size (width, height).

    The principal point is the middle of the image.
    """

    world_from_camera: Array
    position: Array
    focal: float
    image_size: tuple[int, int]

    def to_camera(self, points: Array) -> Array:
        """World points (..., 3) in camera axes, metres."""
        return (points - self.position) @ self.world_from_camera

    def project(self, points: Array) -> Array:
        """World points (..., 3) -> pixels (..., 2); NaN for what is not in front of the camera."""
        seen = self.to_camera(points)
        depth = np.where(seen[..., 2:] > 1e-3, seen[..., 2:], np.nan)
        return self.focal * seen[..., :2] / depth + np.asarray(self.image_size) / 2
