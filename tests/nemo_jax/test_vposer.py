"""VPoser against the same network in NumPy, and its two terms against what they are made of."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from body_models import smpl
from nemo_jax import rotations as rotations_lib
from nemo_jax.priors import vposer
from tests.nemo_jax import helpers, prior_arrays

STATE = prior_arrays.vposer_state()
ORACLE = prior_arrays.NumpyVPoser(STATE)
NETWORK = vposer.from_state_dict(STATE)

encode, decode, reconstruct = (jax.jit(f) for f in (vposer.encode, vposer.decode, vposer.reconstruct))
terms = jax.jit(vposer.vposer_terms)
vertices_of = jax.jit(smpl.vertices)
logarithm = jax.jit(rotations_lib.matrix_to_axis_angle)


def random_pose(seed, shape=(23, 3)):
    return np.float32(0.4 * np.random.default_rng(seed).normal(size=shape))


@pytest.mark.parametrize("shape", [(21, 3), (63,)])
def test_encode(shape):
    pose = random_pose(0, shape)
    mean, scale = encode(NETWORK, pose)
    expected = ORACLE.encode(np.float64(pose).reshape(63))
    np.testing.assert_allclose(mean, expected[0], atol=1e-5)
    np.testing.assert_allclose(scale, expected[1], atol=1e-5)


def test_decode():
    code = random_pose(1, prior_arrays.LATENT)
    found = decode(NETWORK, code)
    np.testing.assert_allclose(found, ORACLE.decode(np.float64(code)), atol=1e-5)
    np.testing.assert_allclose(np.linalg.det(found), 1, atol=1e-5)


def test_reconstruct_keeps_the_hands():
    pose = random_pose(2)
    found = reconstruct(NETWORK, pose)
    np.testing.assert_allclose(
        found[:21], ORACLE.decode(ORACLE.encode(np.float64(pose[:21]).reshape(63))[0]), atol=1e-5
    )
    np.testing.assert_allclose(found[21:], helpers.rotation(pose[21:]), atol=1e-6)


def test_kl_is_the_integral_of_its_definition():
    mean, scale = np.array([0.7, -1.2, 0.0]), np.array([0.4, 1.7, 1.0])

    def integrand(x, m, s):
        log_ratio = stats.norm.logpdf(x, m, s) - stats.norm.logpdf(x)
        return stats.norm.pdf(x, m, s) * log_ratio

    expected = sum(integrate.quad(integrand, -20, 20, (m, s))[0] for m, s in zip(mean, scale, strict=True))
    np.testing.assert_allclose(vposer.kl(jnp.asarray(mean), jnp.asarray(scale)), expected, rtol=1e-5)


def test_kl_is_finite_where_the_scale_underflows():
    value, slopes = jax.value_and_grad(vposer.kl, (0, 1))(jnp.zeros(2), jnp.array([0.0, 1e-38]))
    assert np.isfinite(value)
    assert helpers.all_finite(slopes)


def scene(seed=3):
    rotations = jnp.asarray(helpers.rotation(random_pose(seed, (24, 3))), jnp.float32)
    return helpers.body(), rotations, jnp.asarray(random_pose(4, helpers.NUM_BETAS))


def constant_target(body, rotations, betas):
    """Vertices of the reconstructed body, as an array that no gradient passes."""
    pose = logarithm(rotations)
    body_pose = np.concatenate([np.asarray(rotations)[:1], reconstruct(NETWORK, pose[1:])])
    return np.asarray(vertices_of(body, jnp.asarray(body_pose), betas, jnp.zeros(3)))


def test_terms_are_those_of_three_separate_evaluations():
    body, rotations, betas = scene()
    vertices, divergence = terms(body, NETWORK, rotations, betas)
    own = vertices_of(body, rotations, betas, jnp.zeros(3))
    np.testing.assert_allclose(vertices, np.abs(constant_target(body, rotations, betas) - own).mean(), rtol=1e-5)
    pose = logarithm(rotations)[1:22]
    np.testing.assert_allclose(divergence, vposer.kl(*encode(NETWORK, pose)), rtol=1e-5)
    np.testing.assert_allclose(jax.jit(vposer.vertex_term)(body, NETWORK, rotations, betas), vertices, rtol=1e-6)


def test_the_vertex_term_pulls_on_the_pose_alone():
    body, rotations, betas = scene()
    target = constant_target(body, rotations, betas)

    def plain(rotations, betas):
        return jnp.abs(target - smpl.vertices(body, rotations, betas, jnp.zeros(3))).mean()

    expected = jax.jit(jax.grad(plain, (0, 1)))(rotations, betas)
    found = jax.jit(jax.grad(vposer.vertex_term, (2, 3)))(body, NETWORK, rotations, betas)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4 * np.abs(b).max())


def test_the_divergence_pulls_through_the_encoder():
    pose = random_pose(5, 63)

    def loss(pose):
        return vposer.kl(*vposer.encode(NETWORK, pose))

    def oracle(pose):
        mean, scale = ORACLE.encode(pose)
        return (0.5 * (mean**2 + scale**2 - 1) - np.log(scale)).sum()

    expected = helpers.numerical_gradient(oracle, pose)
    np.testing.assert_allclose(jax.jit(jax.grad(loss))(pose), expected, atol=1e-4 * np.abs(expected).max())


def test_a_pose_that_is_its_own_reconstruction_costs_nothing():
    state = {**STATE, "decoder_net.5.weight": np.zeros((126, prior_arrays.HIDDEN), np.float32)}
    state["decoder_net.5.bias"] = np.tile(np.float32([1, 0, 0, 1, 0, 0]), 21)
    body, rotations, betas = scene()
    rotations = rotations.at[1:22].set(jnp.eye(3))
    vertices, _ = terms(body, vposer.from_state_dict(state), rotations, betas)
    assert float(vertices) < 1e-7


def test_gradients_are_finite_at_rest_and_batches_are_stacks():
    body, _, betas = scene()
    rotations = jnp.stack([jnp.broadcast_to(jnp.eye(3), (24, 3, 3)), scene(6)[1]])

    def total(rotations):
        return sum(vposer.vposer_terms(body, NETWORK, rotations, betas))

    values, slopes = jax.jit(jax.vmap(jax.value_and_grad(total)))(rotations)
    assert helpers.all_finite(slopes)
    np.testing.assert_allclose(values[1], sum(terms(body, NETWORK, rotations[1], betas)), rtol=1e-5)


def test_sizes_are_read_off():
    assert (NETWORK.hidden, NETWORK.latent) == (prior_arrays.HIDDEN, prior_arrays.LATENT)
    assert set(vposer.state_names()) == {name for name in STATE if not name.endswith("tracked")}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"encoder_net.4.bias": None}, ["1 of", "encoder_net.4.bias"]),
        ({"encoder_net.4.bias": None, "decoder_net.0.bias": None}, ["2 of"]),
        ({"encoder_net.1.weight": np.ones(66)}, ["encoder_net.1.weight", "(66,)", "(63,)"]),
        ({"decoder_net.0.weight": np.ones(5)}, ["decoder_net.0.weight", "(5,)"]),
        ({"decoder_net.5.weight": np.full((126, 24), np.nan)}, ["decoder_net.5.weight", "NaN"]),
        ({"encoder_net.1.running_var": -np.ones(63)}, ["encoder_net.1.running_var", "variance"]),
        ({"encoder_net.2.bias": np.array(["x"] * 24)}, ["encoder_net.2.bias", "numbers"]),
    ],
)
def test_what_is_no_vposer_is_refused(changes, words):
    state = {name: array for name, array in {**STATE, **changes}.items() if array is not None}
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        vposer.from_state_dict(state)
    assert all(word in str(caught.value) for word in words), caught.value
