import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nemo_jax import block_banded

solve = jax.jit(block_banded.solve)


def banded(num, size, seed=0):
    """A well-conditioned symmetric matrix (num * size,)^2 with two block bands, float64, and its blocks."""
    rng = np.random.default_rng(seed)
    factor = np.zeros((num, size, num, size))
    for t in range(num):
        for back in range(min(t, 2) + 1):
            factor[t, :, t - back] = rng.normal(size=(size, size)) + (3 * size * np.eye(size) if back == 0 else 0)
    lower = factor.reshape(num * size, num * size)
    dense = lower @ lower.T
    blocks = dense.reshape(num, size, num, size)
    bands = [np.stack([blocks[t, :, max(t - back, 0)] for t in range(num)]) for back in range(3)]
    return dense, bands


@pytest.mark.parametrize("num", [1, 2, 3, 7])
def test_it_solves_what_numpy_solves(num):
    dense, bands = banded(num, 4)
    right = np.random.default_rng(1).normal(size=(num, 4))
    expected = np.linalg.solve(dense, right.reshape(-1)).reshape(num, 4)
    found = solve(*(jnp.asarray(band, jnp.float32) for band in bands), jnp.asarray(right, jnp.float32))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_what_stands_before_the_first_frame_is_ignored():
    _, (diagonal, first, second) = banded(4, 3)
    right = jnp.ones((4, 3))
    clean = solve(*map(jnp.asarray, (diagonal, first, second)), right)
    first[0], second[:2] = np.nan, np.nan
    np.testing.assert_array_equal(clean, solve(*map(jnp.asarray, (diagonal, first, second)), right))


def test_an_indefinite_matrix_is_not_a_number():
    zero = jnp.zeros((3, 2, 2))
    assert np.isnan(solve(-jnp.broadcast_to(jnp.eye(2), (3, 2, 2)), zero, zero, jnp.ones((3, 2)))).all()


def test_gradient():
    dense, bands = banded(3, 2, seed=4)
    right = jnp.asarray(np.random.default_rng(2).normal(size=(3, 2)), jnp.float32)
    found = jax.jit(jax.grad(lambda b: solve(*(jnp.asarray(x, jnp.float32) for x in bands), b)[1, 0]))(right)
    np.testing.assert_allclose(found.reshape(-1), np.linalg.inv(dense)[2], rtol=1e-3, atol=1e-7)
