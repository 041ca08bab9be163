"""The reprojection term: keypoints that are seen in frames of clips, and the loss of predicted ones against them.

All that follows keypoints does it by these functions: the loss of a batch, cameras that are searched, clips that are read
anew, stretches whose left and right are exchanged.
"""

import jax
import jax.numpy as jnp

from nemo_jax import losses
from nemo_jax.clips import Clips
from nemo_jax.config import FitConfig

Array = jax.Array


def seen(
    clips: Clips, config: FitConfig, instance: Array, frame: Array, with_confidence: bool = True
) -> tuple[Array, Array]:
    """Weights (..., K) of the keypoints of some frames, and their pixels (..., K, 2), 0 where the weight is.

    The weight is the gate, 0 for missing frames, times confidence if that is asked for. instance, frame: int indices, shapes
    that broadcast to (...).
    """
    confidence = clips.confidence[instance, frame]
    weight = losses.visible(confidence, clips.frame_mask[instance, frame], config.confidence_threshold)
    weight = weight * confidence if with_confidence else weight
    # Undetected joints may have any value, including NaN.
    return weight, jnp.where(weight[..., None] > 0, jnp.asarray(clips.keypoints)[instance, frame], 0.0)


def box(clips: Clips, config: FitConfig, instance: Array, frame: Array) -> Array:
    """Diagonal (...) of the box around the keypoints of some frames, pixels; indices as those of `seen`."""
    at = instance, frame
    return losses.box_diagonal(jnp.asarray(clips.keypoints)[at], jnp.asarray(clips.confidence)[at], config.visible_box)


def residuals(predicted: Array, pixels: Array, weight: Array, scale: Array) -> Array:
    """Differences (..., K, 2) of predicted keypoints from seen ones, in pixels times scale (...); 0 where the weight is.

    They are gated before the loss too, so that an undetected joint behind the lens cannot make it NaN.
    """
    return jnp.where(weight[..., None] > 0, predicted - pixels, 0.0) * scale[..., None, None]


def loss(config: FitConfig, residual: Array, weight: Array, box: Array) -> Array:
    """Loss of each residual (..., K, 2), weighted by (..., K) and not reduced: as `losses.keypoint_loss`.

    box (...): diagonals of the persons' boxes, scaled as the residuals are.
    """
    each = losses.keypoint_loss(config.keypoint_loss, residual, config.robust_scale, box)
    return weight[..., None] * each
