"""Inverse kinematics: the motion of a body whose points move as given ones do, all frames of a clip at once.

What is given may come from a skeleton of another build, in another scale, with noise and outliers: so the directions of
bones are followed, not the points, robustly; the joint limits decide what the points leave open, the twist of a straight
arm above all; and a smooth turn over time carries each joint through frames in which its points are missing. The start is
closed form, joint by joint from the root outwards, each the turn that best aligns its bones (Wahba's problem). From there
Levenberg-Marquardt steps on all frames together, with the robust loss closing in.
"""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np

from body_models import joints as jn
from body_models import smpl
from body_models.pytree import pytree
from nemo_jax import block_banded, camera, ik_terms
from nemo_jax import rotations as rot
from nemo_jax.camera_search import nearest_known
from nemo_jax.ik_terms import Markers
from nemo_jax.lift import standing_pose
from nemo_jax.priors import JointLimits

Array = jax.Array

# A bone between given points nearer than this, in their metres, has no direction.
_SHORTEST = 1e-3


@dataclasses.dataclass(frozen=True)
class IKSettings:
    """How closely points are followed and how smoothly."""

    noise: float = 0.03  # sd of a bone's end across the view, metres
    depth_noise: float = 0.03  # the same along the view, which is what a single camera sees worst
    robust: float = 3.0  # sds at which a bone's end counts as an outlier
    robust_start: float = 6.0  # the same for the first step; steps between are in geometric progression
    limit_sd: float = 0.05  # radians by which a joint may pass its limits at the price of one noise
    limit_inside: float = 0.1  # pull to the middle of the limits, as in `priors.joint_limit_loss`
    acceleration_sd: float = 40.0  # of a joint's turn, rad/s^2
    acceleration_robust: float = 10.0  # accelerations beyond so many sd are real, not noise
    steady: float = 0.07  # sd in time of the robust averages of bones that the start is made from, seconds
    iterations: int = 10


@pytree
class IKSolution:
    """What was found for a clip of F frames.

    rotations (F, 24, 3, 3): of each joint against its parent; the root's against the camera.
    scale (): size of the given points against the body's. translation (F, 3): metres; the body's points stand at
      scale * point + translation among the given ones.
    residual (F,): root mean square distance of the given points to the body's in a frame, metres of the given points; 0
      where a frame has none.
    cost (iterations,): what was minimised, before each step, under that step's robust loss.
    """

    rotations: Array
    scale: Array
    translation: Array
    residual: Array
    cost: Array


def markers_on(body: smpl.SMPL, ids: np.ndarray, bones: np.ndarray, bone_weight: np.ndarray | None = None) -> Markers:
    """Markers at M of the 54 listed joints (`body_models.joints.ALL_JOINTS`), on the joint that moves each of them most.

    Args:
      body: the model, of mean shape. ids: (M,). bones: (B, 2), pairs of rows of `ids`. bone_weight: (B,), 1 by default.
    """
    rest = smpl.rest_joints(body, jnp.zeros(body.num_betas))
    skin = body.landmark_sum
    joint = jnp.concatenate([jnp.arange(jn.NUM_JOINTS), jnp.argmax(skin @ body.landmarks.rotation_weights, -1)])
    # An extra joint's anchors are shares of a position already; they add up.
    points = jnp.concatenate([rest, jnp.matmul(skin, body.landmarks.template, precision="highest")])
    weight = jnp.ones(len(bones)) if bone_weight is None else jnp.asarray(bone_weight, jnp.float32)
    return Markers(
        joint=joint[ids].astype(jnp.int32),
        offset=points[ids] - rest[joint[ids]],
        bones=jnp.asarray(bones, jnp.int32),
        bone_weight=weight,
    )


def solve(
    body: smpl.SMPL,
    markers: Markers,
    limits: JointLimits,
    points: Array,
    weights: Array,
    frame_mask: Array,
    fps: Array | float = 30.0,
    betas: Array | None = None,
    settings: IKSettings | None = None,
) -> IKSolution:
    """The motion of ONE clip of F frames.

    Args:
      body: the model. markers: which M points of it are given. limits: of its joints.
      points: (F, M, 3), in a camera's axes (x right, y down, z into the scene), any scale, any origin in each frame.
      weights: (F, M) in [0, 1]; what stands at a point of weight 0 may be anything, NaN too.
      frame_mask: (F,), 1 where a frame exists; what stands in the padding changes nothing elsewhere.
      fps: frames per second. betas: (S,) of the body, zeros by default. settings: see there; static.
    """
    settings = settings or IKSettings()
    num, size = points.shape[0], markers.joint.shape[0]
    chex.assert_shape([points, weights, frame_mask], [(num, size, 3), (num, size), (num,)])
    rest = smpl.rest_joints(body, jnp.zeros(body.num_betas) if betas is None else betas)
    weights = weights * frame_mask[:, None]
    points = jnp.where(weights[..., None] > 0, points, 0.0)
    target, bone_weight = _retarget(rest, markers, points, weights)
    # The start is a guess; the derivative of the result does not pass through it.
    rotations = jax.lax.stop_gradient(start(rest, markers, *_steadied(target, bone_weight, fps * settings.steady)))
    axis_sd = jnp.asarray([settings.noise, settings.noise, settings.depth_noise])
    # A second of motion counts the same at any frame rate.
    sd = settings.acceleration_sd / fps**2

    def terms(rotations: Array, robust: Array) -> tuple[ik_terms.Term, ik_terms.Coupling]:
        def frame(rotations: Array, target: Array, weight: Array) -> ik_terms.Term:
            bones = ik_terms.bone_term(rotations, rest, markers, target, weight, axis_sd, robust)
            limit = ik_terms.limit_term(rotations, limits, settings.limit_sd, settings.limit_inside)
            return jax.tree.map(jnp.add, bones, limit)

        smooth = ik_terms.smoothness_term(
            rotations, frame_mask, sd, settings.acceleration_robust * sd * robust / settings.robust
        )
        return jax.vmap(frame)(rotations, target, bone_weight), smooth

    def step(state: tuple[Array, Array], robust: Array) -> tuple[tuple[Array, Array], Array]:
        rotations, damping = state
        each, smooth = terms(rotations, robust)
        cost = each.cost.sum() + smooth.cost
        turn = -block_banded.solve(
            each.matrix + ik_terms.spread(smooth.diagonal) + damping[:, None, None] * jnp.eye(ik_terms.DIM),
            ik_terms.spread(smooth.first),
            ik_terms.spread(smooth.second),
            each.gradient + smooth.gradient,
        ).reshape(num, jn.NUM_JOINTS, 3)
        turned = rot.axis_angle_to_matrix(turn)
        moved = jnp.einsum("fjxy,fjyz->fjxz", rotations, turned, precision="highest")
        after, smooth = terms(moved, robust)
        better = after.cost.sum() + smooth.cost < cost  # False for NaN
        rotations = jnp.where(better, moved, rotations)
        # Frames that got worse hold back, so that they do not hold up the others.
        damping = jnp.where(after.cost <= each.cost, damping / 5, damping * 10)
        return (rotations, jnp.clip(damping, 1e-3, 1e5)), cost

    closing = jnp.geomspace(settings.robust_start, settings.robust, max(settings.iterations // 2, 1))
    scales = jnp.concatenate([closing, jnp.full(settings.iterations - closing.shape[0], settings.robust)])
    (rotations, _), cost = jax.lax.scan(step, (rotations, jnp.ones(num)), scales)
    rotations = _orthonormal(rotations)
    return IKSolution(rotations=rotations, cost=cost, **_placement(rest, markers, rotations, points, weights))


def start(rest: Array, markers: Markers, target: Array, weight: Array) -> Array:
    """First rotations (F, 24, 3, 3), from the root outwards: each joint takes the turn that best aligns its bones.

    A joint's bones are those it carries whole and no joint below it does; the bones of its children count a little, held as
    in a standing pose, which settles the twist of a bent limb. A joint without a bone in a frame turns as in the
    nearest frame that has one.

    Args:
      rest: (24, 3). target: (F, B, 3), the bones to follow, metres of this body. weight: (F, B), their weights.
    """
    standing = rot.axis_angle_to_matrix(jnp.asarray(standing_pose())).at[0].set(camera.level_camera(jnp.zeros(())))
    carried = jnp.asarray(ik_terms.ANCESTORS)[markers.joint]
    both = carried[markers.bones[:, 0]] * carried[markers.bones[:, 1]]  # (B, 24)
    depth = jnp.asarray(ik_terms.ANCESTORS.sum(-1))
    owner = jnp.argmax(both * depth, -1)
    parents = jnp.asarray(np.maximum(jn.PARENTS, 0))
    frames = jnp.arange(target.shape[0])
    chain = jax.vmap(smpl.forward_kinematics, (0, None))

    def align(rotations: Array, joint: Array) -> tuple[Array, None]:
        world, posed = chain(rotations, rest)
        placed = jax.vmap(ik_terms.place, (None, 0, 0))(markers, world, posed)
        bone = placed[:, markers.bones[:, 1]] - placed[:, markers.bones[:, 0]]
        own = (owner == joint) + 0.1 * ((parents[owner] == joint) & (owner != joint))
        share = weight * own
        seen = share.sum(-1)
        # The turn, in the camera, that brings the bones of the pose so far to their targets; the faint identity settles
        # the twist about a single bone.
        aligned = jnp.einsum("fb,fbx,fby->fxy", share, target, bone, precision="highest")
        size = jnp.sum(share * jnp.sum(target**2, -1), -1)
        turn = rot.project_to_rotation(aligned + (0.05 * size + 1e-6)[:, None, None] * jnp.eye(3))
        above = jnp.where(joint == 0, jnp.eye(3), world[:, parents[joint]])
        local = jnp.einsum("fyx,fyz,fzw->fxw", above, turn, world[:, joint], precision="highest")
        nearest = nearest_known((seen > 1e-6).astype(seen.dtype), frames)
        return rotations.at[:, joint].set(local[nearest]), None

    first = jnp.broadcast_to(standing, (target.shape[0], *standing.shape))
    return jax.lax.scan(align, first, jnp.arange(jn.NUM_JOINTS))[0]


def _retarget(rest: Array, markers: Markers, points: Array, weights: Array) -> tuple[Array, Array]:
    """The bones (F, B, 3) between the given points, each as long as the body's own, and their weights (F, B)."""
    first, last = markers.bones[:, 0], markers.bones[:, 1]
    bone = points[:, last] - points[:, first]
    square = jnp.sum(bone**2, -1)
    known = square > _SHORTEST**2
    unit = bone / jnp.sqrt(jnp.where(known, square, 1.0))[..., None]
    weight = markers.bone_weight * weights[:, first] * weights[:, last]
    return ik_terms.rest_lengths(markers, rest)[:, None] * unit, jnp.where(known, weight, 0.0)


def _steadied(target: Array, weight: Array, sd: Array | float) -> tuple[Array, Array]:
    """Robust averages (F, B, 3) of the bones over `sd` frames and their weights (F, B): a start without the outliers."""
    frames = jnp.arange(target.shape[0])
    near = jnp.exp(-0.5 * ((frames[:, None] - frames) / sd) ** 2)
    mean, total, trusted = target, weight, weight
    for _ in range(4):
        total = jnp.matmul(near, trusted, precision="highest")
        mean = jnp.einsum("fg,gb,gbx->fbx", near, trusted, target, precision="highest")
        mean = mean / jnp.maximum(total, 1e-6)[..., None]
        off = jnp.sum((target - mean) ** 2, -1) / jnp.maximum(jnp.sum(target**2, -1), 1e-6)
        trusted = weight / (1 + 10 * off) ** 2
    return mean, total


def _placement(rest: Array, markers: Markers, rotations: Array, points: Array, weights: Array) -> dict[str, Array]:
    """Scale and translations, by weighted least squares, that lay the body's points on the given ones."""
    world, posed = jax.vmap(smpl.forward_kinematics, (0, None))(rotations, rest)
    placed = jax.vmap(ik_terms.place, (None, 0, 0))(markers, world, posed)
    total = weights.sum(-1)
    share = weights / jnp.where(total > 0, total, 1.0)[:, None]
    middle, given = (jnp.sum(share[..., None] * x, 1) for x in (placed, points))
    a, b = placed - middle[:, None], points - given[:, None]
    size = jnp.sum(weights[..., None] * a * a)
    scale = jnp.where(size > 1e-9, jnp.sum(weights[..., None] * a * b) / jnp.where(size > 1e-9, size, 1.0), 1.0)
    square = jnp.sum(share * jnp.sum((scale * a - b) ** 2, -1), -1)
    residual = jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1.0)), 0.0)
    return {"scale": scale, "translation": given - scale * middle, "residual": residual}


def _orthonormal(rotations: Array) -> Array:
    """Products of many float32 rotations drift by an ulp each."""
    return rot.rotation_6d_to_matrix(rot.matrix_to_rotation_6d(rotations))
