"""The loss of a batch: all terms are computed from one prediction, then weighted and summed."""

from typing import cast

import jax
import jax.numpy as jnp
import numpy as np

from body_models import smpl
from body_models.pytree import pytree
from body_models.rows import pick
from nemo_jax import (
    balance,
    batches,
    contact,
    depth,
    ground,
    lens,
    losses,
    mirror,
    model,
    moving,
    path,
    reprojection,
    roots,
    tempo,
    variation,
)
from nemo_jax import camera as cam
from nemo_jax import clips as clips_lib
from nemo_jax import windows as windows_lib
from nemo_jax.batches import Batch
from nemo_jax.clips import Clips
from nemo_jax.config import FitConfig
from nemo_jax.model import Assets, Params, Prediction
from nemo_jax.priors import batch_terms, gmm_prior_loss, joint_limit_loss, limb_loss

Array = jax.Array


@pytree
class Targets:
    """The initial 3D poses in the form that the fit uses.

    pose (N, T, 24, 3): axis-angle, the root in the shared world once cameras are aligned. rotations (N, T, 24, 3, 3): the
    same. mask (N, T): 1 where the body pose exists. root_mask (N, T): 1 where the root may be used too. weight (N,):
    confidence in the poses of each instance.
    """

    pose: Array
    rotations: Array
    mask: Array
    root_mask: Array
    weight: Array


def predict_batch(
    params: Params, assets: Assets, config: FitConfig, clips: Clips, batch: Batch, code_noise: Array | float = 0.0
) -> Prediction:
    """Predictions of a batch, leaves (B, ...); `code_noise` (B, C) or 0."""
    return _evaluate_batch(params, assets, config, clips, batch, code_noise)[0]


def _evaluate_batch(
    params: Params, assets: Assets, config: FitConfig, clips: Clips, batch: Batch, code_noise: Array | float = 0.0
) -> tuple[Prediction, smpl.Skeleton]:
    phases = clips_lib.raw_phase(clips)[batch.instance, batch.frame]
    noise = jnp.broadcast_to(code_noise, (batch.instance.shape[0], config.code_size))
    views = moving.of_frames(clips, batch.instance, batch.frame)
    each = jax.vmap(model.evaluate, (None, None, None, 0, 0, 0, 0))
    return each(params, assets, config, batch.instance, phases, noise, views)


def keypoint_term(
    prediction: Prediction, assets: Assets, config: FitConfig, clips: Clips, batch: Batch, with_confidence: bool = True
) -> Array:
    """Loss (B,) of each frame's reprojection: mean over 25 joints, and coordinates where the kind has two."""
    return jnp.mean(keypoint_losses(prediction, assets, config, clips, batch, with_confidence), (-2, -1))


def keypoint_losses(
    prediction: Prediction, assets: Assets, config: FitConfig, clips: Clips, batch: Batch, with_confidence: bool = True
) -> Array:
    """Weighted losses (B, K, 2) or (B, K, 1) of each frame's reprojection, see `reprojection.loss`."""
    weight, residual, box = keypoint_residuals(prediction, assets, config, clips, batch, with_confidence)
    return reprojection.loss(config, residual, weight, box)


def keypoint_residuals(
    prediction: Prediction, assets: Assets, config: FitConfig, clips: Clips, batch: Batch, with_confidence: bool = True
) -> tuple[Array, Array, Array]:
    """The inputs of the keypoint loss: weights (B, K), residuals (B, K, 2) and diagonals (B,) of the persons' boxes.

    Residuals and diagonals are pixels after each instance's `pixel_scale`; a residual of weight 0 is 0.
    """
    at = (batch.instance, batch.frame)
    weight, pixels = reprojection.seen(clips, config, *at, with_confidence)
    scale = assets.pixel_scale[batch.instance]
    residual = reprojection.residuals(prediction.keypoints_2d, pixels, weight, scale)
    return weight, residual, reprojection.box(clips, config, *at) * scale


def init_term(
    rotation: Array, targets: Targets, config: FitConfig, batch: Batch, root: bool = False, pose: Array | None = None
) -> Array:
    """The 3D term () of a batch: distance of predicted rotations (B, 24, 3, 3) from the initial pose.

    `pose` (B, 23, 3) is their axis-angle, if the caller has already computed it.

    The distance is either that of axis-angle vectors, as published, or the chordal distance 1/2 |R - R0|^2, which
    equals the squared angle for small angles, needs no logarithm and is bounded. Both are divided by 69, the size of a
    body pose. In the second the bend of the hips counts for more (`losses.chordal_weights`).
    """
    at = (batch.instance, batch.frame)
    weight = targets.weight[batch.instance]
    found, target = initial_poses(rotation, targets, config, batch, pose)
    if config.init_space == "axis_angle":
        return jnp.mean(weight * losses.initial_pose_loss(found, target, targets.mask[at], config.robust_scale))
    chordal = jnp.sum(losses.chordal_weights(config.init_hips) * (found - target) ** 2, (-2, -1))
    body = jnp.sum(chordal[:, 1:], -1) * targets.mask[at]
    total = body + chordal[:, 0] * targets.root_mask[at] if root else body
    return jnp.mean(weight * total) / 69


def initial_poses(
    rotation: Array, targets: Targets, config: FitConfig, batch: Batch, pose: Array | None = None
) -> tuple[Array, Array]:
    """The predicted and the initial poses, in the representation that the 3D term compares.

    Args:
      The same as those of `init_term`.

    Returns:
      Two arrays (B, 69), axis-angle of joints 1 to 23, or two (B, 24, 3, 3), rotations.
    """
    at = (batch.instance, batch.frame)
    if config.init_space == "axis_angle":
        pose = jax.vmap(model.body_pose)(rotation) if pose is None else pose
        return pose.reshape(-1, 69), targets.pose[at][:, 1:].reshape(-1, 69)
    return rotation, targets.rotations[at]


def term_weights(config: FitConfig) -> dict[str, Array | float]:
    """Weight of each term of `joint_loss`."""
    return {
        "keypoints": 1.0,
        "init_pose": config.weight_init,
        "code": config.weight_code,
        "apart": config.weight_apart,
        "betas": config.weight_betas,
        "lens": config.weight_lens,
        "span": config.weight_span,
        "level": config.weight_level,
        "depth": config.weight_depth,
        "root": config.weight_init * config.init_root,
        "path": config.weight_path,
        "contact": config.weight_contact,
        "below": config.weight_below,
        "gravity": config.weight_gravity,
        "balance": config.weight_balance,
        "limits": config.weight_limits,
        "limbs": config.weight_limbs,
        "motion": config.weight_motion,
        "gmm": config.weight_gmm,
        "vposer": config.weight_vposer,
        "vposer_kl": config.weight_vposer_z,
    }


def joint_loss(
    params: Params,
    assets: Assets,
    config: FitConfig,
    clips: Clips,
    targets: Targets,
    batch: Batch,
    code_noise: Array | float = 0.0,
    broader: Array | float = 1.0,
    trust: Array | float = 0.0,
) -> tuple[Array, dict[str, Array]]:
    """Total () of the joint stage and its terms, unweighted; `broader` is that of `contact.loss`, `trust` the `least` of
    `depth.depth_loss`."""
    prediction, skeletons = _evaluate_batch(params, assets, config, clips, batch, code_noise)
    # All terms share one logarithm, so that its derivative is evaluated only once. XLA removes it if no term uses it.
    pose = jax.vmap(model.body_pose)(prediction.rotations)
    n, real = clips.num_instances, clips_lib.which_real(clips)
    rows = None if real is None else real[:, None]
    per_frame = keypoint_term(prediction, assets, config, clips, batch)
    stride = batches.part_of(batch)
    terms = {
        "keypoints": losses.mean_per_instance(per_frame, batch.instance, n),
        "init_pose": init_term(prediction.rotations, targets, config, batch, pose=pose),
        "code": jnp.mean(params.codes**2, where=rows),
        "betas": jnp.mean(params.betas**2, where=rows),
        "span": jnp.mean(span_change(params) ** 2, where=rows),
        "level": jnp.mean(cam.unlevel(params.cameras), where=real),
        **lens_terms(params, assets, config, clips),
        **first_pose_terms(prediction, params, assets, config, clips, batch, trust),
        **apart_terms(params, prediction, config, clips, batch),
        **ground_terms(params, prediction, assets, config, clips, batch, broader),
        **prior_terms(prediction, pose, skeletons, assets, stride),
        **windows_lib.terms(
            prediction, assets.priors, config, clips, batch.instance, batch.frame, batches.num_pairs(config)
        ),
    }
    weights = term_weights(config)
    total = sum(weights[name] * value for name, value in terms.items())
    return cast(Array, total), terms


def span_change(params: Params) -> Array:
    """How far (N, 2) the instances' spans are from that of the whole action."""
    return params.span - jnp.array(model.WHOLE)


def lens_terms(params: Params, assets: Assets, config: FitConfig, clips: Clips) -> dict[str, Array]:
    """Value () of the prior over focal lengths, a mean over instances, if the configuration has one."""
    if not config.lens_starts:
        return {}
    return {"lens": jnp.mean(lens.loss(params.log_focal, assets), where=clips_lib.which_real(clips))}


def first_pose_terms(
    prediction: Prediction,
    params: Params,
    assets: Assets,
    config: FitConfig,
    clips: Clips,
    batch: Batch,
    trust: Array | float = 0.0,
) -> dict[str, Array]:
    """Values () of how far bodies are from given first poses in camera axes, along the viewing axis and in the turn of the
    whole body, means over a part of the batch.

    Fits that compare poses as the published one does have no such terms.
    """
    if config.init_space == "axis_angle":
        return {}
    part = slice(None, None, batches.part_of(batch))
    seen = jax.tree.map(lambda leaf: leaf[part], prediction)
    where = batch.instance[part], batch.frame[part]
    turned = roots.root_residuals(seen, params.cameras, clips, *where)
    return {
        "depth": jnp.mean(depth.depth_loss(seen, params.cameras, assets, clips, *where, trust)),
        "root": jnp.mean(jnp.sum(turned**2, (-2, -1))) / 69,
    }


def apart_terms(
    params: Params, prediction: Prediction, config: FitConfig, clips: Clips, batch: Batch
) -> dict[str, Array]:
    """Value () of how far poses are from those without codes, a mean over a part of the batch in which clips without given
    initial poses count less."""
    if not config.apart_frames:
        return {}
    part = slice(None, None, batches.part_of(batch, config.apart_frames))
    instance = batch.instance[part]
    shared = variation.shared_rotations(params, config, instance, prediction.phase[part])
    each = variation.apart_loss(prediction.rotations[part], shared, config.apart_scale)
    price = jnp.where(clips_lib.posed(clips)[instance], 1.0, config.apart_unposed)
    return {"apart": jnp.mean(price * each)}


def ground_terms(
    params: Params,
    prediction: Prediction,
    assets: Assets,
    config: FitConfig,
    clips: Clips,
    batch: Batch,
    broader: Array | float = 1.0,
) -> dict[str, Array]:
    """Values () of contacts, of feet below the floor, of leaning cameras, of balance and of own paths, where the fit has
    them.

    Contacts are a mean over the pairs of neighbouring frames in the batch and the points of the feet; hands are added.
    """
    terms, real = {}, clips_lib.which_real(clips)
    if params.path is not None and config.path_knots:
        terms["path"] = jnp.mean(path.loss(params.path), where=real)
    if params.contact is None or params.ground is None or assets.soles is None or prediction.contact is None:
        return terms
    now, after = batches.paired(config)
    instance, frame = batch.instance[now], batch.frame[now]
    # The last frame of a clip has none after it.
    follows = (batch.instance[after] == instance) & (batch.frame[after] == frame + 1)
    share = follows / jnp.maximum(follows.sum(), 1)
    points = pick(prediction.keypoints, np.array(contact.points(config.contact_hands)), axis=1)
    fps = clips.fps[instance]
    velocity = (points[after] - points[now]) * fps[:, None, None]
    height = ground.heights(params.ground, params.mirrored[instance], points[now])
    soles = ground.soles(params.ground, assets.soles)
    scales = config.contact_speed, config.contact_height
    each = contact.loss_of_points(prediction.contact[now], velocity, height - soles, *scales, broader)
    terms["contact"] = jnp.sum(share * each) + ground.sole_loss(params.ground)
    terms["below"] = jnp.sum(share * contact.below_of_points(height, soles, config.contact_height))
    moves = moving.of_clips(clips, jax.lax.stop_gradient(assets.focal * jnp.exp(params.log_focal)))
    leaning = ground.camera_loss(params.cameras, params.ground, params.mirrored, moves)
    terms["gravity"] = jnp.mean(leaning, where=real)
    centre = jax.lax.stop_gradient(balance.centre(prediction.keypoints))
    gain = balance.gains(
        (centre[after] - centre[now]) * fps[:, None], frame / fps, follows, instance, clips.num_instances
    )
    # What is up is found by feet and cameras.
    up = jax.lax.stop_gradient(ground.up(params.ground, params.mirrored))
    prices = balance_prices(prediction, up, gain, params.cameras, config, clips, batch)
    terms["balance"] = jnp.mean(prices, where=real)
    return terms


def balance_prices(
    prediction: Prediction, up: Array, gain: Array, cameras: Array, config: FitConfig, clips: Clips, batch: Batch
) -> Array:
    """How far (N,) people are from balance, see `balance.loss`, times how little other clips show of it.

    up (N, 3): of the instances' worlds. gain (N, 3): accelerations. cameras (N, 9): get no gradient.
    """
    n = clips.num_instances
    ways = losses.of_instances(balance.way(prediction.keypoints, up[batch.instance]), batch.instance, n)
    blind = depth.unseen(jax.lax.stop_gradient(cameras), clips)
    return blind * balance.loss(ways, up, gain, config.balance_usual)


def prior_terms(
    prediction: Prediction, pose: Array, skeletons: smpl.Skeleton, assets: Assets, stride: int = 1
) -> dict[str, Array]:
    """Value () of each prior that the fit uses, a mean over the batch; `pose` (B, 23, 3) axis-angle.

    The open learned prior looks at every `stride`-th frame.
    """
    priors, terms = assets.priors, {}
    if priors.joint_limits is not None:
        limits = jax.vmap(joint_limit_loss, (None, 0))(priors.joint_limits, pose)
        terms["limits"] = jnp.mean(limits)
    if priors.limbs is not None:
        part = slice(None, None, stride)
        likely = jax.vmap(limb_loss, (None, 0, 0))(priors.limbs, prediction.joints[part], prediction.rotations[part, 0])
        terms["limbs"] = jnp.mean(likely)
    if priors.gmm is not None:
        surprise = jax.vmap(gmm_prior_loss, (None, 0))(priors.gmm, pose.reshape(-1, 69))
        terms["gmm"] = jnp.mean(surprise)
    if priors.vposer is not None:
        recon, kl = batch_terms(assets.body, priors.vposer, prediction.rotations, pose, skeletons, assets.rows)
        terms["vposer"] = jnp.mean(recon)
        terms["vposer_kl"] = jnp.mean(kl)
    return terms


def camera_loss(
    params: Params, assets: Assets, config: FitConfig, clips: Clips, targets: Targets, batch: Batch
) -> tuple[Array, dict[str, Array]]:
    """Loss () of the camera stage of published version 4: keypoints and the 3D term on random frames.

    The gradient of the keypoint term reaches cameras, root and translation but not the body pose; that of the 3D term
    reaches the body pose too.
    """
    prediction = predict_batch(params, assets, config, clips, batch)

    def held(rotation: Array, instance: Array, translation: Array, view: moving.Views) -> Prediction:
        fixed = jax.lax.stop_gradient(rotation).at[0].set(rotation[0])
        return model.pose_body(params, assets, config, instance, fixed, translation, view=view)

    views = moving.of_frames(clips, batch.instance, batch.frame)
    seen = jax.vmap(held)(prediction.rotations, batch.instance, prediction.translation, views)
    per_frame = keypoint_term(seen, assets, config, clips, batch)
    terms = {
        "keypoints": losses.mean_per_instance(per_frame, batch.instance, clips.num_instances),
        "init_pose": init_term(prediction.rotations, targets, config, batch),
    }
    return terms["keypoints"] + config.weight_init * terms["init_pose"], terms


def warmup_loss(
    params: Params, config: FitConfig, clips: Clips, targets: Targets, batch: Batch
) -> tuple[Array, dict[str, Array]]:
    """Loss () of the warm-up: the field's poses against the initial ones, and even phases; no body, no camera."""
    phases = clips_lib.raw_phase(clips)[batch.instance, batch.frame]

    def rotation_of(instance: Array, raw: Array) -> Array:
        own = model.of_instance(params, instance)
        phase = model.warp_of(own, config, raw)
        rotation, translation = model.motion(params, config, phase, own.codes)
        return mirror.mirror_motion(rotation, translation, own.mirrored)[0]

    rotation = jax.vmap(rotation_of)(batch.instance, phases)
    value = init_term(rotation, targets, config, batch, root=config.warmup_root)
    each = jnp.mean(tempo.unevenness(params, config) ** 2, -1)
    uneven = jnp.mean(each, where=clips_lib.which_real(clips))
    return value + config.warmup_tempo * uneven, {"init_pose": value, "tempo": uneven}
