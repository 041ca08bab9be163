"""Linear systems of a chain of frames in which each frame is coupled to the two before it."""

import chex
import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular

Array = jax.Array


def solve(diagonal: Array, first: Array, second: Array, right: Array) -> Array:
    """Solves A x = right for a symmetric positive definite block-pentadiagonal A, by block Cholesky in O(F n^3).

    Args:
      diagonal: (F, n, n), blocks A[t, t].
      first: (F, n, n), blocks A[t, t - 1]; the first one is ignored.
      second: (F, n, n), blocks A[t, t - 2]; the first two are ignored.
      right: (F, n).

    Returns:
      x (F, n); NaN where A is not positive definite.
    """
    num, size = right.shape
    chex.assert_shape([diagonal, first, second], (num, size, size))
    frames = jnp.arange(num)
    first = jnp.where((frames >= 1)[:, None, None], first, 0.0)
    second = jnp.where((frames >= 2)[:, None, None], second, 0.0)

    def eliminate(before, blocks):
        """One block row L[t, t - 2], L[t, t - 1], L[t, t] of the factor, and y = L^-1 right."""
        (one, one_beside, one_y), (two, two_y) = before
        a0, a1, a2, b = blocks
        l2 = solve_triangular(two, a2.T, lower=True).T
        l1 = solve_triangular(one, (a1 - _dot(l2, one_beside.T)).T, lower=True).T
        l0 = jnp.linalg.cholesky(a0 - _dot(l1, l1.T) - _dot(l2, l2.T))
        y = solve_triangular(l0, b - _dot(l1, one_y) - _dot(l2, two_y), lower=True)
        return ((l0, l1, y), (one, one_y)), (l0, l1, l2, y)

    def substitute(after, row):
        """Solves for x[t] from the two frames after it; the carry holds their terms for the two frames before them."""
        from_one, from_two, from_one_later = after
        l0, l1, l2, y = row
        x = solve_triangular(l0, y - from_one - from_two, lower=True, trans=1)
        return (_dot(l1.T, x), from_one_later, _dot(l2.T, x)), x

    unit, none, zero = jnp.eye(size), jnp.zeros((size, size)), jnp.zeros(size)
    _, rows = jax.lax.scan(eliminate, ((unit, none, zero), (unit, zero)), (diagonal, first, second, right))
    _, x = jax.lax.scan(substitute, (zero, zero, zero), rows, reverse=True)
    return x


def _dot(a: Array, b: Array) -> Array:
    # With the reduced default precision of GPUs and TPUs the factor of an ill-conditioned system would be wrong.
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)
