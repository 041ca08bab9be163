"""Heights of bodies, shapes of a given height, and that a fit keeps them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from body_models import loaders, smpl
from nemo_jax import clips as clips_lib
from nemo_jax import stacking, stages, stature
from nemo_jax.instances import Instance
from nemo_jax.priors import Priors
from tests.nemo_jax import helpers

BODY = loaders.load_body(None)


def extent(betas):
    """Height of the unposed vertices."""
    rest = jnp.broadcast_to(jnp.eye(3), (24, 3, 3))
    heights = np.asarray(smpl.vertices(BODY, rest, jnp.asarray(betas), jnp.zeros(3)))[:, 1]
    return heights.max() - heights.min()


def test_height_is_that_of_the_mesh():
    betas = np.random.default_rng(0).normal(0, 1, (4, BODY.num_betas)).astype(np.float32)
    np.testing.assert_allclose(stature.of(BODY, betas), [extent(row) for row in betas], atol=2e-3)


def test_the_nearest_shape_of_a_height():
    betas = np.random.default_rng(1).normal(0, 1, (3, BODY.num_betas)).astype(np.float32)
    found = np.asarray(stature.with_height(BODY, betas, jnp.asarray([1.83, np.nan, 1.5])))
    np.testing.assert_allclose(np.asarray(stature.of(BODY, found))[[0, 2]], [1.83, 1.5], atol=1e-5)
    np.testing.assert_array_equal(found[1], betas[1])
    np.testing.assert_allclose(extent(found[0]), 1.83, atol=3e-3)
    # What changes is along the one direction in which heights change fastest.
    directions = np.asarray(stature.linear(BODY)[1])
    np.testing.assert_allclose(np.linalg.matrix_rank(np.stack([found[0] - betas[0], directions]), tol=1e-4), 1)


def test_how_sure_metres_are():
    betas = np.zeros((2, BODY.num_betas), np.float32)
    draws = np.random.default_rng(2).normal(0, 1, (20_000, BODY.num_betas))
    spread = np.asarray(stature.of(BODY, draws)).std() / np.asarray(stature.of(BODY, betas[0]))
    np.testing.assert_allclose(
        stature.scale_uncertainty(BODY, betas, jnp.asarray([np.nan, 1.8])), [spread, 0], rtol=0.02
    )
    np.testing.assert_allclose(stature.scale_uncertainty(BODY, betas, None), [spread, spread], rtol=0.02)
    assert 0.04 < spread < 0.08  # adults: 7 cm within each sex, 10 cm over both


def test_a_fit_keeps_given_heights():
    body = helpers.body()
    tall = float(stature.of(body, jnp.zeros(body.num_betas))) * 1.1
    clips = dataclasses.replace(helpers.scene(lengths=(3, 3)).clips, height=jnp.asarray([tall, np.nan]))
    config = helpers.tiny_config(batch_size=8, lr_betas=0.1, joint_steps=3)
    problem, state = helpers.start(jax.random.key(0), clips, body, Priors(), config)
    begun = state.params.betas
    np.testing.assert_allclose(stature.of(body, begun)[0], tall, rtol=1e-5)
    np.testing.assert_array_equal(begun[1], 0)
    joint = stages.stages(problem.config)[-1]
    carry, _ = stages.run_steps(problem, joint, joint.begin(problem, state), stages.numbers(joint)[:3])
    after = carry.params.betas
    assert np.abs(after - begun).max() > 0.01
    np.testing.assert_allclose(stature.of(body, after)[0], tall, rtol=1e-5)
    assert abs(float(stature.of(body, after)[1]) - tall) > 1e-3


def test_clips_know_heights_only_where_told():
    one = Instance(np.ones((2, 25, 2)), np.ones((2, 25)), image_size=(400, 300))
    assert clips_lib.Clips.from_instances([one, one]).height is None
    both = clips_lib.Clips.from_instances([one, dataclasses.replace(one, height=1.7)])
    np.testing.assert_array_equal(both.height, np.float32([np.nan, 1.7]))
    padded = stacking.pad_instances(both, 4)
    np.testing.assert_array_equal(padded.height, np.float32([np.nan, 1.7, 1.7, 1.7]))
    # Fits of which one knows heights have programs of their own.
    config = helpers.tiny_config()
    plain = clips_lib.Clips.from_instances([one, one])
    assert stacking.kind_of(both, config) != stacking.kind_of(plain, config)
