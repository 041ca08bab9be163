"""The Gaussian mixture prior against SciPy's densities, on wide, narrow and ill-conditioned mixtures."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal

from nemo_jax.priors import gmm
from tests.nemo_jax import helpers, prior_arrays

D = prior_arrays.DIMENSIONS
arrays = prior_arrays.mixture


def oracle(means, covariances, weights, pose):
    """Negative logarithm of the likeliest weighted component, without the factor that the published weights divide out."""
    densities = [
        np.log(w) + multivariate_normal(m, c, allow_singular=True).logpdf(pose)
        for m, c, w in zip(means, covariances, weights, strict=True)
        if w > 0
    ]
    return -max(densities) - min(np.linalg.slogdet(c)[1] / 2 for c in covariances)


loss = jax.jit(gmm.gmm_prior_loss)
gradient = jax.jit(jax.grad(gmm.gmm_prior_loss, 1))


# Square roots of these determinants leave the range of floats, of float64 too.
@pytest.mark.parametrize(("scale", "spread"), [(0.1, 1.5), (1e-11, 1.5), (1e10, 0.5), (1e-3, 5.0)])
def test_values(scale, spread):
    raw = arrays(scale, spread)
    prior = gmm.mixture(*raw)
    rng = np.random.default_rng(1)
    chosen = set()
    for pose in raw[0][rng.integers(0, 3, 6)] + np.sqrt(scale) * rng.normal(size=(6, D)):
        pose = np.float32(pose)
        expected = oracle(*raw, pose)
        np.testing.assert_allclose(loss(prior, pose), expected, rtol=2e-5)
        chosen.add(round(float(expected)))
        assert np.isfinite(gradient(prior, pose)).all()
    assert len(chosen) > 1


def test_the_published_square_roots_would_overflow():
    _, covariances, _ = arrays(1e-11)
    roots = np.sqrt(np.linalg.det(covariances)).astype(np.float32)
    with np.errstate(invalid="ignore"):
        assert np.isnan(roots / roots.min()).all()


def test_gradient():
    raw = arrays()
    prior = gmm.mixture(*raw)
    pose = np.float32(raw[0][1] + 0.3 * np.random.default_rng(2).normal(size=D))
    expected = helpers.numerical_gradient(lambda p: oracle(*raw, p), pose)
    np.testing.assert_allclose(gradient(prior, pose), expected, atol=1e-4 * np.abs(expected).max())
    batch = np.stack([pose, raw[0][0], raw[0][2]]).astype(np.float32)
    each = jax.vmap(loss, (None, 0))(prior, batch)
    np.testing.assert_allclose(each, [float(loss(prior, p)) for p in batch], rtol=1e-6)


def test_a_mean_is_the_best_pose_of_its_component():
    means, covariances, _ = arrays(components=1)
    prior = gmm.mixture(means, covariances, np.ones(1))
    at_mean = float(loss(prior, np.float32(means[0])))
    np.testing.assert_allclose(at_mean, D / 2 * np.log(2 * np.pi), rtol=1e-6)
    np.testing.assert_allclose(gradient(prior, np.asarray(prior.means)[0]), 0, atol=1e-6)


def test_a_component_without_weight_is_never_the_likeliest():
    means, covariances, weights = arrays()
    weights = np.array([0.0, 0.5, 0.5])
    prior = gmm.mixture(means, covariances, weights)
    pose = np.float32(means[0])
    np.testing.assert_allclose(loss(prior, pose), oracle(means, covariances, weights, pose), rtol=1e-5)
    assert np.isfinite(gradient(prior, pose)).all()


def changed(position, change):
    raw = list(arrays())
    raw[position] = change(raw[position].copy())
    return raw


def with_nan(array):
    array.flat[5 % array.size] = np.nan
    return array


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ([a[..., :63] if a.ndim > 1 else a for a in arrays()], ["63", "69"]),
        (changed(0, lambda a: a[0]), ["means", "(69,)"]),
        (changed(1, lambda a: a[:, 0]), ["covariances", "(3, 69)", "(3, 69, 69)"]),
        (changed(2, lambda a: a[:2]), ["weights", "(2,)", "(3,)"]),
        (changed(2, lambda a: -a), ["weights", "-1"]),
        (changed(2, lambda a: 2 * a), ["weights", "2"]),
        (changed(1, lambda a: -a), ["covariance 0", "positive definite"]),
        (changed(1, np.triu), ["covariance 0", "symmetric"]),
        (changed(0, with_nan), ["means", "NaN"]),
        (changed(1, with_nan), ["covariances", "NaN"]),
        (changed(0, lambda a: a.astype(str)), ["means", "numbers"]),
    ],
)
def test_what_is_no_mixture_is_refused(raw, words):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        gmm.mixture(*raw)
    assert all(word in str(caught.value) for word in words), caught.value
    assert "\n" not in str(caught.value)


def test_it_is_a_pytree():
    prior = gmm.mixture(*arrays())
    assert [leaf.dtype for leaf in jax.tree.leaves(prior)] == [jnp.float32] * 3
