"""Conversions between 6D, matrix, axis-angle and quaternion rotations, with finite values and gradients everywhere.

All functions broadcast over leading axes. Matrices act on column vectors. Quaternions are (w, x, y, z). The published
method's conversions (Zhou et al., CVPR 2019 for 6D; the four-branch quaternion of the HMR code base for matrices) have NaN
gradients at the identity; here every division and root is kept away from zero *before* the `where` that discards it,
because the gradient of the discarded side is multiplied by zero and 0 * inf is NaN.
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array

IDENTITY_6D = np.array([1.0, 0.0, 0.0, 1.0, 0.0, 0.0], np.float32)
_NORM_FLOOR = 1e-12
# Below this squared half-angle tangent the arctangent's series is exact to float32.
_SERIES = 1e-4


def rotation_6d_to_matrix(rotation_6d: Array) -> Array:
    """Gram-Schmidt of six numbers (..., 6), read row-major as (3, 2), into a matrix (..., 3, 3) with columns b1, b2, b3."""
    chex.assert_axis_dimension(rotation_6d, -1, 6)
    # Split, as the gradient of slices would be a sum of padded arrays.
    columns = jnp.split(rotation_6d.reshape(*rotation_6d.shape[:-1], 3, 2), 2, -1)
    a1, a2 = (jnp.squeeze(column, -1) for column in columns)
    b1 = _normalise(a1)
    b2 = _normalise(a2 - jnp.sum(b1 * a2, -1, keepdims=True) * b1)
    return jnp.stack([b1, b2, jnp.cross(b1, b2)], -1)


def matrix_to_rotation_6d(matrix: Array) -> Array:
    """First two columns (..., 6), row-major as (3, 2)."""
    chex.assert_axis_dimension(matrix, -1, 3)
    return matrix[..., :2].reshape(*matrix.shape[:-2], 6)


def axis_angle_to_matrix(axis_angle: Array) -> Array:
    """Rodrigues' formula, (..., 3) radians -> (..., 3, 3)."""
    chex.assert_axis_dimension(axis_angle, -1, 3)
    square = jnp.sum(axis_angle**2, -1)[..., None, None]
    small = square < 1e-6
    angle = jnp.sqrt(jnp.where(small, 1.0, square))
    sine = jnp.where(small, 1 - square / 6, jnp.sin(angle) / angle)
    # 2 sin^2(x/2) in place of 1 - cos x, which cancels for small angles.
    versine = jnp.where(small, 0.5 - square / 24, 2 * jnp.sin(angle / 2) ** 2 / angle**2)
    outer = axis_angle[..., :, None] * axis_angle[..., None, :]
    eye = jnp.eye(3, dtype=axis_angle.dtype)
    return eye + sine * hat(axis_angle) + versine * (outer - square * eye)


def hat(vector: Array) -> Array:
    """Cross-product matrix (..., 3, 3) of a vector (..., 3)."""
    x, y, z = vector[..., 0], vector[..., 1], vector[..., 2]
    zero = jnp.zeros_like(x)
    return jnp.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(*x.shape, 3, 3)


def matrix_to_quaternion(matrix: Array) -> Array:
    """Unit quaternion (..., 4), w may be negative; the branch is chosen so that the divisor is at least 1."""
    chex.assert_axis_dimension(matrix, -1, 3)
    numbers = jnp.split(matrix.reshape(*matrix.shape[:-2], 9), 9, -1)
    r = [[jnp.squeeze(number, -1) for number in numbers[i : i + 3]] for i in (0, 3, 6)]
    x, y, z = r[2][1] - r[1][2], r[0][2] - r[2][0], r[1][0] - r[0][1]
    xy, xz, yz = r[0][1] + r[1][0], r[0][2] + r[2][0], r[1][2] + r[2][1]
    t = [
        1 + r[0][0] - r[1][1] - r[2][2],
        1 - r[0][0] + r[1][1] - r[2][2],
        1 - r[0][0] - r[1][1] + r[2][2],
        1 + r[0][0] + r[1][1] + r[2][2],
    ]
    branches = [(x, t[0], xy, xz), (y, xy, t[1], yz), (z, xz, yz, t[2]), (t[3], x, y, z)]
    flat = r[2][2] < 1e-6
    chosen = [flat & (r[0][0] > r[1][1]), flat, r[0][0] < -r[1][1]]
    quaternion = jnp.stack([jnp.select(chosen, column[:3], column[3]) for column in zip(*branches, strict=True)], -1)
    return 0.5 * quaternion / jnp.sqrt(jnp.select(chosen, t[:3], t[3]))[..., None]


def quaternion_to_axis_angle(quaternion: Array) -> Array:
    """(..., 4) -> (..., 3) radians, angle at most pi."""
    chex.assert_axis_dimension(quaternion, -1, 4)
    w, vector = jnp.split(quaternion, [1], -1)
    square = jnp.sum(vector**2, -1, keepdims=True)
    small = square < _SERIES * w**2
    sine = jnp.sqrt(jnp.where(small, 1.0, square))
    side = jnp.where(w < 0, -1.0, 1.0)
    angle = 2 * jnp.arctan2(side * sine, side * w)
    safe_w = jnp.where(small, w, 1.0)
    ratio = square / safe_w**2
    series = 2 / safe_w * (1 - ratio / 3 + ratio**2 / 5)
    return jnp.where(small, series, angle / sine) * vector


def matrix_to_axis_angle(matrix: Array) -> Array:
    """Logarithm of a rotation, (..., 3, 3) -> (..., 3) radians, angle at most pi."""
    # The closed form needs fewer kernels, which is faster on accelerators, but more arithmetic: slower on a CPU.
    return (_logarithm if jax.default_backend() == "cpu" else _logarithm_in_closed_form)(matrix)


def _logarithm(matrix: Array) -> Array:
    return quaternion_to_axis_angle(matrix_to_quaternion(matrix))


@jax.custom_jvp
def _logarithm_in_closed_form(matrix: Array) -> Array:
    return _logarithm(matrix)


@_logarithm_in_closed_form.defjvp
def _logarithm_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    """The derivative of the logarithm in closed form; that of `_logarithm` would differentiate four branches.

    A rotation R that changes by dR turns by phi = 1/2 sum_i r_i x dr_i over its columns, and its logarithm w, of angle a,
    by K phi with the inverse of SO(3)'s left Jacobian, K = I - 1/2 [w] + c [w]^2, c = (1 - a/2 cot(a/2)) / a^2.
    """
    (matrix,), (change,) = primals, tangents
    log = _logarithm(matrix)
    square = jnp.sum(log**2, -1)[..., None, None]
    small = square < 1e-2
    half = 0.5 * jnp.sqrt(jnp.where(small, 1.0, square))
    series = 1 / 12 + square / 720 + square**2 / 30240
    factor = jnp.where(small, series, (1 - half / jnp.tan(half)) / (4 * half**2))
    eye = jnp.eye(3, dtype=matrix.dtype)
    outer = log[..., :, None] * log[..., None, :]
    inverse = eye - 0.5 * hat(log) + factor * (outer - square * eye)
    # Row l of 1/2 K [r_i x] for every column i: one table of coefficients, so that the transpose is a plain sum.
    table = 0.5 * jnp.sum(hat(inverse)[..., None] * matrix[..., None, None, :, :], -2)
    return log, jnp.sum(table * change[..., None, :, :], (-2, -1))


def axis_angle_to_quaternion(axis_angle: Array) -> Array:
    """(..., 3) radians -> unit quaternion (..., 4)."""
    chex.assert_axis_dimension(axis_angle, -1, 3)
    square = jnp.sum(axis_angle**2, -1, keepdims=True)
    small = square < 1e-6
    angle = jnp.sqrt(jnp.where(small, 1.0, square))
    cosine = jnp.where(small, 1 - square / 8, jnp.cos(angle / 2))
    return jnp.concatenate([cosine, jnp.where(small, 0.5 - square / 48, jnp.sin(angle / 2) / angle) * axis_angle], -1)


def quaternion_to_matrix(quaternion: Array) -> Array:
    """Unit quaternion (..., 4) -> (..., 3, 3). Normalises first."""
    chex.assert_axis_dimension(quaternion, -1, 4)
    w, x, y, z = jnp.moveaxis(_normalise(quaternion), -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return jnp.stack([jnp.stack(row, -1) for row in rows], -2)


def rotation_angle(matrix: Array) -> Array:
    """Angle (...,) in [0, pi] of a rotation matrix; its gradient is finite, and 0 at the identity."""
    vector = jnp.stack(
        [
            matrix[..., 2, 1] - matrix[..., 1, 2],
            matrix[..., 0, 2] - matrix[..., 2, 0],
            matrix[..., 1, 0] - matrix[..., 0, 1],
        ],
        -1,
    )
    square = jnp.sum(vector**2, -1)
    tiny = square < 1e-20
    sine = jnp.where(tiny, 0.0, jnp.sqrt(jnp.where(tiny, 1.0, square)))
    return jnp.arctan2(sine, matrix[..., 0, 0] + matrix[..., 1, 1] + matrix[..., 2, 2] - 1)


def project_to_rotation(matrix: Array) -> Array:
    """Nearest rotation (..., 3, 3) to any matrix in the Frobenius norm (orthogonal Procrustes); not for differentiation."""
    return nearest_rotation(matrix)[0]


def nearest_rotation(matrix: Array) -> tuple[Array, Array]:
    """The rotation R (..., 3, 3), never a reflection, that maximises tr(R^T M) for matrices M (..., 3, 3), and that
    trace's three terms (..., 3)."""
    u, s, vt = jnp.linalg.svd(matrix)
    sign = jnp.where(jnp.linalg.det(u) * jnp.linalg.det(vt) < 0, -1.0, 1.0)
    flip = jnp.stack([jnp.ones_like(sign), jnp.ones_like(sign), sign], -1)
    return jnp.matmul(u * flip[..., None, :], vt, precision="highest"), s * flip


def _normalise(vector: Array) -> Array:
    """Vector over its norm, the norm clamped below at 1e-12."""
    return vector / jnp.sqrt(jnp.maximum(jnp.sum(vector**2, -1, keepdims=True), _NORM_FLOOR**2))
