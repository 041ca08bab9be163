"""Contacts: their loss and head against NumPy in float64, gradients, and what the bound does to feet that stand or fly."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from body_models import joints as jn
from nemo_jax import batches, contact
from tests.nemo_jax import helpers

RNG = np.random.default_rng(0)
LOGIT, VELOCITY, HEIGHT = RNG.normal(0, 3, 200), RNG.normal(0, 0.5, (200, 3)), RNG.normal(0, 0.05, 200)
SCALES = 0.1, 0.02


def bound(logit, velocity, height, speed=0.1, tall=0.02, share=0.46):
    """p E + (1 - p) K + KL(p | prior), float64."""
    p = 1 / (1 + np.exp(-logit))
    square = 0.5 * np.sum(velocity**2, -1) / speed**2 + 0.5 * height**2 / tall**2
    planted = 10 * np.log(1 + square / 10)
    return p * planted + (1 - p) * 10 + p * np.log(p / share) + (1 - p) * np.log((1 - p) / (1 - share))


def test_loss_is_the_bound():
    found = jax.jit(contact.loss)(*map(jnp.float32, (LOGIT, VELOCITY, HEIGHT)), *SCALES)
    np.testing.assert_allclose(found, bound(LOGIT, VELOCITY, HEIGHT), rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("count", [4, 6])
def test_loss_of_points_is_that_of_feet_and_of_broader_hands(count):
    given = [each[: 30 * count].reshape(30, count, *each.shape[1:]) for each in (LOGIT, VELOCITY, HEIGHT)]
    found = contact.loss_of_points(*map(jnp.float32, given), *SCALES)
    each = bound(*given)
    each[:, 4:] = bound(*(part[:, 4:] for part in given), 0.25, 0.04, 0.007)
    np.testing.assert_allclose(found, each.sum(-1) / 4, rtol=2e-5)


def test_hands_in_the_air_cost_nothing_more_and_low_slow_ones_come_to_stand():
    """The gradient of the logits alone: what is believed of a hand that is 12 cm high and moves at 0.4 m/s, or hangs."""
    rise = np.array([0, 0, 0, 0, contact.HAND_RISE, contact.HAND_RISE])

    def believed(wrists, speed):
        height = jnp.float32([0, 0, 0, 0, wrists, wrists] - rise)
        velocity = jnp.zeros((6, 3)).at[4:, 0].set(speed)
        total = lambda logit: contact.loss_of_points(logit, velocity, height, *SCALES)
        step = jax.jit(lambda logit: logit - 2 * jax.grad(total)(logit))
        logit = jnp.float32([0, 0, 0, 0, -4.95, -4.95])
        for _ in range(300):
            logit = step(logit)
        return np.asarray(jax.nn.sigmoid(logit[4:]))

    assert (believed(0.12, 0.4) > 0.7).all()
    assert (believed(0.9, 0.1) < 0.01).all()
    assert (believed(0.25, 1.3) < 0.01).all()


def test_a_broader_loss_is_that_of_broader_scales():
    broad = [5 * scale for scale in SCALES]
    arguments = [jnp.float32(each) for each in (LOGIT, VELOCITY, HEIGHT)]
    planted = jnp.float32(LOGIT) + 60  # so that nothing is in the air
    found = contact.loss(planted, *arguments[1:], *SCALES, 5.0)
    np.testing.assert_allclose(found, contact.loss(planted, *arguments[1:], *broad), rtol=1e-5)
    # And so many times likelier is a point in the air that a planted one may be as fast: 4 log 5 of three axes and a height.
    flying = jnp.float32(LOGIT) - 60
    narrow, wide = (contact.loss(flying, *arguments[1:], *SCALES, by) for by in (1.0, 5.0))
    np.testing.assert_allclose(narrow - wide, 4 * np.log(5), rtol=1e-4)


def test_contacts_narrow_to_their_values():
    found = [float(contact.broader(8.0, 50, jnp.array(step))) for step in (0, 25, 50, 99)]
    np.testing.assert_allclose(found, [8, 8**0.5, 1, 1], rtol=1e-5)


def test_what_was_found_is_held_closer():
    found = [float(contact.looser(4.0, 0.5, jnp.array(passed))) for passed in (0.0, 0.5, 0.65, 0.8, 1.0)]
    np.testing.assert_allclose(found, [4, 4, 2, 1, 1], rtol=1e-5)


@pytest.mark.parametrize("argument", [0, 1, 2])
def test_gradient_is_the_difference_quotient(argument):
    given = [LOGIT, VELOCITY, HEIGHT]
    slope = jax.grad(lambda *x: contact.loss(*x, *SCALES).sum(), argument)(*map(jnp.float32, given))
    way = RNG.normal(size=given[argument].shape)
    moved = lambda step: bound(*[x + step * way if i == argument else x for i, x in enumerate(given)]).sum()
    assert np.sum(np.asarray(slope, float) * way) == pytest.approx((moved(1e-6) - moved(-1e-6)) / 2e-6, rel=1e-4)


def test_far_logits_and_still_feet_have_finite_gradients():
    for logit in (-200.0, 200.0):
        slopes = jax.grad(lambda *x: contact.loss(*x, *SCALES), (0, 1, 2))(logit, jnp.zeros(3), 0.0)
        assert all(np.isfinite(x).all() for x in slopes)
        still = jnp.full(6, logit), jnp.zeros((6, 3)), jnp.zeros(6)
        slopes = jax.grad(lambda *x: contact.loss_of_points(*x, *SCALES), (0, 1, 2))(*still)
        assert all(np.isfinite(x).all() for x in slopes)


def test_feet_in_the_air_are_left_alone_and_planted_ones_are_not():
    pull = jax.grad(lambda v, h, logit: contact.loss(logit, v, h, *SCALES), (0, 1))
    speed = jnp.array([1.0, 0.0, 0.0])
    flying, standing = pull(speed, 0.3, -12.0), pull(speed, 0.3, 4.0)
    assert max(np.abs(x).max() for x in flying) < 1e-2 < standing[0][0]
    # What is known of the point alone decides: slow and low points are planted, fast and high ones are not.
    vote = jax.grad(contact.loss)
    assert vote(0.0, jnp.zeros(3), 0.0, *SCALES) < 0 < vote(0.0, speed, 0.3, *SCALES)


def test_clips_vote_on_one_phase():
    """A clip that slides where most others stand is counted as standing: its feet are pulled."""
    velocity = jnp.asarray([[0.02, 0, 0]] * 4 + [[1.5, 0, 0]], jnp.float32)
    total = lambda logit: contact.loss(logit, velocity, jnp.zeros(5), *SCALES).mean()
    step = jax.jit(lambda logit: logit - 0.5 * jax.grad(total)(logit))
    logit = jnp.zeros(())
    for _ in range(100):
        logit = step(logit)
    assert logit > 1


def test_below_is_one_sided():
    height = np.array([-0.04, -0.01, 0.0, 0.2])
    np.testing.assert_allclose(contact.below(jnp.float32(height), 0.02), [2.0, 0.125, 0, 0], rtol=1e-6)
    slopes = jax.vmap(jax.grad(contact.below), (0, None))(jnp.float32(height), 0.02)
    np.testing.assert_allclose(slopes, np.minimum(height, 0) / 0.02**2, rtol=1e-5)


def test_wrists_may_be_lower_than_they_stand_but_not_below_the_floor():
    soles = jnp.float32([0.01, 0.02, 0.01, 0.02, 0.08, 0.08])
    height = np.array([[0.0, 0.02, 0.5, 0.5, 0.03, -0.04], [0.5, 0.5, 0.5, 0.0, 0.08, 0.0]])
    found = contact.below_of_points(jnp.float32(height), soles, 0.02)
    np.testing.assert_allclose(found, [(0.5 * 0.5**2 + 0.5 * 1.0**2) / 4, 0.5 * 1.0**2 / 4], rtol=1e-4)
    assert contact.below_of_points(jnp.float32(height[:, :4]), soles[:4], 0.02)[0] == pytest.approx(0.125 / 4, rel=1e-4)


@pytest.mark.parametrize("count", [4, 6])
def test_head_interpolates_its_values_and_mirrors(count):
    parameters = {
        "values": jnp.float32(RNG.normal(size=(6, count))),
        "own": jnp.float32(RNG.normal(size=(2, 6, count))),
    }
    code = np.array([0.3, -1.0])
    weight = np.exp(-0.5 * ((0.33 - np.linspace(0, 1, 6)) * 5) ** 2)
    values = np.float64(parameters["values"]) + np.tensordot(code, np.float64(parameters["own"]), 1)
    expected = weight / weight.sum() @ values
    found = [contact.logits(parameters, 6, jnp.float32(0.33), jnp.float32(code), jnp.float32(m)) for m in (0, 1)]
    np.testing.assert_allclose(found[0], expected, rtol=1e-5)
    np.testing.assert_allclose(found[1], expected[[2, 3, 0, 1, 5, 4][:count]], rtol=1e-5)


def test_head_starts_with_feet_open_and_hands_in_the_air():
    head = contact.ContactHead(5, 6)
    parameters = head.init(jax.random.key(0), jnp.zeros(()), jnp.zeros(2))["params"]
    found = contact.logits(parameters, 5, jnp.float32(0.4), jnp.zeros(2), jnp.zeros(()))
    np.testing.assert_allclose(jax.nn.sigmoid(found), [0.5] * 4 + [0.007] * 2, rtol=1e-4)


def test_points_are_toes_heels_and_wrists():
    feet = ["left_big_toe", "left_heel", "right_big_toe", "right_heel"]
    assert [jn.BODY_25_NAMES[k] for k in contact.points(True)] == [*feet, "left_wrist", "right_wrist"]
    assert [jn.BODY_25_NAMES[k] for k in contact.points(False)] == feet
    sides = [name.split("_")[0] for name in contact.NAMES]
    kinds = [name.split("_")[1] for name in contact.NAMES]
    assert all(sides[i] != sides[j] and kinds[i] == kinds[j] for i, j in enumerate(contact.OTHER_SIDE))
    heights, lowest = contact.soles(helpers.body())
    with_hands, _ = contact.soles(helpers.body(), hands=True)
    np.testing.assert_allclose(with_hands, [*np.asarray(heights), 0.08, 0.08])
    assert float(lowest) == pytest.approx(helpers.body_arrays()["v_template"][:, 1].min())
    assert (heights >= 0).all() and heights[0] == pytest.approx(float(heights[2]), abs=1e-6)


def test_floor_is_first_guessed_low():
    heights = jnp.float32(RNG.uniform(-0.9, -0.2, (400, 4)))
    mask = jnp.float32(np.arange(400) < 300)
    expected = np.quantile(np.asarray(heights, float)[:300].min(1), 0.25)
    assert contact.first_floor(heights, mask) == pytest.approx(expected, rel=1e-5)
    assert contact.first_floor(heights, jnp.zeros(400)) == 0


def test_batches_hold_pairs_of_neighbours():
    scene = helpers.scene(lengths=(4, 7))
    config = helpers.tiny_config(batch_size=64, contact_centres=3)
    pairs = batches.num_pairs(config)
    key = jax.random.key(3)
    batch, plain = (batches.sample_batch(key, scene.clips, 64, p) for p in (pairs, 0))
    now, after = batches.paired(config)
    frames = np.array([4, 7])[np.asarray(batch.instance[now])]
    np.testing.assert_array_equal(batch.instance[after], batch.instance[now])
    np.testing.assert_array_equal(batch.frame[after], np.minimum(np.asarray(batch.frame[now]) + 1, frames - 1))
    # All other rows are those of a batch without pairs.
    rest = np.r_[:pairs, 2 * pairs : 64]
    np.testing.assert_array_equal(batch.frame[rest], plain.frame[rest])
    assert batches.num_pairs(helpers.tiny_config(batch_size=64)) == 0
