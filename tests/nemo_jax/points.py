"""Parameters where gradients tend to break."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from nemo_jax import model, rotations
from tests.nemo_jax import helpers

init = jax.jit(model.init, static_argnums=(1, 3))

WHERE = ("start", "zero", "pi", "somewhere")


def at(where, config, clips):
    """start: as a fit begins. zero: every rotation exactly the identity. pi: every rotation by pi. somewhere: generic."""
    num = clips.num_instances
    params = init(jax.random.key(0), num, jnp.asarray(clips.image_size, jnp.float32), helpers.NUM_BETAS, config)
    field = dict(params.field)
    rng = np.random.default_rng(7)
    # Cameras that see the body: level ones, six metres away.
    cameras = np.tile([0.1, -0.1, 6.0, 1, 0, 0, -1, 0, 0], (num, 1)) + 0.05 * rng.normal(size=(num, 9))
    params = dataclasses.replace(params, cameras=jnp.asarray(cameras, jnp.float32))
    if where == "zero":
        field["rotation"] = {**field["rotation"], "kernel": jnp.zeros_like(field["rotation"]["kernel"])}
    elif where == "pi":
        axes = rng.normal(size=(24, 3))
        axes[:3] = np.eye(3)
        turns = helpers.rotation(np.pi * axes / np.linalg.norm(axes, axis=1, keepdims=True))
        bias = rotations.matrix_to_rotation_6d(jnp.asarray(turns, jnp.float32)).reshape(-1)
        field["rotation"] = {"kernel": jnp.zeros_like(field["rotation"]["kernel"]), "bias": bias}
    elif where == "somewhere":
        moved = jax.tree.map(lambda x: x + jnp.asarray(0.15 * rng.normal(size=x.shape), x.dtype), params)
        # Shifts stay off relu's kink; the field's kernel turns every joint differently at every phase.
        shifts = jnp.asarray(rng.uniform(0.05, 0.95, params.phase["shifts"].shape), jnp.float32)
        mirrored = jnp.asarray(np.arange(num) % 2, jnp.float32)
        return dataclasses.replace(moved, phase={**moved.phase, "shifts": shifts}, mirrored=mirrored)
    return dataclasses.replace(params, field=field)
