"""What a clip does otherwise than the others, and when another reading of it explains that as well.

The variation of a clip is its code and its path. Readings of a clip (`rescue`, `exchange`) are compared by the shared motion,
without variations, because by its own a clip can follow its keypoints in a wrong reading too. But the shared motion may
explain none of them: somebody who begins turned away from where the others begin is far from it in every reading, and which
is the least bad says nothing. The variation explains such a clip, no other reading does. So another reading must not only be
better than the present one, but explain enough of what the present variation explains.
"""

import dataclasses

import jax
import jax.numpy as jnp

from nemo_jax.model import Params

Array = jax.Array

# How much of what the variation explains another reading must explain without one. Measured shares of readings that are right:
# 0.7 and more; of those that are wrong and yet better than the present one: 0.1 to 0.35.
ENOUGH = 0.5


def without(params: Params) -> Params:
    """The parameters with the shared motion for every clip: codes and paths are 0."""
    still = None if params.path is None else jnp.zeros_like(params.path)
    return dataclasses.replace(params, codes=jnp.zeros_like(params.codes), path=still)


def explained(present: Array, other: Array, varied: Array) -> Array:
    """Whether (...) another reading explains enough of what the variation of the present one explains.

    Args:
      present, other: losses (...) of both readings by the shared motion. varied (...): of the present one with its variation.
    """
    return present - other >= ENOUGH * (present - varied)
