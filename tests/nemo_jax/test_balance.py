"""Balance: centres of mass, ways to them from what carries, accelerations, and which clips pay for them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from body_models import smpl
from nemo_jax import balance, batches, lift, losses, objective, rotations
from nemo_jax import camera as cam
from nemo_jax.priors import Priors
from tests.nemo_jax import helpers

UP = np.array([0.1, 1.0, -0.2]) / np.linalg.norm([0.1, 1.0, -0.2])
TURN = Rotation.align_vectors([UP], [[0, 1, 0]])[0]


@pytest.fixture(scope="module")
def standing(tiny_body):
    """Keypoints (25, 3) of somebody who stands with straight legs and hanging arms, y up."""
    straight = lift.standing_pose() * (np.abs(lift.standing_pose()) > 1)
    pose = rotations.axis_angle_to_matrix(jnp.asarray(straight))
    return np.asarray(smpl.keypoints(tiny_body, pose, jnp.zeros(tiny_body.num_betas), jnp.zeros(3)), float)


def test_the_centre_of_somebody_who_stands_is_behind_the_navel(standing):
    assert balance.CENTRE.sum() == pytest.approx(1, abs=1e-6) and (balance.CENTRE >= 0).all()
    centre = np.asarray(balance.centre(jnp.float32(standing)))
    # De Leva's: 55 to 57% of the height. The nose is at about 93% of it.
    height = (standing[0, 1] - standing[[19, 21, 22, 24], 1].min()) / 0.93
    assert 0.54 < (centre[1] - standing[[19, 21, 22, 24], 1].min()) / height < 0.6
    assert abs(centre[0] - standing[8, 0]) < 0.03 and abs(centre[2] - standing[8, 2]) < 0.06


def test_ways_are_those_of_the_formula(standing):
    points = TURN.apply(standing + 0.05 * np.random.default_rng(0).normal(size=(25, 3)))
    feet = points[[19, 21, 22, 24]]
    weight = np.exp(-(feet @ UP) / 0.03 - (-(feet @ UP) / 0.03).max())
    expected = balance.CENTRE.astype(float) @ points - weight / weight.sum() @ feet
    np.testing.assert_allclose(balance.way(jnp.float32(points), jnp.float32(UP)), expected, atol=1e-5)
    flat = expected - (expected @ UP) * UP
    far = max(np.linalg.norm(flat) - 0.02, 0) ** 2
    price = balance.loss(jnp.float32(expected), jnp.float32(UP), usual=0.02)
    assert float(price) == pytest.approx(far / (far + 0.15**2), rel=1e-3)


def test_prices_by_how_far_people_lean(standing):
    def price(degrees, usual=0.1):
        leaning = Rotation.from_euler("x", degrees, degrees=True).apply(standing)
        up = jnp.array([0.0, 1.0, 0.0])
        return float(balance.loss(balance.way(jnp.float32(leaning), up), up, usual=usual))

    assert price(0) == 0 and price(0, 0.0) < 0.2
    prices = [price(degrees) for degrees in (10, 20, 30, 45, 85)]
    assert prices == sorted(prices) and prices[2] > 0.6
    # Who lies pays hardly more than who leans by half of that.
    assert prices[-1] < 1 and prices[-1] - prices[-2] < 0.15


def test_who_runs_in_a_curve_leans_into_it():
    speed, radius, height = 4.0, 5.0, 0.95
    inwards = speed**2 / radius
    up, way = jnp.array([0.0, 1.0, 0.0]), jnp.array([height * inwards / 9.81, height, 0.0])
    assert float(balance.loss(way, up, jnp.array([inwards, 3.0, 0.0]))) == pytest.approx(0, abs=1e-6)
    assert float(balance.loss(way, up)) > 0.7
    # An acceleration that nobody follows costs nothing either.
    assert float(balance.loss(jnp.array([0.0, height, 0.0]), up, jnp.array([inwards, 0.0, 0.0]))) == pytest.approx(
        0, abs=1e-6
    )


@pytest.mark.parametrize("way", [(0, 0, 0), (0, 0.9, 0), (0.1, 0.9, 0), (30.0, 0.9, -40.0)])
def test_gradients_are_finite(way):
    slope = jax.grad(lambda way: balance.loss(way, jnp.array([0.0, 1.0, 0.0]), usual=0.1))(jnp.float32(way))
    assert np.isfinite(slope).all()


def test_accelerations_are_slopes_of_speeds():
    rng = np.random.default_rng(0)
    instance, time = np.repeat([0, 1, 2], 20), rng.uniform(0, 4, 60)
    true = np.array([[2.0, 0.0, -1.0], [0.0, 3.0, 0.5], [1.0, 1.0, 1.0]])
    speed = true[instance] * time[:, None] + [1.0, 2.0, 3.0]
    known = np.where(instance == 2, 0.0, 1.0) * (rng.random(60) > 0.2)
    speed = np.where(known[:, None] > 0, speed, 99.0)
    found = balance.gains(jnp.float32(speed), jnp.float32(time), jnp.float32(known), jnp.asarray(instance), 4)
    np.testing.assert_allclose(found[:2], true[:2], rtol=0.02, atol=1e-3)
    # Of whom nothing is known is taken to keep the speed.
    np.testing.assert_array_equal(found[2:], 0)


def test_means_of_instances():
    values, instance = np.random.default_rng(0).normal(size=(7, 3)), np.array([0, 0, 2, 2, 2, 0, 2])
    found = losses.of_instances(jnp.float32(values), jnp.asarray(instance), 3)
    expected = [values[instance == 0].mean(0), np.zeros(3), values[instance == 2].mean(0)]
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("across", [False, True])
def test_only_clips_pay_across_which_no_other_looks(across):
    config = helpers.tiny_config(contact_centres=4, path_knots=5, batch_size=-1, balance_usual=0.0)
    clips = helpers.scene().clips
    params = helpers.init(jax.random.key(0), 2, clips.image_size, helpers.NUM_BETAS, config)
    look = lambda degrees: Rotation.from_euler("y", degrees, degrees=True).as_matrix()
    yaws = np.stack([look(0), look(90 if across else 0)])
    cameras = cam.join(jnp.float32(yaws), jnp.tile(jnp.array([0.0, 0.0, 5.0]), (2, 1)))
    params = dataclasses.replace(params, cameras=cameras)
    assets = helpers.prepare(clips, helpers.body(), Priors(), config)
    batch = batches.full_batch(clips)

    @jax.jit
    def term(params):
        seen = objective.predict_batch(params, assets, config, clips, batch)
        away = seen.keypoints.at[:, :19, 2].add(0.5)  # all but the feet
        seen = dataclasses.replace(seen, keypoints=away)
        return objective.ground_terms(params, seen, assets, config, clips, batch)["balance"]

    value = float(term(params))
    assert value == pytest.approx(0, abs=1e-6) if across else value > 0.5
