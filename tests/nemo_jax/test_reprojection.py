"""Keypoints as the fit sees them: what is not detected has no weight, no pixels and no part in the loss."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np

from nemo_jax import reprojection
from nemo_jax.config import FitConfig

CONFIG = FitConfig(robust_scale=10.0)
PIXELS = np.array([[3.0, 4.0], [np.nan, np.inf], [5.0, 6.0]], np.float32)
CONFIDENCE = np.array([0.9, 0.0, 0.5], np.float32)


def clips(frame_mask=(1.0,)):
    return SimpleNamespace(
        keypoints=jnp.asarray(PIXELS)[None, None],
        confidence=jnp.asarray(CONFIDENCE)[None, None],
        frame_mask=jnp.asarray([frame_mask], jnp.float32),
    )


def test_seen():
    weight, pixels = reprojection.seen(clips(), CONFIG, 0, 0)
    # The threshold is strict.
    np.testing.assert_allclose(weight, [0.9, 0, 0])
    np.testing.assert_allclose(pixels, [[3, 4], [0, 0], [0, 0]])
    weight, _ = reprojection.seen(clips(), CONFIG, 0, 0, with_confidence=False)
    np.testing.assert_array_equal(weight, [1, 0, 0])
    weight, pixels = reprojection.seen(clips(frame_mask=[0.0]), CONFIG, 0, 0)
    assert not weight.any() and not pixels.any()


def test_the_box_holds_visible_joints():
    np.testing.assert_allclose(reprojection.box(clips(), CONFIG, 0, 0), np.hypot(2, 2) + 1e-4, rtol=1e-6)


def test_what_is_not_seen_has_no_part_in_loss_and_gradient():
    weight = jnp.array([0.9, 0.0, 0.5])

    def loss(predicted):
        residual = reprojection.residuals(predicted, jnp.nan_to_num(PIXELS, posinf=0.0), weight, jnp.float32(2.0))
        return reprojection.loss(CONFIG, residual, weight, jnp.ones(()))

    predicted = jnp.array([[4.0, 4.0], [jnp.nan, -jnp.inf], [5.0, 3.0]])
    # s^2 r^2 / (r^2 + s^2) of residuals of 2 and -6 pixels.
    expected = [[0.9 * 400 / 104, 0], [0, 0], [0, 0.5 * 3600 / 136]]
    np.testing.assert_allclose(loss(predicted), expected, rtol=1e-6)
    slope = jax.grad(lambda x: loss(x).sum())(predicted)
    assert np.isfinite(slope).all() and slope[0, 0] > 0 > slope[2, 1] and not slope[1].any()
