"""How evenly the phase of a clip passes: people who do one action differ in tempo, but not without bounds.

In the warm-up, where first poses alone tell tempi, phases follow the errors of these poses, which are alike in clips that
were filmed from one side. Clips of one and the same performance then pass through it in different tempi, what the field
learns of one is wrong for the other, and later stages do not find out of it.
"""

from typing import cast

import jax
import jax.numpy as jnp

from nemo_jax import model
from nemo_jax.config import FitConfig
from nemo_jax.model import Params

Array = jax.Array

_PARTS, _LEAST = 32, 1e-3


def unevenness(own: Params, config: FitConfig) -> Array:
    """2 (sqrt(rate) - 1) of the phase of ONE instance in 32 equal parts of its time, (32,): about the logarithm of the rate
    where the phase passes evenly, and no less than -2 where it stands. Its span does not count.

    The mean square is that of the warp's square-root velocity from that of no warp, times four (Srivastava et al.,
    Registration of Functional Data Using Fisher-Rao Metric, 2011).

    Args:
      own: parameters of the instance, see `model.of_instance`; those of its phase are read.
    """
    times = jnp.linspace(0.0, 1.0, _PARTS + 1)
    phases = cast(Array, model.phase_module(config).apply({"params": own.phase}, times))
    # A root has no slope at 0, and rounding may put a later phase first.
    rates = jnp.maximum(_PARTS * jnp.diff(phases), 0.0) + _LEAST
    return 2 * (jnp.sqrt(rates) - 1)


def of_all(params: Params, config: FitConfig) -> Array:
    """`unevenness` of all instances, (N, 32)."""
    return jax.vmap(unevenness, (0, None))(model.without_shared(params), config)
