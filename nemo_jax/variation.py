"""What a clip does otherwise than the others, what that costs, and when another reading of it explains as much.

People do one action differently, but a clip's own keypoints tell so only across its viewing axis. A detector's errors there,
alike through a whole film, are explained best by limbs that turn along that axis, where a few pixels are many degrees; each
film then has a pose of its own that no other film shares. So poses cost something for being apart from those that the field
has without a code: small differences their square, large ones, which keypoints do show, hardly more than middling ones.

The variation of a clip is its code and its path. Readings of a clip (`rescue`, `exchange`) are compared by the shared
motion, without variations, because by its own a clip can follow its keypoints in a wrong reading too. But the shared motion
may explain none of them: who begins turned away from where the others begin is far from it in every reading, and which of
them is the least bad says nothing. The variation explains such a clip. So another reading must not only be better than the
present one, but explain enough of what the variation of the present one explains.
"""

import dataclasses

import jax
import jax.numpy as jnp

from nemo_jax import mirror, model
from nemo_jax.config import FitConfig
from nemo_jax.model import Params

Array = jax.Array


def without(params: Params) -> Params:
    """The parameters with the shared motion for every clip: codes are 0, and of its own path a clip has the mean alone,
    which says where its camera stands."""
    if params.path is None:
        return dataclasses.replace(params, codes=jnp.zeros_like(params.codes))
    still = jnp.broadcast_to(params.path.mean(1, keepdims=True), params.path.shape)
    return dataclasses.replace(params, codes=jnp.zeros_like(params.codes), path=still)


def shared_rotations(params: Params, config: FitConfig, instance: Array, phase: Array) -> Array:
    """Rotations (B, 24, 3, 3) of the field without codes at phases (B,), of the hand that instances (B,) use."""
    code = jnp.zeros(config.code_size)
    motion = jax.vmap(model.motion, (None, None, 0, None))(params, config, phase, code)
    return jax.vmap(mirror.mirror_motion)(*motion, params.mirrored[instance])[0]


def apart_loss(rotation: Array, shared: Array, scale: Array | float) -> Array:
    """What poses (..., 24, 3, 3) cost for being apart from the shared ones of the same shape, (...): s^2 log(1 + d^2 / s^2),
    summed over the joints but the root and divided by 69. s is `scale` in radians and d^2 the chordal distance
    1/2 |R - R0|^2, the squared angle where that is small.

    A root turns in the world, of which a clip's camera has a share.
    """
    squared = jnp.sum((rotation - shared)[..., 1:, :, :] ** 2, (-2, -1)) / 2
    return jnp.sum(scale**2 * jnp.log1p(squared / scale**2), -1) / 69


def explained(present: Array, other: Array, varied: Array, share: Array | float) -> Array:
    """Whether (...) another reading explains at least a share of what the variation of the present one explains.

    Args:
      present, other: losses (...) of both readings by the shared motion. varied (...): of the present one with its
        variation. share: how much is enough.
    """
    return present - other >= share * (present - varied)
