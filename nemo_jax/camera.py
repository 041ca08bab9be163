"""The learned camera of one instance: its perspective projection and its initial values.

A camera is nine numbers: a translation (3) in metres, then a 6D rotation. A world point x is at R x + t in camera axes
(x right, y down, z into the scene); its pixel is focal * (X/Z, Y/Z) + principal point (paper section 3; no distortion).
"""

from typing import cast

import chex
import jax
import jax.numpy as jnp

from nemo_jax import rotations

Array = jax.Array

CAMERA_SIZE = 9


def split(camera: Array) -> tuple[Array, Array]:
    """(..., 9) -> camera_from_world rotation (..., 3, 3) and translation (..., 3)."""
    chex.assert_axis_dimension(camera, -1, CAMERA_SIZE)
    return rotations.rotation_6d_to_matrix(camera[..., 3:]), camera[..., :3]


def join(camera_from_world: Array, translation: Array) -> Array:
    """Inverse of `split`: (..., 3, 3) and (..., 3) -> (..., 9)."""
    return jnp.concatenate([translation, rotations.matrix_to_rotation_6d(camera_from_world)], -1)


def to_camera(camera: Array, points: Array) -> Array:
    """World points (P, 3) seen by one camera (9,), (P, 3) metres."""
    rotation, translation = split(camera)
    return cast(Array, sum(points[..., i, None] * rotation[:, i] for i in range(3))) + translation


def project(points: Array, focal: Array, principal: Array, near: float | Array = 0.0) -> Array:
    """Projects points (P, 3) in camera axes to pixels (P, 2).

    Depths below `near` are replaced by `near`, so that a body behind the lens has finite pixels and a gradient that
    moves it back in front; `near` 0 turns this off, as in the published code.
    """
    depth = points[..., 2:]
    clamped = jnp.where(depth < near, near, depth)
    return focal * points[..., :2] / jnp.where(near > 0, clamped, depth) + principal


def principal_points(image_size: Array, swapped: bool) -> Array:
    """Principal points (N, 2), in pixels, of N images of width and height `image_size` (N, 2).

    With `swapped` they are computed as in the published code: the largest height and width of all images, halved and
    rounded down, are used for every image, with x and y swapped.
    """
    if not swapped:
        return image_size / 2
    largest = jnp.floor(image_size.max(0) / 2)[::-1]
    return jnp.broadcast_to(largest, image_size.shape)


def focal_lengths(known: Array, image_size: Array, guess: float | Array) -> Array:
    """Focal lengths (N,) in pixels: the known value, or `guess` times the image diagonal where it is NaN."""
    return jnp.where(jnp.isnan(known), guess * jnp.linalg.norm(image_size, axis=-1), known)


def level_camera(yaw: Array) -> Array:
    """Rotation camera_from_world (..., 3, 3) of a level camera that a body facing world +z looks into at yaw 0.

    At yaw pi/2 the body has turned to its left, towards the right edge of the image.
    """
    cos, sin, zero = jnp.cos(yaw), jnp.sin(yaw), jnp.zeros_like(yaw)
    rows = [[cos, zero, sin], [zero, zero - 1, zero], [sin, zero, -cos]]
    return jnp.stack([jnp.stack(row, -1) for row in rows], -2)


def solve_translation(
    rotated: Array, keypoints: Array, weights: Array, focal: Array, principal: Array, min_depth: float = 0.5
) -> Array:
    """Closed-form translation (3,) that best reprojects points already rotated into camera axes.

    The equation f (X + t_x) = u (Z + t_z), with u the pixel minus the principal point, is linear in t; the equations
    are weighted by `weights` and solved by least squares (the linear step of pose from points; Hartley and Zisserman,
    section 7.1).

    Args:
      rotated: (P, 3) points in camera axes, metres. keypoints: (P, 2) pixels. weights: (P,), 0 excludes a point.
      focal: pixels. principal: (2,) pixels. min_depth: metres, the smallest depth returned.
    """
    ray = (keypoints - principal) / focal
    target = ray * rotated[:, 2:] - rotated[:, :2]
    weights = weights + 1e-12
    total = weights.sum()
    mean_ray, mean_target = (weights @ ray) / total, (weights @ target) / total
    centred = ray - mean_ray
    # Eliminating t_x and t_y leaves one equation for t_z.
    spread = jnp.sum(weights[:, None] * centred**2)
    depth = -jnp.sum(weights[:, None] * centred * (target - mean_target)) / jnp.maximum(spread, 1e-12)
    depth = jnp.maximum(depth, min_depth)
    return jnp.concatenate([mean_target + mean_ray * depth, depth[None]])
