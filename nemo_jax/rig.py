"""Rigs: cameras of one take whose places and directions against each other are known from a calibration.

What a fit learns of a rig is one rigid transform, where it stands in the world of the motion. That is the camera of its
first clip, the leader; the cameras of the others follow from it. `Params.cameras` holds all of them as if each had been
learned, so that whoever reads a camera need not know of rigs: before a step `pulled` turns the gradient into that of the
leaders, and after it `held` puts the others where the rig has them. The world of the calibration, its vertical included,
plays no part.
"""

import jax
import jax.numpy as jnp

from body_models.pytree import pytree
from nemo_jax import camera as cam
from nemo_jax.clips import Clips

Array = jax.Array


@pytree
class Rig:
    """The rigs of N clips.

    leader (N, N): the row of a clip is 1 at the leader of its rig, which is itself where its camera is not known. same
    (N, N): 1 for clips of one rig. rotation (N, 3, 3), translation (N, 3) metres: each camera from the one of its leader,
    so that points in the axes of the leader's camera come to its own.
    """

    leader: Array
    same: Array
    rotation: Array
    translation: Array


def of_clips(clips: Clips) -> Rig | None:
    """The rigs that known cameras of takes form; None if no camera is known."""
    if clips.camera_known is None or clips.take is None:
        return None
    known, take = jnp.asarray(clips.camera_known), jnp.asarray(clips.take)
    is_known = ~jnp.isnan(known).any(-1)
    both = (take[:, None] == take) & is_known & is_known[:, None]
    same = both | jnp.eye(take.shape[0], dtype=bool)
    leader = jax.nn.one_hot(jnp.argmax(same, -1), take.shape[0])
    level = cam.join(jnp.eye(3), jnp.zeros(3))
    rotation, translation = cam.split(jnp.where(is_known[:, None], known, level))
    first_rotation, first_translation = (
        jnp.tensordot(leader, leaf, 1, precision="highest") for leaf in (rotation, translation)
    )
    relative = jnp.einsum("nij,nkj->nik", rotation, first_rotation, precision="highest")
    moved = jnp.einsum("nij,nj->ni", relative, first_translation, precision="highest")
    return Rig(leader=leader, same=same.astype(jnp.float32), rotation=relative, translation=translation - moved)


def follows(rig: Rig) -> Array:
    """Whether (N,) a clip's camera follows from that of another."""
    return jnp.diagonal(rig.leader) < 0.5


def in_rig(rig: Rig) -> Array:
    """Whether (N,) a clip's camera is one of several in a rig."""
    return rig.same.sum(-1) > 1.5


def seen_from(rig: Rig, leaders: Array) -> Array:
    """The cameras (..., N, 9) under which the leader of each clip has the camera leaders (..., N, 9)."""
    rotation, translation = cam.split(leaders)
    turned = jnp.einsum("nij,...njk->...nik", rig.rotation, rotation, precision="highest")
    moved = jnp.einsum("nij,...nj->...ni", rig.rotation, translation, precision="highest")
    return cam.join(turned, moved + rig.translation)


def leading(rig: Rig, cameras: Array) -> Array:
    """The inverse of `seen_from`: the camera (..., N, 9) that the leader of each clip has under the clip's own one."""
    rotation, translation = cam.split(cameras)
    turned = jnp.einsum("nji,...njk->...nik", rig.rotation, rotation, precision="highest")
    moved = jnp.einsum("nji,...nj->...ni", rig.rotation, translation - rig.translation, precision="highest")
    return cam.join(turned, moved)


def held(rig: Rig | None, cameras: Array) -> Array:
    """Cameras (..., N, 9) in which those that follow are where their rig has them; the others stay as they are."""
    if rig is None:
        return cameras
    leaders = jnp.einsum("nm,...mc->...nc", rig.leader, cameras, precision="highest")
    return jnp.where(follows(rig)[:, None], seen_from(rig, leaders), cameras)


def pulled(rig: Rig | None, cameras: Array, gradient: Array) -> Array:
    """The gradient (..., N, 9) at cameras (..., N, 9) that belongs to leaders and single ones, 0 of those that follow."""
    if rig is None:
        return gradient
    return jax.vjp(lambda free: held(rig, free), cameras)[1](gradient)[0]


def shared(rig: Rig | None, values: Array) -> Array:
    """Values (..., N) of clips replaced by their mean over the clips of a rig."""
    if rig is None:
        return values
    return jnp.einsum("nm,...m->...n", rig.same / rig.same.sum(-1, keepdims=True), values, precision="highest")
