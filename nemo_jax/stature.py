"""How tall a body is, shapes of a given height, and how sure a fit's metres are.

Videos do not tell metres: a body twice as tall, twice as far away and twice as fast is seen in the same pixels. What is
known of the scale is a person's height where somebody says it, else how much people's heights vary.
"""

import jax
import jax.numpy as jnp

from body_models import smpl

Array = jax.Array


def linear(body: smpl.SMPL) -> tuple[Array, Array]:
    """Height of the unposed body, metres, as a linear function of its shape: that of no shape (), and directions (S,).

    It is the distance in y of the vertices that are the top and the bottom of the body without a shape.
    """
    heights, directions = body.mesh.template[:, 1], body.mesh.shapedirs[:, 1]
    top, bottom = heights.argmax(), heights.argmin()
    return heights[top] - heights[bottom], directions[top] - directions[bottom]


def of(body: smpl.SMPL, betas: Array) -> Array:
    """Heights (...) in metres of bodies with shapes betas (..., S)."""
    mean, directions = linear(body)
    return mean + betas @ directions


def with_height(body: smpl.SMPL, betas: Array, height: Array) -> Array:
    """The nearest shapes (..., S) to betas (..., S) that are as tall as height (...), metres; NaN = of any height."""
    _, directions = linear(body)
    apart = jnp.where(jnp.isnan(height), 0.0, height - of(body, betas))
    return betas + apart[..., None] * directions / jnp.sum(directions**2)


def scale_uncertainty(body: smpl.SMPL, betas: Array, height: Array | None) -> Array:
    """Standard deviation (...) of the metres of a fit as a share of them: 0 where the height is known, else that of
    people's heights, whose shape coefficients are N(0, 1), as a share of the fitted height.

    betas (..., S); height (...), NaN = unknown; None = all unknown. Distances, speeds and depths have the same share.
    """
    _, directions = linear(body)
    share = jnp.linalg.norm(directions) / of(body, betas)
    return share if height is None else jnp.where(jnp.isnan(height), share, 0.0)
