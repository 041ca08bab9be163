"""The prior over lenses, and that lenses which are known or shared stay so."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import norm

from nemo_jax import camera as cam
from nemo_jax import camera_search, lens, stages
from nemo_jax.priors import Priors
from tests.nemo_jax import helpers

CONFIG = helpers.tiny_config(camera_yaws=2, lens_starts=3, batch_size=8)


def log_density(log_ratio):
    """The mixture by SciPy, float64."""
    parts = [np.log(share) + norm.logpdf(log_ratio, np.log(median), spread) for share, median, spread in
             ((0.8, 0.7, 0.25), (0.2, 4.0, 0.5))]  # fmt: skip
    return logsumexp(parts, axis=0)


def surprise(log_ratio):
    return log_density(np.log(0.7)) - log_density(np.float64(log_ratio))


def test_surprise_is_the_mixture():
    grid = np.linspace(np.log(0.05), np.log(50), 2001)
    found = np.asarray(jax.jit(lens.surprise)(jnp.asarray(grid, jnp.float32)))
    np.testing.assert_allclose(found, surprise(grid), rtol=1e-4, atol=1e-5)
    # The other part of the mixture moves the maximum by a ten thousandth.
    assert found.min() > -1e-6 and abs(grid[found.argmin()] - np.log(0.7)) < 0.005
    assert lens.surprise(jnp.log(0.7)) == 0
    slope = jax.vmap(jax.grad(lens.surprise))(jnp.asarray(grid, jnp.float32))
    assert np.isfinite(slope).all()
    # A television lens costs less than what neither of the two has.
    assert found[np.abs(grid - np.log(4)).argmin()] < found[np.abs(grid - np.log(1.7)).argmin()]


def clips_of(focal, lens_numbers=None):
    count = len(focal)
    clips = helpers.scene(lengths=(3,) * count, yaws=(0.3, -0.7, 1.5, 2.0)[:count]).clips
    numbers = None if lens_numbers is None else jnp.asarray(lens_numbers, jnp.float32)
    return dataclasses.replace(clips, focal_length=jnp.asarray(focal, jnp.float32), lens=numbers)


def test_a_known_lens_costs_nothing():
    clips = clips_of([900.0, np.nan])
    assets = helpers.prepare(clips, helpers.body(), Priors(), CONFIG)
    found = lens.loss(jnp.asarray([[3.0, 0.2], [-3.0, 0.0]]), assets)
    expected = surprise(np.log(CONFIG.focal_guess) + np.array([0.2, 0.0]))
    np.testing.assert_allclose(found, np.stack([np.zeros(2), expected], 1), rtol=1e-5)


def test_starts():
    np.testing.assert_allclose(np.exp(lens.starts(3)), [1, (4 / 0.7) ** 0.5, 4 / 0.7], rtol=1e-6)
    for count in (0, 1):
        np.testing.assert_array_equal(lens.starts(count), [0.0])


def test_focal_lengths():
    clips = clips_of([900.0, np.nan])
    problem, state = helpers.start(jax.random.key(0), clips, helpers.body(), Priors(), CONFIG)
    params = dataclasses.replace(state.params, log_focal=jnp.log(jnp.asarray([1.0, 2.0])))
    found = lens.focal_lengths(params, problem.assets)
    np.testing.assert_allclose(found, [900, 2 * 1.5 * np.hypot(1280, 720)], rtol=1e-6)


@pytest.mark.parametrize("same", [None, [7, 3, 3, 7]], ids=["each its own", "two pairs"])
def test_steps_move_unknown_lenses_alone_and_those_of_one_lens_together(same):
    # The first lens is known, its partner is not.
    clips = clips_of([900.0, np.nan, np.nan, np.nan], same)
    problem, state = jax.jit(stages.start)(jax.random.key(0), clips, helpers.body(), Priors(), CONFIG)
    (stage,) = (stage for stage in stages.stages(CONFIG) if stage.name == "joint")
    state, _ = jax.jit(lambda carry: stages.run_steps(problem, stage, carry, stages.numbers(stage)))(state)
    found = np.asarray(state.params.log_focal)
    assert found[0] == 0
    assert np.abs(found[1:]).min() > 1e-4
    assert (found[1] == found[2]) == (same is not None)


def test_the_search_takes_the_guess_without_evidence_and_a_long_lens_with_it():
    """A search whose candidates explain the pixels equally well, then one in which long lenses do clearly better."""
    clips = clips_of([np.nan, np.nan, 900.0], [1, 1, 2])
    problem, state = jax.jit(stages.start)(jax.random.key(0), clips, helpers.body(), Priors(), CONFIG)
    config = dataclasses.replace(CONFIG, focal_guess=0.7)
    assets = dataclasses.replace(problem.assets, focal=problem.assets.focal * jnp.asarray([0.7 / 1.5, 0.7 / 1.5, 1.0]))
    search = jax.jit(camera_search.begin_search)(state.params, assets, config, clips, state.yaws)
    assert search.log_focal.shape == (12, 3)
    np.testing.assert_array_equal(search.log_focal[:, 2], 0.0)
    np.testing.assert_allclose(search.log_focal[::4, 0], lens.starts(3))
    best = jax.jit(camera_search.best)
    unseen = dataclasses.replace(search, weight=jnp.zeros_like(search.weight))
    np.testing.assert_array_equal(best(unseen, assets, config)[1], 0.0)

    # The pixels of the first instance are those of its last candidate; the second, of the same lens, shows nothing.
    def seen(number):
        focal = assets.focal[0] * jnp.exp(search.log_focal[number, 0])
        return cam.project(cam.to_camera(search.cameras[number, 0], search.points[0]), focal, assets.principal[0])

    pixels = search.pixels.at[0].set(seen(9))
    weight = jnp.ones_like(search.weight).at[1].set(0.0)
    evident = dataclasses.replace(search, pixels=pixels, weight=weight)
    # The body at rest is a plane, of which a long lens and a short one see nearly the same: without the prior.
    cameras, log_focal = best(evident, assets, dataclasses.replace(config, weight_lens=0.0))
    np.testing.assert_allclose(log_focal, [lens.starts(3)[2], lens.starts(3)[2], 0.0])
    np.testing.assert_array_equal(cameras[0], search.cameras[9, 0])
