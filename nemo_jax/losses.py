"""Data terms: small functions of arrays, weighted and summed by `nemo_jax.objective`.

The names of the keypoint losses are the published ones. Confidence acts as a gate (a strict threshold) and, if the
configuration asks for it, also as a factor. Means divide by the number of all entries, including gated ones, so that
frames with few confident keypoints have less weight.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from body_models import joints as jn

Array = jax.Array

KEYPOINT_LOSSES = ("mse", "mse_robust", "rmse", "rmse_robust", "rmse_resized", "mse_robust_resized")
# The keypoint losses that are sums of squares of smooth functions of the residual.
SQUARED_KEYPOINT_LOSSES = ("mse", "mse_robust", "mse_robust_resized")

_BENT = np.zeros((jn.NUM_JOINTS, 3, 3), np.float32)
_BENT[[jn.SMPL_JOINTS.index(f"{side}_hip") for side in ("left", "right")], 1:, 1] = 1


def robust(residual: Array, scale: float | Array) -> Array:
    """Geman-McClure s^2 r^2 / (r^2 + s^2), elementwise (paper eq. 5)."""
    square = residual**2
    return scale**2 * square / (square + scale**2)


def robust_root(residual: Array, scale: float | Array) -> Array:
    """The odd function whose square is `robust`, elementwise."""
    return scale * residual / jnp.sqrt(residual**2 + scale**2)


def keypoint_loss(kind: str, residual: Array, scale: float | Array, box_diagonal: Array) -> Array:
    """Loss of each residual, not reduced and not weighted.

    Args:
      kind: one of `KEYPOINT_LOSSES`.
      residual: (..., K, 2) pixels.
      scale: s of the robust kinds, pixels.
      box_diagonal: (...,) pixels, used by the `*_resized` kinds.

    Returns:
      (..., K, 2) for the kinds per coordinate, (..., K, 1) for the kinds of a joint's distance (`rmse*`).
    """
    size = box_diagonal[..., None, None]
    if kind == "mse":
        return residual**2
    if kind in ("mse_robust", "mse_robust_resized"):
        return robust(_resized(kind, residual, size), scale)
    distance_square = jnp.sum(residual**2, -1, keepdims=True)
    if kind == "rmse":
        return jnp.sqrt(1e-6 + distance_square)
    if kind == "rmse_resized":
        return jnp.sqrt(1e-6 + distance_square / size**2)
    if kind == "rmse_robust":
        # As published, the distance is not squared, so the loss is nearly linear. The root's argument is positive.
        zero = distance_square == 0
        distance = jnp.where(zero, 0.0, jnp.sqrt(jnp.where(zero, 1.0, distance_square)))
        return scale**2 * distance / (distance + scale**2)
    raise ValueError(f"keypoint_loss is {kind!r}, expected one of {', '.join(KEYPOINT_LOSSES)}")


def keypoint_root(kind: str, residual: Array, scale: float | Array, box_diagonal: Array) -> Array:
    """The signed square root (..., K, 2) of `keypoint_loss`, with the sign of the residual.

    Args:
      kind: one of `SQUARED_KEYPOINT_LOSSES`; the other arguments are those of `keypoint_loss`.
    """
    if kind not in SQUARED_KEYPOINT_LOSSES:
        raise ValueError(
            f"keypoint_loss is {kind!r}, which is no sum of squares; expected one of {', '.join(SQUARED_KEYPOINT_LOSSES)}"
        )
    return residual if kind == "mse" else robust_root(_resized(kind, residual, box_diagonal[..., None, None]), scale)


def _resized(kind: str, residual: Array, size: Array) -> Array:
    """The residual in pixels; for `mse_robust_resized` rescaled so that a tenth of the box diagonal is 100 pixels."""
    return 1000 * residual / size if kind == "mse_robust_resized" else residual


def chordal_weights(hips: float | Array) -> Array:
    """Weights (24, 3, 3) of squared differences between rotation matrices: 1/2, and `hips` more where the matrix of a hip
    says how far the thigh is bent: y and z of its turned y axis."""
    return 0.5 + hips * jnp.asarray(_BENT)


def box_diagonal(keypoints: Array, confidence: Array, visible_only: bool) -> Array:
    """Diagonal (...,) of the box around a frame's keypoints (..., K, 2), pixels, + 1e-4.

    The published box includes undetected keypoints, which are at the origin; `visible_only` excludes them.
    A frame with no visible keypoint has diagonal 1e-4.
    """
    if visible_only:
        seen = (confidence > 0)[..., None]
        low = jnp.where(seen, keypoints, jnp.inf).min(-2)
        high = jnp.where(seen, keypoints, -jnp.inf).max(-2)
        side = jnp.where(jnp.isfinite(high - low), high - low, 0.0)
    else:
        side = keypoints.max(-2) - keypoints.min(-2)
    square = jnp.sum(side**2, -1)
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1.0)), 0.0) + 1e-4


def gate(confidence: Array, threshold: float | Array) -> Array:
    """1 where confidence is strictly above the threshold, as floats."""
    return (confidence > threshold).astype(confidence.dtype)


def visible(confidence: Any, frame_mask: Any, threshold: float | Array) -> Any:
    """1 where a keypoint counts as visible, as floats (..., K): its confidence is above the threshold and its frame exists.

    Args:
      confidence: (..., K). frame_mask: (...,), 1 where the frame exists. If both are NumPy arrays, so is the result.
    """
    return gate(confidence, threshold) * frame_mask[..., None]


def members(instance: Array, num_instances: int) -> Array:
    """Which samples are whose, bool (B, N); instance (B,) int, the instance of each sample."""
    return instance[:, None] == jnp.arange(num_instances)


def of_instances(values: Array, instance: Array, num_instances: int) -> Array:
    """Means (N, ...) of the samples (B, ...) of each instance, 0 where it has none; else as in `mean_per_instance`."""
    member = members(instance, num_instances)
    over = lambda array: array.reshape(*array.shape, *(1,) * (values.ndim - 1))
    # Summed by broadcasting: a matrix product would drop to reduced precision on accelerators.
    totals = (over(member.astype(values.dtype)) * values[:, None]).sum(0)
    return totals / over(jnp.maximum(member.sum(0), 1))


def mean_per_instance(values: Array, instance: Array, num_instances: int) -> Array:
    """Averages the samples of each instance, then averages over the instances present in the batch.

    Args:
      values: (B,), one for each sample. instance: (B,) int, the instance of each sample. num_instances: N.
    """
    present = members(instance, num_instances).any(0).sum()
    return of_instances(values, instance, num_instances).sum() / jnp.maximum(present, 1)


def sample_shares(instance: Array, num_instances: int) -> Array:
    """Weight (B,) that `mean_per_instance` gives to each sample."""
    count = members(instance, num_instances).sum(0)
    return 1 / (jnp.maximum(count, 1)[instance] * (count > 0).sum())


def initial_pose_loss(body_pose: Array, target: Array, mask: Array, scale: float | Array) -> Array:
    """The published 3D term (B,) of each pose: mean of [mask > 0.5] rho(pose - target) over its 69 numbers, radians.

    Args:
      body_pose, target: (B, 69) axis-angle. mask: (B,). scale: s of the robust loss, radians.
    """
    return jnp.mean(gate(mask, 0.5)[:, None] * robust(body_pose - target, scale), -1)
