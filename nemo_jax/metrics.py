"""Errors of motion and reprojection, one pure function each, over masked frames.

Joints are (T, K, 3) in metres, pixels (T, K, 2), masks (T,) or (T, K) with 1 where the entry counts. Errors come back in
millimetres, or pixels. A mean over nothing is NaN. The definitions of the field: MPJPE and PA-MPJPE (Ionescu et al.,
Human3.6M, TPAMI 2014; Procrustes alignment as in Kanazawa et al., HMR, CVPR 2018), acceleration error (Kanazawa et al.,
HMMR, CVPR 2019), PCK (Yang and Ramanan, TPAMI 2013), G-MPJPE (NeMo, section 5).
"""

import chex
import jax
import jax.numpy as jnp

Array = jax.Array

# The paper's errors look at the first 15 of BODY_25: the body without eyes, ears and feet.
PAPER_JOINTS = 15
MILLIMETRES = 1000.0


def masked_mean(values: Array, mask: Array) -> Array:
    """Mean () of the entries whose mask is 1; NaN where there are none."""
    return jnp.sum(jnp.where(mask > 0, values, 0.0)) / jnp.sum(mask > 0)


def mpjpe(predicted: Array, true: Array, mask: Array) -> Array:
    """Mean per-joint position error () in mm of joints (T, K, 3) as they stand; mask (T,)."""
    chex.assert_equal_shape([predicted, true])
    error = jnp.linalg.norm(predicted - true, axis=-1).mean(-1)
    return MILLIMETRES * masked_mean(error, mask)


def root_aligned_mpjpe(predicted: Array, true: Array, mask: Array, root: int = 8) -> Array:
    """MPJPE () in mm after moving both roots (BODY_25's mid hip) to the origin in every frame."""
    return mpjpe(predicted - predicted[:, root : root + 1], true - true[:, root : root + 1], mask)


def pa_mpjpe(predicted: Array, true: Array, mask: Array) -> Array:
    """MPJPE () in mm after the best rotation, translation and scale of every frame on its own."""
    aligned = jax.vmap(lambda p, t: similarity_align(p, t, jnp.ones(p.shape[0]), with_scale=True))(predicted, true)
    return mpjpe(aligned, true, mask)


def global_mpjpe(predicted: Array, true: Array, mask: Array) -> Array:
    """G-MPJPE () in mm: one rotation and translation for the whole clip, no scale."""
    frames, joints = predicted.shape[:2]
    weights = jnp.repeat(mask, joints)
    aligned = similarity_align(predicted.reshape(-1, 3), true.reshape(-1, 3), weights, with_scale=False)
    return mpjpe(aligned.reshape(frames, joints, 3), true, mask)


def acceleration_error(predicted: Array, true: Array, mask: Array, fps: Array | float) -> Array:
    """Mean difference () of joint accelerations in mm/s^2, over frames whose neighbours count too."""

    def acceleration(x: Array) -> Array:
        return (x[2:] - 2 * x[1:-1] + x[:-2]) * fps**2

    inner = mask[2:] * mask[1:-1] * mask[:-2]
    error = jnp.linalg.norm(acceleration(predicted) - acceleration(true), axis=-1).mean(-1)
    return MILLIMETRES * masked_mean(error, inner)


def similarity_align(source: Array, target: Array, weights: Array, with_scale: bool) -> Array:
    """Moves points (P, 3) onto others by the least-squares rotation, translation and, if asked, scale (Umeyama 1991)."""
    total = jnp.maximum(weights.sum(), 1e-12)
    source_mean = (weights[:, None] * source).sum(0) / total
    target_mean = (weights[:, None] * target).sum(0) / total
    a, b = source - source_mean, target - target_mean
    covariance = jnp.einsum("p,pi,pj->ij", weights, b, a, precision="highest")
    u, s, vt = jnp.linalg.svd(covariance)
    sign = jnp.where(jnp.linalg.det(u) * jnp.linalg.det(vt) < 0, -1.0, 1.0)
    flip = jnp.stack([jnp.ones_like(sign), jnp.ones_like(sign), sign])
    rotation = jnp.matmul(u * flip, vt, precision="highest")
    scale = 1.0
    if with_scale:
        scale = (s * flip).sum() / jnp.maximum((weights[:, None] * a**2).sum(), 1e-12)
    return scale * jnp.matmul(a, rotation.T, precision="highest") + target_mean


def reprojection_errors(predicted: Array, keypoints: Array) -> Array:
    """Distances (T, K) in pixels."""
    return jnp.linalg.norm(predicted - keypoints, axis=-1)


def masked_median(values: Array, mask: Array) -> Array:
    """Median () of the entries whose mask is 1; NaN where there are none."""
    return jnp.nanmedian(jnp.where(mask > 0, values, jnp.nan))


def pck(errors: Array, diagonal: Array, mask: Array, threshold: float) -> Array:
    """Share () of the entries (T, K) that lie within `threshold` times the frame's box diagonal (T,)."""
    return masked_mean((errors <= threshold * diagonal[:, None]).astype(errors.dtype), mask)


def pck_auc(errors: Array, diagonal: Array, mask: Array, largest: float = 0.1, steps: int = 21) -> Array:
    """Area () under the curve of PCK against thresholds from 0 to `largest`, as a share of the whole."""
    shares = jax.vmap(lambda threshold: pck(errors, diagonal, mask, threshold))(jnp.linspace(0.0, largest, steps))
    return jnp.trapezoid(shares, dx=1 / (steps - 1))
