import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import expm
from scipy.spatial.transform import Rotation

from nemo_jax import rotations as rot
from tests.nemo_jax import helpers

SHAPES = ((), (4,), (2, 3))
_HAT = np.array(
    [[[0, 0, 0], [0, 0, -1], [0, 1, 0]], [[0, 0, 1], [0, 0, 0], [-1, 0, 0]], [[0, -1, 0], [1, 0, 0], [0, 0, 0]]]
)

# Rotation vectors where naive formulas break: axes that tie the branches, and angles about the series' ends.
AXES = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [-1, 2, 3], [0, -1, 1], [-3, -1, 2]], float)
AXES /= np.linalg.norm(AXES, axis=1, keepdims=True)
INNER = np.array([0.0, 1e-30, 1e-12, 1e-8, 1e-4, 0.9e-3, 1.1e-3, 0.02, 0.3, 1.5, 3.0, np.pi - 1e-2])

angles = st.one_of(st.sampled_from((*INNER, np.pi)), st.floats(0, np.pi - 1e-3))
seeds = st.integers(0, 2**31 - 1)


def vectors(shape, seed, angle):
    axis = np.random.default_rng(seed).normal(size=(*shape, 3))
    return angle * axis / np.linalg.norm(axis, axis=-1, keepdims=True)


def f32(x):
    return jnp.asarray(x, jnp.float32)


@jax.jit
def from_vector(vector):
    quaternion = rot.axis_angle_to_quaternion(vector)
    return rot.axis_angle_to_matrix(vector), quaternion, rot.quaternion_to_axis_angle(-quaternion)


@jax.jit
def from_matrix(matrix):
    quaternion, logarithm = rot.matrix_to_quaternion(matrix), rot.matrix_to_axis_angle(matrix)
    back = {
        "quaternion": rot.quaternion_to_matrix(-2.5 * quaternion),
        "axis_angle": rot.axis_angle_to_matrix(logarithm),
        "6d": rot.rotation_6d_to_matrix(rot.matrix_to_rotation_6d(matrix)),
    }
    return quaternion, logarithm, back, rot.rotation_angle(matrix)


rotation_6d_to_matrix = jax.jit(rot.rotation_6d_to_matrix)


@pytest.mark.parametrize("shape", SHAPES)
@given(seed=seeds, angle=angles)
@settings(max_examples=25, deadline=None)
def test_conversions_of_axis_angle(shape, seed, angle):
    vector = vectors(shape, seed, angle)
    matrix, quaternion, minus = from_vector(f32(vector))
    assert matrix.shape == (*shape, 3, 3)
    np.testing.assert_allclose(matrix, helpers.rotation(vector), atol=2e-6)
    transposed = np.swapaxes(matrix, -1, -2)
    np.testing.assert_allclose(matrix @ transposed, np.broadcast_to(np.eye(3), matrix.shape), atol=2e-6)
    expected = Rotation.from_rotvec(vector.reshape(-1, 3)).as_quat(scalar_first=True).reshape(*shape, 4)
    np.testing.assert_allclose(quaternion, expected, atol=1e-6)
    # A quaternion and its negative are one rotation.
    np.testing.assert_allclose(helpers.rotation(minus), helpers.rotation(vector), atol=5e-6)


@pytest.mark.parametrize("shape", SHAPES)
@given(seed=seeds, angle=angles)
@settings(max_examples=25, deadline=None)
def test_round_trips_of_matrices(shape, seed, angle):
    vector = vectors(shape, seed, angle)
    matrix = helpers.rotation(vector)
    quaternion, logarithm, back, turned = from_matrix(f32(matrix))
    np.testing.assert_allclose(np.linalg.norm(quaternion, axis=-1), np.ones(shape), atol=2e-6)
    for name, value in back.items():
        np.testing.assert_allclose(value, matrix, atol=5e-6, err_msg=name)
    error = np.linalg.norm(logarithm - vector, axis=-1)
    if angle > np.pi - 2e-3:  # where both ends of the axis are right
        error = np.minimum(error, np.linalg.norm(logarithm + vector, axis=-1))
    assert np.all(error < 2e-5)
    assert np.all(np.linalg.norm(logarithm, axis=-1) < np.pi + 1e-5)
    # Towards pi the sine fades, and with it the digits of a float32 matrix.
    np.testing.assert_allclose(turned, np.full(shape, angle), atol=4e-6 if angle < 3.1 else 1e-3)


@pytest.mark.parametrize("shape", SHAPES)
@given(seed=seeds)
@settings(max_examples=10, deadline=None)
def test_rotation_6d_is_gram_schmidt(shape, seed):
    rng = np.random.default_rng(seed)
    a1, a2 = rng.normal(size=(2, *shape, 3)) * rng.choice([1e-3, 1.0, 100.0])
    b1 = a1 / np.linalg.norm(a1, axis=-1, keepdims=True)
    b2 = a2 - (b1 * a2).sum(-1, keepdims=True) * b1
    b2 /= np.linalg.norm(b2, axis=-1, keepdims=True)
    expected = np.stack([b1, b2, np.cross(b1, b2)], -1)
    # Nearly parallel vectors lose digits in any float32 implementation.
    condition = np.max(np.linalg.norm(a2, axis=-1) / np.abs((b2 * a2).sum(-1)))
    found = rotation_6d_to_matrix(f32(np.stack([a1, a2], -1).reshape(*shape, 6)))
    np.testing.assert_allclose(found, expected, atol=2e-6 * condition)


def test_identity_6d():
    np.testing.assert_array_equal(rotation_6d_to_matrix(jnp.asarray(rot.IDENTITY_6D)), np.eye(3))
    np.testing.assert_array_equal(rot.matrix_to_rotation_6d(jnp.eye(3)), rot.IDENTITY_6D)


def test_degenerate_6d_is_finite():
    # Zero, a2 zero, parallel, tiny, huge.
    rows = [np.zeros(6), [1.0, 0, 0, 0, 0, 0], [1.0, 2, 2, 4, 3, 6], np.full(6, 1e-20), np.full(6, 1e15)]
    total = lambda x: (rot.rotation_6d_to_matrix(x).sum(), rot.rotation_6d_to_matrix(x))
    gradient, value = jax.jit(jax.grad(total, has_aux=True))(f32(np.array(rows)))
    assert jnp.isfinite(value).all() and jnp.abs(value).max() < 1.001
    assert jnp.isfinite(gradient).all()


def test_gradient_of_the_logarithm_undoes_the_exponential():
    # log(exp(v)) = v below pi, so its Jacobian is the identity, the zero angle included.
    points = f32((INNER[:, None, None] * AXES).reshape(-1, 3))
    by_matrix = lambda v: rot.matrix_to_axis_angle(rot.axis_angle_to_matrix(v))
    by_quaternion = lambda v: rot.quaternion_to_axis_angle(rot.axis_angle_to_quaternion(v))
    for chain in (by_matrix, by_quaternion):
        jacobian = jax.jit(jax.vmap(jax.jacobian(chain)))(points).reshape(len(INNER), len(AXES), 3, 3)
        error = np.abs(jacobian - np.eye(3)).max((1, 2, 3))
        assert np.all(error < 5e-6 / (np.pi - INNER)), dict(zip(INNER, error, strict=True))


def test_gradient_of_the_exponential_is_the_left_jacobian():
    points = np.concatenate([angle * AXES for angle in (*INNER, np.pi, 5.0)])
    found = jax.jit(jax.vmap(jax.jacobian(rot.axis_angle_to_matrix)))(f32(points))
    for vector, jacobian in zip(points, found, strict=True):
        # d exp(v) / dv_i = hat(J e_i) exp(v), J the integral of exp(s hat(v)) over s in [0, 1]: a block exponential.
        block = np.zeros((6, 6))
        block[:3, :3], block[:3, 3:] = np.tensordot(vector, _HAT, 1), np.eye(3)
        left = expm(block)[:3, 3:]
        turn = helpers.rotation(vector)
        expected = np.stack([np.tensordot(left[:, i], _HAT, 1) @ turn for i in range(3)], -1)
        np.testing.assert_allclose(jacobian, expected, atol=3e-6, err_msg=str(vector))


def test_logarithm_at_pi():
    # pi about every axis: all four branches of the quaternion, and its w at zero.
    matrix = f32(helpers.rotation(np.pi * np.concatenate([AXES, -AXES])))
    total = lambda m: (rot.matrix_to_axis_angle(m).sum(), rot.matrix_to_axis_angle(m))
    gradient, value = jax.jit(jax.grad(total, has_aux=True))(matrix)
    np.testing.assert_allclose(np.linalg.norm(value, axis=-1), np.pi, atol=1e-3)
    np.testing.assert_allclose(helpers.rotation(value), matrix, atol=1e-5)
    assert np.isfinite(gradient).all() and np.abs(gradient).max() < 100


def test_logarithm_after_6d_has_gradients_at_pi_and_at_the_identity():
    # The published chain is NaN at the identity.
    six = rot.matrix_to_rotation_6d(f32(helpers.rotation(np.concatenate([np.pi * AXES, 0 * AXES]))))
    gradient = jax.jit(jax.grad(lambda x: rot.matrix_to_axis_angle(rot.rotation_6d_to_matrix(x)).sum()))(six)
    assert jnp.isfinite(gradient).all()
    # At the identity the logarithm is (a2_z, -a1_z, a1_y), and Gram-Schmidt ignores a2_x.
    np.testing.assert_allclose(gradient[-1], [0, 0, 1, 0, -1, 1], atol=1e-6)


def gradient_and_differences(function, points):
    """Gradient of a weighted sum of `function` at each of the points, and central differences, in float64."""
    step = 1e-6 * np.eye(points[0].size).reshape(-1, *points[0].shape)
    around = points[:, None] + np.stack([step, -step])[:, None]

    def weighted(x):
        value = function(x)
        return jnp.sum(value * (1 + jnp.arange(value.size)).reshape(value.shape))

    with jax.enable_x64(True):
        found, values = jax.jit(
            lambda x, y: (jax.vmap(jax.grad(weighted))(x), jax.vmap(jax.vmap(jax.vmap(weighted)))(y))
        )(points, around)
    values = np.asarray(values)
    return np.asarray(found), ((values[0] - values[1]) / 2e-6).reshape(points.shape)


@pytest.mark.parametrize("function", [rot.matrix_to_axis_angle, rot.matrix_to_quaternion, rot.rotation_angle])
def test_gradients_with_respect_to_matrices_agree_with_differences(function):
    # Generic axes: on ties of the branches, matrices beside the rotations see one branch on either side.
    axes = np.random.default_rng(0).normal(size=(8, 3))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    matrices = np.concatenate([helpers.rotation(angle * axes) for angle in (0.5, 2.0, 3.0, np.pi - 1e-2)])
    found, expected = gradient_and_differences(function, matrices)
    if function is rot.matrix_to_axis_angle:
        # A logarithm is of rotations: only along them is its derivative defined, and only there is it promised.
        along = lambda gradient: np.einsum("nij,kil,nlj->nk", gradient, _HAT, matrices)
        found, expected = along(found), along(expected)
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-5)


def test_gradient_of_6d_agrees_with_differences():
    six = np.random.default_rng(2).normal(size=(20, 6))
    found, expected = gradient_and_differences(rot.rotation_6d_to_matrix, six)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)


def test_gradient_of_rotation_angle():
    along = lambda angle, axis: rot.rotation_angle(rot.axis_angle_to_matrix(angle * axis))
    slope = jax.jit(jax.vmap(jax.vmap(jax.grad(along), (0, None)), (None, 0)))
    inner = slope(f32([1e-4, 0.1, 1.0, 3.0]), f32(AXES))
    np.testing.assert_allclose(inner, np.ones_like(inner), atol=2e-3)
    ends = f32(helpers.rotation([[0, 0, 0], [np.pi, 0, 0], [0, 0, np.pi]]))
    gradient = np.asarray(jax.jit(jax.vmap(jax.grad(rot.rotation_angle)))(ends))
    assert np.isfinite(gradient).all()
    np.testing.assert_array_equal(gradient[0], np.zeros((3, 3)))


def test_project_to_rotation_is_the_nearest():
    rng = np.random.default_rng(4)
    matrix = rng.normal(size=(30, 3, 3))
    turn = helpers.rotation(rng.normal(size=3))
    found = np.asarray(jax.jit(rot.project_to_rotation)(f32(np.concatenate([matrix, 2.5 * turn[None]]))), np.float64)
    np.testing.assert_allclose(found[-1], turn, atol=5e-6)
    for m, r in zip(matrix, found[:-1], strict=True):
        np.testing.assert_allclose(r @ r.T, np.eye(3), atol=1e-5)
        assert np.linalg.det(r) > 0.999
        # The maximum of trace(R^T M) over rotations: the sum of singular values, the least one signed by det M.
        s = np.linalg.svd(m, compute_uv=False)
        np.testing.assert_allclose(np.trace(r.T @ m), s[0] + s[1] + np.sign(np.linalg.det(m)) * s[2], atol=1e-4)


def test_hat_is_the_cross_product():
    a, b = np.random.default_rng(0).normal(size=(2, 5, 3))
    np.testing.assert_allclose(np.einsum("pij,pj->pi", rot.hat(f32(a)), b), np.cross(a, b), atol=1e-6)


class VariantsTest(chex.TestCase):
    """The same numbers with and without jit."""

    @chex.variants(with_jit=True, without_jit=True)
    def test_chain(self):
        points = np.concatenate([angle * AXES for angle in (0.0, 1e-4, 2.0, np.pi)])

        @self.variant
        def chain(v):
            return rot.axis_angle_to_matrix(rot.quaternion_to_axis_angle(rot.axis_angle_to_quaternion(v)))

        chex.assert_trees_all_close(chain(f32(points)), f32(helpers.rotation(points)), atol=3e-6)


@pytest.mark.parametrize("name", ["rotation_6d_to_matrix", "axis_angle_to_matrix", "quaternion_to_matrix"])
def test_wrong_shapes_are_refused(name):
    with pytest.raises(AssertionError):
        getattr(rot, name)(jnp.zeros((2, 5)))


@pytest.mark.parametrize("scale", [0.0, 1e-4, 0.3, 2.0, 3.1])
def test_both_derivatives_of_the_logarithm_agree(scale):
    """Accelerators take the closed form, CPUs that of the branches."""
    rng = np.random.default_rng(7)
    axes = rng.normal(0, 1, (20, 3))
    angles = jnp.asarray(scale * axes / np.linalg.norm(axes, axis=-1, keepdims=True), jnp.float32)
    turn = jnp.asarray(rng.normal(0, 1, (20, 3)), jnp.float32)
    log = lambda kind: jax.jvp(lambda a: kind(rot.axis_angle_to_matrix(a)), (angles,), (turn,))
    closed, branches = log(rot._logarithm_in_closed_form), log(rot._logarithm)
    chex.assert_trees_all_close(closed[0], branches[0], atol=1e-6)
    chex.assert_trees_all_close(closed[1], branches[1], atol=2e-3 if scale > 3 else 2e-5)
    np.testing.assert_allclose(closed[1], turn, atol=2e-3 if scale > 3 else 2e-5)
