"""Cameras that turn and zoom where they stand: the known motion of each frame's camera beside the clip's learned one.

The learned camera is that of a reference frame, in general the first. The camera of a frame stands in the same place; a
point at X in the axes of the reference camera is at turn X in its axes, and its focal length is `zoom` times that of the
reference (`Clips.camera_turn`, `Clips.zoom`). Two such pictures differ by an exact homography, whatever is in them (Hartley
and Zisserman, section 8.4), so what is solved in closed form for a still camera is solved for keypoints that `steady` has
moved to where the reference camera would see them.

Who finds turns in pictures sees shifts of pixels and needs a focal length to call them angles. Where that was a guess,
`Clips.turn_focal`, and a fit comes to another focal length, pan and tilt are scaled so that the shifts stay what they were.
"""

import jax
import jax.numpy as jnp

from body_models.pytree import pytree
from nemo_jax import camera as cam
from nemo_jax import rotations
from nemo_jax.clips import Clips

Array = jax.Array

_LEAST_COSINE = 0.2  # of the angle to the reference axis, beyond which a pixel has no place in the reference picture


@pytree
class View:
    """How the camera of a frame differs from that of its clip. Leading axes (...) of any frames.

    turn (..., 3, 3): frame's camera from the reference camera, a rotation. zoom (...,): focal length of the frame over
    that of the reference. focal (...,): pixels, the focal length with which the turn was found; NaN or None = it is a
    measured angle, right for any lens.
    """

    turn: Array
    zoom: Array
    focal: Array | None = None


Views = View | None
"""None = the cameras stand still."""


def of_frames(clips: Clips, instance: Array, frame: Array) -> Views:
    """The views of frames; None where all cameras stand still. instance, frame: int, shapes that broadcast to (...)."""
    if clips.camera_turn is None or clips.zoom is None:
        return None
    turn, zoom = jnp.asarray(clips.camera_turn)[instance, frame], jnp.asarray(clips.zoom)[instance, frame]
    # Padding holds zeros, which are no camera.
    exists = zoom > 0
    focal = None
    if clips.turn_focal is not None:
        focal = jnp.broadcast_to(jnp.asarray(clips.turn_focal)[instance], zoom.shape)
    return View(
        turn=jnp.where(exists[..., None, None], turn, jnp.eye(3)), zoom=jnp.where(exists, zoom, 1.0), focal=focal
    )


def camera_rotations(cameras: Array, clips: Clips, instance: Array, frame: Array) -> Array:
    """Rotations (B, 3, 3) from world to camera axes of frames; cameras (N, 9). instance, frame: (B,) int."""
    found = cam.split(cameras)[0][instance]
    view = of_frames(clips, instance, frame)
    return found if view is None else jnp.einsum("bij,bjk->bik", view.turn, found, precision="highest")


def every(clips: Clips) -> Views:
    """The views (N, T) of all frames; None where all cameras stand still."""
    return of_frames(clips, jnp.arange(clips.num_instances)[:, None], jnp.arange(clips.num_frames))


def turns(view: View, focal: Array) -> Array:
    """The turns (..., 3, 3) under focal lengths (...,), pixels, of the reference: pan and tilt as large as the lens makes
    them."""
    if view.focal is None:
        return view.turn
    known = ~jnp.isnan(view.focal)
    share = jnp.where(known, jnp.where(known, view.focal, 1.0) / focal, 1.0)
    angles = rotations.matrix_to_axis_angle(view.turn)
    # The roll is seen as it is.
    scaled = angles * jnp.stack([share, share, jnp.ones_like(share)], -1)
    return rotations.axis_angle_to_matrix(scaled)


def of_clips(clips: Clips, focal: Array) -> tuple[Array, Array] | None:
    """The turns (N, T, 3, 3) of all frames under focal lengths (N,), pixels, and which frames exist (N, T); None where all
    cameras stand still."""
    view = every(clips)
    return None if view is None else (turns(view, focal[:, None]), jnp.asarray(clips.frame_mask))


def look(view: Views, points: Array, focal: Array) -> tuple[Array, Array]:
    """Points (P, 3) in the axes of the reference camera as the camera of ONE frame has them, and its focal length ().

    focal: () pixels, of the reference. None = the camera stands still: both as they are.
    """
    if view is None:
        return points, focal
    return turned(points, turns(view, focal)), focal * view.zoom


def turned(points: Array, rotation: Array) -> Array:
    """Points (..., 3) turned by ONE rotation (3, 3)."""
    # By sums, which no accelerator rounds as it rounds the products of matrices.
    return (
        points[..., 0, None] * rotation[:, 0]
        + points[..., 1, None] * rotation[:, 1]
        + points[..., 2, None] * rotation[:, 2]
    )


def steady(view: Views, pixels: Array, weight: Array, focal: Array, principal: Array) -> tuple[Array, Array]:
    """Where the reference camera would see what ONE frame shows at pixels (K, 2), and their weights (K,).

    Rays far from its axis, such as those of a wide pan, have no place in its picture: weight 0, at the principal point.
    focal: () pixels, of the reference. principal: (2,) pixels. None = the camera stands still: both as they are.
    """
    if view is None:
        return pixels, weight
    ray = jnp.concatenate([(pixels - principal) / (focal * view.zoom), jnp.ones_like(pixels[..., :1])], -1)
    back = turned(ray, turns(view, focal).T)
    seen = back[..., 2:] > _LEAST_COSINE * jnp.sqrt(jnp.sum(ray**2, -1, keepdims=True))
    at = jnp.where(seen, back[..., :2] / jnp.where(seen, back[..., 2:], 1.0), 0.0)
    return principal + focal * at, weight * seen[..., 0]


def steady_frames(views: Views, pixels: Array, weight: Array, focal: Array, principal: Array) -> tuple[Array, Array]:
    """`steady` of P frames of one clip: views (P,), pixels (P, K, 2), weight (P, K), focal (), principal (2,)."""
    return jax.vmap(steady, (0, 0, 0, None, None))(views, pixels, weight, focal, principal)


def to_reference(view: Views, rotation: Array) -> Array:
    """Rotations (..., 3, C) in the axes of frames' cameras (...) in those of the reference camera, by the turns as given."""
    if view is None:
        return rotation
    return jnp.einsum("...ji,...jc->...ic", view.turn, rotation, precision="highest")
