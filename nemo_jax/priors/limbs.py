"""The open learned prior: how likely the directions of a body's limbs are together, as a mixture of Student t distributions.

A pose is seen as the directions of its limbs in the axes of the pelvis. These are what recordings of different laboratories
and skeletons agree on, where joint angles differ (whether a raised arm turns the collar, how a forearm is twisted); turns
about a limb's own axis are left to the joint limits. The mixture was fitted to recorded motion by
`experiments.simulation.pose_prior`, which also says how well calibrated it is. Student's distribution has heavy tails, so
that a pose that no recording shows is pulled gently. Source of the distribution and of its fitting: Peel and McLachlan,
Robust mixture modelling using the t distribution, Statistics and Computing 2000.
"""

import functools
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np

from body_models import joints as jn
from body_models.pytree import pytree

Array = jax.Array

# From joint to joint, of SMPL: trunk, head, and of both sides shoulder, upper arm, forearm, thigh, shin and foot.
_SIDES = [("neck", "{}_shoulder"), ("{}_shoulder", "{}_elbow"), ("{}_elbow", "{}_wrist")] + [
    ("{}_hip", "{}_knee"),
    ("{}_knee", "{}_ankle"),
    ("{}_ankle", "{}_foot"),
]
_NAMES = [("pelvis", "neck"), ("neck", "head")] + [
    (start.format(side), end.format(side)) for side in ("left", "right") for start, end in _SIDES
]
LIMBS = np.array([[jn.SMPL_JOINTS.index(name) for name in pair] for pair in _NAMES])
_DIFFERENCES = (np.eye(jn.NUM_JOINTS)[LIMBS[:, 1]] - np.eye(jn.NUM_JOINTS)[LIMBS[:, 0]]).astype(np.float32)
NUM_DIMENSIONS = 3 * len(LIMBS)
OPEN_LIMBS = Path(__file__).with_name("open_limbs.npz")


@pytree
class LimbPrior:
    """M components over the D = 42 numbers of the limbs' directions.

    means (M, D). whitening (M, D, D): the inverse Cholesky factor W of each scale matrix. log_weights (M,): logarithm of
    each component's share times its density at its mean, minus that of the greatest, so that a pose at the likeliest mean
    costs about nothing. freedom (): degrees of freedom.
    """

    means: Array
    whitening: Array
    log_weights: Array
    freedom: Array


@functools.cache
def open_limbs() -> LimbPrior:
    """The mixture that ships."""
    with np.load(OPEN_LIMBS, allow_pickle=False) as arrays:
        return LimbPrior(**{name: jnp.asarray(arrays[name], jnp.float32) for name in arrays.files})


def directions(joints: Array, root: Array) -> Array:
    """Unit vectors (14, 3) of the limbs of ONE pose in the axes of its pelvis.

    Args:
      joints: (24, 3) metres, in the world. root: (3, 3) orientation of the pelvis in that world.
    """
    chex.assert_shape(joints, (jn.NUM_JOINTS, 3))
    # A product with a constant, because the gradient of picking rows would be a scatter.
    limbs = jnp.matmul(_DIFFERENCES, joints, precision=jax.lax.Precision.HIGHEST)
    # A limb of no length has no direction, and a norm of zero no gradient.
    square = jnp.sum(limbs**2, -1, keepdims=True)
    limbs = limbs * jax.lax.rsqrt(jnp.maximum(square, 1e-12))
    return jnp.matmul(limbs, root, precision=jax.lax.Precision.HIGHEST)


def limb_loss(prior: LimbPrior, joints: Array, root: Array) -> Array:
    """Negative logarithm () of the density of ONE pose, nearly 0 at the likeliest; see `directions`."""
    return _loss(prior, _distances(prior, joints, root)[1])


def limb_residuals(prior: LimbPrior, joints: Array, root: Array) -> Array:
    """Numbers (D,) whose squares sum to twice `limb_loss`, where it is positive.

    They are the whitened deviation from the component that explains the pose best, scaled.
    """
    white, square = _distances(prior, joints, root)
    value = jnp.maximum(_loss(prior, square), 1e-12)
    best = jnp.argmin(surprises(prior, square))
    return white[best] * jnp.sqrt(2 * value / jnp.maximum(square[best], 1e-12))


def _distances(prior: LimbPrior, joints: Array, root: Array) -> tuple[Array, Array]:
    """Whitened deviations (M, D) from each component, and their squared lengths (M,)."""
    white = _whitened(prior, directions(joints, root).reshape(-1))
    return white, jnp.sum(white**2, -1)


def squares(prior: LimbPrior, pose: Array) -> Array:
    """Squared distances (M,) of ONE pose's directions (D,) from each component."""
    return jnp.sum(_whitened(prior, pose) ** 2, -1)


def _whitened(prior: LimbPrior, pose: Array) -> Array:
    return jnp.einsum("mij,mj->mi", prior.whitening, pose - prior.means, precision=jax.lax.Precision.HIGHEST)


def surprises(prior: LimbPrior, square: Array) -> Array:
    """Negative logarithms (M,) of each component's share of the density."""
    half = (prior.freedom + NUM_DIMENSIONS) / 2
    return half * jnp.log1p(square / prior.freedom) - prior.log_weights


def _loss(prior: LimbPrior, square: Array) -> Array:
    return -jax.nn.logsumexp(-surprises(prior, square))
