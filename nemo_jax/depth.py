"""What no clip shows: trust in the given first poses along the viewing axis.

A camera says nothing of how far away a joint is; other clips of the action do, if their cameras stand elsewhere. Where all
cameras stand on one side nobody does, and a fit that follows its keypoints may lean, cross its legs or bend back its hips.
There the first poses are the best that is known, so the directions of limbs are compared with theirs along the viewing axis,
pelvis included, the more the less the other cameras see of that axis.

What the others show of a clip holds only as far as it does what they do, and at first its code does not tell them apart:
who begins turned away from where the others begin could stay halfway. So when everything begins to be fitted the first poses
count for every clip.
"""

import dataclasses

import jax
import jax.numpy as jnp

from body_models import smpl
from nemo_jax import camera as cam
from nemo_jax import clips as clips_lib
from nemo_jax import moving, rotations
from nemo_jax.clips import Clips
from nemo_jax.config import FitConfig
from nemo_jax.model import Assets, Prediction
from nemo_jax.priors.limbs import directions

Array = jax.Array


def unseen(cameras: Array, clips: Clips) -> Array:
    """How little (N,), 0 to 1, the clips together show of each one's viewing axis; cameras (N, 9).

    A camera at an angle a to the axis sees sin(a) of a length along it. 1 = all look along it, 0 = one looks across.
    """
    axes = cam.split(cameras)[0][:, 2]
    along = jnp.einsum("ic,jc->ij", axes, axes, precision="highest") ** 2
    real = clips_lib.which_real(clips)
    if real is not None:
        along = jnp.where(real, along, 1.0)
    return jnp.clip(along.min(1), 0.0, 1.0) ** 2


def along_axis(pose: Array, mask: Array, body: smpl.SMPL) -> Array:
    """What the directions of limbs (..., 14) of given poses have along the viewing axis.

    Args:
      pose: (..., 24, 3), axis-angle, the root relative to the camera. mask: (...), where it is 0 a pose may hold any value,
        including NaN; the body is at rest there. body: its shape is that of zero betas.
    """
    rest = smpl.rest_joints(body, jnp.zeros(body.num_betas))

    def one(pose: Array, mask: Array) -> Array:
        turns = rotations.axis_angle_to_matrix(jnp.where(mask > 0, pose, 0.0))
        return directions(smpl.forward_kinematics(turns, rest)[1], jnp.eye(3))[:, 2]

    return jnp.vectorize(one, signature="(j,a),()->(l)")(pose, mask)


def with_given(assets: Assets, clips: Clips, config: FitConfig) -> Assets:
    """The assets with `given_depth`, which no step then computes anew, if the configuration compares depths."""
    if config.init_space == "axis_angle":
        return assets
    mask = jnp.asarray(clips_lib.posed_frames(clips))
    return dataclasses.replace(assets, given_depth=along_axis(jnp.asarray(clips.init_pose), mask, assets.body))


def depth_residuals(
    prediction: Prediction, cameras: Array, assets: Assets, clips: Clips, instance: Array, frame: Array
) -> Array:
    """Differences (B, 14) of limbs' directions along the viewing axis from those of given first poses, weighted by the root
    of `unseen`; 0 in frames without a given pose.

    Args:
      prediction: of the frames, leaves (B, ...). cameras: (N, 9) say in which directions to look, and get no gradient.
      assets: the body. clips: all of them. instance, frame: (B,) int, of the frames.
    """
    weight, apart = _apart(prediction, cameras, assets, clips, instance, frame, 0.0)
    return jnp.sqrt(weight)[:, None] * apart


def depth_loss(
    prediction: Prediction,
    cameras: Array,
    assets: Assets,
    clips: Clips,
    instance: Array,
    frame: Array,
    least: Array | float = 0.0,
) -> Array:
    """Sum (B,) of the squares of `depth_residuals`, where each clip has the weight `least` at least instead of `unseen`."""
    weight, apart = _apart(prediction, cameras, assets, clips, instance, frame, least)
    # Not the residuals squared: the root of a weight of 0 has no derivative by `least`.
    return weight * jnp.sum(apart**2, -1)


def _apart(
    prediction: Prediction,
    cameras: Array,
    assets: Assets,
    clips: Clips,
    instance: Array,
    frame: Array,
    least: Array | float,
) -> tuple[Array, Array]:
    """Weights (B,) of the frames and differences (B, 14) along the viewing axis."""
    cameras = jax.lax.stop_gradient(cameras)
    at = (instance, frame)
    mask = clips_lib.posed_frames(clips)[at]
    known = assets.given_depth
    given = along_axis(clips.init_pose[at], mask, assets.body) if known is None else known[at]
    camera_from_world = moving.camera_rotations(cameras, clips, instance, frame)
    found = jax.vmap(directions)(prediction.joints, jnp.swapaxes(camera_from_world, -1, -2))
    weight = mask * jnp.maximum(unseen(cameras, clips), least)[instance]
    return weight, found[..., 2] - given
