"""The camera of a clip, where it is known."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from nemo_jax import instances

Array = np.ndarray


def is_rotation(matrix: Array) -> bool:
    """Whether a matrix (3, 3) is one, see `instances.are_rotations`."""
    return bool(instances.are_rotations(matrix))


@dataclasses.dataclass(frozen=True)
class Camera:
    """A static pinhole camera: world_from_camera (3, 3), position (3,) metres, focal pixels, image_size (width, height).

    The principal point is the middle of the image.
    """

    world_from_camera: Array
    position: Array
    focal: float
    image_size: tuple[int, int]

    @classmethod
    def of_entries(cls, row: Mapping[str, Array]) -> Camera:
        """The true camera that a file of the neutral format tells."""
        width, height = (int(n) for n in row.get("camera_image_size", row["image_size"]))
        return cls(row["world_from_camera"], row["camera_position"], float(row["camera_focal"]), (width, height))

    def entries(self) -> dict[str, Any]:
        """What the neutral format says of it."""
        return {
            "world_from_camera": self.world_from_camera,
            "camera_position": self.position,
            "camera_focal": self.focal,
            "camera_image_size": np.array(self.image_size, int),
        }

    def to_camera(self, points: Array) -> Array:
        """World points (..., 3) in camera axes, metres."""
        return (points - self.position) @ self.world_from_camera

    def project(self, points: Array) -> Array:
        """World points (..., 3) -> pixels (..., 2); NaN for what is not in front of the camera."""
        seen = self.to_camera(points)
        depth = np.where(seen[..., 2:] > 1e-3, seen[..., 2:], np.nan)
        return self.focal * seen[..., :2] / depth + np.asarray(self.image_size) / 2
