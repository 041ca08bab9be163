"""How far two poses of one mesh lie apart: mean absolute difference over all vertices and coordinates.

This is the heaviest part of the published loss, two skinned meshes of every frame of a batch. On NVIDIA GPUs a kernel of
`body_models.kernels.vertex_gap_gpu` computes value and gradient at once and keeps no mesh; elsewhere plain JAX does.
"""

import dataclasses
import functools
from typing import Any

import chex
import jax
import jax.numpy as jnp

from body_models import smpl
from body_models.kernels import vertex_gap_gpu
from body_models.kernels.vertex_gap_gpu import Table
from body_models.pytree import Tree
from body_models.smpl import SMPL, Skeleton

Array = jax.Array


def plain_gap(body: SMPL, skeleton: Skeleton, target: Skeleton) -> Array:
    """Mean () of |v(target) - v(skeleton)|, metres, of ONE pose and its target; float32."""
    return jnp.mean(jnp.abs(smpl.skin(body.mesh, target) - smpl.skin(body.mesh, skeleton)))


def table(body: SMPL) -> Table:
    """The body as the kernel takes it; made once, ahead of a loop."""
    return vertex_gap_gpu.table(body.tiles, body.mesh.template, body.mesh.directions, body.mesh.rotation_weights)


def fused_gap(body: SMPL, rows: Table, skeleton: Skeleton, target: Skeleton) -> Array:
    """`plain_gap` (B,) of B poses and targets, differentiable in `skeleton` alone.

    On a GPU blend shapes and their gradients pass through bfloat16 (docs/speed.md has the errors that this makes);
    elsewhere it is the plain one. No gradient reaches the body or the target.

    Args:
      body: the body model. rows: its `table`.
      skeleton, target: leaves (B, ...).
    """
    chex.assert_equal_shape_prefix([skeleton.world, target.world], 1)
    return _fused_gap(body, rows, skeleton, target)


@jax.custom_jvp
def _fused_gap(body: SMPL, rows: Table, skeleton: Skeleton, target: Skeleton) -> Array:
    return _value_and_gradient(body, rows, skeleton, target)[0]


@_fused_gap.defjvp
def _fused_gap_jvp(primals: tuple[SMPL, Table, Skeleton, Skeleton], tangents: tuple[Tree, ...]):
    value, gradient = _value_and_gradient(*primals)
    products = jax.tree.map(lambda g, t: jnp.sum(g * t, range(1, g.ndim)), gradient, tangents[2])
    return value, sum(jax.tree.leaves(products), start=jnp.zeros_like(value))


def _value_and_gradient(body: SMPL, rows: Table, skeleton: Skeleton, target: Skeleton) -> tuple[Array, Skeleton]:
    return jax.lax.platform_dependent(body, rows, skeleton, target, cuda=_on_gpu, default=_anywhere)


def _anywhere(body: SMPL, rows: Table, skeleton: Skeleton, target: Skeleton) -> tuple[Array, Skeleton]:
    del rows
    return jax.vmap(jax.value_and_grad(plain_gap, 1), (None, 0, 0))(body, skeleton, target)


def _on_gpu(body: SMPL, rows: Table, skeleton: Skeleton, target: Skeleton, **options: Any) -> tuple[Array, Skeleton]:
    one = functools.partial(_by_kernel, **options)
    batched = jax.custom_batching.custom_vmap(one)

    @batched.def_vmap
    def _(size: int, mapped: Tree, body: SMPL, rows: Table, *pair: Skeleton) -> tuple[Tree, Tree]:
        if any(jax.tree.leaves(mapped[:2])):
            axes = jax.tree.map(lambda own: 0 if own else None, tuple(mapped))
            found = jax.vmap(one, axes, axis_size=size)(body, rows, *pair)
        else:
            # Fits that share a body are one larger batch of poses.
            merged = jax.tree.map(functools.partial(_merged, size), pair, tuple(mapped[2:]))
            found = _on_gpu(body, rows, *merged, **options)
            found = jax.tree.map(lambda leaf: leaf.reshape(size, -1, *leaf.shape[1:]), found)
        return found, jax.tree.map(lambda _: True, found)

    return batched(body, rows, skeleton, target)


def _merged(size: int, leaf: Array, own: bool) -> Array:
    """(size * B, ...) of (size, B, ...), or of (B, ...) that all share."""
    leaf = leaf if own else jnp.broadcast_to(leaf, (size, *leaf.shape))
    return leaf.reshape(-1, *leaf.shape[2:])


def _by_kernel(body: SMPL, rows: Table, skeleton: Skeleton, target: Skeleton, **options: Any) -> tuple[Array, Skeleton]:
    value, transforms, coefficients = vertex_gap_gpu.value_and_gradient(
        rows, body.num_vertices, _flat(skeleton), _flat(target), **options
    )
    gradient = dataclasses.replace(
        skeleton,
        world=jnp.transpose(transforms[:, :9], (2, 0, 1)).reshape(skeleton.world.shape),
        posed=jnp.zeros_like(skeleton.posed),
        offsets=jnp.transpose(transforms[:, 9:], (2, 0, 1)),
        betas=coefficients[:, : body.num_betas],
        feature=coefficients[:, body.num_betas :],
    )
    return value, gradient


def _flat(skeleton: Skeleton) -> tuple[Array, Array]:
    """Skinning transforms (12, J, B), rotations row by row and then offsets, and blend-shape coefficients (B, S + 207)."""
    turns = skeleton.world.reshape(*skeleton.world.shape[:2], 9)
    transforms = jnp.transpose(jnp.concatenate([turns, skeleton.offsets], -1), (2, 1, 0))
    return transforms, jnp.concatenate([skeleton.betas, skeleton.feature], -1)
