import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nemo_jax.phase import MonotonicPhase
from tests.nemo_jax import helpers

X = np.linspace(0, 1, 21)


def unpinned(shifts, scales, x):
    """g, float64, from the formula."""
    shifts, scales = np.maximum(np.float64(shifts), 0), np.maximum(np.float64(scales), 0)
    return np.mean(1 / (1 + np.exp(-scales * (np.asarray(x, np.float64)[..., None] - shifts))), -1)


def oracle(shifts, scales, x):
    low, high = unpinned(shifts, scales, 0.0), unpinned(shifts, scales, 1.0)
    return (unpinned(shifts, scales, x) - low) / (high - low + 1e-6)


@jax.jit
def warp(params, x):
    return MonotonicPhase(num_nodes=params["shifts"].shape[0]).apply({"params": params}, x)


@given(seed=st.integers(0, 2**31 - 1))
@settings(max_examples=30, deadline=None)
def test_random_networks_match_the_formula_and_are_monotone(seed):
    rng = np.random.default_rng(seed)
    params = {"shifts": rng.normal(0.4, 0.5, 7), "scales": rng.normal(10, 12, 7)}
    found = np.asarray(warp(jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), params), jnp.asarray(X, jnp.float32)))
    # A network that rises by little magnifies float32's rounding of g.
    rise = unpinned(params["shifts"], params["scales"], 1.0) - unpinned(params["shifts"], params["scales"], 0.0)
    tolerance = 5e-7 / (rise + 1e-6)
    np.testing.assert_allclose(found, oracle(params["shifts"], params["scales"], X), atol=tolerance)
    assert np.all(np.diff(found) > -tolerance)


@pytest.mark.parametrize("nodes", [1, 8, 200])
def test_linear_start(nodes):
    module = MonotonicPhase(num_nodes=nodes)
    params = module.init(jax.random.key(0), jnp.zeros(()))["params"]
    np.testing.assert_array_equal(params["scales"], np.full(nodes, 15.0))
    np.testing.assert_allclose(params["shifts"], np.linspace(0, 1, nodes), atol=1e-7)
    found = np.asarray(warp(params, jnp.asarray(X, jnp.float32)))
    assert abs(found[0]) < 1e-6 and abs(found[-1] - 1) < 1e-4
    if nodes == 200:
        # Near the identity, not on it.
        assert 1e-3 < np.abs(found - X).max() < 0.06
        np.testing.assert_allclose(found, oracle(params["shifts"], params["scales"], X), atol=2e-6)


def test_uniform_start():
    module = MonotonicPhase(num_nodes=2000, start="uniform")
    shifts = np.sort(module.init(jax.random.key(1), jnp.zeros(()))["params"]["shifts"])
    assert shifts[0] >= 0 and shifts[-1] < 1
    # Kolmogorov's distance of 2,000 draws stays below 0.036 in 99% of cases.
    assert np.abs(shifts - (np.arange(2000) + 0.5) / 2000).max() < 0.04


def test_unknown_start_is_named():
    with pytest.raises(ValueError, match=r"phase_init is 'ramp'.*'linear'"):
        MonotonicPhase(start="ramp").init(jax.random.key(0), jnp.zeros(()))  # pyright: ignore[reportArgumentType]


def test_dead_networks_are_finite():
    params = {"shifts": -jnp.ones(4), "scales": -jnp.ones(4)}
    total = lambda p, x: warp(p, x).sum()
    value, gradient = jax.value_and_grad(total, (0, 1))(params, jnp.asarray(X, jnp.float32))
    assert value == 0
    assert helpers.all_finite(gradient)


def test_the_first_shift_stays_on_the_kink():
    params = MonotonicPhase(num_nodes=5).init(jax.random.key(0), jnp.zeros(()))["params"]
    gradient = jax.grad(lambda p: jnp.sum(warp(p, jnp.asarray(X, jnp.float32)) ** 2))(params)
    assert gradient["shifts"][0] == 0
    assert np.all(np.abs(gradient["shifts"][1:]) > 1e-3)


def test_gradients_agree_with_differences():
    rng = np.random.default_rng(5)
    flat = np.concatenate([rng.uniform(0.05, 0.9, 4), rng.uniform(3, 20, 4), rng.uniform(0, 1, 3)])
    with jax.enable_x64(True):

        @jax.jit
        def total(v):
            return jnp.sum(
                jnp.cos(3 * MonotonicPhase(num_nodes=4).apply({"params": {"shifts": v[:4], "scales": v[4:8]}}, v[8:]))
            )

        found = jax.jit(jax.grad(total))(jnp.asarray(flat))
        np.testing.assert_allclose(found, helpers.numerical_gradient(total, flat), rtol=1e-6, atol=1e-9)


def test_whole_numbers_are_refused():
    with pytest.raises(AssertionError):
        MonotonicPhase(num_nodes=3).init(jax.random.key(0), jnp.zeros((), jnp.int32))
