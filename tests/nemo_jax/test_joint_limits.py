import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from body_models import joints as jn
from nemo_jax import mirror
from nemo_jax.priors import joint_limit_loss, limit_residuals, published_limits, reach
from tests.nemo_jax import helpers

LIMITS = published_limits()
LOW, HIGH = np.float64(LIMITS.low), np.float64(LIMITS.high)

value_and_gradient = jax.jit(jax.value_and_grad(joint_limit_loss, 1))


def oracle(pose, inside=0.02):
    excess = np.clip(pose - HIGH, 0, None) + np.clip(LOW - pose, 0, None)
    middle, half = (LOW + HIGH) / 2, (HIGH - LOW) / 2
    return (excess**2).sum() + inside * (((pose - 0.5 * middle) / (half + 0.2)) ** 2).mean()


def row(name):
    return jn.SMPL_JOINTS.index(name) - 1


def test_the_table():
    assert LOW.shape == HIGH.shape == (23, 3)
    assert np.all(LOW <= 0) and np.all(HIGH >= 0) and np.all(np.radians(5) < HIGH - LOW)
    np.testing.assert_allclose(HIGH[row("left_knee"), 0], np.radians(145), rtol=1e-6)
    # Bending the elbow is a turn about -y on the left, about +y on the right.
    np.testing.assert_allclose(LOW[row("left_elbow"), 1], np.radians(-145), rtol=1e-6)
    np.testing.assert_allclose(HIGH[row("right_elbow"), 1], np.radians(145), rtol=1e-6)


@given(seed=st.integers(0, 2**31 - 1))
@settings(max_examples=20, deadline=None)
def test_value_gradient_and_symmetry(seed):
    pose = np.random.default_rng(seed).normal(size=(23, 3)) * 1.2
    value, gradient = value_and_gradient(LIMITS, jnp.asarray(pose, jnp.float32))
    np.testing.assert_allclose(value, oracle(pose), rtol=1e-5)
    np.testing.assert_allclose(gradient, helpers.numerical_gradient(oracle, pose), atol=1e-4)
    mirrored = np.asarray(mirror.mirror_pose(jnp.asarray(np.concatenate([np.zeros((1, 3)), pose]))))[1:]
    np.testing.assert_allclose(value_and_gradient(LIMITS, jnp.asarray(mirrored, jnp.float32))[0], value, rtol=1e-5)


def test_smooth_at_the_ends_of_the_range():
    for end in (LIMITS.low, LIMITS.high):
        below, above = value_and_gradient(LIMITS, end - 1e-4), value_and_gradient(LIMITS, end + 1e-4)
        np.testing.assert_allclose(below[0], above[0], atol=1e-3)
        np.testing.assert_allclose(below[1], above[1], atol=1e-3)


def test_people_can_stand_and_cannot_bend_their_knees_forward():
    def loss(**turns):
        pose = np.zeros((23, 3))
        for name, (axis, degrees) in turns.items():
            pose[row(name), axis] = np.radians(degrees)
        return float(value_and_gradient(LIMITS, jnp.asarray(pose, jnp.float32))[0])

    rest = loss()
    assert rest < 0.02
    assert loss(left_knee=(0, 90), right_knee=(0, 90)) < 0.05
    assert loss(left_knee=(0, -90)) > 2
    assert loss(right_elbow=(1, 100)) < 0.05
    assert loss(right_elbow=(1, -60)) > 0.9
    assert loss(head=(1, 120)) > 1


def test_wrong_shape_is_refused():
    with pytest.raises(AssertionError):
        joint_limit_loss(LIMITS, jnp.zeros((24, 3)))


def test_the_squares_of_the_residuals_are_the_penalty():
    pose = np.random.default_rng(3).normal(size=(4, 23, 3))
    excess, centred = limit_residuals(LIMITS, jnp.asarray(pose, jnp.float32))
    for one, over, away in zip(pose, excess, centred, strict=True):
        np.testing.assert_allclose((over**2).sum() + 0.02 * (away**2).mean(), oracle(one), rtol=1e-5)
    assert (excess > 0).any() and (excess < 0).any()
    np.testing.assert_array_equal(excess > 0, pose > HIGH)
    np.testing.assert_allclose(centred * reach(LIMITS), pose - (LOW + HIGH) / 4, atol=1e-5)
