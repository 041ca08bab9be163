"""Distances between the meshes of a fit, or of another method's poses, and those of the ground truth.

Meshes are two hundred times as large as skeletons, so a few frames are skinned at a time. Pure functions of arrays, of I
instances, whatever fits they belong to.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from body_models import smpl
from body_models.pytree import Tree
from nemo_jax import metrics, rotations

Array = jax.Array
# Frames whose vertices are in memory at a time.
_CHUNK = {"cpu": 32}
_CHUNK_OF_ACCELERATORS = 256


class Posed(NamedTuple):
    """A body: rotations (24, 3, 3), or axis-angle (24, 3) where it says so; translation (3,); betas (S,)."""

    rotations: Any
    translation: Any
    betas: Any


def of_frames(
    body: smpl.SMPL, poses: Array, fit: Posed, true: Posed, mask: Array, joints: Array, true_joints: Array
) -> tuple[Array, Array, Array]:
    """Mean vertex distances of every frame in mm, and G-MPJPE.

    Args:
      body: both are of.
      poses: (I, T, M, 24, 3) axis-angle, of M other methods.
      fit: leading (I, T), betas (I, S). true: the same, its rotations as axis-angle.
      mask: (I, T), 1 where the frame exists.
      joints, true_joints: (I, T, 15, 3) metres, of the fit and the truth as they are.

    Returns:
      Distances (M + 1, I, T) of bodies posed without shape, root orientation and translation, the fit last; distances
      (I, T) of the fit as it is, with its own shape, after the rigid motion of its clip that brings it nearest to the
      truth, as `metrics.global_errors` defines it; and G-MPJPE (I,) after the same motion. Zeros in the padding.
    """
    per_frame = lambda values: jnp.broadcast_to(values[:, None], (*mask.shape, *values.shape[1:]))
    fit = fit._replace(betas=per_frame(_fitted_to(fit.betas, body)))
    true = true._replace(betas=per_frame(_fitted_to(true.betas, body)))
    # Points near the means; every frame's moments are about the same ones.
    origins = [_weighted_mean(posed.translation, mask) for posed in (fit, true)]

    bare, sums = _over_frames(_bare_errors, body, mask, poses, fit, true, *map(per_frame, origins))
    sums = jax.tree.map(lambda leaf: leaf.sum(1), sums)
    move = jax.vmap(metrics.rigid_transform)(sums, *origins)
    moved = _over_frames(_moved_error, body, mask, fit, true, *map(per_frame, move))
    global_error = lambda own, target, rotation, translation, exists: metrics.mpjpe(
        metrics.move(own, rotation, translation), target, exists
    )
    return jnp.moveaxis(bare, -1, 0), moved, jax.vmap(global_error)(joints, true_joints, *move, mask)


# Of ONE frame.


def _bare_errors(
    body: smpl.SMPL, poses: Array, fit: Posed, true: Posed, source_origin: Array, target_origin: Array
) -> tuple[Array, metrics.Moments]:
    """Distances (M + 1,) of bodies of poses (M, 24, 3) and of the fit from the true one, without shape, root and
    translation; and the moments of the fit as it is and the truth."""
    flat, still = jnp.zeros(body.num_betas), jnp.zeros(3)
    bare = lambda rotation: smpl.vertices(body, rotation.at[0].set(jnp.eye(3)), flat, still)
    true = _with_matrices(true)
    true_bare = bare(true.rotations)
    others = [bare(rotation) for rotation in rotations.axis_angle_to_matrix(poses)]
    errors = jnp.stack([_error(vertices, true_bare) for vertices in [*others, bare(fit.rotations)]])
    source = smpl.vertices(body, fit.rotations, fit.betas, fit.translation) - source_origin
    target = smpl.vertices(body, true.rotations, true.betas, true.translation) - target_origin
    return errors, metrics.moments(source, target, jnp.ones(len(source)))


def _moved_error(body: smpl.SMPL, fit: Posed, true: Posed, rotation: Array, translation: Array) -> Array:
    """Distance () of the fit as it is, moved, from the truth."""
    skeleton = smpl.pose_skeleton(body, fit.rotations, fit.betas)
    # Moving the joints' transforms moves all vertices.
    moved = dataclasses.replace(skeleton, world=rotation @ skeleton.world, offsets=skeleton.offsets @ rotation.T)
    source = smpl.skin(body.mesh, moved) + (rotation @ fit.translation + translation)
    true = _with_matrices(true)
    return _error(source, smpl.vertices(body, true.rotations, true.betas, true.translation))


def _error(a: Array, b: Array) -> Array:
    return metrics.point_errors(a[None], b[None])[0]


def _with_matrices(true: Posed) -> Posed:
    """The truth, whose rotations are given as axis-angle (24, 3)."""
    return true._replace(rotations=rotations.axis_angle_to_matrix(true.rotations))


def _over_frames(function: Callable[..., Any], body: smpl.SMPL, mask: Array, *arrays: Tree) -> Any:
    """`function(body, *frame)` of every existing frame of arrays (I, T, ...); leaves (I, T, ...), zeros in the padding."""
    chunk = _CHUNK.get(jax.default_backend(), _CHUNK_OF_ACCELERATORS)
    slots = -(-mask.size // chunk) * chunk
    exists = mask.ravel() > 0
    # Frames that exist first, so that chunks of padding alone are not run.
    rows = jnp.nonzero(exists, size=slots, fill_value=0)[0]
    flat = jax.tree.map(lambda leaf: leaf.reshape(mask.size, *leaf.shape[2:]), arrays)

    def run(number: Array) -> Any:
        chosen = jax.lax.dynamic_slice_in_dim(rows, number * chunk, chunk)
        part = jax.tree.map(lambda leaf: leaf[chosen], flat)
        return jax.vmap(lambda frame: function(body, *frame))(part)

    def step(number: Array, out: Tree) -> Any:
        put = lambda whole, part: jax.lax.dynamic_update_slice_in_dim(whole, part, number * chunk, 0)
        return jax.tree.map(put, out, run(number))

    with jax.default_matmul_precision("float32"):
        shapes = jax.eval_shape(run, jnp.int32(0))
        out = jax.tree.map(lambda leaf: jnp.zeros((slots, *leaf.shape[1:]), leaf.dtype), shapes)
        out = jax.lax.fori_loop(0, -(-exists.sum() // chunk), step, out)
    place = jnp.maximum(jnp.cumsum(exists) - 1, 0)

    def back(values: Array) -> Array:
        found = jnp.where(exists.reshape(-1, *[1] * (values.ndim - 1)), values[place], 0)
        return found.reshape(*mask.shape, *values.shape[1:])

    return jax.tree.map(back, out)


def _weighted_mean(values: Array, mask: Array) -> Array:
    """Means (I, ...) of values (I, T, ...) over the frames that exist."""
    return (values * mask[..., None]).sum(1) / jnp.maximum(mask.sum(-1), 1)[:, None]


def _fitted_to(betas: Array, body: smpl.SMPL) -> Array:
    """Shapes (I, S) with as many directions as the body has."""
    betas = betas[:, : body.num_betas]
    return jnp.pad(betas, ((0, 0), (0, body.num_betas - betas.shape[1])))
