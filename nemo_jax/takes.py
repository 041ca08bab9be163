"""Takes: several cameras on one performance. The clips of a take are one motion, seen from several places.

A take has one phase function, code, shape, span and path, and does the action with one hand; each of its clips has a camera,
a lens and a clock of its own. What a take shares stands in the row of each of its clips, with equal values: gradients of
it are averaged over the take, so that it stays equal, and everything else reads a row of its own as for any clip.

Time within a take is that of its common span: from the first frame of any of its clips to the last one of any. When each
clip starts on that clock is `Clips.offset`, as it is known before the fit, corrected by `Params.delay`, which is
learned. The first clip of a take keeps its time, since only differences can be seen.
"""

import dataclasses

import jax
import jax.numpy as jnp

from nemo_jax import clips as clips_lib
from nemo_jax.clips import Clips
from nemo_jax.model import Assets, Params

Array = jax.Array

TIED = ("phase", "codes", "betas", "span", "mirrored", "path")
"""The parameters that the clips of a take have in common."""


def shared(values: Array, assets: Assets) -> Array:
    """Replaces values (N, ...) of instances by their mean over the clips of the same take, bit for bit equal in all."""
    if assets.same_take is None:
        return values
    mean = jnp.tensordot(assets.same_take, values, 1, precision="highest")
    return mean[_first(assets.same_take)]


def tied(params: Params, assets: Assets) -> Params:
    """The parameters, or their gradient, in which what clips of a take have in common is the mean over them."""
    if assets.same_take is None:
        return params
    common = {name: jax.tree.map(lambda leaf: shared(leaf, assets), getattr(params, name)) for name in TIED}
    return dataclasses.replace(params, **common)


def several(same: Array) -> Array:
    """Which clips (N,) share their take with another one; same (N, N): `Assets.same_take`."""
    return same.max(-1) < 0.75


def gradient(found: Params, assets: Assets) -> Params:
    """The gradient of what may move: averaged over takes, and 0 of the delay of the first clip of each."""
    if assets.same_take is None:
        return found
    found = tied(found, assets)
    if found.delay is None:
        return found
    own = _first(assets.same_take) != jnp.arange(found.delay.shape[0])
    return dataclasses.replace(found, delay=jnp.where(own, found.delay, 0.0))


def with_delays(params: Params, clips: Clips) -> Params:
    """The parameters with delays of 0, if the clips form takes."""
    return params if clips.take is None else dataclasses.replace(params, delay=jnp.zeros(clips.num_instances))


def offsets(params: Params, clips: Clips) -> Array:
    """When (N,), seconds, the first frame of each clip was filmed on the clock of its take, as fitted."""
    start = jnp.zeros(clips.num_instances) if clips.offset is None else jnp.asarray(clips.offset)
    if params.delay is None:
        return start
    first, last = clips_lib.take_spans(clips)
    return start + params.delay * (last - first)


def _first(same: Array) -> Array:
    """The number (N,) of the first clip of each one's take; same (N, N)."""
    return jnp.argmax(same > 0, axis=-1)
