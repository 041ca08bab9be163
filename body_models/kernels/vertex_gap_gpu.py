"""The gap between two poses of a mesh, and its gradient: one Triton kernel (through Pallas) between three products.

With M, o the blended rotation and offset of a vertex, x its rest position, ' for the target and D for pose - target,

    v - v' = M x + o - M' x' - o' = DM x' + M Dx + Do,

so that differences are rounded, and not metres that cancel. The first product poses the rest positions x' and Dx of all
vertices, rounded to bfloat16. The kernel takes some poses, one a thread, and one tile of vertices
(`body_models.kernels.tiles`), whose few joints' transforms it keeps in registers. In float32 it blends M, DM and Do, takes
the signs s of the differences, and sums the gradients of the tile's joints, w s x^T and w s, which the second product adds
up over tiles. It leaves M^T s, which the third product takes back to the blend-shape coefficients. Neither blended
transforms nor meshes leave the chip.
"""

import dataclasses
import functools
import importlib
import operator
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

from body_models import joints as jn
from body_models.kernels.tiles import WIDTH, Tiles
from body_models.pytree import pytree

Array = jax.Array

_COEFFICIENTS = 32  # the number of coefficients is rounded up to a multiple of this
_F32, _BF16 = jnp.float32, jnp.bfloat16


@dataclasses.dataclass(frozen=True)
class Tiling:
    """poses: of a program, a power of 2. warps: that work on it."""

    poses: int = 128
    warps: int = 4


_FASTEST = Tiling()


@pytree
class Table:
    """A body in T tiles of vertices that follow S joints, see `Tiles`; empty places are at the origin and never move.

    template (3, T * WIDTH). directions (C, 3, T * WIDTH): blend shapes, as in `SkinnedPoints`. weights (T, WIDTH, S): of a
    tile's vertices for its joints. joints (T, S).
    """

    template: Array
    directions: Array
    weights: Array
    joints: Array


def table(tiles: Tiles, template: Array, directions: Array, weights: Array) -> Table:
    """From template (V, 3), directions (C, 3, V) and weights (V, J)."""

    def ordered(rows: Array) -> Array:
        return jnp.pad(rows, ((0, 1), (0, 0)))[tiles.order]

    shapes = jnp.pad(directions, ((0, -directions.shape[0] % _COEFFICIENTS), (0, 0), (0, 1)))
    # Where a tile has fewer than S joints, joint 0 stands again and must not count again.
    again = jnp.tril(tiles.joints[:, :, None] == tiles.joints[:, None, :], -1).any(-1)
    shares = jnp.take_along_axis(ordered(weights), tiles.joints[:, None, :], -1)
    return Table(
        template=ordered(template).reshape(-1, 3).T,
        directions=shapes[:, :, tiles.order.reshape(-1)].astype(_BF16),
        weights=jnp.where(again[:, None], 0.0, shares),
        joints=tiles.joints,
    )


def value_and_gradient(
    rows: Table,
    num_vertices: int,
    own: tuple[Array, Array],
    target: tuple[Array, Array],
    *,
    tiling: Tiling = _FASTEST,
    interpret: bool = False,
) -> tuple[Array, Array, Array]:
    """Mean |v - v'| of B pairs of poses, and its gradient with respect to the first of each.

    Args:
      rows: the body. num_vertices: without padding.
      own, target: transforms (12, J, B), rotations row by row and then offsets, and coefficients (B, C).
      tiling: by default the fastest measured.
      interpret: run the kernel step by step in plain JAX, for tests without a GPU.

    Returns:
      value (B,), gradients for transforms (J, 12, B) and coefficients (B, C).
    """
    batch, count = own[1].shape
    more = -batch % tiling.poses
    coefficients = jnp.stack([target[1], own[1] - target[1]]).astype(_BF16)
    coefficients = jnp.pad(coefficients, ((0, 0), (0, more), (0, rows.directions.shape[0] - count)))
    rest = jnp.einsum("ckv,tbc->kvtb", rows.directions, coefficients, preferred_element_type=_BF16)
    moves = jnp.pad(jnp.concatenate([own[0] - target[0], own[0][:9]]), ((0, 0), (0, 0), (0, more)))
    value, sums, pulls = _kernel(tiling, interpret)(moves, rest, rows)
    mine = (jnp.arange(jn.NUM_JOINTS)[:, None, None] == rows.joints).astype(_F32)
    d_transforms = jnp.einsum("jts,tseb->jeb", mine, sums, precision=jax.lax.Precision.HIGHEST)
    d_coefficients = jnp.einsum("kvb,ckv->bc", pulls, rows.directions, preferred_element_type=_F32)
    scale = 1 / (3 * num_vertices)
    return scale * value.sum(0)[:batch], scale * d_transforms[..., :batch], scale * d_coefficients[:batch, :count]


def _kernel(tiling: Tiling, interpret: bool) -> Any:
    """(DM, Do and M (21, J, B), rest (3, V, 2, B), table) -> sum of |v - v'| over each tile's vertices (T, B), gradients of
    its joints (T, S, 12, B), M^T s (3, V, B)."""

    def call(moves: Array, rest: Array, rows: Table) -> tuple[Array, Array, Array]:
        vertices, batch, poses = rest.shape[1], rest.shape[-1], tiling.poses
        tiles, joints = rows.joints.shape
        return pl.pallas_call(
            _program,
            # Programs that follow each other share their poses, whose transforms stay in the cache.
            grid=(tiles, batch // poses),
            in_specs=[
                pl.BlockSpec((*moves.shape[:2], poses), lambda t, b: (0, 0, b)),
                pl.BlockSpec((3, WIDTH, 2, poses), lambda t, b: (0, t, 0, b)),
                pl.BlockSpec((3, WIDTH), lambda t, b: (0, t)),
                pl.BlockSpec((1, WIDTH, joints), lambda t, b: (t, 0, 0)),
                pl.BlockSpec((1, joints), lambda t, b: (t, 0)),
            ],
            out_specs=[
                pl.BlockSpec((1, poses), lambda t, b: (t, b)),
                pl.BlockSpec((1, joints, 12, poses), lambda t, b: (t, 0, 0, b)),
                pl.BlockSpec((3, WIDTH, poses), lambda t, b: (0, t, b)),
            ],
            out_shape=[
                jax.ShapeDtypeStruct((tiles, batch), _F32),
                jax.ShapeDtypeStruct((tiles, joints, 12, batch), _F32),
                jax.ShapeDtypeStruct((3, vertices, batch), _BF16),
            ],
            compiler_params=None if interpret else _triton().CompilerParams(num_warps=tiling.warps, num_stages=1),
            interpret=interpret,
            name="skin_gap",
        )(moves, rest, rows.template, rows.weights, rows.joints)

    return call


def _program(moves, rest, template, weights, joints, value, sums, pulls):
    """One tile and some poses. All arguments are references."""
    slots = range(joints.shape[1])
    followed = [joints[0, s] for s in slots]
    transforms = [[moves[entry, joint, :] for joint in followed] for entry in range(21)]

    def one(vertex, carry):
        total, gradient, (target, change, shares) = carry
        # Read while this vertex is worked on, and before its writes, which a read would wait for.
        ahead = _read(rest, template, weights, jnp.minimum(vertex + 1, WIDTH - 1))
        target = [x.astype(_F32) + rest_position for x, rest_position in target]
        change = [x.astype(_F32) for x in change]
        blended = [_dot(row, shares) for row in transforms]
        gap, turn = blended[:12], blended[12:]
        place = [*target, *change]
        difference = [gap[9 + i] + _dot(gap[3 * i : 3 * i + 3] + turn[3 * i : 3 * i + 3], place) for i in range(3)]
        signs = [jnp.sign(d) for d in difference]
        for k in range(3):
            pulls[k, vertex, :] = _dot(turn[k::3], signs).astype(_BF16)
        point = [target[k] + change[k] for k in range(3)]
        given = [sign * x for sign in signs for x in point] + signs
        gradient = [
            [old + w * new for old, new in zip(column, given, strict=True)]
            for column, w in zip(gradient, shares, strict=True)
        ]
        return total + jnp.abs(difference[0]) + jnp.abs(difference[1]) + jnp.abs(difference[2]), gradient, ahead

    zero = jnp.zeros(value.shape[1], _F32)
    begin = (zero, [[zero] * 12 for _ in slots], _read(rest, template, weights, 0))
    total, gradient, _ = jax.lax.fori_loop(0, WIDTH, one, begin)
    value[0, :] = total
    for s, column in enumerate(gradient):
        for entry, array in enumerate(column):
            sums[0, s, entry, :] = array


def _read(rest, template, weights, vertex) -> tuple[list[Any], list[Any], list[Any]]:
    """x' of a vertex in two parts, pose's and template's, Dx, and its weights."""
    target = [(rest[k, vertex, 0, :], template[k, vertex]) for k in range(3)]
    change = [rest[k, vertex, 1, :] for k in range(3)]
    return target, change, [weights[0, vertex, s] for s in range(weights.shape[2])]


def _dot(a: list[Any], b: list[Any]) -> Any:
    # `sum` would start with 0 +, an instruction that no compiler may drop.
    return functools.reduce(operator.add, map(operator.mul, a, b))


def _triton() -> Any:
    """Pallas' Triton backend, imported where a GPU program is made."""
    return importlib.import_module("jax.experimental.pallas.triton")
