"""Distances between the meshes of a fit, or of another method's poses, and those of the ground truth.

Meshes are two hundred times as large as skeletons, so a few frames are skinned at a time.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from body_models import smpl
from experiments.data.dataset import Dataset
from experiments.results.fitted_motion import FittedMotion
from nemo_jax import metrics, rotations

Array = jax.Array
_CHUNK = 32  # frames whose vertices are in memory at a time


class Posed(NamedTuple):
    """A body: rotations (24, 3, 3), translation (3,), betas (S,)."""

    rotations: Any
    translation: Any
    betas: Any


def of_frames(
    dataset: Dataset, fitted: FittedMotion, poses: np.ndarray, body: smpl.SMPL
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean vertex distances of every frame in mm, and G-MPJPE.

    Args:
      dataset: with ground truth. fitted: the fit. body: both are of.
      poses: (M, N, T, 24, 3) axis-angle, of other methods.

    Returns:
      Distances (M + 1, N, T) of bodies posed without shape, root orientation and translation, the fit last; distances
      (N, T) of the fit as it is, with its own shape, after the rigid motion of its clip that brings it nearest to the
      truth, as `metrics.global_errors` defines it; and G-MPJPE (N,) after the same motion. Zeros in the padding.
    """
    truth, seen = dataset.truth, fitted.prediction
    assert truth is not None
    mask = np.asarray(dataset.clips.frame_mask)
    fit = Posed(seen.rotations, seen.translation, _per_frame(_betas(fitted.params.betas, body), mask))
    true = Posed(truth.pose, truth.translation, _per_frame(_betas(truth.betas, body), mask))
    # Points near the means; every frame's moments are about the same ones.
    origins = [_weighted_mean(posed.translation, mask) for posed in (fit, true)]
    around = [_per_frame(origin, mask) for origin in origins]

    bare, sums = _over_frames(_bare_errors, body, mask, np.moveaxis(poses, 0, 2), fit, true, *around)
    sums = jax.tree.map(lambda x: x.sum(1, dtype=np.float64).astype(np.float32), sums)
    move = jax.device_get(_rigid_transforms(sums, *origins))
    moved = _over_frames(_moved_error, body, mask, fit, true, *(_per_frame(part, mask) for part in move))
    joints = (np.asarray(x)[:, :, : metrics.PAPER_JOINTS] for x in (seen.keypoints, truth.joints))
    return np.moveaxis(bare, -1, 0), moved, np.asarray(_moved_joint_errors(*joints, *move, mask))


_rigid_transforms = jax.jit(jax.vmap(metrics.rigid_transform))


@jax.jit
@jax.vmap
def _moved_joint_errors(joints: Array, true: Array, rotation: Array, translation: Array, mask: Array) -> Array:
    return metrics.mpjpe(metrics.move(joints, rotation, translation), true, mask)


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


def _over_frames(function: Callable[..., Any], body: smpl.SMPL, mask: np.ndarray, *arrays: Any) -> Any:
    """`function(body, *frame)` of every existing frame of arrays (N, T, ...); leaves (N, T, ...), zeros in the padding."""
    rows = np.flatnonzero(mask > 0)
    # As many slots as there would be without padding, so that one program serves all; only chunks with frames are run.
    slots = -(-mask.size // _CHUNK) * _CHUNK
    filled = np.resize(rows, slots) if len(rows) else np.zeros(slots, int)
    flat = jax.tree.map(lambda x: np.asarray(x, np.float32).reshape(-1, *x.shape[2:])[filled], arrays)

    def back(values: np.ndarray) -> np.ndarray:
        out = np.zeros((mask.size, *values.shape[1:]), values.dtype)
        out[rows] = values[: len(rows)]
        return out.reshape(*mask.shape, *values.shape[1:])

    chunks = -(-len(rows) // _CHUNK)
    return jax.tree.map(back, jax.device_get(_chunked(function, body, flat, chunks)))


@functools.partial(jax.jit, static_argnums=0)
def _chunked(function: Callable[..., Any], body: smpl.SMPL, flat: Any, chunks: Array) -> Any:
    """`function` of the first so many chunks of frames (F, ...); zeros behind them."""

    def run(number: Array) -> Any:
        part = jax.tree.map(lambda x: jax.lax.dynamic_slice_in_dim(x, number * _CHUNK, _CHUNK), flat)
        return jax.vmap(lambda frame: function(body, *frame))(part)

    def step(number: Array, out: Any) -> Any:
        put = lambda whole, part: jax.lax.dynamic_update_slice_in_dim(whole, part, number * _CHUNK, 0)
        return jax.tree.map(put, out, run(number))

    with jax.default_matmul_precision("float32"):
        slots = len(jax.tree.leaves(flat)[0])
        shapes = jax.eval_shape(run, jnp.int32(0))
        out = jax.tree.map(lambda leaf: jnp.zeros((slots, *leaf.shape[1:]), leaf.dtype), shapes)
        return jax.lax.fori_loop(0, chunks, step, out)


def _weighted_mean(values: Any, mask: np.ndarray) -> np.ndarray:
    return (np.asarray(values) * mask[..., None]).sum(1) / np.maximum(mask.sum(-1), 1)[:, None]


def _per_frame(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(N, ...) as (N, T, ...)."""
    return np.broadcast_to(values[:, None], (*mask.shape, *values.shape[1:]))


def _betas(betas: Any, body: smpl.SMPL) -> np.ndarray:
    """Shapes (N, S) with as many directions as the body has."""
    betas = np.asarray(betas, np.float32)[:, : body.num_betas]
    return np.pad(betas, ((0, 0), (0, body.num_betas - betas.shape[1])))
