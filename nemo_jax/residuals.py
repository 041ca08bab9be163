"""The joint stage's loss as a sum of squares, 1/2 |r|^2: what the Gauss-Newton approximation of its curvature needs.

Each term of `objective.joint_loss` is written as the square of something smooth. A robust loss s^2 e^2 / (e^2 + s^2) of a
residual e is the square of s e / sqrt(e^2 + s^2), so that its curvature is never negative, however far an outlier lies.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from nemo_jax import losses, model, objective
from nemo_jax.clips import Clips
from nemo_jax.config import FitConfig
from nemo_jax.model import Assets, Params, Prediction
from nemo_jax.objective import Batch, Targets
from nemo_jax.priors import JointLimits

Array = jax.Array

KEYPOINT_LOSSES = ("mse", "mse_robust", "mse_robust_resized")


def check(assets: Assets, config: FitConfig) -> None:
    """Raises ValueError: a term of the loss is no sum of squares of something smooth."""
    if config.keypoint_loss not in KEYPOINT_LOSSES:
        raise ValueError(
            f"keypoint_loss is {config.keypoint_loss!r}, which is no sum of squares; expected one of "
            f"{', '.join(KEYPOINT_LOSSES)}"
        )
    if assets.priors.gmm is not None or assets.priors.vposer is not None:
        raise ValueError(
            "the priors hold a mixture or VPoser, which are no sums of squares; expected joint limits alone"
        )


def residuals(
    params: Params, assets: Assets, config: FitConfig, clips: Clips, targets: Targets, batch: Batch
) -> dict[str, Array]:
    """Arrays r, by term, with 1/2 |r|^2 equal to the weighted terms of `objective.joint_loss` without code noise.

    Args:
      As of `objective.joint_loss`; batch: B frames.

    Returns:
      keypoints (B, K, 2), init_pose (B, 23, 3, 3) or (B, 69), code (N, C), betas (N, S) and, with that prior,
      limits_excess and limits_centred (B, 23, 3).

    Raises:
      ValueError: see `check`.
    """
    prediction = objective.predict_batch(params, assets, config, clips, batch)
    return {
        **of_frames(prediction, assets, config, clips, targets, batch),
        "code": code_factor(params, config) * params.codes,
        "betas": betas_factor(params, config) * params.betas,
    }


def of_frames(
    prediction: Prediction, assets: Assets, config: FitConfig, clips: Clips, targets: Targets, batch: Batch
) -> dict[str, Array]:
    """The terms of `residuals` that frames have, each with a leading axis of B, from predictions with leaves (B, ...).

    Raises:
      ValueError: see `check`.
    """
    check(assets, config)
    size = batch.instance.shape[0]
    found = {
        "keypoints": _keypoints(prediction, assets, config, clips, batch),
        "init_pose": _init_pose(prediction.rotations, targets, config, batch),
    }
    if assets.priors.joint_limits is not None:
        pose = jax.vmap(model.body_pose)(prediction.rotations)
        for name, value in _limits(assets.priors.joint_limits, pose).items():
            found[f"limits_{name}"] = _root(config.weight_limits, size) * value
    return found


def total(found: Mapping[str, Array]) -> Array:
    """1/2 |r|^2 ()."""
    return sum((0.5 * jnp.sum(value**2) for value in found.values()), jnp.zeros(()))


def code_factor(params: Params, config: FitConfig) -> Array:
    """By which codes are multiplied in r, ()."""
    return _root(config.weight_code, params.codes.size)


def betas_factor(params: Params, config: FitConfig) -> Array:
    """By which shapes are multiplied in r, ()."""
    return _root(config.weight_betas, params.betas.size)


def robust_root(residual: Array, scale: float | Array) -> Array:
    """The odd function whose square is `losses.robust`, elementwise."""
    return scale * residual / jnp.sqrt(residual**2 + scale**2)


def _root(weight: float | Array, count: int) -> Array:
    """Factor of what is squared in a weighted mean over `count` entries."""
    weight = jnp.asarray(weight)
    # A root has no slope at 0, and a weight of 0 is a choice that people make.
    positive = weight > 0
    return jnp.where(positive, jnp.sqrt(2 * jnp.where(positive, weight, 1.0) / count), 0.0)


def _keypoints(prediction: Prediction, assets: Assets, config: FitConfig, clips: Clips, batch: Batch) -> Array:
    at = (batch.instance, batch.frame)
    weight = objective.keypoint_weights(clips, config, *at)
    scale = assets.pixel_scale[batch.instance][:, None, None]
    residual = jnp.where(weight[..., None] > 0, prediction.keypoints_2d - clips.keypoints[at], 0.0) * scale
    if config.keypoint_loss == "mse_robust_resized":
        box = losses.box_diagonal(clips.keypoints[at], clips.confidence[at], config.visible_box)
        residual = 1000 * residual / (box[:, None, None] * scale)
    if config.keypoint_loss != "mse":
        residual = robust_root(residual, config.robust_scale)
    member = (batch.instance[:, None] == jnp.arange(clips.num_instances)).astype(residual.dtype)
    count = member.sum(0)
    # As in `losses.mean_per_instance`: the mean over instances of the mean over each one's frames.
    share = 1 / (jnp.maximum(count, 1)[batch.instance] * (count > 0).sum())
    each = 2 * share[:, None] * weight / (weight.shape[-1] * 2)
    return jnp.sqrt(each)[..., None] * residual


def _init_pose(rotation: Array, targets: Targets, config: FitConfig, batch: Batch) -> Array:
    at = (batch.instance, batch.frame)
    size = batch.instance.shape[0]
    weight = jnp.sqrt(targets.weight[batch.instance])
    factor = _root(config.weight_init, 69 * size)
    if config.init_space == "axis_angle":
        pose = jax.vmap(model.body_pose)(rotation).reshape(-1, 69)
        gate = losses.gate(targets.mask[at], 0.5)
        away = robust_root(pose - targets.pose[at][:, 1:].reshape(-1, 69), config.robust_scale)
        return factor * (weight * gate)[:, None] * away
    apart = (rotation - targets.rotations[at])[:, 1:] / jnp.sqrt(2.0)
    return factor * (weight * jnp.sqrt(targets.mask[at]))[:, None, None, None] * apart


def _limits(limits: JointLimits, pose: Array, inside: float = 0.02) -> dict[str, Array]:
    """What `priors.joint_limit_loss` squares and sums, of poses (B, 23, 3)."""
    middle, half = (limits.low + limits.high) / 2, (limits.high - limits.low) / 2
    return {
        "excess": jnp.maximum(pose - limits.high, 0) + jnp.maximum(limits.low - pose, 0),
        "centred": jnp.sqrt(inside / limits.low.size) * (pose - 0.5 * middle) / (half + 0.2),
    }
