"""The learned camera of one instance: perspective projection and where it starts.

Nine numbers: translation (3) in metres, then a 6D rotation. A point x of the world is R x + t in the camera, whose axes are
x right, y down, z into the scene; its pixel is focal * (X/Z, Y/Z) + principal point (paper section 3; no distortion).
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
    """Points (P, 3) in camera axes -> pixels (P, 2).

    Depths below `near` count as `near`, so that a body that slips behind the lens keeps finite pixels and is pushed
    back; 0 turns that off, as in the published code.
    """
    depth = points[..., 2:]
    clamped = jnp.where(depth < near, near, depth)
    return focal * points[..., :2] / jnp.where(near > 0, clamped, depth) + principal


def principal_points(image_size: Array, swapped: bool) -> Array:
    """Principal point (N, 2) of N images of width and height `image_size` (N, 2).

    `swapped` is the published code's: one size for all, the largest height and width, halved downwards, with the height
    in the place of x.
    """
    if not swapped:
        return image_size / 2
    largest = jnp.floor(image_size.max(0) / 2)[::-1]
    return jnp.broadcast_to(largest, image_size.shape)


def focal_lengths(known: Array, image_size: Array, guess: float | Array) -> Array:
    """Focal lengths (N,) in pixels: the known one, and where it is NaN `guess` times the image diagonal."""
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
    """Translation (3,) that best reprojects points already turned into camera axes, in closed form.

    f (X + t_x) = u (Z + t_z), with u the pixel against the principal point, is linear in t; the equations are weighted
    by `weights` and solved by least squares (the linear step of pose from points; Hartley and Zisserman, section 7.1).

    Args:
      rotated: (P, 3) points in camera axes, metres. keypoints: (P, 2) pixels. weights: (P,), 0 leaves a point out.
      focal: pixels. principal: (2,) pixels. min_depth: metres, the least depth returned.
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
