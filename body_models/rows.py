"""Picking constant rows of an array by slices, for gradients that are fast on CPUs."""

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array


def pick(array: Array, rows: np.ndarray, axis: int = 0) -> Array:
    """`jnp.take(array, rows, axis)` of constant rows (R,), put together of slices, one for each run of neighbours.

    The gradient of picking rows is a scatter, on CPUs a loop.
    """
    runs = np.split(rows, np.flatnonzero(np.diff(rows) != 1) + 1)
    if len(runs) == 1 and len(rows) == array.shape[axis]:
        return array
    parts = [jax.lax.slice_in_dim(array, int(run[0]), int(run[-1]) + 1, axis=axis) for run in runs]
    return parts[0] if len(parts) == 1 else jnp.concatenate(parts, axis)
