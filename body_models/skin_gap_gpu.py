"""The gap between two poses of a mesh, and its gradient: one Triton kernel (through Pallas) between three products.

With M, o the blended rotation and offset of a vertex, x its rest position, ' for the target and D for pose - target,

    v - v' = M x + o - M' x' - o' = DM x' + M Dx + Do,

so that differences are rounded, and not metres that cancel. The first product poses the rest positions x' and Dx of all
vertices. The kernel, one tile of poses and vertices at a time, blends M, DM and Do with the weights in the matrix units,
takes the signs s of the differences, and leaves what the gradient needs: s x^T and s, which the second product sums over
vertices into transforms, and M^T s, which the third takes back to the blend-shape coefficients. The blended transforms,
two thirds of the memory that plain JAX moves here, never leave the chip, nor does either mesh.
"""

import dataclasses
import functools
import importlib
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

from body_models.pytree import pytree

Array = jax.Array

_JOINTS = 32  # 24, rounded up to what a matrix unit takes
_COEFFICIENTS = 32  # the number of coefficients is rounded up to a multiple of this
_VERTICES = 512  # and that of vertices to a multiple of this
_F32, _BF16 = jnp.float32, jnp.bfloat16


@dataclasses.dataclass(frozen=True)
class Tiling:
    """poses, vertices: of a tile, powers of 2, 16 or more. warps: that work on it. differences: precision of the products
    that blend the differences of transforms."""

    poses: int = 64
    vertices: int = 32
    warps: int = 4
    differences: str = "TF32_TF32_F32"


@pytree
class Table:
    """A body of V vertices, with more at the origin that nothing moves.

    template (3, V). directions (C, 3, V): blend shapes, those of the pose first. weights, and weights_16 in bfloat16,
    (32, V).
    """

    template: Array
    directions: Array
    weights: Array
    weights_16: Array


def table(template: Array, directions: Array, weights: Array) -> Table:
    """From template (V, 3), directions (V, 3, C) and weights (V, J)."""
    more = -template.shape[0] % _VERTICES
    shapes = jnp.pad(jnp.moveaxis(directions, -1, 0), ((0, -directions.shape[-1] % _COEFFICIENTS), (0, more), (0, 0)))
    blend = jnp.pad(weights.T, ((0, _JOINTS - weights.shape[1]), (0, more)))
    return Table(
        template=jnp.pad(template, ((0, more), (0, 0))).T,
        directions=jnp.swapaxes(shapes, 1, 2).astype(_BF16),
        weights=blend,
        weights_16=blend.astype(_BF16),
    )


def value_and_gradient(
    rows: Table,
    num_vertices: int,
    own: tuple[Array, Array],
    target: tuple[Array, Array],
    *,
    tiling: Tiling | None = None,
    interpret: bool = False,
) -> tuple[Array, Array, Array]:
    """Mean |v - v'| of B pairs of poses, and its gradient with respect to the first of each.

    Args:
      rows: the body. num_vertices: without padding.
      own, target: transforms (B, 12, J), rotations row by row and then offsets, and coefficients (B, C).
      tiling: None for the fastest measured.
      interpret: run the kernel step by step in plain JAX, for tests without a GPU.

    Returns:
      value (B,), gradients for transforms (B, 12, J) and coefficients (B, C).
    """
    batch, joints, count = own[0].shape[0], own[0].shape[-1], own[1].shape[-1]
    # Wider tiles read each transform less often, smaller ones keep a small batch's programs in more places.
    tiling = tiling or (Tiling() if batch <= 2048 else Tiling(vertices=64, warps=8))
    more = -batch % tiling.poses
    fill = ((0, more), (0, 0), (0, _JOINTS - joints))
    coefficients = jnp.stack([target[1], own[1] - target[1]], 1).astype(_BF16)
    coefficients = jnp.pad(coefficients, ((0, more), (0, 0), (0, rows.directions.shape[0] - count)))
    rest = jnp.einsum("btc,ckv->btkv", coefficients, rows.directions, preferred_element_type=_BF16)
    value, products, pulls = _kernel(tiling, interpret)(
        jnp.pad(own[0] - target[0], fill), jnp.pad(own[0][:, :9], fill).astype(_BF16), rest, rows
    )
    d_transforms = jnp.einsum("bev,jv->bej", products, rows.weights_16, preferred_element_type=_F32)
    d_coefficients = jnp.einsum("bkv,ckv->bc", pulls, rows.directions, preferred_element_type=_F32)
    scale = 1 / (3 * num_vertices)
    return (
        scale * value.sum(0)[:batch],
        scale * d_transforms[:batch, :, :joints],
        scale * d_coefficients[:batch, :count],
    )


def _kernel(tiling: Tiling, interpret: bool) -> Any:
    """(differences (B, 12, 32), rotations (B, 9, 32), rest (B, 2, 3, V), table) -> sum of |v - v'| over each tile's
    vertices (tiles, B), s x^T and s (B, 12, V), M^T s (B, 3, V)."""

    def call(move: Array, turn: Array, rest: Array, rows: Table) -> tuple[Array, Array, Array]:
        batch, vertices = rest.shape[0], rest.shape[-1]
        poses, width = tiling.poses, tiling.vertices
        return pl.pallas_call(
            functools.partial(_tile, tiling),
            grid=(batch // poses, vertices // width),
            in_specs=[
                pl.BlockSpec((poses, 12, _JOINTS), lambda b, v: (b, 0, 0)),
                pl.BlockSpec((poses, 9, _JOINTS), lambda b, v: (b, 0, 0)),
                pl.BlockSpec((poses, 2, 3, width), lambda b, v: (b, 0, 0, v)),
                pl.BlockSpec((3, width), lambda b, v: (0, v)),
                pl.BlockSpec((_JOINTS, width), lambda b, v: (0, v)),
                pl.BlockSpec((_JOINTS, width), lambda b, v: (0, v)),
            ],
            out_specs=[
                pl.BlockSpec((1, poses), lambda b, v: (v, b)),
                pl.BlockSpec((poses, 12, width), lambda b, v: (b, 0, v)),
                pl.BlockSpec((poses, 3, width), lambda b, v: (b, 0, v)),
            ],
            out_shape=[
                jax.ShapeDtypeStruct((vertices // width, batch), _F32),
                jax.ShapeDtypeStruct((batch, 12, vertices), _BF16),
                jax.ShapeDtypeStruct((batch, 3, vertices), _BF16),
            ],
            compiler_params=None if interpret else _triton().CompilerParams(num_warps=tiling.warps, num_stages=1),
            interpret=interpret,
            name="skin_gap",
        )(move, turn, rest, rows.template, rows.weights, rows.weights_16)

    return call


def _tile(tiling: Tiling, move, turn, rest, template, weights, weights_16, value, products, pulls):
    """One tile. All arguments but the first are references."""
    precise = jax.lax.DotAlgorithmPreset[tiling.differences]
    w, w_16 = weights[...], weights_16[...]
    x_target = [rest[:, 0, k, :].astype(_F32) + template[k, :][None] for k in range(3)]
    x_change = [rest[:, 1, k, :].astype(_F32) for k in range(3)]
    total = jnp.zeros(tiling.poses, _F32)
    pull = [jnp.zeros((tiling.poses, tiling.vertices), _F32) for _ in range(3)]
    for i in range(3):
        change = _dot(move[:, 9 + i, :], w, precise)
        row = []
        for k in range(3):
            row.append(_dot(turn[:, 3 * i + k, :], w_16))
            change += _dot(move[:, 3 * i + k, :], w, precise) * x_target[k] + row[k] * x_change[k]
        sign = jnp.sign(change)
        total += jnp.sum(jnp.abs(change), 1)
        products[:, 9 + i, :] = sign.astype(_BF16)
        for k in range(3):
            pull[k] += row[k] * sign
            products[:, 3 * i + k, :] = (sign * (x_target[k] + x_change[k])).astype(_BF16)
    for k in range(3):
        pulls[:, k, :] = pull[k].astype(_BF16)
    value[0, :] = total


def _dot(a: Array, b: Array, precision: Any = None) -> Array:
    return jax.lax.dot(a, b, precision=precision, preferred_element_type=_F32)


def _triton() -> Any:
    """Pallas' Triton backend, imported where a GPU program is made."""
    return importlib.import_module("jax.experimental.pallas.triton")
