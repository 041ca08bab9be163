"""Clips are synchronised anew by their own poses: which moment of the action each of their frames shows.

Phases are learned by gradients, and a clip whose phase is wrong from early on does not find out of it: its code makes up for
it, until its poses follow its keypoints at the wrong phase. These poses tell the right one. At the rescue the poses of all
clips are held against their mean at each phase, every clip is given the warp of time under which it is closest to that
mean (dynamic time warping, Sakoe and Chiba 1978), and the mean is made anew of the warped clips, a few times over
(barycentre averaging: Petitjean, Ketterlin and Gancarski, A global averaging method for dynamic time warping, 2011).

A clip that comes clearly closer by it is given these phases. Its code stays, and its own path takes over what the shared
one loses, so that the person stays at the same place in every frame. Clips of a take of several keep their common phases.
"""

import dataclasses

import jax
import jax.numpy as jnp

from body_models import smpl
from body_models.pytree import Tree
from nemo_jax import camera_search, model, takes
from nemo_jax import clips as clips_lib
from nemo_jax import path as path_lib
from nemo_jax import tempo as tempo_lib
from nemo_jax.clips import Clips
from nemo_jax.config import FitConfig
from nemo_jax.model import Assets, Params

Array = jax.Array

_GRID, _ROUNDS = 61, 4
_SHARPNESS = 30.0  # of the sigmoids of phases that are set, twice that of the first ones, so that they can bend more
_EDGE = 0.02  # how far outside of the phases that a clip shows it has a say
_LEAST_WAIT, _LEAST_SLOPE, _RIDGE = 1e-6, 1e-3, 1e-3


def synchronised(params: Params, assets: Assets, config: FitConfig, clips: Clips) -> Params:
    """The parameters in which clips that come closer to the others by `config.sync_gain` have phases of their own poses."""
    frames = camera_search.key_frames(clips, config.sync_frames)
    raw = jnp.take_along_axis(clips_lib.raw_phase(clips), frames, axis=1)
    instances = jnp.arange(clips.num_instances)
    own = jax.vmap(model.of_instance, (None, 0))(params, instances)
    phases = jax.vmap(model.warp_of, (0, None, 0))(own, config, raw)
    bodies = jax.vmap(_bodies, (None, None, None, 0, 0))(params, assets.body, config, phases, own.codes)
    counted = jnp.ones(len(instances)) if clips.real is None else jnp.asarray(clips.real)
    free = counted > 0
    if assets.same_take is not None:
        free = free & ~takes.several(assets.same_take)
    found, closer = aligned(bodies, phases, raw, counted, free, config.sync_gain, config.sync_tempo)
    phase, span = jax.vmap(parameters, (0, 0, None))(raw, found, config.phase_nodes)
    span = jnp.where(config.lr_span > 0, span, params.span)

    def pick(new: Array, old: Array) -> Array:
        return jnp.where(closer.reshape(-1, *[1] * (old.ndim - 1)), new, old)

    moved = dataclasses.replace(params, phase=jax.tree.map(pick, phase, params.phase), span=pick(span, params.span))
    if params.path is None:
        return moved
    places = jax.vmap(_places, (None, None, 0, 0))
    lost = places(params, config, instances, raw) - places(moved, config, instances, raw)
    knots = params.path + jax.vmap(_knots, (0, 0, None))(raw, lost, params.path.shape[1])
    return dataclasses.replace(moved, path=pick(knots, params.path))


def aligned(
    bodies: Array,
    phases: Array,
    raw: Array,
    counted: Array,
    free: Array,
    gain: Array | float,
    tempo: Array | float,
) -> tuple[Array, Array]:
    """Phases (N, P) at which clips are closest to their mean, and which (N,) clips come closer by it by a share `gain`; the
    others have their phases as they were, in that mean too.

    Args:
      bodies: joints (N, P, J, 3) of P moments of N clips, metres, about the root in its axes. phases: (N, P), rising,
        as they are. raw: times (N, P) of the moments, rising. counted (N,): weight of each clip in the mean.
      free (N,): which clips may change. tempo: price of an uneven tempo, in parts of the mean distance before.
    """
    count = raw.shape[1]
    share = counted / jnp.maximum(counted.sum(), 1e-6)

    def distances(phases: Array) -> Array:
        shared = _mean(bodies, phases, counted)
        return jnp.sqrt(jnp.sum((bodies[:, :, None] - shared) ** 2, -1) + 1e-8).mean(-1)

    def at(apart: Array, phases: Array) -> Array:
        nearest = jnp.round(phases[..., None] * (_GRID - 1)).astype(jnp.int32)
        return jnp.take_along_axis(apart, nearest, 2).mean((1, 2))

    before = at(distances(phases), phases)
    price = tempo * count * (share * before).sum()
    anew = lambda now: jax.vmap(warped, (0, 0, None))(distances(now), raw, price)
    found = phases
    for _ in range(_ROUNDS):
        found = anew(found)
    closer = free & (at(distances(found), found) < (1 - gain) * before)
    keep = lambda found: jnp.where(closer[:, None], found, phases)
    # All that move together could have left behind those that stay.
    return keep(anew(keep(found))), closer


def warped(cost: Array, raw: Array, price: Array | float) -> Array:
    """Phases (P,) that never fall, with the least sum of costs and of the price of their tempo.

    Args:
      cost: (P, G), of each moment at each of G phases, evenly from 0 to 1. raw: times (P,) of the moments, rising.
      price: of the square of `tempo.of_rate`, for a tempo that lasts from time 0 to 1.
    """
    grid = jnp.linspace(0.0, 1.0, cost.shape[1])
    passed = grid - grid[:, None]

    def forward(total: Array, x: tuple[Array, Array]) -> tuple[Array, Array]:
        here, wait = x
        uneven = tempo_lib.of_rate(jnp.maximum(passed, 0.0) / wait)
        every = total[:, None] + jnp.where(passed >= 0, price * wait * uneven**2, jnp.inf)
        return every.min(0) + here, every.argmin(0)

    waits = jnp.maximum(jnp.diff(raw), _LEAST_WAIT)
    total, came_from = jax.lax.scan(forward, cost[0], (cost[1:], waits))
    last = jnp.argmin(total)
    _, earlier = jax.lax.scan(lambda at, came: (came[at], came[at]), last, came_from, reverse=True)
    return grid[jnp.append(earlier, last)]


def parameters(raw: Array, phases: Array, num_nodes: int) -> tuple[Tree, Array]:
    """Flax parameters of a `MonotonicPhase` and a span (2,) which pass near phases (P,) at times `raw` (P,) from 0 to 1.

    Sigmoids stand where equal parts of the phase have passed.
    """
    start, end = phases[0], phases[-1]
    # Ever so little slope where time stands, so that there is an inverse.
    risen = (phases - start) / jnp.maximum(end - start, _LEAST_SLOPE) + _LEAST_SLOPE * (raw - raw[0])
    parts = (jnp.arange(num_nodes) + 0.5) / num_nodes
    shifts = jnp.interp(parts * risen[-1], risen, raw)
    return {"shifts": shifts, "scales": jnp.full(num_nodes, _SHARPNESS)}, jnp.stack([start, end])


def _bodies(params: Params, body: smpl.SMPL, config: FitConfig, phases: Array, code: Array) -> Array:
    """Joints (P, 24, 3) of the mean shape at phases (P,) of ONE code, about the root in its axes, of the usual hand."""

    def one(phase: Array) -> Array:
        rotations = model.motion(params, config, phase, code)[0].at[0].set(jnp.eye(3))
        joints = smpl.joints(body, rotations, jnp.zeros(params.betas.shape[1]), jnp.zeros(3))
        return joints - joints[0]

    return jax.vmap(one)(phases)


def _mean(bodies: Array, phases: Array, counted: Array) -> Array:
    """Mean (G, J, 3) of the clips at each phase, over those that show it."""
    grid = jnp.linspace(0.0, 1.0, _GRID)
    # Phases that are equal where time stands are told apart.
    rising = phases + 1e-6 * jnp.arange(phases.shape[1])
    along = jax.vmap(jnp.interp, (None, None, 1), 1)
    flat = bodies.reshape(*bodies.shape[:2], -1)
    at_grid = jax.vmap(along, (None, 0, 0))(grid, rising, flat)
    inside = (grid >= phases[:, :1] - _EDGE) & (grid <= phases[:, -1:] + _EDGE)
    # Where nobody shows a phase, all say it by their nearest pose.
    weight = counted[:, None] * (inside + 1e-6)
    mean = jnp.sum(at_grid * weight[..., None], 0) / jnp.maximum(weight.sum(0), 1e-12)[:, None]
    return mean.reshape(_GRID, *bodies.shape[2:])


def _places(params: Params, config: FitConfig, instance: Array, raw: Array) -> Array:
    """Where (P, 3) ONE instance is at times (P,) by the motion that it shares, its code in it and its own path not."""
    own = dataclasses.replace(model.of_instance(params, instance), path=None)
    phases = model.warp_of(own, config, raw)
    return jax.vmap(lambda r, p: model.motion_of(own, params, config, r, p, own.codes)[1])(raw, phases)


def _knots(raw: Array, offsets: Array, count: int) -> Array:
    """Knots (K, 3) of the path that is nearest to offsets (P, 3) at times (P,)."""
    if count == 1:
        return offsets.mean(0, keepdims=True)
    with jax.default_matmul_precision("highest"):
        basis = jax.vmap(path_lib.offset, (None, 0))(jnp.eye(count), raw)
        return jnp.linalg.solve(basis.T @ basis + _RIDGE * jnp.eye(count), basis.T @ offsets)
