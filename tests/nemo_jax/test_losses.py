import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nemo_jax import losses
from tests.nemo_jax import helpers

seeds = st.integers(0, 2**31 - 1)


def f32(x):
    return jnp.asarray(x, jnp.float32)


def oracle(kind, residual, scale, diagonal):
    """Float64, from the formulas; (..., K, 2) or (..., K, 1)."""
    r = np.asarray(residual, np.float64)
    distance, size = np.sqrt((r**2).sum(-1, keepdims=True)), np.asarray(diagonal)[..., None, None]
    geman = lambda x: scale**2 * x**2 / (x**2 + scale**2)
    return {
        "mse": r**2,
        "mse_robust": geman(r),
        "mse_robust_resized": geman(1000 * r / size),
        "rmse": np.sqrt(1e-6 + distance**2),
        "rmse_resized": np.sqrt(1e-6 + (distance / size) ** 2),
        "rmse_robust": scale**2 * distance / (distance + scale**2),
    }[kind]


@pytest.mark.parametrize("kind", losses.KEYPOINT_LOSSES)
def test_keypoint_losses(kind):
    rng = np.random.default_rng(0)
    residual = rng.normal(size=(3, 5, 2)) * 10.0 ** rng.uniform(-3, 3, (3, 5, 1))
    diagonal = rng.uniform(50, 900, 3)

    def summed(r):
        each = losses.keypoint_loss(kind, r, 100.0, diagonal)
        return each.sum(), each

    with jax.enable_x64(True):
        gradient, value = jax.jit(jax.grad(summed, has_aux=True))(jnp.asarray(residual))
    np.testing.assert_allclose(value, oracle(kind, residual, 100.0, diagonal), rtol=1e-12)
    expected = helpers.numerical_gradient(lambda r: oracle(kind, r, 100.0, diagonal).sum(), residual, 1e-7)
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("kind", losses.KEYPOINT_LOSSES)
def test_keypoint_losses_at_zero_and_far_away(kind):
    residual = f32([[[0, 0], [1e6, -1e6], [1e15, 0], [1e-30, 0], [0, 1e-22]]])
    total = lambda r: jnp.sum(losses.keypoint_loss(kind, r, 100.0, f32([300.0])))
    gradient = np.asarray(jax.jit(jax.grad(total))(residual))
    assert np.isfinite(gradient).all()
    np.testing.assert_array_equal(gradient[0, 0], [0, 0])


def test_unknown_keypoint_loss_is_named():
    with pytest.raises(ValueError, match=r"keypoint_loss is 'huber'.*mse_robust"):
        losses.keypoint_loss("huber", jnp.zeros((1, 2, 2)), 1.0, jnp.ones(1))


def test_robust_limits():
    # A parabola near zero, the square of the scale far away, half of that at the scale; even.
    found = losses.robust(f32([1e-3, 1e5, 3.0, -3.0]), 3.0)
    np.testing.assert_allclose(found, [1e-6, 9, 4.5, 4.5], rtol=1e-5)


@given(seed=seeds)
@settings(max_examples=20, deadline=None)
def test_box_diagonal(seed):
    rng = np.random.default_rng(seed)
    keypoints, confidence = rng.uniform(0, 1000, (4, 6, 2)), rng.uniform(0.1, 1, (4, 6))
    confidence[rng.uniform(size=(4, 6)) < 0.4] = 0
    keypoints[confidence == 0] = 0
    confidence[3], keypoints[3] = 0, 0
    visible, everything = boxes(f32(keypoints), f32(confidence))
    for frame in range(4):
        seen = keypoints[frame][confidence[frame] > 0]
        side = np.ptp(seen, axis=0) if len(seen) else np.zeros(2)
        np.testing.assert_allclose(visible[frame], np.linalg.norm(side) + 1e-4, rtol=1e-5)
        np.testing.assert_allclose(
            everything[frame], np.linalg.norm(np.ptp(keypoints[frame], axis=0)) + 1e-4, rtol=1e-5
        )


@jax.jit
def boxes(keypoints, confidence):
    return losses.box_diagonal(keypoints, confidence, True), losses.box_diagonal(keypoints, confidence, False)


def test_box_diagonal_does_not_look_at_the_unseen():
    keypoints = np.zeros((4, 6, 2))
    keypoints[:, 1] = (3, 4)
    keypoints[:, 2:] = np.nan
    confidence = np.tile([1.0, 0.2, 0, 0, 0, 0], (4, 1))
    np.testing.assert_allclose(boxes(f32(keypoints), f32(confidence))[0], np.full(4, 5 + 1e-4), rtol=1e-6)


def test_gate_is_strict():
    np.testing.assert_array_equal(losses.gate(f32([0.5, 0.50001, 0, 1]), 0.5), [0, 1, 0, 1])
    assert losses.gate(f32([1.0]), 0.5).dtype == jnp.float32


@given(seed=seeds)
@settings(max_examples=20, deadline=None)
def test_mean_per_instance(seed):
    rng = np.random.default_rng(seed)
    values, instance = rng.normal(size=12), rng.integers(0, 5, 12)
    present = np.unique(instance)
    expected = np.mean([values[instance == i].mean() for i in present])
    value, gradient = mean_and_gradient(f32(values), jnp.asarray(instance))
    np.testing.assert_allclose(value, expected, atol=1e-6)
    counts = np.bincount(instance, minlength=5)
    np.testing.assert_allclose(gradient, 1 / (len(present) * counts[instance]), rtol=1e-6)


mean_and_gradient = jax.jit(jax.value_and_grad(lambda v, i: losses.mean_per_instance(v, i, 5)))


def test_mean_per_instance_of_an_empty_instance_count():
    assert losses.mean_per_instance(f32([2.0, 4.0]), jnp.asarray([7, 7]), 8) == 3


def test_initial_pose_loss():
    rng = np.random.default_rng(1)
    pose, target, mask = rng.normal(size=(5, 69)), rng.normal(size=(5, 69)), np.array([1, 0.5, 0, 0.51, 1])
    each = oracle("mse_robust", pose - target, 100.0, np.ones(5)) * np.array([1, 0, 0, 1, 1.0])[:, None]
    found = losses.initial_pose_loss(f32(pose), f32(target), f32(mask), 100.0).mean()
    np.testing.assert_allclose(found, each.mean(), rtol=1e-6)


@pytest.mark.parametrize("kind", losses.KEYPOINT_LOSSES)
def test_roots_of_keypoint_losses(kind):
    rng = np.random.default_rng(2)
    residual, diagonal = f32(30 * rng.normal(size=(4, 5, 2))), f32(rng.uniform(50, 900, 4))
    if kind not in losses.SQUARED_KEYPOINT_LOSSES:
        with pytest.raises(ValueError, match="no sum of squares"):
            losses.keypoint_root(kind, residual, 100.0, diagonal)
        return
    root = losses.keypoint_root(kind, residual, 100.0, diagonal)
    np.testing.assert_allclose(root**2, losses.keypoint_loss(kind, residual, 100.0, diagonal), rtol=1e-5)
    np.testing.assert_array_equal(np.sign(root), np.sign(residual))


def test_shares_of_samples_are_those_of_the_mean():
    values, instance = f32([1.0, 5.0, 2.0, 9.0]), jnp.asarray([0, 3, 3, 3])
    shares = losses.sample_shares(instance, 5)
    np.testing.assert_allclose(jnp.sum(shares * values), losses.mean_per_instance(values, instance, 5), rtol=1e-6)
    np.testing.assert_allclose(shares, [1 / 2, 1 / 6, 1 / 6, 1 / 6], rtol=1e-6)


def test_visible_keypoints():
    confidence, exists = f32([[0.6, 0.5], [0.9, 0.9]]), f32([1.0, 0.0])
    np.testing.assert_array_equal(losses.visible(confidence, exists, 0.5), [[1, 0], [0, 0]])
    assert isinstance(losses.visible(np.asarray(confidence), np.asarray(exists), 0.5), np.ndarray)
