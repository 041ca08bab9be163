"""Errors of motion in the world, as the field reports them, one pure function each, over masked frames.

Joints are (T, K, 3) in metres in any world, masks (T,) with 1 where the frame exists, frame rates (); batch with
`jax.vmap`. The definitions are those of WHAM (Shin et al., CVPR 2024, section 4 and its evaluation code), which takes
W-MPJPE and WA-MPJPE from SLAHMR (Ye et al., CVPR 2023, section 4). Where WHAM counts frames of videos of 30 per second,
these functions take the clip's own rate and are the same at 30. The mean of an empty set is NaN.
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np

from nemo_jax import metrics

Array = jax.Array

CHUNK = 100  # frames
CONTACT_SPEED = 0.3  # metres per second: 1 cm a frame at 30 frames per second
CONTACT_HEIGHT = 0.08  # metres, above the lowest point
TOLERATED = 0.02  # metres
_MODELLED_FPS = 30.0
# Big toes and heels, BODY_25: SMPL's vertices 3216, 3387, 6617 and 6787, the four that WHAM takes.
FOOT_POINTS = (19, 21, 22, 24)
ROOT = 8  # BODY_25's mid hip
UP = np.array([0.0, 1.0, 0.0])


def w_mpjpe(predicted: Array, true: Array, mask: Array, chunk: int = CHUNK) -> Array:
    """W-MPJPE () in mm: every chunk of frames is aligned by the rotation, translation and scale that fit its first two
    frames best, so that what drifts afterwards counts.

    Chunks are `chunk` frames long; what is left over belongs to the last one, and a shorter clip is one chunk.
    """
    return _in_chunks(predicted, true, mask, chunk, aligned=2)


def wa_mpjpe(predicted: Array, true: Array, mask: Array, chunk: int = CHUNK) -> Array:
    """WA-MPJPE () in mm: as `w_mpjpe`, but all frames of a chunk find its rotation, translation and scale."""
    return _in_chunks(predicted, true, mask, chunk, aligned=None)


def _in_chunks(predicted: Array, true: Array, mask: Array, chunk: int, aligned: int | None) -> Array:
    chex.assert_equal_shape([predicted, true])
    chex.assert_equal_shape_prefix([true, mask], 1)
    mask = jnp.asarray(mask > 0, true.dtype)
    # The number of a frame among those that exist, which padding or gaps do not count in.
    number = jnp.cumsum(mask) - 1
    chunks = jnp.maximum(mask.sum() // chunk, 1)
    own = jnp.minimum(number // chunk, chunks - 1)
    flat = lambda points: points.reshape(-1, 3)

    def of_chunk(which: Array) -> Array:
        """Sum () of the errors of the frames of ONE chunk."""
        inside = mask * (own == which)
        fitted = inside if aligned is None else inside * (number - which * chunk < aligned)
        weights = jnp.repeat(fitted, true.shape[1])
        moved = metrics.similarity_align(flat(predicted), flat(true), weights, with_scale=True)
        errors = metrics.point_errors(moved.reshape(true.shape), true)
        return jnp.where(inside > 0, errors, 0.0).sum()

    every = jnp.arange(max(mask.shape[0] // chunk, 1))
    return jax.lax.map(of_chunk, every).sum() / mask.sum()


def root_translation_error(predicted: Array, true: Array, mask: Array) -> Array:
    """RTE () in %: mean distance of the roots (T, 3) after the rotation and translation, without scale, that bring the
    whole trajectory nearest to the true one, as a share of the length of the true path; NaN where nobody moves."""
    chex.assert_equal_shape([predicted, true])
    moved = metrics.similarity_align(predicted, true, jnp.asarray(mask > 0, true.dtype), with_scale=False)
    steps = metrics.distances(true[1:], true[:-1])
    path = jnp.where(mask[1:] * mask[:-1] > 0, steps, 0.0).sum()
    error = metrics.masked_mean(metrics.distances(moved, true), mask)
    return jnp.where(path > 0, 100.0 * error / jnp.where(path > 0, path, 1.0), jnp.nan)


def jitter(joints: Array, mask: Array, fps: Array | float) -> Array:
    """Jitter () in 10 m/s^3: mean length of the third derivative of the joints' positions, by differences of four frames.

    As in TransPose (Yi et al., SIGGRAPH 2021) and WHAM. It needs no truth, but that of the truth is what is right.
    """
    third = (joints[3:] - 3 * joints[2:-1] + 3 * joints[1:-2] - joints[:-3]) * fps**3
    inner = mask[3:] * mask[2:-1] * mask[1:-2] * mask[:-3]
    return metrics.masked_mean(jnp.linalg.norm(third, axis=-1).mean(-1), inner) / 10.0


def foot_slide(predicted: Array, true: Array, mask: Array, fps: Array | float) -> Array:
    """Foot slide () in mm: mean displacement, in a thirtieth of a second, of feet that are truly in contact.

    A point of a foot is in contact from one frame to the next where the true one moves slower than `CONTACT_SPEED`.

    Args:
      predicted, true: (T, P, 3), points of the feet, see `FOOT_POINTS`. mask: (T,). fps: ().

    Returns:
      NaN where no foot is ever in contact.
    """
    chex.assert_equal_shape([predicted, true])
    own, known = (metrics.distances(points[1:], points[:-1]) * fps for points in (predicted, true))
    contact = (known < CONTACT_SPEED) & (mask[1:] * mask[:-1] > 0)[:, None]
    return metrics.MILLIMETRES / _MODELLED_FPS * metrics.masked_mean(own, contact)


def true_contact(true: Array, mask: Array, fps: Array | float) -> Array:
    """Which points (T, P), 1 or 0, of true motion stand: until the next frame they move slower than `CONTACT_SPEED`, and
    they are within `CONTACT_HEIGHT` of where their kind stands, toes or heels: the height that the lower of the two is
    above in all but a twentieth of the frames. Recordings differ in how feet are pitched: in one database the toes of
    people who only stand are 6 cm below their heels.

    Args:
      true: (T, 4, 3), `FOOT_POINTS`, y up. mask: (T,). fps: (). The last frame is as the one before it.
    """
    height = true[..., 1]
    lower = jnp.minimum(height[:, :2], height[:, 2:])
    floor = jnp.tile(jnp.nanquantile(jnp.where((mask > 0)[:, None], lower, jnp.nan), 0.05, axis=0), 2)
    speed = metrics.distances(true[1:], true[:-1]) * fps
    slow = jnp.where((mask[1:] > 0)[:, None], speed, jnp.inf) < CONTACT_SPEED
    before = jnp.concatenate([slow[:1], slow[:-1]])
    last = (mask[1:] <= 0)[:, None]
    slow = jnp.concatenate([jnp.where(last, before, slow), slow[-1:]])
    return (slow & (height < floor + CONTACT_HEIGHT) & (mask > 0)[:, None]).astype(true.dtype)


def standing_heights(points: Array, contact: Array, soles: Array) -> Array:
    """Heights (4,) of `FOOT_POINTS` when they stand, y up: the medians of toes and of heels over contacts (T, 4), 1 or 0.

    Points (T, 4, 3). Where heels never stand they are as much higher than toes as on the unposed body, `soles` (4,), and
    likewise for toes. NaN where nothing ever stands.
    """
    height = jnp.where(contact > 0, points[..., 1] - soles, jnp.nan)
    toes, heels = jnp.nanmedian(height[:, ::2]), jnp.nanmedian(height[:, 1::2])
    toes, heels = jnp.where(jnp.isnan(toes), heels, toes), jnp.where(jnp.isnan(heels), toes, heels)
    return soles + jnp.stack([toes, heels, toes, heels])


def floor_tilt(predicted: Array, true: Array, mask: Array) -> Array:
    """Floor tilt () in degrees: how far y of the prediction is from y of the truth, both of which are up, once the rotation
    and translation that fit the clip's joints (T, K, 3) best have moved it."""
    chex.assert_equal_shape([predicted, true])
    # Two points that weigh nothing are moved along, to see where the direction goes.
    ends = jnp.stack([jnp.zeros(3), UP]).astype(true.dtype)
    weights = jnp.concatenate([jnp.repeat(jnp.asarray(mask > 0, true.dtype), true.shape[1]), jnp.zeros(2)])
    points = [jnp.concatenate([joints.reshape(-1, 3), ends]) for joints in (predicted, true)]
    moved = metrics.similarity_align(points[0], points[1], weights, with_scale=False)
    direction = moved[-1] - moved[-2]
    # The arc tangent is accurate near 0 too.
    return jnp.degrees(jnp.arctan2(jnp.linalg.norm(jnp.cross(direction, UP)), direction @ UP))


def peak_height(joints: Array, mask: Array) -> Array:
    """The greatest height () in metres of the root of BODY_25 (T, 25, 3), y up, above the floor, which is where the lowest
    point of the feet is in all but a twentieth of the frames."""
    lowest = jnp.where(mask > 0, joints[:, jnp.array(FOOT_POINTS), 1].min(-1), jnp.nan)
    return jnp.where(mask > 0, joints[:, ROOT, 1], -jnp.inf).max() - jnp.nanquantile(lowest, 0.05)


def contact_f1(probability: Array, true: Array, mask: Array) -> Array:
    """F1 () of contacts (T, P), those of probability above a half, against the true ones (T, P); mask (T,).

    Returns:
      NaN where no foot ever stands and none is said to.
    """
    said, there = (probability > 0.5) & (mask > 0)[:, None], (true > 0) & (mask > 0)[:, None]
    total = jnp.sum(said) + jnp.sum(there)
    return 2 * jnp.sum(said & there) / total


def standing(points: Array, soles: Array, probability: Array, mask: Array, fps: Array | float) -> dict[str, Array]:
    """What a fit says of its own feet, which needs no truth, by names in `metrics.json`.

    Args:
      points: (T, P, 3) points of the feet, y up, the floor at y = 0. soles: (P,), their heights when they stand.
      probability: (T, P) of contact. mask: (T,). fps: ().

    Returns:
      planted_percent (): contacts of all points and frames. planted_slide_mm (): mean displacement of planted points in
      a thirtieth of a second. float_percent, below_percent (): frames in which a planted point is more than `TOLERATED`
      above the floor; any point more than that below it.
    """
    exists = (mask > 0)[:, None]
    planted = (probability > 0.5) & exists
    both = planted[1:] & planted[:-1]
    moved = metrics.distances(points[1:], points[:-1]) * fps
    height = points[..., 1] - soles
    share = lambda flags: 100.0 * metrics.masked_mean(jnp.asarray(flags, points.dtype), mask)
    return {
        "planted_percent": share(planted.mean(-1)),
        "planted_slide_mm": metrics.MILLIMETRES / _MODELLED_FPS * metrics.masked_mean(moved, both),
        "float_percent": share((planted & (height > TOLERATED)).any(-1)),
        "below_percent": share((exists & (height < -TOLERATED)).any(-1)),
    }


def world_errors(predicted: Array, true: Array, mask: Array, fps: Array | float) -> dict[str, Array]:
    """All of them of ONE clip, by their names in `metrics.json`.

    Args:
      predicted, true: (T, 25, 3), BODY_25 in the world, of which the first 15 are compared. mask: (T,). fps: ().
    """
    body = slice(metrics.PAPER_JOINTS)
    feet = jnp.array(FOOT_POINTS)
    return {
        "w_mpjpe_mm": w_mpjpe(predicted[:, body], true[:, body], mask),
        "wa_mpjpe_mm": wa_mpjpe(predicted[:, body], true[:, body], mask),
        "rte_percent": root_translation_error(predicted[:, ROOT], true[:, ROOT], mask),
        "jitter_10m_s3": jitter(predicted[:, body], mask, fps),
        "foot_slide_mm": foot_slide(predicted[:, feet], true[:, feet], mask, fps),
        "floor_tilt_deg": floor_tilt(predicted[:, body], true[:, body], mask),
        "peak_height_error_cm": 100 * jnp.abs(peak_height(predicted, mask) - peak_height(true, mask)),
    }
