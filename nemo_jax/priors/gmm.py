"""Gaussian mixture prior of body poses: the negative logarithm of the likeliest component.

Source: Bogo et al., Keep it SMPL, ECCV 2016, equation 6, with the mixture fitted to CMU motion capture (`gmm_08.pkl`).
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np

from body_models import joints as jn
from body_models.pytree import pytree

Array = jax.Array

NUM_DIMENSIONS = 3 * (jn.NUM_JOINTS - 1)


@pytree
class GaussianMixture:
    """M components over the D = 69 numbers of a body pose.

    means (M, D) radians. whitening (M, D, D): the inverse Cholesky factor W of each covariance, so that the precision is
    W^T W and the squared Mahalanobis distance |W d|^2, which rounding cannot make negative. log_weights (M,): logarithm of
    w / ((2 pi)^(D/2) sqrt|C| / min sqrt|C|), as published: the smallest determinant is divided out.
    """

    means: Array
    whitening: Array
    log_weights: Array


def mixture(means: np.ndarray, covariances: np.ndarray, weights: np.ndarray) -> GaussianMixture:
    """Folds a fitted mixture into the constants of the loss, in float64, stored as float32.

    The published code takes square roots of determinants, which leave the range of floats (and give NaN) on mixtures that
    are narrow or wide; here they stay logarithms.

    Args:
      means: (M, 69). covariances: (M, 69, 69). weights: (M,), summing to 1.

    Raises:
      ValueError: another shape or size, numbers that are not finite, covariances that are none, weights that are none.
    """
    arrays = {"means": means, "covariances": covariances, "weights": weights}
    for name, array in arrays.items():
        if np.asarray(array).dtype.kind not in "iuf":
            raise ValueError(f"the {name} are of type {np.asarray(array).dtype}, numbers were expected")
    means, covariances, weights = (np.asarray(array, np.float64) for array in arrays.values())
    if means.ndim != 2 or not len(means):
        raise ValueError(f"the means have shape {means.shape}, (components, {NUM_DIMENSIONS}) was expected")
    if means.shape[1] != NUM_DIMENSIONS:
        raise ValueError(
            f"the mixture is over {means.shape[1]} numbers, a body pose has {NUM_DIMENSIONS} (23 joints, axis-angle)"
        )
    for name, array, shape in (
        ("means", means, means.shape),
        ("covariances", covariances, (*means.shape, NUM_DIMENSIONS)),
        ("weights", weights, means.shape[:1]),
    ):
        if array.shape != shape:
            raise ValueError(f"the {name} have shape {array.shape}, {shape} was expected")
        bad = int(array.size - np.isfinite(array).sum())
        if bad:
            raise ValueError(f"the {name} have {bad} numbers that are NaN or infinite")
    if weights.min() < 0 or abs(weights.sum() - 1) > 0.01:
        raise ValueError(
            f"the weights sum to {weights.sum():.3g} and the least is {weights.min():.3g}, shares of 1 were expected"
        )
    transposed = np.swapaxes(covariances, 1, 2)
    skew = np.abs(covariances - transposed).max((1, 2)) > 1e-4 * np.abs(covariances).max((1, 2))
    if skew.any():
        raise ValueError(f"covariance {int(skew.argmax())} is not symmetric")
    factors = np.stack([_cholesky(i, c) for i, c in enumerate((covariances + transposed) / 2)])
    half_log_determinants = np.log(np.diagonal(factors, axis1=1, axis2=2)).sum(1)
    with np.errstate(divide="ignore"):
        # A component of weight 0 is never the likeliest.
        log_weights = np.log(weights) - NUM_DIMENSIONS / 2 * np.log(2 * np.pi)
    log_weights -= half_log_determinants - half_log_determinants.min()
    return GaussianMixture(
        means=jnp.asarray(means, jnp.float32),
        whitening=jnp.asarray(np.linalg.inv(factors), jnp.float32),
        log_weights=jnp.asarray(log_weights, jnp.float32),
    )


def gmm_prior_loss(gmm: GaussianMixture, pose: Array) -> Array:
    """min over components of 1/2 d^T P d - log w' of ONE body pose, d = pose - mean.

    Args:
      gmm: the mixture.
      pose: (69,) axis-angle of joints 1 to 23, radians; angles are compared as numbers, not as rotations.

    Returns:
      (); it can be negative. Where two components tie, the gradient is the mean of theirs.
    """
    chex.assert_shape(pose, (NUM_DIMENSIONS,))
    white = jnp.einsum("mij,mj->mi", gmm.whitening, pose - gmm.means, precision=jax.lax.Precision.HIGHEST)
    return jnp.min(0.5 * jnp.sum(white**2, -1) - gmm.log_weights)


def _cholesky(index: int, covariance: np.ndarray) -> np.ndarray:
    try:
        return np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError as error:
        raise ValueError(f"covariance {index} is not positive definite") from error
