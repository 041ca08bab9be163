"""The phase network: synchronises one instance with the others (paper section 3.2)."""

from typing import Literal

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

Array = jax.Array

PhaseInit = Literal["linear", "uniform"]


class MonotonicPhase(nn.Module):
    """Monotone map of [0, 1] onto itself, of ONE instance: g(x) = mean_k sigmoid(c_k (x - s_k)), pinned at both ends.

    Attributes:
      num_nodes: number of sigmoids.
      start: initial shifts s_k: `linear` is linspace(0, 1), which gives a map near the identity; `uniform` is U(0, 1).
    """

    num_nodes: int = 200
    start: PhaseInit = "linear"

    @nn.compact
    def __call__(self, raw_phase: Array) -> Array:
        """Warped phase of the same shape; `raw_phase` () or any shape, in [0, 1]."""
        chex.assert_type(raw_phase, float)
        shifts = nn.relu(self.param("shifts", self._init_shifts))
        scales = nn.relu(self.param("scales", nn.initializers.constant(15.0), (self.num_nodes,)))

        def g(x: Array) -> Array:
            return nn.sigmoid(scales * (x[..., None] - shifts)).mean(-1)

        low, high = g(jnp.zeros(())), g(jnp.ones(()))
        return (g(raw_phase) - low) / (high - low + 1e-6)

    def _init_shifts(self, key: Array) -> Array:
        if self.start == "linear":
            return jnp.linspace(0.0, 1.0, self.num_nodes)
        if self.start == "uniform":
            return jax.random.uniform(key, (self.num_nodes,))
        raise ValueError(f"phase_init is {self.start!r}, expected 'linear' or 'uniform'")
