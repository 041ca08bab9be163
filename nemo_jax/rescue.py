"""Rescue of lost clips: every clip is tried anew against the motion that the others have learned.

A clip can end in a wrong minimum: seen from behind instead of from the front, in another part of the action, with the other
hand. Between two parts of the joint stage the shared field is held, and each instance is fitted to it again from several
readings: as the action or as its mirror image, in the whole action or in a part of it, with a camera solved in closed form.
All readings, the present one among them, are judged by the shared motion, without a variation of their own, because by its
code an instance can follow its keypoints in a wrong reading too. All get the same number of steps; an instance changes if
another reading explains its keypoints and initial poses clearly better. The clips of a take are read alike, by the mean over
them; what each has of its own are its camera and its clock.
"""

import dataclasses
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
import optax

from body_models.pytree import pytree
from nemo_jax import camera as cam
from nemo_jax import camera_search, model, moving, objective, optim, takes
from nemo_jax import clips as clips_lib
from nemo_jax.clips import Clips
from nemo_jax.config import FitConfig
from nemo_jax.model import Assets, Params
from nemo_jax.objective import Batch, Targets

Array = jax.Array

_ADAM = optax.scale_by_adam(eps_root=optim.ROOT_FLOOR)
# Start and end phases that are tried.
SPANS = np.array([(0.0, 1.0), (0.0, 0.7), (0.3, 1.0), (0.2, 0.8)], np.float32)
NUM_READINGS = 1 + 2 * len(SPANS)
# Learning rates; those of other parameters are 0. A camera's translation moves in proportion to its depth.
_RATES = {"phase": 3e-3, "cameras": 0.01, "span": 5e-3}


@pytree
class Rescue:
    """S readings of N instances: own, their parameters as of `model.of_instance`, leaves (S, N, ...); Adam's state; the
    frames (N, P) that are looked at. The first reading is the present one."""

    own: Params
    adam: optax.OptState
    frames: Array


def begin(params: Params, assets: Assets, config: FitConfig, clips: Clips) -> Rescue:
    """The readings before they are fitted."""
    frames = camera_search.key_frames(clips, config.rescue_frames)
    present = _present(params)
    n = clips.num_instances
    fresh = model.phase_module(config).init(jax.random.key(0), jnp.zeros(()))["params"]
    raw = jnp.take_along_axis(clips_lib.raw_phase(clips), frames, axis=1)

    def reading(mirrored: Array, span: Array) -> Params:
        own = dataclasses.replace(
            present,
            phase=jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (n, *leaf.shape)), fresh),
            span=jnp.broadcast_to(span, (n, 2)),
            mirrored=jnp.broadcast_to(mirrored, (n,)),
        )

        def solved(own: Params, instance: Array, raw: Array, frames: Array) -> Array:
            points = _predict(own, params, assets, config, instance, raw, None).keypoints
            weight = objective.keypoint_weights(clips, config, instance, frames, config.camera_confidence)
            pixels = jnp.where(weight[..., None] > 0, clips.keypoints[instance, frames], 0.0)
            focal = assets.focal[instance] * jnp.exp(own.log_focal)
            views = moving.of_frames(clips, instance, frames)
            pixels, weight = moving.steady_frames(views, pixels, weight, focal, assets.principal[instance])
            flat = (points.reshape(-1, 3), pixels.reshape(-1, 2), weight.reshape(-1))
            return cam.solve_camera(*flat, focal, assets.principal[instance])

        return dataclasses.replace(own, cameras=jax.vmap(solved)(own, jnp.arange(n), raw, frames))

    hands = jnp.repeat(jnp.array([0.0, 1.0]), len(SPANS))
    others = jax.vmap(reading)(hands, jnp.tile(SPANS, (2, 1)))
    own = jax.tree.map(lambda first, rest: jnp.concatenate([first[None], rest]), present, others)
    return Rescue(own=own, adam=_ADAM.init(optim.as_tree(own)), frames=frames)


def _present(params: Params) -> Params:
    """The present reading, without a variation."""
    still = None if params.path is None else jnp.zeros_like(params.path)
    return dataclasses.replace(model.without_shared(params), codes=jnp.zeros_like(params.codes), path=still)


def losses(
    rescue: Rescue, own: Params, params: Params, assets: Assets, config: FitConfig, clips: Clips, targets: Targets
) -> Array:
    """Loss (S, N) of every reading: the keypoint term, the 3D term, and those of spans and of level cameras."""
    weights = objective.term_weights(config)

    def one(own: Params, instance: Array, frames: Array) -> Array:
        raw = clips_lib.raw_phase(clips)[instance, frames]
        views = moving.of_frames(clips, instance, frames)
        prediction = _predict(own, params, assets, config, instance, raw, views)
        batch = Batch(instance=jnp.broadcast_to(instance, frames.shape), frame=frames)
        value = jnp.mean(objective.keypoint_term(prediction, assets, config, clips, batch))
        value += weights["init_pose"] * objective.init_term(prediction.rotations, targets, config, batch)
        value += weights["level"] * cam.unlevel(own.cameras)
        return value + weights["span"] * jnp.mean(objective.span_change(own) ** 2)

    over_instances = jax.vmap(one)
    each = jax.vmap(over_instances, (0, None, None))
    return each(own, jnp.arange(clips.num_instances), rescue.frames)


def step(
    rescue: Rescue,
    params: Params,
    assets: Assets,
    config: FitConfig,
    clips: Clips,
    targets: Targets,
    factor: Array | float,
) -> tuple[Rescue, dict[str, Array]]:
    """One Adam step of all readings; `factor` multiplies the learning rates."""

    def total(own: Params) -> tuple[Array, Array]:
        values = losses(rescue, own, params, assets, config, clips, targets)
        return values.sum(), values

    (_, values), gradient = jax.value_and_grad(total, has_aux=True)(rescue.own)
    gradient = jax.vmap(takes.gradient, (0, None))(gradient, assets)
    updates, adam = _ADAM.update(optim.as_tree(gradient), rescue.adam)
    scale = cam.step_sizes(rescue.own.cameras)

    def move(path: jax.tree_util.KeyPath, leaf: Array, update: Array) -> Array:
        group = optim.group_of(path)
        if group not in _RATES:
            return leaf
        return leaf - factor * _RATES[group] * (update * scale if group == "cameras" else update)

    own = jax.tree_util.tree_map_with_path(move, rescue.own, cast(Params, updates))
    replaced = dataclasses.replace(rescue, own=own, adam=adam)
    return replaced, {"rescue": values.min(0).mean(where=clips_lib.which_real(clips))}


def finish(
    rescue: Rescue, params: Params, assets: Assets, config: FitConfig, clips: Clips, targets: Targets
) -> tuple[Params, Array]:
    """The parameters in which lost instances have their best reading, and which (N,) these are."""
    # Steps can lead away from a reading that was good already: the present one is looked at before them too.
    every = jax.tree.map(lambda moved, unmoved: jnp.concatenate([moved, unmoved[None]]), rescue.own, _present(params))
    values = losses(rescue, every, params, assets, config, clips, targets)
    values = takes.shared(values.T, assets).T
    values, present = values[:-1], jnp.minimum(values[0], values[-1])
    if not config.find_handedness:
        same_hand = jnp.abs(rescue.own.mirrored - params.mirrored) < 0.5
        values = jnp.where(same_hand, values, jnp.inf)
    best = jnp.argmin(values, axis=0)
    rows = jnp.arange(best.shape[0])
    lost = values[best, rows] < (1 - config.rescue_margin) * present
    if clips.real is not None:
        lost = lost & (clips.real > 0)

    def pick(old: Array, new: Array) -> Array:
        return jnp.where(lost.reshape(-1, *[1] * (old.ndim - 1)), new[best, rows], old)

    chosen = jax.tree.map(pick, model.without_shared(params), rescue.own)
    return model.with_shared(chosen, params), lost.astype(params.mirrored.dtype)


def _predict(
    own: Params,
    params: Params,
    assets: Assets,
    config: FitConfig,
    instance: Array,
    raw: Array,
    views: moving.Views,
) -> model.Prediction:
    """Predictions, leaves (P, ...), of ONE reading of ONE instance at raw phases (P,), seen in views (P,)."""
    over_frames = jax.vmap(model.evaluate_own, (None, None, None, None, None, 0, None, 0))
    return over_frames(own, params, assets, config, instance, raw, 0.0, views)[0]
