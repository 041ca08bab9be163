"""The lens of one instance: its focal length, what is known of lenses before any film is seen, and where a fit starts.

A focal length is measured in image diagonals, the number that stays the same when a film is scaled. Phones and wide cameras
lie around 0.7 (a 35 mm equivalent of 24 to 35 mm divided by the 43.3 mm diagonal of a full frame), television lenses
between 2 and 10.
"""

import jax
import jax.numpy as jnp
import numpy as np

from nemo_jax.model import Assets, Params

Array = jax.Array

# Mixture of two normal distributions of log(focal length / diagonal): share, median in diagonals, standard deviation.
PHONE, TELEVISION = (0.8, 0.7, 0.25), (0.2, 4.0, 0.5)
# The longest lens that a fit starts with, in units of the guessed one.
_LONGEST_START = TELEVISION[1] / PHONE[1]


def surprise(log_ratio: Array) -> Array:
    """Negative logarithm (...,) of the prior density at log(focal length / image diagonal) (...,), 0 at its maximum."""
    return _surprise(log_ratio) - _surprise(jnp.log(PHONE[1]))


def _surprise(log_ratio: Array) -> Array:
    parts = [
        jnp.log(share / spread) - 0.5 * ((log_ratio - np.log(median)) / spread) ** 2
        for share, median, spread in (PHONE, TELEVISION)
    ]
    return -jnp.logaddexp(*parts)


def loss(log_focal: Array, assets: Assets) -> Array:
    """Surprise (..., N) at the focal lengths of all instances; 0 where the clip tells its own.

    Args:
      log_focal: (..., N) corrections, `Params.log_focal`. assets: the fixed inputs.
    """
    log_ratio = jnp.log(assets.focal / assets.diagonal) + log_focal
    return jnp.where(assets.lens_known > 0, 0.0, surprise(log_ratio))


def starts(count: int) -> Array:
    """Corrections (count,) of the guessed focal length with which the camera search starts, evenly spaced logarithms."""
    return jnp.linspace(0.0, np.log(_LONGEST_START), max(count, 1))


def shared(values: Array, assets: Assets) -> Array:
    """Replaces values (..., N) of instances by the mean over those filmed with the same lens."""
    if assets.same_lens is None:
        return values
    return jnp.einsum("...m,nm->...n", values, assets.same_lens, precision="highest")


def focal_lengths(params: Params, assets: Assets) -> Array:
    """The fitted focal lengths (N,) in pixels."""
    return assets.focal * jnp.exp(params.log_focal)
