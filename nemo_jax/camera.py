"""The learned camera of one instance: its perspective projection and its initial values.

A camera is nine numbers: a translation (3) in metres, then a 6D rotation. A world point x is at R x + t in camera axes
(x right, y down, z into the scene); its pixel is focal * (X/Z, Y/Z) + principal point (paper section 3; no distortion).
"""

from typing import cast

import chex
import jax
import jax.numpy as jnp
import numpy as np

from nemo_jax import rotations

Array = jax.Array

CAMERA_SIZE = 9
_PHONE = 1.0  # image diagonals, the focal length up to which a lens is wide


def split(camera: Array) -> tuple[Array, Array]:
    """(..., 9) -> camera_from_world rotation (..., 3, 3) and translation (..., 3)."""
    chex.assert_axis_dimension(camera, -1, CAMERA_SIZE)
    return rotations.rotation_6d_to_matrix(camera[..., 3:]), camera[..., :3]


def join(camera_from_world: Array, translation: Array) -> Array:
    """Inverse of `split`: (..., 3, 3) and (..., 3) -> (..., 9)."""
    return jnp.concatenate([translation, rotations.matrix_to_rotation_6d(camera_from_world)], -1)


def step_sizes(cameras: Array, lens: Array) -> Array:
    """Sizes (..., 9) of a step of cameras (..., 9), relative to that of a phone's rotation.

    A translation moves in proportion to the depth, so that far cameras get as far as near ones. What moves the picture moves
    it by as many pixels with any lens (...,), a focal length in image diagonals; wide ones are like phones'.
    """
    depth = jnp.maximum(jnp.abs(cameras[..., 2:3]), 1.0)
    narrow = jnp.minimum(1.0, _PHONE / lens)[..., None]
    axis = jnp.arange(CAMERA_SIZE)
    return jnp.where(axis < 3, depth, 1.0) * jnp.where(axis == 2, 1.0, narrow)


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


def principal_points(image_size: Array, swapped: bool, known: np.ndarray | Array | None = None) -> Array:
    """Principal points (N, 2), in pixels, of N images of width and height `image_size` (N, 2).

    With `swapped` they are computed as in the published code: the largest height and width of all images, halved and
    rounded down, are used for every image, with x and y swapped. Where they are `known` (N, 2), and not NaN, they are those.
    """
    guessed = image_size / 2
    if swapped:
        guessed = jnp.broadcast_to(jnp.floor(image_size.max(0) / 2)[::-1], image_size.shape)
    return guessed if known is None else jnp.where(jnp.isnan(known), guessed, known)


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


def level_residuals(camera: Array) -> Array:
    """Numbers (..., 2) whose squares sum to 2 - 2 cos of the roll, where the camera looks ahead, and to less where it looks
    up or down: there the roll says little. 0 for a level camera, whatever its pitch; greatest for one upside down."""
    up = split(camera)[0][..., :2, 1]
    length = jnp.sqrt(jnp.sum(up**2, -1) + 1e-12)
    return jnp.stack([up[..., 0], up[..., 1] + length], -1)


def unlevel(camera: Array) -> Array:
    """1 - cos of the roll (...,) of cameras (..., 9), see `level_residuals`."""
    return 0.5 * jnp.sum(level_residuals(camera) ** 2, -1)


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


def solve_camera(
    points: Array,
    keypoints: Array,
    weights: Array,
    focal: Array,
    principal: Array,
    rounds: int = 12,
    robust: float = 0.3,
    min_depth: float = 0.5,
) -> Array:
    """The camera (9,) that reprojects known points, found without a first guess.

    A scaled orthographic camera is solved in closed form, each pixel is corrected by the depth that its point then has,
    and this is repeated (POSIT; DeMenthon and Davis, International Journal of Computer Vision 1995). Points that stay far
    off lose weight. With points that all lie in one plane of the world the result is arbitrary, but finite.

    Args:
      points: (P, 3) in the world, metres. keypoints: (P, 2) pixels. weights: (P,), 0 excludes a point.
      focal: pixels. principal: (2,) pixels. robust: distance, in parts of the spread of all pixels, at which a
      point has a quarter of its weight. min_depth: metres, the smallest depth returned.
    """
    ray = (keypoints - principal) / focal
    weights = weights + 1e-12
    middle = (weights @ points) / weights.sum()
    apart = ray - (weights @ ray) / weights.sum()
    near = robust**2 * (weights @ jnp.sum(apart**2, -1)) / weights.sum() + 1e-12

    def solve(correction: Array, trust: Array) -> tuple[Array, Array, Array]:
        """The scaled orthographic camera: rotation, scale, and the offset (2,) of the world's origin."""
        share = weights * trust
        share = share / share.sum()
        goal = ray * correction[:, None]
        x_mean, goal_mean = share @ points, share @ goal
        x, y = points - x_mean, goal - goal_mean
        normal = jnp.matmul((share[:, None] * x).T, x, precision="highest")
        # Points in one plane would leave the direction out of it open.
        normal = normal + 1e-6 * (1 + jnp.trace(normal)) * jnp.eye(3)
        affine = jnp.matmul((share[:, None] * y).T, x, precision="highest") @ _inverse(normal)
        rotation, scale = _nearest_orthographic(affine)
        return rotation, scale, goal_mean - scale * rotation[:2] @ x_mean

    def again(state: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], None]:
        rotation, scale, offset = solve(*state)
        # Depths in parts of that of the points' middle; bounded, since with pixels that no camera sees they would run away.
        depth = jnp.clip(1 + scale * ((points - middle) @ rotation[2]), 0.2, 5.0)
        seen = (scale * (points @ rotation[:2].T) + offset) / depth[:, None]
        square = jnp.sum((seen - ray) ** 2, -1)
        return (depth, (near / (square + near)) ** 2), None

    one = jnp.ones_like(weights)
    state, _ = jax.lax.scan(again, (one, one), None, length=rounds)
    rotation, scale, offset = solve(*state)
    depth = jnp.maximum(1 / jnp.maximum(scale, 1e-6), min_depth)
    forward = depth - rotation[2] @ middle
    return join(rotation, jnp.concatenate([offset * depth, forward[None]]))


def _nearest_orthographic(affine: Array) -> tuple[Array, Array]:
    """The rotation (3, 3) and the scale () of the scaled orthographic camera nearest to an affine one (2, 3)."""
    # Points on a line, or in one place, leave a turn open: then it is nearly that of a level camera.
    affine = affine + 1e-5 * jnp.array([[1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
    square = affine @ affine.T
    # The square root of a positive 2 x 2 matrix in closed form, by the theorem of Cayley and Hamilton. Its determinant is
    # the squared length of a cross product, which rounding does not make negative.
    root_det = jnp.sqrt(jnp.maximum(jnp.sum(jnp.cross(affine[0], affine[1]) ** 2), 1e-24))
    trace = jnp.sqrt(jnp.trace(square) + 2 * root_det)
    inverse = (jnp.trace(square) * jnp.eye(2) + root_det * jnp.eye(2) - square) / (trace * root_det)
    rows = inverse @ affine
    first = rows[0] / jnp.maximum(jnp.linalg.norm(rows[0]), 1e-9)
    second = rows[1] - (rows[1] @ first) * first
    second = second / jnp.maximum(jnp.linalg.norm(second), 1e-9)
    return jnp.stack([first, second, jnp.cross(first, second)]), trace / 2


def _inverse(matrix: Array) -> Array:
    """Inverse of a symmetric, positive matrix (3, 3) by its cofactors."""
    a, b, c = matrix
    cofactors = jnp.stack([jnp.cross(b, c), jnp.cross(c, a), jnp.cross(a, b)], -1)
    return cofactors / jnp.maximum(a @ cofactors[:, 0], 1e-30)
