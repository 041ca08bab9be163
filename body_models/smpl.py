"""SMPL as a frozen pytree and pure functions of ONE pose; batch them with `jax.vmap`.

Source: Loper et al., SMPL, SIGGRAPH Asia 2015; the joint list is the one of the `smplx` package with SPIN's nine extra
joints. Shapes use J = 24 joints, V vertices, S shape directions, K keypoints, A anchors, L = 54 listed joints.

Every point on the skin (a mesh vertex, a landmark vertex or a regressed joint) is a sum of *anchors*: rest positions
linear in shape and pose, moved by blended joint transforms. A vertex is one anchor. A regressed joint
sum_v e_v x_v is one anchor per joint j that moves it, at sum_v e_v w_vj v: this is exact and needs a handful of anchors
instead of the mesh.
"""

import functools
import itertools
from collections.abc import Mapping, Sequence
from typing import cast

import chex
import jax
import jax.numpy as jnp
import numpy as np

from body_models import joints as jn
from body_models.kernels import tiles
from body_models.kernels.tiles import Tiles
from body_models.pytree import pytree
from body_models.rows import pick

Array = jax.Array
NUM_FEATURES = 9 * (jn.NUM_JOINTS - 1)
"""R - I of joints 1 to 23, which the pose blend shapes are linear in."""


@pytree
class SkinnedPoints:
    """A anchors on the skin.

    template (A, 3): metres. directions (S + 207, 3, A): displacements per unit of each shape coefficient, then of each
    pose feature. rotation_weights (A, J): weight of each joint's transform. mass (A,): factor of the translation, which
    is the sum of the regressor weights combined in the anchor, 1 for a vertex.
    """

    template: Array
    # The axis of coefficients comes first and that of anchors last, so that a pose reads the table in memory order.
    directions: Array
    rotation_weights: Array
    mass: Array

    @property
    def shapedirs(self) -> Array:
        """The shape directions (A, 3, S), in the layout of a model file."""
        return jnp.moveaxis(self.directions[:-NUM_FEATURES], 0, -1).swapaxes(0, 1)

    @property
    def posedirs(self) -> Array:
        """The pose directions (A, 3, 207), in the layout of a model file."""
        return jnp.moveaxis(self.directions[-NUM_FEATURES:], 0, -1).swapaxes(0, 1)


@pytree
class SMPL:
    """A body model.

    joint_template (J, 3) and joint_shapedirs (J, 3, S): the joint regressor folded through template and shape.
    mesh: V anchors, one per vertex. tiles: its vertices, grouped by the joints that move them. faces (F, 3) int32.
    landmarks: the anchors of the 21 landmark vertices and 9 extra joints; landmark_sum (30, A) adds them up. In a
    model without the extra joints it is (21, A).
    keypoint_anchors: only the anchors of the K keypoints; keypoint_sum (K, J + A) is the matrix that computes each
    keypoint from the joints and anchors.
    """

    joint_template: Array
    joint_shapedirs: Array
    mesh: SkinnedPoints
    tiles: Tiles
    faces: Array
    landmarks: SkinnedPoints
    landmark_sum: Array
    keypoint_anchors: SkinnedPoints
    keypoint_sum: Array

    @property
    def num_betas(self) -> int:
        return self.joint_shapedirs.shape[-1]

    @property
    def num_vertices(self) -> int:
        return self.mesh.template.shape[0]

    @property
    def has_extra_joints(self) -> bool:
        """Whether the model came with the regressor of the nine extra joints, 45..53."""
        return self.landmark_sum.shape[0] == len(jn.ALL_JOINTS) - jn.NUM_JOINTS


def rest_joints(body: SMPL, betas: Array) -> Array:
    """Joints (J, 3) of the unposed body with shape `betas` (S,), metres."""
    return body.joint_template + _matmul(body.joint_shapedirs, betas)


def forward_kinematics(rotations: Array, rest: Array) -> tuple[Array, Array]:
    """Poses the chain.

    Args:
      rotations: (J, 3, 3), of each joint against its parent; the root's against the world.
      rest: (J, 3), joints of the unposed body, metres.

    Returns:
      world_from_joint (J, 3, 3) and posed joints (J, 3). The root joint stays where it is at rest.
    """
    chex.assert_shape([rotations, rest], [(jn.NUM_JOINTS, 3, 3), (jn.NUM_JOINTS, 3)])
    # Doubling uses few large kernels, which suits accelerators; on a CPU it costs four times the arithmetic of levels.
    # Chosen here, not by `platform_dependent`: that would trace and differentiate both, a quarter of tracing a fit.
    return (_by_levels if jax.default_backend() == "cpu" else _by_doubling)(rotations, rest)


# Traced once for all of a fit's programs, of whose operations it would else be a fifth, and then a part of each.
@functools.partial(jax.jit, inline=True)
def _by_levels(rotations: Array, rest: Array) -> tuple[Array, Array]:
    """`forward_kinematics`, one tree level at a time."""
    order, ends = np.concatenate(jn.LEVELS), np.cumsum([len(level) for level in jn.LEVELS])[:-1].tolist()
    turns, bones = (jnp.split(pick(each, order), ends) for each in (rotations, _bones(rest)))
    worlds, positions = turns[:1], bones[:1]
    for (above, level), turn, bone in zip(itertools.pairwise(jn.LEVELS), turns[1:], bones[1:], strict=True):
        parents = np.searchsorted(above, jn.PARENTS[level])
        parent = pick(worlds[-1], parents)
        positions.append(pick(positions[-1], parents) + _rotate(parent, bone))
        worlds.append(_compose(parent, turn))
    back = np.argsort(order)
    return pick(jnp.concatenate(worlds), back), pick(jnp.concatenate(positions), back)


@jax.custom_jvp
def _by_doubling(rotations: Array, rest: Array) -> tuple[Array, Array]:
    """`forward_kinematics` in as many rounds as the logarithm of the tree's depth."""
    # Each round multiplies the product of a joint's path with that of the ancestor where the path ends, so that paths
    # double in length: a tree of nine levels takes four rounds.
    world = rotations
    for hop in _HOPS:
        world = _compose(_above(world, hop), world)
    return world, _matmul(_PATH, _rotate(_above(world, jn.PARENTS), _bones(rest)))


@_by_doubling.defjvp
def _by_doubling_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]):
    """Closed form: a joint's rotation moves all joints below it, so small rotations add up along the path to the root.

    The inverse of a product of rotations is taken to be its transpose. Sums along paths are one matrix product, forward
    and, transposed, backward, where differentiating the rounds above would walk the tree several times.
    """
    rotations, rest = primals
    # Without this barrier XLA fuses gradients of different layouts into one slow kernel.
    d_rotations, d_rest = jax.lax.optimization_barrier(tangents[0]), tangents[1]
    world, posed = _by_doubling(rotations, rest)
    parent = _above(world, jn.PARENTS)
    turn = _compose(_compose(parent, d_rotations), jnp.swapaxes(world, -1, -2))
    turns = _matmul(_PATHS, turn.reshape(jn.NUM_JOINTS, 9)).reshape(2, jn.NUM_JOINTS, 3, 3)
    step = _rotate(turns[1], _rotate(parent, _bones(rest))) + _rotate(parent, _bones(d_rest))
    return (world, posed), (_compose(turns[0], world), _matmul(_PATH, step))


@pytree
class Skeleton:
    """A posed skeleton of J joints, from which all points on the skin are computed.

    world (J, 3, 3): world_from_joint. posed (J, 3): joints, metres. offsets (J, 3): translation of each joint's skinning
    transform x -> world x + offset. feature (207,): R - I of joints 1 to 23. betas (S,).
    """

    world: Array
    posed: Array
    offsets: Array
    feature: Array
    betas: Array


def pose_skeleton(body: SMPL, rotations: Array, betas: Array) -> Skeleton:
    """The skeleton in a pose: rotations (J, 3, 3) of each joint against its parent, root first; betas (S,)."""
    rest = rest_joints(body, betas)
    world, posed = forward_kinematics(rotations, rest)
    return Skeleton(
        world=world,
        posed=posed,
        offsets=posed - _rotate(world, rest),
        feature=(rotations[1:] - jnp.eye(3, dtype=rotations.dtype)).reshape(-1),
        betas=betas,
    )


def joints(body: SMPL, rotations: Array, betas: Array, translation: Array) -> Array:
    """The 24 posed joints (J, 3), metres. Arguments as in `vertices`."""
    _check_shapes(body, rotations, betas, translation)
    return forward_kinematics(rotations, rest_joints(body, betas))[1] + translation


def vertices(body: SMPL, rotations: Array, betas: Array, translation: Array) -> Array:
    """The skinned mesh (V, 3), metres.

    Args:
      body: the model.
      rotations: (J, 3, 3), of each joint against its parent, root first.
      betas: (S,), shape.
      translation: (3,), metres, added to everything.
    """
    _check_shapes(body, rotations, betas, translation)
    return skin(body.mesh, pose_skeleton(body, rotations, betas)) + translation


def keypoints(body: SMPL, rotations: Array, betas: Array, translation: Array) -> Array:
    """The K keypoints (K, 3) that `build` was asked for (BODY_25 by default), metres; the mesh is not skinned."""
    _check_shapes(body, rotations, betas, translation)
    return keypoints_of(body, pose_skeleton(body, rotations, betas)) + translation


def keypoints_of(body: SMPL, skeleton: Skeleton) -> Array:
    """The K keypoints (K, 3) of a posed skeleton, metres."""
    anchors = skin(body.keypoint_anchors, skeleton)
    return _matmul(body.keypoint_sum, jnp.concatenate([skeleton.posed, anchors]))


def all_joints(body: SMPL, rotations: Array, betas: Array, translation: Array) -> Array:
    """The 54 joints (L, 3) of `body_models.joints.ALL_JOINTS`, metres; the mesh is not skinned.

    Raises:
      ValueError: the body has no regressor of the nine extra joints.
    """
    _check_shapes(body, rotations, betas, translation)
    if not body.has_extra_joints:
        # An index past the end would be clamped to the last joint, silently.
        raise ValueError("This body model has no J_regressor_extra, so its joints 45..53 are unknown.")
    skeleton = pose_skeleton(body, rotations, betas)
    anchors = skin(body.landmarks, skeleton)
    return jnp.concatenate([skeleton.posed, _matmul(body.landmark_sum, anchors)]) + translation


def build(arrays: Mapping[str, np.ndarray], keypoint_ids: Sequence[int] = tuple(jn.BODY_25)) -> SMPL:
    """Folds a model file's arrays into the pytree, in float64, stored as float32.

    Args:
      arrays: `v_template` (V, 3), `shapedirs` (V, 3, S), `posedirs` (V, 3, 207), `J_regressor` (J, V), `weights`
        (V, J), `f` (F, 3), `landmark_vertex_ids` (21,), `J_regressor_extra` (9, V), or (0, V) for a model without it.
      keypoint_ids: which of the 54 listed joints `keypoints` returns, in order.

    Raises:
      ValueError: a keypoint id that the model has no joint for.
    """
    template = np.asarray(arrays["v_template"], np.float64)
    shapedirs = np.asarray(arrays["shapedirs"], np.float64)
    posedirs = np.asarray(arrays["posedirs"], np.float64)
    weights = np.asarray(arrays["weights"], np.float64)
    regressor = np.asarray(arrays["J_regressor"], np.float64)
    identity = np.asarray(arrays["landmark_vertex_ids"], int)
    extra = np.asarray(arrays["J_regressor_extra"], np.float64)

    point_of, landmark = [], []
    for point, vertex in enumerate(identity):
        landmark.append((template[vertex], shapedirs[vertex], posedirs[vertex], weights[vertex], 1.0))
        point_of.append(point)
    for point, row in enumerate(extra, start=len(identity)):
        used = np.flatnonzero(row)
        mass = row[used, None] * weights[used]
        for joint in np.flatnonzero(mass.any(0)):
            share = mass[:, joint]
            landmark.append(
                (
                    share @ template[used],
                    np.tensordot(share, shapedirs[used], 1),
                    np.tensordot(share, posedirs[used], 1),
                    np.eye(jn.NUM_JOINTS)[joint],
                    share.sum(),
                )
            )
            point_of.append(point)
    points = np.array(point_of)
    fields = [np.stack(column) for column in zip(*landmark, strict=True)]

    ids = np.asarray(keypoint_ids, int)
    num_listed = jn.NUM_JOINTS + len(identity) + len(extra)
    if ids.min() < 0 or ids.max() >= num_listed:
        raise ValueError(f"keypoint_ids are {ids.min()} to {ids.max()}, the model has joints 0 to {num_listed - 1}.")
    needed = np.flatnonzero(np.isin(points, ids[ids >= jn.NUM_JOINTS] - jn.NUM_JOINTS))
    keypoint_sum = np.concatenate(
        [ids[:, None] == np.arange(jn.NUM_JOINTS), ids[:, None] - jn.NUM_JOINTS == points[needed]], axis=1
    )
    return SMPL(
        joint_template=_f32(regressor @ template),
        joint_shapedirs=_f32(np.tensordot(regressor, shapedirs, 1)),
        mesh=_points(template, shapedirs, posedirs, weights, np.ones(len(template))),
        tiles=tiles.arrange(weights),
        faces=jnp.asarray(np.asarray(arrays["f"]).astype(np.int32)),
        landmarks=_points(*fields),
        landmark_sum=_f32(np.arange(len(identity) + len(extra))[:, None] == points),
        keypoint_anchors=_points(*(column[needed] for column in fields)),
        keypoint_sum=_f32(keypoint_sum),
    )


def _points(
    template: np.ndarray, shapedirs: np.ndarray, posedirs: np.ndarray, weights: np.ndarray, mass: np.ndarray
) -> SkinnedPoints:
    """Anchors from arrays in a model file's layout."""
    directions = np.concatenate([shapedirs, posedirs], -1).transpose(2, 1, 0)
    return SkinnedPoints(
        template=_f32(template), directions=_f32(directions), rotation_weights=_f32(weights), mass=_f32(mass)
    )


def _check_shapes(body: SMPL, rotations: Array, betas: Array, translation: Array) -> None:
    chex.assert_shape([rotations, betas, translation], [(jn.NUM_JOINTS, 3, 3), (body.num_betas,), (3,)])


def _f32(array: np.ndarray) -> Array:
    return jnp.asarray(np.asarray(array, np.float32))


def skin(points: SkinnedPoints, skeleton: Skeleton) -> Array:
    """Posed anchors (A, 3)."""
    # Anchors are the last axis throughout, so that a CPU's vectors and a GPU's warps are full, and a batch of poses makes
    # each product one product with more rows.
    count = points.template.shape[0]
    table = points.directions.reshape(points.directions.shape[0], 3 * count)
    coefficients = jnp.concatenate([skeleton.betas, skeleton.feature])
    rest = points.template.T + _matmul(coefficients, table).reshape(3, count)
    columns = jnp.concatenate([skeleton.world, skeleton.offsets[..., None]], -1).transpose(1, 2, 0)
    blended = _matmul(columns.reshape(12, -1), points.rotation_weights.T).reshape(3, 4, count)
    *turned, offset = (jnp.squeeze(part, 1) for part in jnp.split(blended, 4, 1))
    moved = offset * points.mass
    for part, row in zip(turned, jnp.split(rest, 3), strict=True):
        # The transpose of a broadcast would be a sum over an axis of three, a separate slow kernel on CPUs.
        moved += part * jnp.concatenate([row] * 3)
    return moved.T


def _matmul(a: Array | np.ndarray, b: Array) -> Array:
    # Full precision: the reduced default precision of GPUs and TPUs would cause errors of centimetres.
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)


def _hops() -> tuple[np.ndarray, ...]:
    """Arrays (J,) of the ancestors of all joints at distances 1, 2, 4, and so on; -1 where there is none."""
    hops, hop = [], jn.PARENTS
    while (hop >= 0).any():
        hops.append(hop)
        hop = np.where(hop >= 0, hop[hop], -1)
    return tuple(hops)


def _path() -> np.ndarray:
    """Matrix (J, J): entry [i, j] is 1 where joint j lies on the path from the root to joint i, both ends included."""
    path = np.eye(jn.NUM_JOINTS, dtype=np.float32)
    for joint, parent in enumerate(jn.PARENTS[1:], start=1):
        path[joint] += path[parent]
    return path


_HOPS = _hops()
_PATH = _path()
_PATHS = np.concatenate([_PATH, _PATH - np.eye(jn.NUM_JOINTS, dtype=np.float32)])


def _above(world: Array, ancestor: np.ndarray) -> Array:
    """Rotation (J, 3, 3) of each joint's `ancestor` (J,); the identity for -1."""
    there = (ancestor >= 0)[:, None, None]
    return jnp.where(there, world[np.maximum(ancestor, 0)], jnp.eye(3, dtype=world.dtype))


def _bones(rest: Array) -> Array:
    """Position (J, 3) of each joint relative to its parent; of the root relative to the origin."""
    return _matmul(_BONES, rest)


_BONES = np.eye(jn.NUM_JOINTS, dtype=np.float32)
_BONES[np.arange(1, jn.NUM_JOINTS), jn.PARENTS[1:]] = -1


# 3x3 products are written elementwise: they fuse, stay in float32 on every device, and beat batched small products. Split,
# as the gradient of that is one concatenation, and of slices a sum of padded arrays.
def _compose(a: Array, b: Array) -> Array:
    return cast(Array, sum(x * y for x, y in zip(jnp.split(a, 3, -1), jnp.split(b, 3, -2), strict=True)))


def _rotate(a: Array, x: Array) -> Array:
    return cast(
        Array, sum(jnp.squeeze(c, -1) * y for c, y in zip(jnp.split(a, 3, -1), jnp.split(x, 3, -1), strict=True))
    )
