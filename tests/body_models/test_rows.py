"""Constant rows, picked by slices: what indexing gives, and its gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from body_models.rows import pick


@pytest.mark.parametrize("rows", [[0, 1, 2, 3], [1, 2], [3], [2, 0, 1, 3, 3], [3, 2, 1, 0]])
@pytest.mark.parametrize("axis", [0, 1])
def test_it_is_what_indexing_gives(rows, axis):
    array = jnp.arange(32.0).reshape(4, 4, 2)
    rows = np.array(rows)
    value = lambda chosen: lambda array: jnp.sum(jnp.cos(chosen(array)))
    by_slices, by_index = lambda x: pick(x, rows, axis), lambda x: jnp.take(x, rows, axis)
    np.testing.assert_array_equal(by_slices(array), by_index(array))
    np.testing.assert_allclose(
        jax.grad(value(by_slices))(array), jax.grad(value(by_index))(array), rtol=1e-6, atol=1e-7
    )
    assert "scatter" not in str(jax.make_jaxpr(jax.grad(value(by_slices)))(array))
