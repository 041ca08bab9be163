"""What inverse kinematics minimises: terms with their costs, gradients and Gauss-Newton matrices.

A pose is moved by small turns: R_j <- R_j exp([d_j]), d (24, 3) radians, so that nothing depends on a choice of angles.
Every derivative is written out; the Gauss-Newton matrix of a robust term is that of iteratively reweighted least squares.
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np

from body_models import joints as jn
from body_models import smpl
from body_models.pytree import pytree
from nemo_jax import rotations as rot
from nemo_jax.priors import JointLimits, limit_residuals, reach

Array = jax.Array

DIM = 3 * jn.NUM_JOINTS
# A bone between points nearer than this, in metres, has no direction.
_SHORTEST = 1e-3


def _ancestors() -> np.ndarray:
    """(24, 24): 1 where the second joint is the first one or above it."""
    table = np.eye(jn.NUM_JOINTS, dtype=np.float32)
    for joint in range(1, jn.NUM_JOINTS):
        table[joint] += table[jn.PARENTS[joint]]
    return table


ANCESTORS = _ancestors()


@pytree
class Markers:
    """M points that ride rigidly on joints, and B bones, the pairs of them whose directions are compared.

    joint (M,) int32: SMPL joint that carries the point. offset (M, 3): from that joint to the point in the unposed body,
    metres. bones (B, 2) int32: the point it starts from and the one it points to. bone_weight (B,): how much each counts.
    """

    joint: Array
    offset: Array
    bones: Array
    bone_weight: Array


@pytree
class Term:
    """cost () and its gradient (24 * 3,) and Gauss-Newton matrix (24 * 3, 24 * 3) over the turns of ONE pose."""

    cost: Array
    gradient: Array
    matrix: Array


def place(markers: Markers, world: Array, posed: Array) -> Array:
    """The M points (M, 3) of ONE posed chain: `world` (24, 3, 3) and `posed` (24, 3) of `smpl.forward_kinematics`."""
    return posed[markers.joint] + _apply(world[markers.joint], markers.offset)


def rest_lengths(markers: Markers, rest: Array) -> Array:
    """Lengths (B,) of the bones in the unposed body."""
    points = rest[markers.joint] + markers.offset
    return jnp.sqrt(jnp.sum((points[markers.bones[:, 1]] - points[markers.bones[:, 0]]) ** 2, -1))


def bone_term(
    rotations: Array, rest: Array, markers: Markers, target: Array, weight: Array, sd: Array, robust: Array | float
) -> Term:
    """Geman-McClure cost of how far the bones of ONE pose are from given ones.

    Args:
      rotations: (24, 3, 3). rest: (24, 3), metres. markers: the points.
      target: (B, 3), the bones to follow, metres of this body. weight: (B,); at 0 `target` may be anything finite.
      sd: (3,), of a bone's three coordinates, metres. robust: sds at which the cost has reached half its ceiling.
    """
    world, posed = smpl.forward_kinematics(rotations, rest)
    points = place(markers, world, posed)
    start, end = markers.bones[:, 0], markers.bones[:, 1]
    bone = points[end] - points[start]
    length = jnp.sqrt(jnp.maximum(jnp.sum(bone**2, -1, keepdims=True), _SHORTEST**2))
    unit, stretch = bone / length, rest_lengths(markers, rest)[:, None] / length
    residual = (stretch * bone - target) / sd

    # A turn about the axis a of a joint at x above the point p moves it by a x (p - x).
    arm = points[:, None] - posed
    moved = jnp.cross(world.swapaxes(-1, -2)[None], arm[:, :, None, :])  # (M, 24, turn, xyz)
    moved *= jnp.asarray(ANCESTORS)[markers.joint][:, :, None, None]
    turned = moved[end] - moved[start]
    # A bone across several joints may get longer; that is not held against it.
    turned -= jnp.sum(turned * unit[:, None, None], -1, keepdims=True) * unit[:, None, None]
    jacobian = (turned * (stretch / sd)[:, None, None]).reshape(-1, DIM, 3).swapaxes(-1, -2)

    cost, share = _geman_mcclure(jnp.sum(residual**2, -1), robust)
    weighed = (weight * share)[:, None, None] * jacobian
    return Term(
        cost=0.5 * jnp.sum(weight * cost),
        gradient=jnp.einsum("bxd,bx->d", weighed, residual, precision="highest"),
        matrix=jnp.einsum("bxd,bxe->de", weighed, jacobian, precision="highest"),
    )


def limit_term(rotations: Array, limits: JointLimits, sd: float, inside: float) -> Term:
    """`priors.joint_limit_loss` of ONE pose over 2 sd^2; sd in radians of excess."""
    chex.assert_shape(rotations, (jn.NUM_JOINTS, 3, 3))
    pose = rot.matrix_to_axis_angle(rotations[1:])
    excess, centred = limit_residuals(limits, pose)
    pull, scale = inside / pose.size, reach(limits)
    slope = excess + pull * centred / scale
    curvature = (excess != 0) + pull / scale**2
    jacobian = inverse_right_jacobian(pose)
    gradient = jnp.einsum("ja,jab->jb", slope, jacobian, precision="highest")
    blocks = jnp.einsum("jab,ja,jac->jbc", jacobian, curvature, jacobian, precision="highest")
    return Term(
        cost=0.5 * (jnp.sum(excess**2) + pull * jnp.sum(centred**2)) / sd**2,
        gradient=jnp.pad(gradient.reshape(-1), (3, 0)) / sd**2,
        matrix=spread(jnp.pad(blocks, ((1, 0), (0, 0), (0, 0)))) / sd**2,
    )


@pytree
class Coupling:
    """Cost () of a motion's smoothness, gradient (F, 24 * 3), and matrix blocks (F, 24, 3, 3) of each joint: of a frame
    with itself, with the one before it and with the one before that."""

    cost: Array
    gradient: Array
    diagonal: Array
    first: Array
    second: Array


def smoothness_term(rotations: Array, frame_mask: Array, sd: Array | float, robust: Array | float) -> Coupling:
    """Geman-McClure cost of the change of every joint's turn from one frame to the next.

    The residual of joint j at frame t is log(R[t]^-1 R[t+1]) - log(R[t-1]^-1 R[t]), which is 0 for a steady turn about
    an axis, however fast.

    Args:
      rotations: (F, 24, 3, 3). frame_mask: (F,), 1 where a frame exists; a triple with one that does not is left out.
      sd: of a residual, radians a frame squared. robust: residual at which the cost has reached half its ceiling.
    """
    num = rotations.shape[0]
    if num < 3:
        blocks = jnp.zeros((num, jn.NUM_JOINTS, 3, 3))
        return Coupling(
            cost=jnp.zeros(()), gradient=jnp.zeros((num, DIM)), diagonal=blocks, first=blocks, second=blocks
        )
    turn = rot.matrix_to_axis_angle(_compose(rotations[:-1].swapaxes(-1, -2), rotations[1:]))
    to_later, to_earlier = inverse_right_jacobian(turn), -inverse_right_jacobian(-turn)
    residual = turn[1:] - turn[:-1]
    before, at, after = -to_earlier[:-1], to_earlier[1:] - to_later[:-1], to_later[1:]
    there = (frame_mask[:-2] * frame_mask[1:-1] * frame_mask[2:])[:, None]
    cost, share = _geman_mcclure(jnp.sum(residual**2, -1), robust)
    factor = there * share / sd**2

    def product(a: Array, b: Array) -> Array:
        return jnp.einsum("tj,tjxa,tjxb->tjab", factor, a, b, precision="highest")

    def slope(a: Array) -> Array:
        return jnp.einsum("tj,tjxa,tjx->tja", factor, a, residual, precision="highest")

    def put(at_before: Array, at_middle: Array, at_after: Array) -> Array:
        rest = ((0, 0),) * (at_before.ndim - 1)
        return (
            jnp.pad(at_before, ((0, 2), *rest))
            + jnp.pad(at_middle, ((1, 1), *rest))
            + jnp.pad(at_after, ((2, 0), *rest))
        )

    nothing = jnp.zeros_like(before)
    return Coupling(
        cost=0.5 * jnp.sum(there * cost) / sd**2,
        gradient=put(slope(before), slope(at), slope(after)).reshape(num, DIM),
        diagonal=put(product(before, before), product(at, at), product(after, after)),
        first=put(nothing, product(at, before), product(after, at)),
        second=put(nothing, nothing, product(after, before)),
    )


def spread(blocks: Array) -> Array:
    """Block-diagonal matrices (..., 72, 72) of blocks (..., 24, 3, 3)."""
    wide = blocks[..., :, :, None, :] * jnp.eye(jn.NUM_JOINTS)[:, None, :, None]
    return wide.reshape(*blocks.shape[:-3], DIM, DIM)


def inverse_right_jacobian(turn: Array) -> Array:
    """(..., 3, 3): how log(R exp([d])) changes with d at d = 0, for R = exp([turn]) (Barfoot, State Estimation, 7.77)."""
    square = jnp.sum(turn**2, -1)[..., None, None]
    small = square < 1e-3
    half = jnp.sqrt(jnp.where(small, 1.0, square)) / 2
    factor = jnp.where(small, 1 / 12 + square / 720, (1 - half / jnp.tan(half)) / (4 * half**2))
    hat = rot.hat(turn)
    return jnp.eye(3) + 0.5 * hat + factor * _compose(hat, hat)


def _geman_mcclure(square: Array, scale: Array | float) -> tuple[Array, Array]:
    """rho = s^2 r^2 / (r^2 + s^2) of squared residuals, and its derivative by r^2."""
    share = scale**2 / (square + scale**2)
    return square * share, share**2


def _compose(a: Array, b: Array) -> Array:
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)


def _apply(a: Array, x: Array) -> Array:
    return jnp.einsum("...xy,...y->...x", a, x, precision="highest")
