"""The path of one clip through the world beside that of the shared field: a cubic B-spline over its time.

Instances of one action need not go the same way: one runner is faster, one steps aside. The spline's knots are evenly
spaced, and K of them have K - 3 pieces; one knot alone is a constant offset.
"""

import jax
import jax.numpy as jnp

Array = jax.Array

LEAST_KNOTS = 4  # of a spline of one piece
_SLOPE = 0.1  # how much a steady drift counts beside a change of pace


def offset(knots: Array, raw_phase: Array) -> Array:
    """Offset (3,), metres, at ONE raw phase () of a spline of knots (K, 3).

    Constants and straight lines over the knots' numbers are reproduced exactly.
    """
    count = knots.shape[0]
    if count == 1:
        return knots[0]
    # A clip of a take can turn out to start before the time for which there are knots.
    raw_phase = jnp.clip(raw_phase, 0.0, 1.0)
    u = jnp.abs(raw_phase * (count - 3) + 1 - jnp.arange(count))
    basis = jnp.where(u < 1, 2 / 3 - u**2 + u**3 / 2, jnp.maximum(2 - u, 0.0) ** 3 / 6)
    return basis @ knots


def loss(knots: Array) -> Array:
    """Prior (...,) over knots (..., K, 3): mean squared second difference, and a tenth of that of first ones, metres^2.

    Constant offsets are free: they are where the camera stands.
    """
    steps = jnp.diff(knots, axis=-2)
    bends = jnp.diff(steps, axis=-2)
    mean = lambda values: jnp.sum(values**2, (-2, -1)) / max(values.shape[-2] * values.shape[-1], 1)
    return mean(bends) + _SLOPE * mean(steps)
