"""The joint stage's loss as a sum of squares, 1/2 |r|^2, for the Gauss-Newton approximation of its curvature.

Each term of `objective.joint_loss` is written as the square of something smooth. A robust loss s^2 e^2 / (e^2 + s^2) of a
residual e is the square of s e / sqrt(e^2 + s^2), so that its Gauss-Newton curvature is never negative, even for far
outliers. The inputs, gates and weights of every term come from `objective`; this module only writes the terms as
squares.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from nemo_jax import camera, depth, lens, losses, model, objective, roots
from nemo_jax.batches import Batch
from nemo_jax.clips import Clips
from nemo_jax.config import FitConfig
from nemo_jax.model import Assets, Params, Prediction
from nemo_jax.objective import Targets
from nemo_jax.priors import LIMIT_INSIDE, limb_residuals, limit_residuals

Array = jax.Array


def check(assets: Assets, config: FitConfig) -> None:
    """Raises ValueError if a term of the loss is not a sum of squares of smooth functions."""
    if config.keypoint_loss not in losses.SQUARED_KEYPOINT_LOSSES:
        raise ValueError(
            f"keypoint_loss is {config.keypoint_loss!r}, which is no sum of squares; expected one of "
            f"{', '.join(losses.SQUARED_KEYPOINT_LOSSES)}"
        )
    if assets.priors.gmm is not None or assets.priors.vposer is not None:
        raise ValueError(
            "the priors hold a mixture or VPoser, which are no sums of squares; expected joint limits alone"
        )


def residuals(
    params: Params, assets: Assets, config: FitConfig, clips: Clips, targets: Targets, batch: Batch
) -> dict[str, Array]:
    """Arrays r, by term, with 1/2 |r|^2 equal to the weighted terms of `objective.joint_loss` without code noise.

    Contacts, the floor, balance, own paths, the prior over short motions and poses apart from the shared ones are left out.

    Args:
      The same as those of `objective.joint_loss`; batch: B frames.

    Returns:
      keypoints (B, K, 2), init_pose (B, 23, 3, 3) or (B, 69), level (B, 2), depth (B, 14), root (B, 3, 3), code (N, C),
      betas (N, S), span (N, 2) and, with these priors, lens (N,), limbs (B, 42), limits_excess and limits_centred
      (B, 23, 3).

    Raises:
      ValueError: see `check`.
    """
    prediction = objective.predict_batch(params, assets, config, clips, batch)
    return {
        **of_frames(prediction, params.cameras[batch.instance], params.cameras, assets, config, clips, targets, batch),
        "code": code_factor(params, config) * params.codes,
        "betas": betas_factor(params, config) * params.betas,
        "span": _root(config, "span", params.span.size) * objective.span_change(params),
        **_lens(params, assets, config),
    }


def of_frames(
    prediction: Prediction,
    cameras: Array,
    trusted: Array,
    assets: Assets,
    config: FitConfig,
    clips: Clips,
    targets: Targets,
    batch: Batch,
) -> dict[str, Array]:
    """The terms of `residuals` that belong to single frames, with a leading axis B, from predictions (B, ...)
    and cameras (B, 9). A camera counts once, in equal shares of its frames. `trusted` (N, 9): the cameras whose viewing axes
    say in which directions given poses are trusted.

    Every frame is counted, where a step of the fit looks at a part of its batch for some terms.

    Raises:
      ValueError: see `check`.
    """
    check(assets, config)
    size = batch.instance.shape[0]
    found = {
        "keypoints": _keypoints(prediction, assets, config, clips, batch),
        "init_pose": _init_pose(prediction.rotations, targets, config, batch),
        "level": _level(cameras, config, clips, batch),
    }
    if config.init_space != "axis_angle":
        where = (batch.instance, batch.frame)
        apart = depth.depth_residuals(prediction, trusted, assets, clips, *where)
        found["depth"] = _root(config, "depth", size) * apart
        turned = roots.root_residuals(prediction, trusted, clips, *where)
        found["root"] = _root(config, "root", 69 * size) * turned
    if assets.priors.limbs is not None:
        each = jax.vmap(limb_residuals, (None, 0, 0))
        likely = each(assets.priors.limbs, prediction.joints, prediction.rotations[:, 0])
        found["limbs"] = _root(config, "limbs", size) * likely / jnp.sqrt(2.0)
    if assets.priors.joint_limits is not None:
        pose = jax.vmap(model.body_pose)(prediction.rotations)
        factor = _root(config, "limits", size)
        excess, centred = limit_residuals(assets.priors.joint_limits, pose)
        found["limits_excess"] = factor * excess
        found["limits_centred"] = factor * (jnp.sqrt(LIMIT_INSIDE / centred[0].size) * centred)
    return found


def total(found: Mapping[str, Array]) -> Array:
    """1/2 |r|^2 ()."""
    return sum((0.5 * jnp.sum(value**2) for value in found.values()), jnp.zeros(()))


def code_factor(params: Params, config: FitConfig) -> Array:
    """The factor () of the instance codes in r."""
    return _root(config, "code", params.codes.size)


def betas_factor(params: Params, config: FitConfig) -> Array:
    """The factor () of the body shapes in r."""
    return _root(config, "betas", params.betas.size)


def _root(config: FitConfig, term: str, count: int) -> Array:
    """The factor in r of a loss term that is a mean over `count` squared entries."""
    weight = jnp.asarray(objective.term_weights(config)[term])
    # A weight may be 0, where the square root has no finite derivative.
    positive = weight > 0
    return jnp.where(positive, jnp.sqrt(2 * jnp.where(positive, weight, 1.0) / count), 0.0)


def _lens(params: Params, assets: Assets, config: FitConfig) -> dict[str, Array]:
    if not config.lens_starts:
        return {}
    surprise = lens.loss(params.log_focal, assets)
    positive = surprise > 0
    # At the prior's maximum the square root has no finite derivative.
    root = jnp.where(positive, jnp.sqrt(jnp.where(positive, surprise, 1.0)), 0.0)
    return {"lens": _root(config, "lens", surprise.shape[0]) * root}


def _level(cameras: Array, config: FitConfig, clips: Clips, batch: Batch) -> Array:
    share = losses.sample_shares(batch.instance, clips.num_instances)
    return _root(config, "level", 2) * jnp.sqrt(share)[:, None] * camera.level_residuals(cameras)


def _keypoints(prediction: Prediction, assets: Assets, config: FitConfig, clips: Clips, batch: Batch) -> Array:
    weight, residual, box = objective.keypoint_residuals(prediction, assets, config, clips, batch)
    root = losses.keypoint_root(config.keypoint_loss, residual, config.robust_scale, box)
    share = losses.sample_shares(batch.instance, clips.num_instances)
    each = 2 * share[:, None] * weight / root[0].size
    return jnp.sqrt(each)[..., None] * root


def _init_pose(rotation: Array, targets: Targets, config: FitConfig, batch: Batch) -> Array:
    at = (batch.instance, batch.frame)
    weight = jnp.sqrt(targets.weight[batch.instance])
    factor = _root(config, "init_pose", 69 * batch.instance.shape[0])
    pose, target = objective.initial_poses(rotation, targets, config, batch)
    if config.init_space == "axis_angle":
        gate = losses.gate(targets.mask[at], 0.5)
        return factor * (weight * gate)[:, None] * losses.robust_root(pose - target, config.robust_scale)
    apart = ((pose - target) * jnp.sqrt(losses.chordal_weights(config.init_hips)))[:, 1:]
    return factor * (weight * jnp.sqrt(targets.mask[at]))[:, None, None, None] * apart
