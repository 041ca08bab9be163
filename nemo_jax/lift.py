"""Lifting: initial 3D poses for videos that come without any, fitted for each video alone from many initial directions.

Every frame of a video has its own pose and root position, regularised by smoothness over time and by the joint limits.
Because the yaw of the root is unknown, many yaws are tried and the best is kept. Nor is it known whether the person stands:
further starts are turned so that their trunks lie in the picture as the person's does in each frame, which covers people
who lie or turn over. A single video leaves depth ambiguous; the shared field resolves this later, so lifting only has to
give it a good enough initial value.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax

from body_models import joints as jn
from body_models import smpl
from body_models.pytree import pytree
from nemo_jax import camera as cam
from nemo_jax import camera_search, losses, model, moving, optim, reprojection, rotations
from nemo_jax import clips as clips_lib
from nemo_jax.clips import Clips
from nemo_jax.config import FitConfig
from nemo_jax.model import Assets
from nemo_jax.objective import Targets
from nemo_jax.priors import joint_limit_loss

Array = jax.Array

_ADAM = optax.scale_by_adam(eps_root=optim.ROOT_FLOOR)

# Weights relative to the keypoint term, in squared pixels of a person of `person_size`; chosen by hand.
_LIMITS, _TURN, _TURN_CHANGE, _STEP_CHANGE = 300.0, 30.0, 300.0, 300.0

# Joints of BODY_25 at the upper and the lower end of the trunk.
_UPPER, _LOWER = np.array([1, 2, 5]), np.array([8, 9, 12])
# How far the trunk of a turned start leans out of the picture, radians: away from the camera, not at all, towards it.
_LEANS = np.radians([-60.0, 0.0, 60.0])


def standing_pose() -> np.ndarray:
    """Axis-angle (24, 3) of someone standing with hanging arms and slightly bent knees and elbows."""
    pose = np.zeros((jn.NUM_JOINTS, 3), np.float32)
    for side, sign in (("left", 1.0), ("right", -1.0)):
        pose[jn.SMPL_JOINTS.index(f"{side}_shoulder"), 2] = -1.1 * sign
        pose[jn.SMPL_JOINTS.index(f"{side}_elbow"), 1] = -0.4 * sign
        pose[jn.SMPL_JOINTS.index(f"{side}_hip"), 0] = -0.2
        pose[jn.SMPL_JOINTS.index(f"{side}_knee"), 0] = 0.4
    return pose


@pytree
class Lift:
    """S candidate solutions of N videos at P key frames, upright starts first, and their Adam state.

    rotation_6d (S, N, P, 24, 6), the root seen from the camera of the frame; position (S, N, P, 3): the root joint in the
    axes of that camera, metres, with the logarithm of its depth; frames (N, P).
    """

    variables: tuple[Array, Array]
    adam: optax.OptState
    frames: Array


def begin(assets: Assets, config: FitConfig, clips: Clips) -> Lift:
    """Standing bodies at every yaw, then bodies whose trunks follow the person's, each placed by its keypoints."""
    frames = camera_search.key_frames(clips, config.lift_frames)
    pose = rotations.axis_angle_to_matrix(jnp.asarray(standing_pose()))
    shape = jnp.zeros(assets.body.num_betas)

    def start(roots: Array, instance: Array, frames: Array) -> tuple[Array, Array]:
        """Variables of ONE video whose roots are (P, 3, 3)."""
        turned = jax.vmap(pose.at[0].set)(roots)
        offset = -smpl.rest_joints(assets.body, shape)[0]
        body = jax.vmap(smpl.keypoints, (None, 0, None, None))(assets.body, turned, shape, offset)
        weight, pixels = reprojection.seen(clips, config, instance, frames)
        focal, principal = _focal(assets, clips, instance, frames), assets.principal[instance]

        def place(body: Array, pixels: Array, weight: Array, focal: Array) -> Array:
            return cam.solve_translation(body, pixels, weight, focal, principal)

        each = jax.vmap(place, (0, 0, 0, 0 if focal.ndim else None))(body, pixels, weight, focal)
        # The depth of single frames is noise while the pose is wrong: all frames share the median.
        enough = (weight > 0).sum(-1) >= 6
        depth = jnp.nanmedian(jnp.where(enough, each[:, 2], jnp.nan))
        depth = jnp.where(jnp.isnan(depth), jnp.median(each[:, 2]), depth)
        centre = jnp.sum(weight[..., None] * pixels, 1) / jnp.maximum(weight.sum(-1), 1e-6)[:, None]
        seen = weight.sum(-1) > 0
        nearest = jax.vmap(lambda i: camera_search.nearest_known(seen.astype(jnp.float32), i[None])[0])(
            jnp.arange(frames.shape[0])
        )
        ray = ((centre - principal) / (focal[:, None] if focal.ndim else focal))[nearest]
        position = jnp.concatenate([ray * depth, jnp.full((frames.shape[0], 1), jnp.log(depth))], -1)
        return rotations.matrix_to_rotation_6d(turned), position

    rows = jnp.arange(clips.num_instances)
    every = jax.vmap(jax.vmap(start), (0, None, None))
    level = cam.level_camera(jnp.linspace(0.0, 2 * jnp.pi, config.lift_yaws, endpoint=False))
    upright = jnp.broadcast_to(level[:, None, None], (config.lift_yaws, *frames.shape, 3, 3))
    if (views := moving.of_frames(clips, rows[:, None], frames)) is not None:
        # Who stands still turns in the picture of a camera that turns.
        upright = jnp.einsum(
            "npij,snpjk->snpik", moving.turns(views, assets.focal[:, None]), upright, precision="highest"
        )
    variables = every(upright, rows, frames)
    if config.lift_turned:
        turned = _turned(jax.vmap(lambda i, at: _trunks(clips, config, i, at))(rows, frames), config.lift_turned)
        leaning = [every(roots, rows, frames) for roots in turned]
        empty = Lift(variables=variables, adam=_ADAM.init(variables), frames=frames)
        values = jnp.stack([lift_losses(empty, one, assets, config, clips) for one in leaning])
        # Of all leans of a start, the one that the keypoints fit best before anything has moved.
        best = jnp.argmin(values, 0)
        pick = lambda *leaves: jnp.take_along_axis(
            jnp.stack(leaves), best.reshape(1, *best.shape, *[1] * (leaves[0].ndim - 2)), 0
        )[0]
        chosen = jax.tree.map(pick, *leaning)
        variables = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), variables, chosen)
    return Lift(variables=variables, adam=_ADAM.init(variables), frames=frames)


def _trunks(clips: Clips, config: FitConfig, instance: Array, frames: Array) -> Array:
    """Directions (P, 2) in the picture from the hips to the shoulders of ONE video, smooth over time; up where unseen."""
    weight, pixels = reprojection.seen(clips, config, instance, frames)

    def middle(ids: np.ndarray) -> tuple[Array, Array]:
        own = weight[:, ids]
        total = own.sum(-1)
        return jnp.einsum("pk,pkc->pc", own, pixels[:, ids]) / jnp.maximum(total, 1e-6)[:, None], total

    (high, seen_high), (low, seen_low) = middle(_UPPER), middle(_LOWER)
    seen = (seen_high > 0) & (seen_low > 0)
    trunk = jnp.where(seen[:, None], high - low, 0.0)
    apart = jnp.arange(frames.shape[0])[:, None] - jnp.arange(frames.shape[0])
    # Narrow where frames are seen; the flat part reaches across long gaps.
    smooth = (jnp.exp(-0.5 * apart**2) + 1e-4) @ trunk + jnp.array([0.0, -1e-6])
    return smooth / jnp.maximum(jnp.linalg.norm(smooth, axis=-1, keepdims=True), 1e-9)


def _turned(trunks: Array, count: int) -> Array:
    """Root orientations (leans, S, N, P, 3, 3) at S yaws about the trunk, whose directions in the picture are (N, P, 2)."""
    sin, cos, zero = trunks[..., 0], -trunks[..., 1], jnp.zeros(trunks.shape[:-1])
    rows = [[cos, -sin, zero], [sin, cos, zero], [zero, zero, zero + 1]]
    rolls = jnp.stack([jnp.stack(row, -1) for row in rows], -2)
    leans = rotations.axis_angle_to_matrix(jnp.asarray(_LEANS)[:, None] * jnp.array([1.0, 0.0, 0.0]))
    yaws = cam.level_camera(jnp.linspace(0.0, 2 * jnp.pi, count, endpoint=False))
    return jnp.einsum("npij,ljk,skm->lsnpim", rolls, leans, yaws, precision="highest")


def lift_losses(lift: Lift, variables: tuple[Array, Array], assets: Assets, config: FitConfig, clips: Clips) -> Array:
    """Loss (S, N) of every candidate of every video."""
    shape = jnp.zeros(assets.body.num_betas)
    offset = -smpl.rest_joints(assets.body, shape)[0]

    def frame(six: Array, position: Array, instance: Array, index: Array) -> Array:
        rotation = rotations.rotation_6d_to_matrix(six)
        depth = jnp.exp(jnp.clip(position[2], -1.0, 8.0))
        root = jnp.stack([position[0], position[1], depth])
        body = smpl.keypoints(assets.body, rotation, shape, offset + root)
        focal = _focal(assets, clips, instance, index)
        pixels = cam.project(body, focal, assets.principal[instance], config.near)
        weight, seen = reprojection.seen(clips, config, instance, index)
        residual = reprojection.residuals(pixels, seen, weight, assets.pixel_scale[instance])
        # Not `reprojection.loss`: the weights of the other terms are chosen for this kind, whichever the fit has.
        each = losses.robust(residual, config.robust_scale)
        value = jnp.mean(weight[:, None] * each)
        if assets.priors.joint_limits is not None:
            value += _LIMITS * joint_limit_loss(assets.priors.joint_limits, model.body_pose(rotation))
        return value

    def video(six: Array, position: Array, instance: Array, frames: Array) -> Array:
        data = jax.vmap(frame, (0, 0, None, 0))(six, position, instance, frames)
        six, position = _in_reference(six, position, clips, instance, frames)
        turn, step = jnp.diff(six, axis=0), jnp.diff(position, axis=0)
        smooth = _TURN * jnp.sum(turn**2, (-2, -1)).mean()
        smooth += _TURN_CHANGE * jnp.sum(jnp.diff(turn, axis=0) ** 2, (-2, -1)).mean() / 4
        smooth += _STEP_CHANGE * jnp.sum(jnp.diff(step, axis=0) ** 2, -1).mean()
        return data.mean() + smooth

    over_instances = jax.vmap(video, (0, 0, 0, 0))
    return jax.vmap(over_instances, (0, 0, None, None))(*variables, jnp.arange(clips.num_instances), lift.frames)


def step(
    lift: Lift, assets: Assets, config: FitConfig, clips: Clips, rate: Array | float
) -> tuple[Lift, dict[str, Array]]:
    """One Adam step of every candidate."""

    def total(variables: tuple[Array, Array]) -> tuple[Array, Array]:
        values = lift_losses(lift, variables, assets, config, clips)
        return values.sum(), values

    (_, values), gradient = jax.value_and_grad(total, has_aux=True)(lift.variables)
    updates, state = _ADAM.update(gradient, lift.adam)
    moved = jax.tree.map(lambda x, u: x - rate * u, lift.variables, updates)
    replaced = dataclasses.replace(lift, variables=moved, adam=state)
    return replaced, {"lift": values.min(0).mean(where=clips_lib.which_real(clips))}


def finish(lift: Lift, assets: Assets, config: FitConfig, clips: Clips, targets: Targets) -> Targets:
    """Targets in which instances without initial poses get those of the best candidate, interpolated to every frame."""
    values = lift_losses(lift, lift.variables, assets, config, clips)
    # Most people stand: a turned start must be clearly better.
    upright = jnp.arange(values.shape[0])[:, None] < config.lift_yaws
    winner = jnp.argmin(jnp.where(upright, values, (1 + config.lift_margin) * values), axis=0)
    six = lift.variables[0][winner, jnp.arange(winner.shape[0])]
    phase = clips_lib.clip_phase(clips) * (config.lift_frames - 1)
    low = jnp.clip(jnp.floor(phase).astype(jnp.int32), 0, config.lift_frames - 2)
    blend = (phase - low)[..., None, None]
    rows = jnp.arange(clips.num_instances)[:, None]
    six = _steady_roots(six, moving.of_frames(clips, rows, lift.frames))
    lifted = rotations.rotation_6d_to_matrix((1 - blend) * six[rows, low] + blend * six[rows, low + 1])
    without = targets.mask.sum(-1) == 0
    pick = without[:, None, None, None]
    return dataclasses.replace(
        targets,
        pose=jnp.where(pick, rotations.matrix_to_axis_angle(lifted), targets.pose),
        rotations=jnp.where(pick[..., None], lifted, targets.rotations),
        mask=jnp.where(without[:, None], clips.frame_mask, targets.mask),
        weight=jnp.where(without, config.lift_trust, targets.weight),
    )


def _focal(assets: Assets, clips: Clips, instance: Array, frames: Array) -> Array:
    """Focal length of ONE video in frames (...): of its shape where the video zooms, else ()."""
    views = moving.of_frames(clips, instance, frames)
    return assets.focal[instance] if views is None else assets.focal[instance] * views.zoom


def _steady_roots(six: Array, views: moving.Views) -> Array:
    """Rotations (..., 24, 6) whose roots are seen from cameras of frames (...), with roots seen from the reference."""
    if views is None:
        return six
    root = six[..., 0, :].reshape(*six.shape[:-2], 3, 2)
    return six.at[..., 0, :].set(moving.to_reference(views, root).reshape(*six.shape[:-2], 6))


def _in_reference(six: Array, position: Array, clips: Clips, instance: Array, frames: Array) -> tuple[Array, Array]:
    """Variables of P frames of ONE video as what is smooth over time where its camera moves: positions are two axes of the
    reference camera and the logarithm of the distance, which no turn changes."""
    views = moving.of_frames(clips, instance, frames)
    if views is None:
        return six, position
    depth = jnp.exp(jnp.clip(position[:, 2:], -1.0, 8.0))
    place = moving.to_reference(views, jnp.concatenate([position[:, :2], depth], -1)[..., None])[..., 0]
    distance = 0.5 * jnp.log(jnp.sum(place**2, -1, keepdims=True))
    return _steady_roots(six, views), jnp.concatenate([place[:, :2], distance], -1)
