"""Paths of single clips: the spline against SciPy's, and what its prior leaves free."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.interpolate import BSpline

from nemo_jax import options, path
from nemo_jax.config import FitConfig

RNG = np.random.default_rng(0)
RAW = np.linspace(0, 1, 41)


def at(knots, raw):
    return np.asarray(jax.vmap(path.offset, (None, 0))(jnp.float32(knots), jnp.float32(raw)))


@pytest.mark.parametrize("count", [4, 5, 9])
def test_offset_is_a_cubic_spline(count):
    knots = RNG.normal(size=(count, 3))
    spline = BSpline(np.arange(-3.0, count + 1) / (count - 3), knots, 3)
    np.testing.assert_allclose(at(knots, RAW), spline(RAW), atol=2e-6)


def test_lines_stay_lines_and_one_knot_is_constant():
    np.testing.assert_allclose(
        at(np.outer(np.arange(-1.0, 6), [1, 2, 3]), RAW), np.outer(4 * RAW, [1, 2, 3]), atol=1e-5
    )
    np.testing.assert_allclose(at([[1.0, 2, 3]], RAW), np.tile([1.0, 2, 3], (41, 1)))


def test_prior_of_paths():
    knots = RNG.normal(size=(2, 6, 3))
    steps = np.diff(knots, axis=1)
    expected = (np.diff(steps, axis=1) ** 2).mean((1, 2)) + 0.1 * (steps**2).mean((1, 2))
    np.testing.assert_allclose(path.loss(jnp.float32(knots)), expected, rtol=1e-5)
    assert path.loss(jnp.ones((6, 3))) == 0 and path.loss(jnp.ones((1, 3))) == 0
    slope = jax.grad(path.loss)(jnp.zeros((6, 3)))
    np.testing.assert_array_equal(slope, np.zeros((6, 3)))


@pytest.mark.parametrize(("knots", "sound"), [(0, True), (1, False), (3, False), (4, True)])
def test_as_many_knots_as_a_spline_needs(knots, sound):
    found = list(options.problems(FitConfig(path_knots=knots), "fit."))
    assert [name for name, *_ in found] == ([] if sound else ["fit.path_knots"])
    assert sound or "4" in found[0][2]
