"""The open learned prior over short motions: how limbs and pelvis move in a pose, a mixture of linear predictions.

A window is three moments of ONE motion, `SPACING` seconds apart or nearly so. What moves is seen in the axes of the pelvis:
velocities and accelerations of the directions of limbs (see `limbs`), of the pelvis's orientation and of its place. Each
component of the limb prior predicts them linearly from the directions in the middle, and what is left has a Student t
distribution with few degrees of freedom, as the same movement is done at any speed; which component speaks is the limb
prior's to say. The density is one of motions given poses: it says nothing of poses alone, which the limb prior judges.
Fitted to recorded motion by `experiments.simulation.motion_prior`, which also says how well calibrated it is.
"""

import functools
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np

from body_models.pytree import pytree
from nemo_jax.priors import limbs as limbs_lib
from nemo_jax.priors.limbs import LimbPrior

Array = jax.Array

SPACING = 1 / 15
"""Seconds between the moments of a window; accelerations are multiplied by it, which makes them velocities in size."""
NUM_MOVING = 2 * (limbs_lib.NUM_DIMENSIONS + 6)
OPEN_MOTION = Path(__file__).with_name("open_motion.npz")


@pytree
class MotionPrior:
    """M linear predictions of the V = 96 numbers of a window's motion from the D = 42 of its directions.

    slopes (M, V, D), offsets (M, V): the prediction. whitening (M, V, V): the inverse Cholesky factor W of each scale
    matrix. log_weights (M,): logarithm of each component's density at its prediction, minus that of the greatest. freedom
    (): degrees of freedom.
    """

    slopes: Array
    offsets: Array
    whitening: Array
    log_weights: Array
    freedom: Array


@functools.cache
def open_motion() -> MotionPrior:
    """The mixture that ships."""
    with np.load(OPEN_MOTION, allow_pickle=False) as arrays:
        return MotionPrior(**{name: jnp.asarray(arrays[name], jnp.float32) for name in arrays.files})


def moving(directions: Array, roots: Array, places: Array, spacing: Array | float) -> Array:
    """What moves (V,) in ONE window of three moments.

    Args:
      directions: (3, 14, 3) of the limbs, in the axes of the pelvis. roots: (3, 3, 3), orientations of the pelvis in the
        world. places: (3, 3) of the pelvis in the world, metres. spacing: () seconds between moments.

    Returns:
      Velocities of the directions (42,), of the orientation (3,) rad/s and of the place (3,) m/s, both in the axes of the
      pelvis in the middle, then their accelerations in the same order, times `SPACING`.
    """
    chex.assert_shape([directions, roots, places], [(3, None, 3), (3, 3, 3), (3, 3)])
    limbs = directions.reshape(3, -1)
    # Sines, as turns are small and the rotation vector of a turn by half a circle has no gradient.
    turns = jnp.stack([_turn(roots[0], roots[1]), _turn(roots[1], roots[2])])
    steps = jnp.matmul(places[1:] - places[:-1], roots[1], precision=jax.lax.Precision.HIGHEST)
    change = jnp.concatenate([limbs[1:] - limbs[:-1], turns, steps], -1) / spacing
    return jnp.concatenate([change.mean(0), (change[1] - change[0]) / spacing * SPACING])


def _turn(first: Array, second: Array) -> Array:
    """The sine of the angle of a turn times its axis (3,), in the axes of `first`."""
    turn = jnp.matmul(first.T, second, precision=jax.lax.Precision.HIGHEST)
    return 0.5 * jnp.stack([turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]])


def motion_loss(prior: MotionPrior, limbs: LimbPrior, directions: Array, moved: Array) -> Array:
    """Negative logarithm () of the density of ONE window's motion (V,), given its directions (14, 3) in the middle.

    It is nearly 0 where the likeliest component predicts the motion exactly and is the most certain of all.
    """
    pose = directions.reshape(-1)
    shares = jax.nn.log_softmax(-limbs_lib.surprises(limbs, limbs_lib.squares(limbs, pose)))
    expected = jnp.einsum("mvd,d->mv", prior.slopes, pose, precision=jax.lax.Precision.HIGHEST) + prior.offsets
    white = jnp.einsum("mij,mj->mi", prior.whitening, moved - expected, precision=jax.lax.Precision.HIGHEST)
    half = (prior.freedom + NUM_MOVING) / 2
    surprise = half * jnp.log1p(jnp.sum(white**2, -1) / prior.freedom) - prior.log_weights
    return -jax.nn.logsumexp(shares - surprise)
