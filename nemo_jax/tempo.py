"""How evenly the phase of a clip passes: people who do one action differ in tempo, but not without bounds.

In the warm-up, where first poses alone tell tempi, phases follow the errors of these poses, which are alike in clips that
were filmed from one side. Clips of one and the same performance then pass through it in different tempi, what the field
learns of one is wrong for the other, and later stages do not find out of it.
"""

from typing import cast

import jax
import jax.numpy as jnp

from body_models.pytree import Tree
from nemo_jax import model
from nemo_jax.config import FitConfig
from nemo_jax.model import Params

Array = jax.Array

_PARTS, _LEAST = 32, 1e-3


def unevenness(params: Params, config: FitConfig) -> Array:
    """2 (sqrt(rate) - 1) of the phases of all instances in 32 equal parts of their time, (N, 32): about the logarithm of the
    rate where a phase passes evenly, and no less than -2 where it stands. Spans do not count.

    The mean square is that of a warp's square-root velocity from that of no warp, times four (Srivastava et al.,
    Registration of Functional Data Using Fisher-Rao Metric, 2011).
    """
    times = jnp.linspace(0.0, 1.0, _PARTS + 1)

    def of(phase: Tree) -> Array:
        return cast(Array, model.phase_module(config).apply({"params": phase}, times))

    phases = jax.vmap(of)(params.phase)
    # A root has no slope at 0, and rounding may put a later phase first.
    rates = jnp.maximum(_PARTS * jnp.diff(phases), 0.0) + _LEAST
    return of_rate(rates)


def of_rate(rate: Array) -> Array:
    """2 (sqrt(rate) - 1) of rates of any shape, no less than 0."""
    return 2 * (jnp.sqrt(rate) - 1)
