"""What a clip does otherwise than the others, and when another reading of it explains as much.

The variation of a clip is its code and its path. Readings of a clip (`rescue`, `exchange`) are compared by the shared
motion, without variations, because by its own a clip can follow its keypoints in a wrong reading too. But the shared motion
may explain none of them: who begins turned away from where the others begin is far from it in every reading, and which of
them is the least bad says nothing. The variation explains such a clip. So another reading must not only be better than the
present one, but explain enough of what the variation of the present one explains.
"""

import dataclasses

import jax
import jax.numpy as jnp

from nemo_jax.model import Params

Array = jax.Array


def without(params: Params) -> Params:
    """The parameters with the shared motion for every clip: codes are 0, and of its own path a clip has the mean alone,
    which says where its camera stands."""
    if params.path is None:
        return dataclasses.replace(params, codes=jnp.zeros_like(params.codes))
    still = jnp.broadcast_to(params.path.mean(1, keepdims=True), params.path.shape)
    return dataclasses.replace(params, codes=jnp.zeros_like(params.codes), path=still)


def explained(present: Array, other: Array, varied: Array, share: Array | float) -> Array:
    """Whether (...) another reading explains at least a share of what the variation of the present one explains.

    Args:
      present, other: losses (...) of both readings by the shared motion. varied (...): of the present one with its
        variation. share: how much is enough.
    """
    return present - other >= share * (present - varied)
