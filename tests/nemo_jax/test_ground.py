"""The floor and the world's up: heights, the prior over cameras, and that levelling a fit changes no pixel."""

import dataclasses
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from nemo_jax import batches, contact, ground, model, objective, optim
from nemo_jax import camera as cam
from nemo_jax.priors import Priors
from tests.nemo_jax import helpers

CONFIG = helpers.tiny_config(contact_centres=4, path_knots=5, batch_size=-1)
GROUND = np.array([-0.9, 0.2, -0.1, 0.02, -0.01, 0.03])
RISE = np.array([0.02, -0.01, 0.02, -0.01, 0.03, 0.03])
UP = np.array([0.2, 1.0, -0.1]) / np.linalg.norm([0.2, 1.0, -0.1])


@pytest.fixture(scope="module")
def case():
    """A fit far from its start, the second instance mirrored, with a floor that leans."""
    clips = helpers.scene().clips
    params = helpers.init(jax.random.key(0), 2, clips.image_size, helpers.NUM_BETAS, CONFIG)
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda x: x + jnp.asarray(0.2 * rng.normal(size=x.shape), x.dtype), params)
    params = dataclasses.replace(params, mirrored=jnp.array([0.0, 1.0]), ground=jnp.float32(GROUND))
    assets = helpers.prepare(clips, helpers.body(), Priors(), CONFIG)
    predict = jax.jit(lambda params: model.predict_clips(params, assets, CONFIG, clips))
    return SimpleNamespace(clips=clips, params=params, assets=assets, predict=predict)


def test_heights_are_those_over_a_leaning_plane():
    points = np.random.default_rng(1).normal(size=(2, 5, 3))
    found = ground.heights(jnp.float32(GROUND), jnp.array([0.0, 1.0]), jnp.float32(points))
    expected = np.stack([points[0] @ UP, points[1] @ (UP * [-1, 1, 1])]) + 0.9
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_prior_measures_roll_and_pitch():
    level = np.asarray(cam.level_camera(jnp.float32(0.7)), float)
    roll = Rotation.from_euler("z", 4, degrees=True).as_matrix()
    pitch = Rotation.from_euler("x", 15, degrees=True).as_matrix()
    cameras = jnp.stack([cam.join(jnp.float32(turn @ level), jnp.zeros(3)) for turn in (np.eye(3), roll, pitch)])
    cost = ground.camera_loss(cameras, jnp.zeros(5), jnp.zeros(3))
    np.testing.assert_allclose(cost, [0, 2.0, 0.5], rtol=5e-3, atol=1e-6)
    slope = jax.grad(lambda g: ground.camera_loss(cameras, g, jnp.zeros(3)).sum())(jnp.zeros(5))
    assert np.isfinite(slope).all() and np.abs(slope[1:3]).max() > 1


def test_who_pans_turns_about_what_is_up():
    """A camera that looks down by ten degrees and pans by forty is level in all frames about one direction."""
    down = Rotation.from_euler("x", 10, degrees=True).as_matrix() @ np.asarray(
        cam.level_camera(jnp.float32(0.7)), float
    )
    yaws = Rotation.from_euler("y", np.linspace(0, 40, 9)[:, None], degrees=True).as_matrix()
    turns = down @ yaws @ down.T
    cameras = jnp.float32(cam.join(jnp.float32(down), jnp.zeros(3)))[None]
    exists = jnp.ones((1, 10)).at[0, 9].set(0.0)
    moves = (jnp.asarray(np.concatenate([turns, np.full((1, 3, 3), 9.0)])[None], jnp.float32), exists)
    cost = lambda lean: ground.camera_loss(cameras, jnp.zeros(5).at[1:3].set(lean), jnp.zeros(1), moves)[0]
    still = lambda lean: ground.camera_loss(cameras, jnp.zeros(5).at[1:3].set(lean), jnp.zeros(1))[0]
    assert float(cost(jnp.zeros(2))) == pytest.approx(
        0.5 * (np.sin(np.radians(10)) / np.sin(np.radians(15))) ** 2, rel=1e-3
    )
    # As if it did not look down: the first frame says yes, and those that follow would be rolled.
    seen = down.T @ [0, -1, 0]
    lean = jnp.float32(np.array([seen[0], seen[2]]) / seen[1])
    rolls = (turns @ [0, -1, 0])[:, 0] / np.sin(np.radians(2))
    pitches = (turns @ [0, -1, 0])[:, 2] / np.sin(np.radians(15))
    assert float(still(lean)) == pytest.approx(0, abs=1e-5)
    assert float(cost(lean)) == pytest.approx(np.mean(0.5 * rolls**2 + 0.5 * pitches**2), rel=1e-3)
    assert float(cost(lean)) > 5 * float(cost(jnp.zeros(2)))
    # Turns that are none change nothing.
    same = jnp.tile(jnp.eye(3), (1, 10, 1, 1)), exists
    for leaning in (jnp.zeros(2), lean, jnp.array([0.1, -0.2])):
        given = ground.camera_loss(cameras, jnp.zeros(5).at[1:3].set(leaning), jnp.zeros(1), same)[0]
        assert float(given) == pytest.approx(float(still(leaning)), rel=1e-5, abs=1e-6)


def test_upright_is_the_smallest_turn():
    turn = np.asarray(ground.upright(jnp.float32(UP)), float)
    np.testing.assert_allclose(turn @ UP, [0, 1, 0], atol=1e-6)
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-6)
    assert Rotation.from_matrix(turn).magnitude() == pytest.approx(np.arccos(UP[1]), rel=1e-4)


def test_level_changes_no_pixel_and_puts_the_floor_at_zero(case):
    before = case.predict(case.params)
    level = ground.level(case.params, case.assets.body)
    after = case.predict(level)
    np.testing.assert_allclose(after.keypoints_2d, before.keypoints_2d, rtol=2e-4, atol=0.05)
    above = ground.heights(case.params.ground, case.params.mirrored, before.keypoints.reshape(2, -1, 3))
    np.testing.assert_allclose(after.keypoints[..., 1].reshape(2, -1), above, atol=2e-5)
    np.testing.assert_array_equal(level.ground, np.float32([0, 0, 0, *GROUND[3:]]))
    np.testing.assert_array_equal(after.contact, before.contact)
    # Levelling a level fit changes nothing but rounding.
    again = case.predict(ground.level(level, case.assets.body))
    np.testing.assert_allclose(again.keypoints, after.keypoints, atol=1e-5)


def test_terms_are_those_of_the_frames(case):
    """Contact, penetration and gravity of a batch of all frames, from the prediction in NumPy."""
    clips, params = case.clips, case.params
    batch = batches.full_batch(clips)

    @jax.jit
    def of_batch(params):
        seen = objective.predict_batch(params, case.assets, CONFIG, clips, batch)
        return seen, objective.ground_terms(params, seen, case.assets, CONFIG, clips, batch)

    seen, found = of_batch(params)
    points = np.asarray(seen.keypoints, float)[:, list(contact.POINTS)]
    # Hands are broader in speed and height, and rarer.
    speed, tall = np.array([0.05] * 4 + [0.125] * 2)[:, None], np.array([0.01] * 4 + [0.02] * 2)
    share = np.array([0.46] * 4 + [0.007] * 2)
    instance, frame = np.asarray(batch.instance), np.asarray(batch.frame)
    each, low = [], []
    for i in range(len(frame) - 1):
        if instance[i + 1] != instance[i] or frame[i + 1] != frame[i] + 1:
            continue
        n = instance[i]
        up = UP * ([-1, 1, 1] if params.mirrored[n] > 0.5 else [1, 1, 1])
        above = points[i] @ up + 0.9
        soles = np.asarray(case.assets.soles, float) + RISE
        height = above - soles
        velocity = (points[i + 1] - points[i]) * float(clips.fps[n])
        square = 0.5 * ((velocity / speed) ** 2).sum(-1) + 0.5 * (height / tall) ** 2
        p = 1 / (1 + np.exp(-np.asarray(seen.contact[i], float)))
        divergence = p * np.log(p / share) + (1 - p) * np.log((1 - p) / (1 - share))
        each.append((p * 10 * np.log1p(square / 10) + (1 - p) * 10 + divergence).sum() / 4)
        low.append((0.5 * np.minimum(np.where(np.arange(6) < 4, height, above) / tall, 0) ** 2).sum() / 4)
    rises = 0.05 * 0.5 * ((GROUND[3:] / [0.015, 0.015, 0.04]) ** 2).sum()
    assert found["contact"] == pytest.approx(np.mean(each) + rises, rel=1e-3)
    assert found["below"] == pytest.approx(np.mean(low), rel=1e-3)
    assert set(found) == {"contact", "below", "gravity", "balance", "path"}


def test_gradients_reach_what_they_should(case):
    clips = case.clips
    batch = batches.full_batch(clips)

    def contacts(params):
        seen = objective.predict_batch(params, case.assets, CONFIG, clips, batch)
        return objective.ground_terms(params, seen, case.assets, CONFIG, clips, batch)["contact"]

    slope = jax.jit(jax.grad(contacts))(case.params)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slope))
    assert (np.abs(slope.ground) > 0).all()
    for leaf in (slope.contact["values"], slope.path, slope.betas, slope.field["translation"]["kernel"]):
        assert np.abs(leaf).max() > 0
    np.testing.assert_array_equal(slope.cameras, np.zeros_like(slope.cameras))


def test_learning_rates_name_them(case):
    flat = jax.tree_util.tree_flatten_with_path(case.params)[0]
    assert {optim.group_of(path) for path, _ in flat} == set(optim.GROUPS) - {"delay"}


def test_without_hands_feet_are_as_they_are_with_them(case):
    """Their part of the terms is the same, and a fit without hands has no parameters of them."""
    config = dataclasses.replace(CONFIG, contact_hands=False)
    alone = dataclasses.replace(
        case.params,
        contact=jax.tree.map(lambda leaf: leaf[..., :4], case.params.contact),
        ground=case.params.ground[:5],
    )
    clips, batch = case.clips, batches.full_batch(case.clips)
    assets = helpers.prepare(clips, helpers.body(), Priors(), config)
    fresh = helpers.init(jax.random.key(0), 2, clips.image_size, helpers.NUM_BETAS, config)
    assert jax.tree.map(jnp.shape, fresh) == jax.tree.map(jnp.shape, alone)

    @jax.jit
    def of_batch(params):
        seen = objective.predict_batch(params, case.assets, CONFIG, clips, batch)
        without = dataclasses.replace(seen, contact=seen.contact[:, :4])
        with_hands = objective.ground_terms(params, seen, case.assets, CONFIG, clips, batch)
        return seen, with_hands, objective.ground_terms(alone, without, assets, config, clips, batch)

    seen, both, feet = of_batch(case.params)
    predicted = jax.jit(lambda p: objective.predict_batch(p, assets, config, clips, batch))(alone)
    np.testing.assert_allclose(predicted.contact, seen.contact[:, :4], rtol=1e-5)
    assert both["contact"] > feet["contact"] + 1 and both["below"] >= feet["below"]
    assert both["gravity"] == pytest.approx(float(feet["gravity"]), rel=1e-6)


def test_hands_that_stand_are_held():
    """A few steps of descent: of wrists near the floor that drift, the loss and the drift fall, and their logits rise."""
    points = jnp.float32(np.random.default_rng(3).normal(0, 0.002, (8, 6, 3)))
    points = points.at[..., 1].add(jnp.float32([0.02, 0.02, 0.02, 0.02, 0.12, 0.12]))
    points = points.at[:, 4:, 0].add(jnp.linspace(0, 0.1, 8)[:, None])  # 0.43 m/s
    unposed = jnp.float32([0.02] * 4 + [contact.HAND_RISE] * 2)

    def loss(given):
        points, logit, floor = given
        height = ground.heights(floor, jnp.zeros(7), points[:-1]) - ground.soles(floor, unposed)
        logits = jnp.broadcast_to(logit, (7, 6))
        each = contact.loss_of_points(logits, 30 * jnp.diff(points, axis=0), height, 0.1, 0.02)
        return each.mean() + ground.sole_loss(floor)

    step = jax.jit(
        lambda given: jax.tree.map(lambda x, g, r: x - r * g, given, jax.grad(loss)(given), (5e-5, 5.0, 1e-4))
    )
    given = (points, jnp.float32([2.0] * 4 + [-4.95] * 2), jnp.zeros(6))
    for _ in range(300):
        given = step(given)
    drift = lambda points: np.ptp(np.asarray(points)[:, 4:, 0], axis=0).max()
    assert (jax.nn.sigmoid(given[1][4:]) > 0.7).all()
    assert drift(given[0]) < 0.7 * drift(points)
    assert given[2][5] > 0.005  # wrists stand higher than was expected
    assert loss(given) < loss((points, given[1], jnp.zeros(6)))


def test_without_contacts_there_is_nothing_of_it():
    config = helpers.tiny_config(contact_centres=0, path_knots=0)
    clips = helpers.scene().clips
    params = helpers.init(jax.random.key(0), 2, clips.image_size, helpers.NUM_BETAS, config)
    assert params.ground is None and params.contact is None and params.path is None
    assert ground.level(params, helpers.body()) is params
    assert batches.num_pairs(config) == 0
