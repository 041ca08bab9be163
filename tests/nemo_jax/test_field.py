import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nemo_jax.field import KERNELS, MotionField, RadialBasis
from nemo_jax.rotations import IDENTITY_6D
from tests.nemo_jax import helpers

# Float64, from DESIGN's list; d is a squared distance over a scale.
FORMULAS = {
    "gaussian": lambda d: np.exp(-d * d),
    "linear": lambda d: d,
    "quadratic": lambda d: d * d,
    "inverse_quadratic": lambda d: 1 / (1 + d * d),
    "multiquadric": lambda d: np.sqrt(1 + d * d),
    "inverse_multiquadric": lambda d: 1 / np.sqrt(1 + d * d),
    "spline": lambda d: d * d * np.log(d + 1),
    "poisson_one": lambda d: (d - 1) * np.exp(-d),
    "poisson_two": lambda d: ((d - 2) / 2) * d * np.exp(-d),
    "matern32": lambda d: (1 + np.sqrt(3) * d) * np.exp(-np.sqrt(3) * d),
    "matern52": lambda d: (1 + np.sqrt(5) * d + 5 / 3 * d**2) * np.exp(-np.sqrt(5) * d),
}
# On a centre, between centres, outside [0, 1].
PHASES = np.array([0.0, 0.25, 0.37, 1.0, 1.3, -0.2])


def test_all_kernels_are_listed():
    assert set(KERNELS) == set(FORMULAS) and len(FORMULAS) == 11


@pytest.mark.parametrize("kernel", FORMULAS)
def test_features_and_their_gradients(kernel):
    log_scales = np.array([-2.0, 0.0, 0.3, -1.0, 1.0])
    centres = np.linspace(0, 1, 5)

    def oracle(x, scales):
        return FORMULAS[kernel]((x - centres) ** 2 / np.exp(scales))

    expected = np.stack([oracle(x, log_scales) for x in PHASES])
    weight = np.arange(1.0, 6.0)
    with jax.enable_x64(True):
        module = RadialBasis(num_centres=5, kernel=kernel)

        def total(x, scales):
            value = module.apply({"params": {"log_scales": scales}}, x)
            return jnp.sum(weight * value), value

        found = jax.jit(jax.vmap(jax.grad(total, (0, 1), has_aux=True), (0, None)))
        gradients, values = found(jnp.asarray(PHASES), jnp.asarray(log_scales))
    np.testing.assert_allclose(values, expected, rtol=1e-12)
    for i, x in enumerate(PHASES):
        by_x = helpers.numerical_gradient(lambda v: weight @ oracle(v[0], log_scales), np.array([x]))
        by_scale = helpers.numerical_gradient(lambda v, x=x: weight @ oracle(x, v), log_scales)
        np.testing.assert_allclose(gradients[0][i], by_x[0], rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(gradients[1][i], by_scale, rtol=1e-6, atol=1e-7)


def test_log_scale_is_where_they_start():
    params = RadialBasis(num_centres=4, log_scale=-3.5).init(jax.random.key(0), jnp.zeros(()))["params"]
    np.testing.assert_array_equal(params["log_scales"], np.full(4, -3.5))


@pytest.mark.parametrize("features", ["rbf", "none"])
def test_field_is_the_three_layer_network(features):
    module = MotionField(hidden=6, features=features, num_centres=4)
    phase, code = 0.3, np.array([0.5, -1.0])
    params = module.init(jax.random.key(0), jnp.asarray(phase), jnp.asarray(code, jnp.float32))["params"]
    # Larger heads than the start's, so that the oracle has something to see.
    params = {
        **params,
        "rotation": {**params["rotation"], "kernel": 0.3 * jax.random.normal(jax.random.key(1), (6, 144))},
    }
    rotation, translation = module.apply({"params": params}, jnp.asarray(phase), jnp.asarray(code, jnp.float32))
    assert rotation.shape == (24, 6) and translation.shape == (3,)
    p = jax.tree.map(np.float64, params)
    x = ((phase - np.linspace(0, 1, 4)) ** 2) ** 2 if features == "rbf" else np.array([phase])
    x = np.concatenate([x, code])
    for layer in range(3):
        x = np.maximum(x @ p[f"hidden_{layer}"]["kernel"] + p[f"hidden_{layer}"]["bias"], 0)
    expected = (x @ p["rotation"]["kernel"] + p["rotation"]["bias"]).reshape(24, 6)
    np.testing.assert_allclose(rotation, expected, atol=1e-6)
    np.testing.assert_allclose(translation, x @ p["translation"]["kernel"] + p["translation"]["bias"], atol=1e-6)


def test_a_way_is_a_polynomial_of_the_phase():
    plain = MotionField(hidden=6, num_centres=4)
    code = jnp.array([0.5, -1.0])
    params = plain.init(jax.random.key(0), jnp.zeros(()), code)["params"]
    with_way = MotionField(hidden=6, num_centres=4, way=True).init(jax.random.key(0), jnp.zeros(()), code)["params"]
    assert "way" not in params
    # Beside it the field begins as without.
    jax.tree.map(np.testing.assert_array_equal, {**params, "way": np.zeros((3, 3))}, with_way)
    way = jnp.array([[1.0, 0, 2], [0, -3, 0.5], [4, 1, 0]])
    for phase in (0.0, 0.3, 1.0):
        rotation, translation = plain.apply({"params": params}, jnp.float32(phase), code)
        turned, gone = plain.apply({"params": {**params, "way": way}}, jnp.float32(phase), code)
        np.testing.assert_array_equal(rotation, turned)
        np.testing.assert_allclose(gone - translation, np.array([phase, phase**2, phase**3]) @ way, atol=1e-6)


def test_initial_weights():
    module = MotionField(hidden=50, num_centres=20)
    params = module.init(jax.random.key(0), jnp.zeros(()), jnp.zeros(5))["params"]
    for name, fan_in in (("hidden_0", 25), ("hidden_1", 50), ("hidden_2", 50), ("translation", 50)):
        for leaf in params[name].values():
            bound = 1 / np.sqrt(fan_in)
            # Uniform: within the bound, and its largest close to it.
            assert (0.9 if leaf.size > 100 else 0.2) * bound < np.abs(leaf).max() <= bound
        assert abs(float(params[name]["kernel"].mean())) < 0.2 / np.sqrt(fan_in)
    np.testing.assert_array_equal(params["rotation"]["bias"], np.tile(IDENTITY_6D, 24))
    # Xavier's bound sqrt(6 / (in + out)) with gain 1e-5.
    bound = 1e-5 * np.sqrt(6 / (50 + 144))
    assert 0.95 * bound < np.abs(params["rotation"]["kernel"]).max() <= bound


def test_unknown_names_are_named():
    with pytest.raises(ValueError, match=r"kernel is 'cubic'.*gaussian"):
        RadialBasis(kernel="cubic").init(jax.random.key(0), jnp.zeros(()))
    with pytest.raises(ValueError, match=r"features is 'fourier'.*'rbf'"):
        MotionField(features="fourier").init(jax.random.key(0), jnp.zeros(()), jnp.zeros(2))


def test_batches_are_refused():
    with pytest.raises(AssertionError):
        MotionField(hidden=4).init(jax.random.key(0), jnp.zeros(3), jnp.zeros((3, 2)))
