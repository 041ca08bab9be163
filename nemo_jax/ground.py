"""The floor and the world's up: one plane for all clips, and cameras that people hold nearly level.

A fit knows the world only up to a turn: field and cameras may lean together. `Params.ground` (5,) is the floor's height in
metres, how far up leans to x and to z, and how much higher than on the unposed body toes and heels stand, metres; where
hands may stand too it is (6,), and how much higher than `contact.HAND_RISE` wrists do is the last. After the fit
`level` turns field and cameras so that up is y and the floor is y = 0. Pixels stay as they are.

Detectors, shoes and bodies differ in where a toe or a heel is: in recordings of two databases the points of standing feet
are up to 3 cm lower or higher than on the unposed body, toes and heels against each other.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from body_models import smpl
from nemo_jax import camera as cam
from nemo_jax import contact, mirror
from nemo_jax.model import Params

Array = jax.Array

# Standard deviations of held cameras from level: roll, pitch.
ROLL, PITCH = np.radians(2.0), np.radians(15.0)
RISE = np.array([0.015, 0.015, 0.04])  # standard deviations of how much higher toes, heels and wrists stand, metres
_SOLE_WEIGHT = 0.05  # of the prior over it beside the mean over frames: as if there were twenty independent ones
_RISE_OF_POINTS = np.array([3, 4, 3, 4, 5, 5])  # in `Params.ground`, for `contact.POINTS`


def up(ground: Array, mirrored: Array) -> Array:
    """The direction (..., 3) that is up for instances with flags `mirrored` (...,), whose world is reflected in x = 0."""
    lean = jnp.stack([ground[1], jnp.ones_like(ground[1]), ground[2]])
    lean = lean / jnp.linalg.norm(lean)
    return jnp.where(mirrored[..., None] > 0.5, mirror.SIGN * lean, lean)


def with_floor(params: Params, rest: Array | None, keypoints: Array, exists: Array) -> Params:
    """The parameters with a first guess of the floor, from poses that the camera search has looked at.

    Args:
      params: where they have no floor, or `rest` is None, they stay as they are. rest (P,): `Assets.soles`.
      keypoints (N, P, 25, 3): of P poses of each instance, metres. exists (N,): whether it has frames.
    """
    if params.ground is None or rest is None:
        return params
    feet = keypoints[:, :, jnp.array(contact.FEET)]
    height = jax.vmap(heights, (None, 0, 0))(jnp.zeros(5), params.mirrored, feet) - rest[: len(contact.FEET)]
    mask = jnp.broadcast_to(exists[:, None], height.shape[:2])
    floor = contact.first_floor(height.reshape(-1, height.shape[-1]), mask.reshape(-1))
    return dataclasses.replace(params, ground=params.ground.at[0].set(floor))


def heights(ground: Array, mirrored: Array, points: Array) -> Array:
    """Heights (..., P), metres, of points (..., P, 3) above the floor; mirrored (...,)."""
    return jnp.sum(points * up(ground, mirrored)[..., None, :], -1) - ground[0]


def soles(ground: Array, unposed: Array) -> Array:
    """Heights (P,) of the first P of `contact.POINTS` above the floor when they stand; `unposed` (P,): `contact.soles`."""
    return unposed + ground[_RISE_OF_POINTS[: unposed.shape[-1]]]


def sole_loss(ground: Array) -> Array:
    """Surprise () at how much higher toes, heels and wrists stand than expected."""
    return _SOLE_WEIGHT * 0.5 * jnp.sum((ground[3:] / RISE[: len(ground) - 3]) ** 2)


def camera_loss(cameras: Array, ground: Array, mirrored: Array, moves: tuple[Array, Array] | None = None) -> Array:
    """Surprise (N,) at roll and pitch of cameras (N, 9), 0 where they are level; mirrored (N,).

    Cameras that move are meant to be level in all of their frames: who pans turns about what is up. moves: their turns
    (N, T, 3, 3) in frames, and which frames exist (N, T); None = all stand still.
    """
    rotation, _ = cam.split(cameras)
    seen = jnp.sum(rotation * up(ground, mirrored)[:, None, :], -1)
    surprise = lambda u: 0.5 * (u[..., 0] / np.sin(ROLL)) ** 2 + 0.5 * (u[..., 2] / np.sin(PITCH)) ** 2
    if moves is None:
        return surprise(seen)
    turns, exists = moves
    each = surprise(jnp.einsum("ntij,nj->nti", turns, seen, precision="highest"))
    return jnp.sum(each * exists, -1) / jnp.maximum(exists.sum(-1), 1)


def upright(direction: Array) -> Array:
    """The smallest rotation (3, 3) that turns a unit vector (3,), not pointing down, to y."""
    x, y, z = direction
    skew = jnp.array([[0.0, -x, 0.0], [x, 0.0, z], [0.0, -z, 0.0]])
    return jnp.eye(3) + skew + skew @ skew / (1 + y)


def level(params: Params, body: smpl.SMPL) -> Params:
    """The same fit in a world with y up and the floor at y = 0: field, paths and cameras are turned and moved together.

    The heads of the field are linear in the axes of the world, so their weights are turned.
    """
    if params.ground is None or params.path is None:
        return params
    floor = params.ground[0]
    turn = upright(up(params.ground, jnp.zeros(())))
    product = lambda a, b: jnp.matmul(a, b, precision="highest")
    sign = mirror.SIGN[:, None] * mirror.SIGN
    turns = jnp.where(params.mirrored[:, None, None] > 0.5, turn * sign, turn)

    def rotation_head(leaf: Array) -> Array:
        # Six numbers of each joint are a matrix (3, 2), row by row; only the root's is in world axes.
        parts = leaf.reshape(*leaf.shape[:-1], -1, 3, 2)
        return parts.at[..., 0, :, :].set(product(turn, parts[..., 0, :, :])).reshape(leaf.shape)

    field = dict(params.field)
    field["rotation"] = jax.tree.map(rotation_head, params.field["rotation"])
    field["translation"] = jax.tree.map(lambda leaf: product(leaf, turn.T), params.field["translation"])
    if "way" in field:
        field["way"] = product(params.field["way"], turn.T)

    # A body turns about its root joint, which is not at the origin of its own axes.
    roots = jax.vmap(lambda betas: smpl.rest_joints(body, betas)[0])(params.betas)
    moved = jnp.einsum("nij,nj->ni", turns, roots, precision="highest") - roots - floor * jnp.array([0.0, 1.0, 0.0])
    path = jnp.einsum("nij,nkj->nki", turns, params.path, precision="highest") + moved[:, None]
    rotation, translation = cam.split(params.cameras)
    rotation = product(rotation, jnp.swapaxes(turns, -1, -2))
    return dataclasses.replace(
        params,
        field=field,
        path=path,
        cameras=cam.join(rotation, translation + floor * rotation[:, :, 1]),
        ground=params.ground.at[:3].set(0.0),
    )
