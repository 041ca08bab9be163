"""Rescue of lost clips: every clip is tried anew against the motion that the others have learned.

A clip can end in a wrong minimum: seen from behind instead of from the front, in another part of the action, with the other
hand. Between two parts of the joint stage the shared field is held, and each instance is fitted to it again from several
readings: as the action or as its mirror image, in the whole action or in a part of it, with a camera solved in closed form.
All readings, the present one among them, are judged by the shared motion, without a variation of their own, because by its
code an instance can follow its keypoints in a wrong reading too. All get the same number of steps; an instance changes if
another reading explains its keypoints and initial poses clearly better, and enough of what its variation explains
(`variation`). The clips of a take are read alike, by the mean over them; what each has of its own are its camera and its
clock. So one more reading of each is the present motion of its take, variation included, seen by a camera that is solved
anew: one wrong camera of a take is found again by itself. The cameras of a rig (`rig`) are one.
"""

import dataclasses
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
import optax

from body_models.pytree import pytree
from nemo_jax import camera as cam
from nemo_jax import camera_search, model, moving, objective, optim, reprojection, takes, variation
from nemo_jax import clips as clips_lib
from nemo_jax import rig as rig_lib
from nemo_jax.batches import Batch
from nemo_jax.clips import Clips
from nemo_jax.config import FitConfig
from nemo_jax.model import Assets, Params
from nemo_jax.objective import Targets

Array = jax.Array

_ADAM = optax.scale_by_adam(eps_root=optim.ROOT_FLOOR)
# Start and end phases that are tried.
SPANS = np.array([(0.0, 1.0), (0.0, 0.7), (0.3, 1.0), (0.2, 0.8)], np.float32)
NUM_READINGS = 1 + 2 * len(SPANS)
# Learning rates; those of other parameters are 0. Cameras move by `camera.step_sizes`.
_RATES = {"phase": 3e-3, "cameras": 0.01, "span": 5e-3}


@pytree
class Rescue:
    """S readings of N instances: own, their parameters as of `model.of_instance`, leaves (S, N, ...); Adam's state; the
    frames (N, P) that are looked at. The first reading is the present one. Where clips form takes, two more come last: the
    present one with cameras solved anew, and the same with the variation of the take, of which only cameras are fitted."""

    own: Params
    adam: optax.OptState
    frames: Array


def begin(params: Params, assets: Assets, config: FitConfig, clips: Clips) -> Rescue:
    """The readings before they are fitted."""
    frames = camera_search.key_frames(clips, config.rescue_frames)
    present = model.without_shared(variation.without(params))
    n = clips.num_instances
    fresh = model.phase_module(config).init(jax.random.key(0), jnp.zeros(()))["params"]
    raw = jnp.take_along_axis(clips_lib.raw_phase(clips), frames, axis=1)

    def reading(mirrored: Array, span: Array) -> Params:
        return with_cameras(
            dataclasses.replace(
                present,
                phase=jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (n, *leaf.shape)), fresh),
                span=jnp.broadcast_to(span, (n, 2)),
                mirrored=jnp.broadcast_to(mirrored, (n,)),
            )
        )

    def with_cameras(own: Params) -> Params:
        def solved(own: Params, instance: Array, raw: Array, frames: Array) -> Array:
            points = _predict(own, params, assets, config, instance, raw, None).keypoints
            weight, pixels = reprojection.seen(clips, config, instance, frames, config.camera_confidence)
            focal = assets.focal[instance] * jnp.exp(own.log_focal)
            views = moving.of_frames(clips, instance, frames)
            pixels, weight = moving.steady_frames(views, pixels, weight, focal, assets.principal[instance])
            flat = (points.reshape(-1, 3), pixels.reshape(-1, 2), weight.reshape(-1))
            return cam.solve_camera(*flat, focal, assets.principal[instance])

        return dataclasses.replace(own, cameras=jax.vmap(solved)(own, jnp.arange(n), raw, frames))

    hands = jnp.repeat(jnp.array([0.0, 1.0]), len(SPANS))
    others = jax.vmap(reading)(hands, jnp.tile(SPANS, (2, 1)))
    own = jax.tree.map(lambda first, rest: jnp.concatenate([first[None], rest]), present, others)
    if assets.same_take is not None:
        anew = with_cameras(present), with_cameras(model.without_shared(params))
        own = jax.tree.map(lambda rest, *last: jnp.concatenate([rest, jnp.stack(last)]), own, *anew)
    if assets.rig is not None:
        own = _in_rigs(own, frames, params, assets, config, clips)
    return Rescue(own=own, adam=_ADAM.init(optim.as_tree(own)), frames=frames)


def _in_rigs(own: Params, frames: Array, params: Params, assets: Assets, config: FitConfig, clips: Clips) -> Params:
    """Readings in which every rig stands where the camera of one of its clips says, that which is the best for all."""
    assert assets.rig is not None
    rig, count = assets.rig, frames.shape[0]
    said = rig_lib.leading(rig, own.cameras)
    looked = Rescue(own=own, adam=optax.EmptyState(), frames=frames)
    # They add the same to all cameras.
    targets = camera_search.targets_from(clips)

    def of_clip(number: Array) -> tuple[Array, Array]:
        leader = jnp.broadcast_to(said[:, number, None], said.shape)
        cameras = rig_lib.held(rig, leader)
        tried = dataclasses.replace(own, cameras=cameras)
        values = rig_lib.shared(rig, losses(looked, tried, params, assets, config, clips, targets))
        return cameras, jnp.where(rig.same[number] > 0, values, jnp.inf)

    cameras, values = jax.lax.map(of_clip, jnp.arange(count))
    best = jnp.argmin(values, 0)
    chosen = jnp.take_along_axis(cameras, best[None, ..., None], 0)[0]
    # The first reading stays as it is.
    chosen = chosen.at[0].set(own.cameras[0])
    return dataclasses.replace(own, cameras=jnp.where(rig_lib.in_rig(rig)[:, None], chosen, own.cameras))


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
    cameras = rig_lib.pulled(assets.rig, rescue.own.cameras, gradient.cameras)
    gradient = dataclasses.replace(gradient, cameras=cameras)
    updates, adam = _ADAM.update(optim.as_tree(gradient), rescue.adam)
    scale = cam.step_sizes(rescue.own.cameras, assets.focal / assets.diagonal)

    def move(path: jax.tree_util.KeyPath, leaf: Array, update: Array) -> Array:
        group = optim.group_of(path)
        if group not in _RATES:
            return leaf
        moved = leaf - factor * _RATES[group] * (update * scale if group == "cameras" else update)
        # Of the last reading of takes nothing is tried but cameras.
        return moved if assets.same_take is None or group == "cameras" else moved.at[-1].set(leaf[-1])

    own = jax.tree_util.tree_map_with_path(move, rescue.own, cast(Params, updates))
    own = dataclasses.replace(own, cameras=rig_lib.held(assets.rig, own.cameras))
    replaced = dataclasses.replace(rescue, own=own, adam=adam)
    return replaced, {"rescue": values.min(0).mean(where=clips_lib.which_real(clips))}


def finish(
    rescue: Rescue, params: Params, assets: Assets, config: FitConfig, clips: Clips, targets: Targets
) -> tuple[Params, Array]:
    """The parameters in which lost instances have their best reading, and which (N,) these are."""
    own, alone, better = rescue.own, None, None
    if assets.same_take is not None:
        alone = jax.tree.map(lambda leaf: leaf[-1], own)
        better = _cameras_alone(rescue, alone, params, assets, config, clips, targets)
    own = jax.tree.map(lambda leaf: leaf[:NUM_READINGS], own)
    # Steps can lead away from a reading that was good already: the present one is looked at before them too.
    unmoved = [model.without_shared(each) for each in (params, variation.without(params))]
    every = jax.tree.map(lambda moved, *rest: jnp.concatenate([moved, jnp.stack(rest)]), own, *unmoved)
    values = losses(rescue, every, params, assets, config, clips, targets)
    present = jnp.minimum(values[0], values[-1])
    if alone is not None and better is not None:
        # Cameras that are wrong by themselves do not speak against the present reading of a take.
        anew = jax.tree.map(lambda leaf: leaf[NUM_READINGS : NUM_READINGS + 1], rescue.own)
        least = losses(rescue, anew, params, assets, config, clips, targets)[0]
        present = takes.shared(jnp.where(better, jnp.minimum(present, least), present), assets)
        values = takes.shared(values.T, assets).T
    values, varied = values[:NUM_READINGS], values[NUM_READINGS]
    if not config.find_handedness:
        same_hand = jnp.abs(own.mirrored - params.mirrored) < 0.5
        values = jnp.where(same_hand, values, jnp.inf)
    best = jnp.argmin(values, axis=0)
    rows = jnp.arange(best.shape[0])
    least = values[best, rows]
    enough = variation.explained(present, least, varied, config.rescue_share)
    lost = (least < (1 - config.rescue_margin) * present) & enough
    if clips.real is not None:
        lost = lost & (clips.real > 0)

    def pick(old: Array, new: Array) -> Array:
        return jnp.where(lost.reshape(-1, *[1] * (old.ndim - 1)), new[best, rows], old)

    chosen = jax.tree.map(pick, model.without_shared(params), own)
    if alone is not None and better is not None:
        better = better & ~lost
        chosen, lost = _with_cameras(chosen, alone.cameras, better), lost | better
    return model.with_shared(chosen, params), lost.astype(params.mirrored.dtype)


def _cameras_alone(
    rescue: Rescue, alone: Params, params: Params, assets: Assets, config: FitConfig, clips: Clips, targets: Targets
) -> Array:
    """Which clips (N,) of takes are seen clearly better by the cameras of `alone`, leaves (N, ...), the last reading."""
    assert assets.same_take is not None
    both = jax.tree.map(lambda *leaves: jnp.stack(leaves), alone, model.without_shared(params))
    anew, present = rig_lib.shared(assets.rig, losses(rescue, both, params, assets, config, clips, targets))
    # A clip by itself has a code and a path of its own, by which it follows its keypoints under a wrong camera too.
    several = takes.several(assets.same_take)
    found = several & (anew < (1 - config.rescue_margin) * present)
    return found if clips.real is None else found & (clips.real > 0)


def _with_cameras(own: Params, cameras: Array, which: Array) -> Params:
    """The parameters with other cameras (N, 9) of the clips `which` (N,)."""
    return dataclasses.replace(own, cameras=jnp.where(which[:, None], cameras, own.cameras))


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
