"""First 3D poses for videos that come without any: each video alone, from many yaws, the best kept.

Every frame of a video gets its own free pose and root position, tied by smoothness in time and by the joint limits; a
body facing every direction is tried, because the yaw of the root is unknown. Depth stays ambiguous here, and it is
the shared field that resolves it afterwards; this only has to start it on the right side.
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
from nemo_jax import camera_search, losses, model, optim, rotations
from nemo_jax import clips as clips_lib
from nemo_jax.clips import Clips
from nemo_jax.config import FitConfig
from nemo_jax.model import Assets
from nemo_jax.objective import Targets, keypoint_weights
from nemo_jax.priors import joint_limit_loss

Array = jax.Array

_ADAM = optax.scale_by_adam(eps_root=optim.ROOT_FLOOR)

# Weights against the keypoint term, in squared pixels of a person of `person_size`; chosen by hand.
_LIMITS, _TURN, _TURN_CHANGE, _STEP_CHANGE = 300.0, 30.0, 300.0, 300.0


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
    """S starts of N videos at P key frames, and their Adam state.

    rotation_6d (S, N, P, 24, 6), the root seen from the camera; position (S, N, P, 3): the root joint against the
    camera, metres, its depth as a logarithm; frames (N, P).
    """

    variables: tuple[Array, Array]
    adam: optax.OptState
    frames: Array


def begin(assets: Assets, config: FitConfig, clips: Clips) -> Lift:
    """Standing bodies at every yaw, each placed by its keypoints."""
    frames = camera_search.key_frames(clips, config.lift_frames)
    pose = rotations.axis_angle_to_matrix(jnp.asarray(standing_pose()))
    yaws = jnp.linspace(0.0, 2 * jnp.pi, config.lift_yaws, endpoint=False)
    shape = jnp.zeros(assets.body.num_betas)

    def start(yaw: Array, instance: Array, frames: Array) -> tuple[Array, Array]:
        turned = pose.at[0].set(cam.level_camera(yaw))
        body = smpl.keypoints(assets.body, turned, shape, -smpl.rest_joints(assets.body, shape)[0])
        weight = keypoint_weights(clips, config, instance, frames)
        # What stands at an undetected joint may be anything, NaN too.
        pixels = jnp.where(weight[..., None] > 0, clips.keypoints[instance, frames], 0.0)
        focal, principal = assets.focal[instance], assets.principal[instance]

        def place(pixels: Array, weight: Array) -> Array:
            return cam.solve_translation(body, pixels, weight, focal, principal)

        each = jax.vmap(place)(pixels, weight)
        # The depth of single frames is noise while the pose is wrong: all frames share the median.
        enough = (weight > 0).sum(-1) >= 6
        depth = jnp.nanmedian(jnp.where(enough, each[:, 2], jnp.nan))
        depth = jnp.where(jnp.isnan(depth), jnp.median(each[:, 2]), depth)
        centre = jnp.sum(weight[..., None] * pixels, 1) / jnp.maximum(weight.sum(-1), 1e-6)[:, None]
        seen = weight.sum(-1) > 0
        nearest = jax.vmap(lambda i: camera_search.nearest_known(seen.astype(jnp.float32), i[None])[0])(
            jnp.arange(frames.shape[0])
        )
        ray = ((centre - principal) / focal)[nearest]
        position = jnp.concatenate([ray * depth, jnp.full((frames.shape[0], 1), jnp.log(depth))], -1)
        six = rotations.matrix_to_rotation_6d(turned)
        return jnp.broadcast_to(six, (frames.shape[0], *six.shape)), position

    over_instances = jax.vmap(start, (None, 0, 0))
    variables = jax.vmap(over_instances, (0, None, None))(yaws, jnp.arange(clips.num_instances), frames)
    return Lift(variables=variables, adam=_ADAM.init(variables), frames=frames)


def lift_losses(lift: Lift, variables: tuple[Array, Array], assets: Assets, config: FitConfig, clips: Clips) -> Array:
    """Loss (S, N) of every start of every video."""
    shape = jnp.zeros(assets.body.num_betas)
    offset = -smpl.rest_joints(assets.body, shape)[0]

    def frame(six: Array, position: Array, instance: Array, index: Array) -> Array:
        rotation = rotations.rotation_6d_to_matrix(six)
        depth = jnp.exp(jnp.clip(position[2], -1.0, 8.0))
        root = jnp.stack([position[0], position[1], depth])
        body = smpl.keypoints(assets.body, rotation, shape, offset + root)
        pixels = cam.project(body, assets.focal[instance], assets.principal[instance], config.near)
        weight = keypoint_weights(clips, config, instance, index)
        residual = jnp.where(weight[:, None] > 0, pixels - clips.keypoints[instance, index], 0.0)
        each = losses.robust(residual * assets.pixel_scale[instance], config.robust_scale)
        value = jnp.mean(weight[:, None] * each)
        if assets.priors.joint_limits is not None:
            value += _LIMITS * joint_limit_loss(assets.priors.joint_limits, model.body_pose(rotation))
        return value

    def video(six: Array, position: Array, instance: Array, frames: Array) -> Array:
        data = jax.vmap(frame, (0, 0, None, 0))(six, position, instance, frames)
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
    """One Adam step of every start."""

    def total(variables: tuple[Array, Array]) -> tuple[Array, Array]:
        values = lift_losses(lift, variables, assets, config, clips)
        return values.sum(), values

    (_, values), gradient = jax.value_and_grad(total, has_aux=True)(lift.variables)
    updates, state = _ADAM.update(gradient, lift.adam)
    moved = jax.tree.map(lambda x, u: x - rate * u, lift.variables, updates)
    replaced = dataclasses.replace(lift, variables=moved, adam=state)
    return replaced, {"lift": values.min(0).mean(where=clips_lib.which_real(clips))}


def finish(lift: Lift, assets: Assets, config: FitConfig, clips: Clips, targets: Targets) -> Targets:
    """Targets with the best start's poses, interpolated to every frame, for the instances that had none of their own."""
    winner = jnp.argmin(lift_losses(lift, lift.variables, assets, config, clips), axis=0)
    six = lift.variables[0][winner, jnp.arange(winner.shape[0])]
    phase = clips_lib.raw_phase(clips) * (config.lift_frames - 1)
    low = jnp.clip(jnp.floor(phase).astype(jnp.int32), 0, config.lift_frames - 2)
    blend = (phase - low)[..., None, None]
    rows = jnp.arange(clips.num_instances)[:, None]
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
