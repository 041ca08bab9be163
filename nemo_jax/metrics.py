"""Errors of motion and reprojection, one pure function each, over masked frames.

Joints are (T, K, 3) and vertices (T, V, 3) in metres, pixels (T, K, 2), masks (T,) or (T, K) with 1 where the entry
counts; batch with `jax.vmap`. Errors come back in millimetres, or pixels. A mean over nothing is NaN. The definitions of
the field: MPJPE and PA-MPJPE (Ionescu et al., Human3.6M, TPAMI 2014; Procrustes alignment as in Kanazawa et al., HMR,
CVPR 2018), MPVPE (Pavlakos et al., CVPR 2018), acceleration error (Kanazawa et al., HMMR, CVPR 2019), PCK (Yang and
Ramanan, TPAMI 2013); those of NeMo, section 5: pose-only MPJPE and MPVPE, dynamic range, G-MPJPE and G-MPVPE, 2D error.

The paper's MPJPE and MPVPE are `mpjpe` and `mpvpe` of bodies posed with zero betas, no root rotation and no translation.
"""

import chex
import jax
import jax.numpy as jnp

from body_models.pytree import pytree
from nemo_jax.rotations import nearest_rotation

Array = jax.Array

# The paper's errors look at the first 15 of BODY_25: the body without eyes, ears and feet.
PAPER_JOINTS = 15
MILLIMETRES = 1000.0
DYNAMIC_SPEED = 2.0  # metres per second


def masked_mean(values: Array, mask: Array) -> Array:
    """Mean () of the entries whose mask is 1; NaN where there are none."""
    return jnp.sum(jnp.where(mask > 0, values, 0.0)) / jnp.sum(mask > 0)


def point_errors(predicted: Array, true: Array) -> Array:
    """Mean distance (T,) in mm of each frame's points (T, P, 3): the frames whose mean is MPJPE, or MPVPE."""
    chex.assert_equal_shape([predicted, true])
    return MILLIMETRES * distances(predicted, true).mean(-1)


def distances(predicted: Array, true: Array) -> Array:
    """Euclidean distances (...,) between points (..., D), in the unit of the points."""
    return jnp.linalg.norm(predicted - true, axis=-1)


def joint_errors(predicted: Array, true: Array, mask: Array) -> Array:
    """Mean distance (P,) in mm of each point of (T, P, 3) over the frames whose mask (T,) is 1; their mean is MPJPE."""
    chex.assert_equal_shape([predicted, true])
    return MILLIMETRES * jax.vmap(masked_mean, (1, None))(distances(predicted, true), mask)


def mpjpe(predicted: Array, true: Array, mask: Array) -> Array:
    """Mean per-joint position error () in mm of joints (T, K, 3) as they stand; mask (T,)."""
    return masked_mean(point_errors(predicted, true), mask)


def mpvpe(predicted: Array, true: Array, mask: Array) -> Array:
    """Mean per-vertex position error () in mm of vertices (T, V, 3) as they stand; mask (T,)."""
    return masked_mean(point_errors(predicted, true), mask)


def dynamic_range(true: Array, mask: Array, rate: Array | float, least_speed: float = DYNAMIC_SPEED) -> Array:
    """The mask (T,) cut to the paper's dynamic range, to be given to the other errors.

    A frame is fast where, on the way to the next frame, the fastest of the joints moves at `least_speed` or more. The range
    runs from the first fast frame up to, but not including, the last one; frames between them count whatever their speed.

    Args:
      true: (T, K, 3) true joints, in the paper the first 15 of the body posed without shape, root and translation.
      mask: (T,), 1 where the frame exists; a frame whose next one does not is not fast.
      rate: () by which a difference of two frames becomes a speed: the clip's frames per second. The paper takes 30 times
        (frames of the source video / frames after resampling), where the frame rate would be 30 divided by that.
      least_speed: metres per second.

    Returns:
      (T,), all 0 where fewer than two frames are fast.
    """
    chex.assert_equal_shape_prefix([true, mask], 1)
    speed = jnp.linalg.norm(jnp.diff(true, axis=0), axis=-1).max(-1) * rate
    fast = (speed >= least_speed) & (mask[1:] * mask[:-1] > 0)
    frame = jnp.arange(mask.shape[0])
    first = jnp.where(fast, frame[:-1], mask.shape[0]).min(initial=mask.shape[0])
    last = jnp.where(fast, frame[:-1], -1).max(initial=-1)
    return jnp.where((frame >= first) & (frame < last), mask, 0.0)


def root_aligned_mpjpe(predicted: Array, true: Array, mask: Array, root: int = 8) -> Array:
    """MPJPE () in mm after moving both roots (BODY_25's mid hip) to the origin in every frame."""
    return mpjpe(predicted - predicted[:, root : root + 1], true - true[:, root : root + 1], mask)


def pa_mpjpe(predicted: Array, true: Array, mask: Array) -> Array:
    """MPJPE () in mm after the best rotation, translation and scale of every frame on its own."""
    return mpjpe(align_frames(predicted, true), true, mask)


def align_frames(predicted: Array, true: Array) -> Array:
    """Points (T, P, 3), those of each frame moved onto the true ones by rotation, translation and scale of its own."""
    return jax.vmap(lambda p, t: similarity_align(p, t, jnp.ones(p.shape[0]), with_scale=True))(predicted, true)


def global_errors(
    predicted_joints: Array, true_joints: Array, predicted_vertices: Array, true_vertices: Array, mask: Array
) -> tuple[Array, Array]:
    """G-MPJPE () and G-MPVPE () in mm: one rotation and translation for the whole clip, no scale.

    The vertices (T, V, 3) of all frames find the transform; it then moves joints (T, K, 3) and vertices alike.
    """
    chex.assert_equal_shape([predicted_vertices, true_vertices])
    rotation, translation = clip_transform(predicted_vertices, true_vertices, mask)
    joints = mpjpe(move(predicted_joints, rotation, translation), true_joints, mask)
    return joints, mpvpe(move(predicted_vertices, rotation, translation), true_vertices, mask)


def clip_transform(source: Array, target: Array, mask: Array) -> tuple[Array, Array]:
    """Least-squares rotation (3, 3) and translation (3,) of one whole clip onto another, without scale; `move` applies them.

    Args:
      source, target: (T, P, 3) points of every frame.
      mask: (T,), 1 where the frame counts; what stands elsewhere may be anything finite.
    """
    chex.assert_equal_shape([source, target])
    weights = jnp.repeat(mask, source.shape[1])
    source, target = source.reshape(-1, 3), target.reshape(-1, 3)
    # Moments about points near the means, so that nothing cancels.
    origins = _weighted_mean(source, weights), _weighted_mean(target, weights)
    return rigid_transform(moments(source - origins[0], target - origins[1], weights), *origins)


def acceleration_error(predicted: Array, true: Array, mask: Array, fps: Array | float) -> Array:
    """Mean difference () of joint accelerations in mm/s^2, over frames whose neighbours count too."""

    def acceleration(x: Array) -> Array:
        return (x[2:] - 2 * x[1:-1] + x[:-2]) * fps**2

    inner = mask[2:] * mask[1:-1] * mask[:-2]
    error = jnp.linalg.norm(acceleration(predicted) - acceleration(true), axis=-1).mean(-1)
    return MILLIMETRES * masked_mean(error, inner)


@pytree
class Moments:
    """Sums over pairs of points, all that a rigid alignment needs; those of parts of a clip add up to those of the whole.

    weight (): of the weights. source, target (3,): of the points. product (3, 3): of target times source.
    """

    weight: Array
    source: Array
    target: Array
    product: Array


def moments(source: Array, target: Array, weights: Array) -> Moments:
    """Moments of the pairs (P, 3), each about its own origin; weights (P,)."""
    weighted = jnp.where(weights[:, None] > 0, weights[:, None] * target, 0.0)
    source = jnp.where(weights[:, None] > 0, source, 0.0)
    return Moments(
        weight=weights.sum(),
        source=(weights[:, None] * source).sum(0),
        target=weighted.sum(0),
        product=jnp.einsum("pi,pj->ij", weighted, source, precision="highest"),
    )


def rigid_transform(sums: Moments, source_origin: Array, target_origin: Array) -> tuple[Array, Array]:
    """Least-squares rotation (3, 3) and translation (3,) of the source to the target (Kabsch 1976).

    Args:
      sums: moments of source - source_origin and target - target_origin. In float32 the origins (3,) should be near the
        means, or else the covariance cancels.
    """
    total = jnp.maximum(sums.weight, 1e-12)
    source, target = sums.source / total, sums.target / total
    rotation, _ = nearest_rotation(sums.product / total - jnp.outer(target, source))
    translation = target_origin + target - jnp.matmul(rotation, source_origin + source, precision="highest")
    return rotation, translation


def move(points: Array, rotation: Array, translation: Array) -> Array:
    """Points (..., 3), rotated and then translated."""
    return jnp.matmul(points, rotation.T, precision="highest") + translation


def similarity_align(source: Array, target: Array, weights: Array, with_scale: bool) -> Array:
    """Moves points (P, 3) onto others by the least-squares rotation, translation and, if asked, scale (Umeyama 1991)."""
    source_mean, target_mean = _weighted_mean(source, weights), _weighted_mean(target, weights)
    a, b = source - source_mean, target - target_mean
    rotation, strengths = nearest_rotation(moments(a, b, weights).product)
    scale = 1.0
    if with_scale:
        scale = strengths.sum() / jnp.maximum((weights[:, None] * a**2).sum(), 1e-12)
    return scale * jnp.matmul(a, rotation.T, precision="highest") + target_mean


def _weighted_mean(points: Array, weights: Array) -> Array:
    kept = jnp.where(weights[:, None] > 0, weights[:, None] * points, 0.0)
    return kept.sum(0) / jnp.maximum(weights.sum(), 1e-12)


def reprojection_errors(predicted: Array, keypoints: Array) -> Array:
    """Distances (T, K) in pixels."""
    return distances(predicted, keypoints)


def reprojection_mean(errors: Array, seen: Array, mask: Array) -> Array:
    """The paper's 2D error () in pixels: mean over frames and joints of [seen] times the distance, unseen ones as zeros.

    Args:
      errors: (T, K) pixels, of the paper's 15 joints.
      seen: (T, K), 1 where the confidence is above 0.5.
      mask: (T,), 1 where the frame exists.

    Returns:
      NaN where nothing at all is seen.
    """
    chex.assert_equal_shape([errors, seen])
    kept = (seen > 0) & (mask[:, None] > 0)
    mean = jnp.sum(jnp.where(kept, errors, 0.0)) / (jnp.sum(mask > 0) * errors.shape[1])
    return jnp.where(kept.any(), mean, jnp.nan)


def masked_median(values: Array, mask: Array) -> Array:
    """Median () of the entries whose mask is 1; NaN where there are none."""
    return jnp.nanmedian(jnp.where(mask > 0, values, jnp.nan))


def pck(errors: Array, diagonal: Array, mask: Array, threshold: float) -> Array:
    """Share () of the entries (T, K) that lie within `threshold` times the frame's box diagonal (T,).

    The paper's: 15 joints, those with a confidence above 0.5, 0.05 of `losses.box_diagonal` with `visible_only=False`.
    """
    return masked_mean((errors <= threshold * diagonal[:, None]).astype(errors.dtype), mask)


def pck_auc(errors: Array, diagonal: Array, mask: Array, largest: float = 0.1, steps: int = 21) -> Array:
    """Area () under the curve of PCK against thresholds from 0 to `largest`, as a share of the whole."""
    shares = jax.vmap(lambda threshold: pck(errors, diagonal, mask, threshold))(jnp.linspace(0.0, largest, steps))
    return jnp.trapezoid(shares, dx=1 / (steps - 1))
