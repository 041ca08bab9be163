"""The shared neural motion field f_theta: (phase, instance code) -> 24 joint rotations and a root translation."""

import math
from collections.abc import Callable

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from body_models import joints as jn
from nemo_jax import rotations

Array = jax.Array

# Radial kernels as functions of d, the squared distance divided by a scale.
KERNELS: dict[str, Callable[[Array], Array]] = {
    "gaussian": lambda d: jnp.exp(-(d**2)),
    "linear": lambda d: d,
    "quadratic": lambda d: d**2,
    "inverse_quadratic": lambda d: 1 / (1 + d**2),
    "multiquadric": lambda d: jnp.sqrt(1 + d**2),
    "inverse_multiquadric": lambda d: 1 / jnp.sqrt(1 + d**2),
    "spline": lambda d: d**2 * jnp.log(d + 1),
    "poisson_one": lambda d: (d - 1) * jnp.exp(-d),
    "poisson_two": lambda d: (d - 2) / 2 * d * jnp.exp(-d),
    "matern32": lambda d: (1 + 3**0.5 * d) * jnp.exp(-(3**0.5) * d),
    "matern52": lambda d: (1 + 5**0.5 * d + 5 / 3 * d**2) * jnp.exp(-(5**0.5) * d),
}

# Between the layers. A field of relu is piecewise linear: its motion is bent where pieces meet.
ACTIVATIONS: dict[str, Callable[[Array], Array]] = {"relu": nn.relu, "silu": nn.silu, "gelu": nn.gelu, "tanh": jnp.tanh}


class RadialBasis(nn.Module):
    """Features of ONE phase: kernel((x - c_k)^2 / exp(l_k)), centres c fixed on [0, 1], log-scales l learned.

    Attributes:
      num_centres: number of features.
      kernel: a key of `KERNELS`.
      log_scale: initial value of the learned log-scales; the published value 0 makes neighbouring features nearly
        collinear.
    """

    num_centres: int = 100
    kernel: str = "quadratic"
    log_scale: float = 0.0

    @nn.compact
    def __call__(self, phase: Array) -> Array:
        """() -> (num_centres,)."""
        if self.kernel not in KERNELS:
            raise ValueError(f"kernel is {self.kernel!r}, expected one of {', '.join(KERNELS)}")
        log_scales = self.param("log_scales", nn.initializers.constant(self.log_scale), (self.num_centres,))
        centres = jnp.linspace(0.0, 1.0, self.num_centres)
        return KERNELS[self.kernel]((phase - centres) ** 2 / jnp.exp(log_scales))


WAY_DEGREE = 3  # of the polynomial that tells a long way


class MotionField(nn.Module):
    """Motion at ONE phase for ONE instance code (paper section 3.1; three hidden layers, two heads).

    Attributes:
      hidden: width H of the layers.
      features: names the phase features: `rbf`, or `none` for the bare phase (the first published version).
      num_centres, kernel, log_scale: passed to `RadialBasis`.
      activation: a key of `ACTIVATIONS`.
      way: whether a cubic polynomial of the phase is added to the translation, so that somebody may go far while the layers
        tell how; zero at first. Where there are parameters of one it is added in any case.
    """

    hidden: int = 1000
    features: str = "rbf"
    num_centres: int = 100
    kernel: str = "quadratic"
    log_scale: float = 0.0
    activation: str = "relu"
    way: bool = False

    @nn.compact
    def __call__(self, phase: Array, code: Array) -> tuple[Array, Array]:
        """phase (), code (C,) -> 6D rotations (24, 6), root first, and the raw translation head (3,) in metres."""
        chex.assert_rank([phase, code], [0, 1])
        if self.features == "rbf":
            x = RadialBasis(self.num_centres, self.kernel, self.log_scale, name="features")(phase)
        elif self.features == "none":
            x = phase[None]
        else:
            raise ValueError(f"features is {self.features!r}, expected 'rbf' or 'none'")
        x = jnp.concatenate([x, code])
        for layer in range(3):
            x = ACTIVATIONS[self.activation](_dense(self.hidden, x.shape[-1], name=f"hidden_{layer}")(x))
        rotation = nn.Dense(
            jn.NUM_JOINTS * 6,
            # Tiny but nonzero initial weights, as published, so that all initial rotations differ.
            kernel_init=nn.initializers.variance_scaling(1e-10, "fan_avg", "uniform"),
            bias_init=lambda _, shape, dtype: jnp.asarray(jnp.tile(rotations.IDENTITY_6D, jn.NUM_JOINTS), dtype),
            name="rotation",
        )(x)
        translation = _dense(3, self.hidden, name="translation")(x)
        if self.way or self.has_variable("params", "way"):
            translation += powers(phase) @ self.param("way", nn.initializers.zeros, (WAY_DEGREE, 3))
        return rotation.reshape(jn.NUM_JOINTS, 6), translation


def powers(phase: Array) -> Array:
    """What a way is linear in, (..., `WAY_DEGREE`), of phases (...): 0 at phase 0."""
    return jnp.stack([phase**degree for degree in range(1, WAY_DEGREE + 1)], -1)


def _dense(features: int, fan_in: int, name: str) -> nn.Dense:
    """A dense layer with initial weights and biases drawn from U(-1/sqrt(fan_in), 1/sqrt(fan_in)), as in PyTorch."""
    bound = 1 / math.sqrt(fan_in)

    def uniform(key: Array, shape: tuple[int, ...], dtype: jnp.dtype = jnp.float32) -> Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return nn.Dense(features, kernel_init=uniform, bias_init=uniform, name=name)
