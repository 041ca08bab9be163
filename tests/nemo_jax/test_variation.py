"""What a clip's own variation is, what it costs, and when another reading explains as much."""

import dataclasses
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from nemo_jax import batches, model, objective, path, stages, variation
from nemo_jax.priors import Priors
from tests.nemo_jax import helpers, points

CONFIG = helpers.tiny_config(path_knots=4)
PRICED = helpers.tiny_config(
    weight_apart=7000.0, apart_scale=0.2, apart_frames=16, apart_grown=0.5, apart_unposed=0.4, joint_steps=20
)


def test_without_it_codes_are_0_paths_stay_where_they_are_and_nothing_else_changes():
    params = points.at("somewhere", CONFIG, helpers.scene(lengths=(4, 5), yaws=(0.0, 1.0)).clips)
    found = variation.without(params)
    assert params.path is not None and found.path is not None
    assert not np.asarray(found.codes).any()
    # Every point of the path is where its knots are in the mean, which moves the camera's keypoints as little as it can.
    where = jnp.stack([path.offset(found.path[1], jnp.asarray(phase)) for phase in (0.0, 0.3, 1.0)])
    np.testing.assert_allclose(where, np.tile(np.asarray(params.path[1], float).mean(0), (3, 1)), atol=1e-6)
    assert np.abs(where).max() > 0.01
    assert dataclasses.replace(found, codes=params.codes, path=params.path) == params
    pathless = dataclasses.replace(params, path=None)
    assert variation.without(pathless).path is None


def test_another_reading_must_explain_half_of_what_the_variation_does():
    present, varied = jnp.full(4, 100.0), jnp.asarray([20.0, 20.0, 100.0, 130.0])
    other = jnp.asarray([59.0, 61.0, 99.0, 99.0])
    np.testing.assert_array_equal(variation.explained(present, other, varied, 0.5), [True, False, True, True])


def turned(angles):
    """Rotations (..., 24, 3, 3) by angles (..., 24) about axes of their own, and the rotations that they are turned from."""
    rng = np.random.default_rng(3)
    angles = np.asarray(angles, np.float64)
    axes = rng.normal(size=(*angles.shape, 3))
    axes /= np.linalg.norm(axes, axis=-1, keepdims=True)
    shared = Rotation.random(angles.size, random_state=4).as_matrix().reshape(*angles.shape, 3, 3)
    moved = shared @ helpers.rotation(axes * angles[..., None])
    return moved.astype(np.float32), shared.astype(np.float32)


def test_poses_cost_what_the_formula_says_and_roots_nothing():
    angles = np.random.default_rng(5).uniform(0, np.pi, (6, 24))
    found = variation.apart_loss(*turned(angles), 0.1)
    # 1/2 |R - R0|^2 of an angle.
    squared = 2 * (1 - np.cos(angles[:, 1:]))
    expected = (0.01 * np.log1p(squared / 0.01)).sum(-1) / 69
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.parametrize(("angle", "share"), [(0.01, 1.0), (0.1, 0.69), (1.0, 0.046)])
def test_small_differences_cost_their_square_and_large_ones_less(angle, share):
    found = variation.apart_loss(*turned(np.full((1, 24), angle)), 0.1)[0]
    assert found == pytest.approx(share * 23 * angle**2 / 69, rel=0.02)


@pytest.mark.parametrize("angle", [0.0, np.pi])
def test_slopes_are_those_of_the_formula_where_poses_are_the_same_and_opposite(angle):
    moved, shared = turned(np.full((1, 24), angle))
    slope = jax.grad(lambda r: variation.apart_loss(r, shared, 0.1)[0])(jnp.asarray(moved))
    expected = (moved - shared) / (1 + 2 * (1 - np.cos(angle)) / 0.01) / 69
    expected[:, 0] = 0
    np.testing.assert_allclose(slope, expected, atol=1e-7)


@pytest.fixture(scope="module")
def priced():
    """A loss with its slopes, and where it is taken: of two instances, one of whom uses the other hand and has no first
    poses."""
    clips = helpers.scene(lengths=(4, 4), yaws=(0.0, 1.0)).clips
    clips = dataclasses.replace(clips, init_mask=np.asarray(clips.init_mask) * np.array([[1.0], [0.0]], np.float32))
    assets = jax.jit(model.prepare)(clips, helpers.body(), Priors(), PRICED)
    batch = batches.full_batch(clips)

    @jax.jit
    def run(params, config):
        targets = helpers.targets_from(clips)
        loss = lambda p: objective.joint_loss(p, assets, config, clips, targets, batch)
        return jax.value_and_grad(loss, has_aux=True)(params)

    params = points.at("somewhere", PRICED, clips)
    params = dataclasses.replace(params, codes=20 * params.codes)
    return SimpleNamespace(run=run, params=params, clips=clips, assets=assets, batch=batch)


def test_whoever_does_what_all_do_pays_nothing_with_either_hand(priced):
    np.testing.assert_array_equal(priced.params.mirrored, [0, 1])
    (_, terms), slope = priced.run(variation.without(priced.params), PRICED)
    assert terms["apart"] == 0
    assert helpers.all_finite(slope)


def test_codes_pay_and_feel_it(priced):
    (total, terms), slope = priced.run(priced.params, PRICED)
    (free, _), other = priced.run(priced.params, dataclasses.replace(PRICED, weight_apart=0.0))
    assert terms["apart"] > 1e-3
    assert float(total - free) == pytest.approx(7000 * float(terms["apart"]), rel=1e-3)
    assert np.abs(slope.codes - other.codes).max() > 1e-3
    np.testing.assert_allclose(slope.cameras, other.cameras, rtol=1e-4, atol=1e-4)


def test_the_price_is_that_of_predicted_poses(priced):
    at = jax.jit(jax.vmap(model.predict, (None, None, None, 0, 0)))
    raw = np.asarray(priced.batch.frame, np.float32) / 3
    own, shared = (
        at(params, priced.assets, PRICED, priced.batch.instance, raw).rotations
        for params in (priced.params, variation.without(priced.params))
    )
    squared = ((np.float64(own) - np.float64(shared))[:, 1:] ** 2).sum((-2, -1)) / 2
    each = (0.04 * np.log1p(squared / 0.04)).sum(-1) / 69
    expected = np.mean(np.where(np.asarray(priced.batch.instance) == 0, 1.0, 0.4) * each)
    assert priced.run(priced.params, PRICED)[0][1]["apart"] == pytest.approx(expected, rel=1e-4)


def test_a_part_of_the_batch_is_looked_at_and_none_without_it(priced):
    params, batch = priced.params, priced.batch
    prediction = objective.predict_batch(params, priced.assets, PRICED, priced.clips, batch)
    fewer = dataclasses.replace(PRICED, apart_frames=2)
    half = batches.Batch(instance=batch.instance[::4], frame=batch.frame[::4])
    seen = jax.tree.map(lambda leaf: leaf[::4], prediction)
    whole = objective.apart_terms(params, seen, PRICED, priced.clips, half)["apart"]
    found = objective.apart_terms(params, prediction, fewer, priced.clips, batch)
    np.testing.assert_allclose(found["apart"], whole, rtol=1e-6)
    free = dataclasses.replace(PRICED, apart_frames=0)
    assert not objective.apart_terms(params, prediction, free, priced.clips, batch)


def test_the_price_grows_until_its_share_of_the_steps(priced):
    problem, state = helpers.start(jax.random.key(0), priced.clips, helpers.body(), Priors(), PRICED)
    state = dataclasses.replace(state, params=priced.params)

    @jax.jit
    def losses(problem, step):
        (stage,) = (stage for stage in stages.stages(PRICED) if stage.name == "joint")
        return stage.step(problem, state, step, priced.batch)[1]

    unpriced = dataclasses.replace(problem, config=dataclasses.replace(PRICED, weight_apart=0.0))
    for step, share in ((0, 0.0), (4, 0.4), (10, 1.0), (19, 1.0)):
        found, free = losses(problem, step), losses(unpriced, step)
        assert found["apart"] > 1e-3
        assert float(found["total"] - free["total"]) == pytest.approx(7000 * share * float(found["apart"]), rel=1e-3)
