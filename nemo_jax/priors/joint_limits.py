"""Joint-limit prior: how far each joint of a healthy adult turns, as a smooth penalty.

Ranges are the norms of the American Academy of Orthopaedic Surgeons (Joint Motion, 1965; the same table in Norkin and
White, Measurement of Joint Motion), in degrees, widened where a skeleton joint stands for several anatomical ones (the
shoulder shares its range with the collar, the forearm's turn is split between elbow and wrist) and for the throwing
shoulder, whose external rotation passes 165 degrees (Fleisig et al., American Journal of Sports Medicine 1995). Angles
are components of the rotation vector against SMPL's T-pose, where x turns forward and backward, y about the vertical,
z sideways. Only the body's left is tabled; the right is its mirror image.
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np

from body_models import joints as jn
from body_models.pytree import pytree
from nemo_jax import mirror

Array = jax.Array

# joint: ((x low, x high), (y low, y high), (z low, z high)), degrees.
_LEFT_AND_CENTRE = {
    # The trunk's 80 degrees of flexion, 25 of extension, 45 of turn, 35 of side bend over three joints.
    "spine1": ((-15, 35), (-20, 20), (-17, 17)),
    "spine2": ((-12, 30), (-20, 20), (-15, 15)),
    "spine3": ((-12, 20), (-20, 20), (-12, 12)),
    # The neck's 45, 45, 60, 45 over two.
    "neck": ((-30, 30), (-40, 40), (-25, 25)),
    "head": ((-25, 25), (-40, 40), (-20, 20)),
    # Hip: flexion 120 is -x; abduction 45 is +z; rotation 45 about y.
    "left_hip": ((-125, 30), (-45, 45), (-30, 50)),
    "left_knee": ((0, 145), (-12, 12), (-8, 8)),
    "left_ankle": ((-25, 50), (-20, 20), (-30, 30)),
    "left_foot": ((-40, 30), (-5, 5), (-5, 5)),
    "left_collar": ((-10, 10), (-25, 20), (-12, 35)),
    # At rest the arm is at 90 degrees of abduction: down is -z, forward -y; x is the turn of the upper arm.
    "left_shoulder": ((-100, 80), (-115, 45), (-95, 70)),
    "left_elbow": ((-70, 70), (-145, 3), (-12, 12)),
    "left_wrist": ((-60, 60), (-25, 35), (-75, 75)),
    "left_hand": ((-5, 5), (-5, 5), (-5, 5)),
}  # fmt: skip


LIMIT_INSIDE = 0.02  # weight of the pull within the range in a fit, against 1 for the excess


@pytree
class JointLimits:
    """low, high (23, 3): range of each rotation-vector component, radians; joints 1 to 23 of SMPL."""

    low: Array
    high: Array


def published_limits() -> JointLimits:
    """The table above for both sides."""
    low, high = np.zeros((jn.NUM_JOINTS, 3)), np.zeros((jn.NUM_JOINTS, 3))
    for name, ranges in _LEFT_AND_CENTRE.items():
        low[jn.SMPL_JOINTS.index(name)], high[jn.SMPL_JOINTS.index(name)] = np.radians(ranges).T
    right = np.array([name.startswith("right") for name in jn.SMPL_JOINTS])[:, None]
    # Mirroring turns the sign of y and z, which swaps their low and high ends.
    a, b = (np.asarray(mirror.mirror_pose(end)) for end in (low, high))
    low, high = np.where(right, np.minimum(a, b), low), np.where(right, np.maximum(a, b), high)
    return JointLimits(low=jnp.asarray(low[1:], jnp.float32), high=jnp.asarray(high[1:], jnp.float32))


def joint_limit_loss(limits: JointLimits, body_pose: Array, inside: float | Array = LIMIT_INSIDE) -> Array:
    """Penalty of ONE pose: squared excess over the range, plus a faint squared pull to its middle.

    Args:
      limits: the ranges.
      body_pose: (23, 3) axis-angle, radians.
      inside: weight of the pull within the range, against 1 for the excess; it decides what the data leave open.

    Returns:
      () radians squared, summed over components; continuous with its first derivative.
    """
    chex.assert_shape(body_pose, (jn.NUM_JOINTS - 1, 3))
    excess, centred = limit_residuals(limits, body_pose)
    return jnp.sum(excess**2) + inside * jnp.mean(centred**2)


def limit_residuals(limits: JointLimits, body_pose: Array) -> tuple[Array, Array]:
    """The two arrays, shaped like the poses, whose squares the penalty sums.

    Args:
      limits: the ranges. body_pose: (..., 23, 3) axis-angle, radians.

    Returns:
      excess: radians above (positive) or below (negative) the range, 0 within it.
      centred: signed distance from where the faint pull leads, in parts of `reach`.
    """
    excess = jnp.maximum(body_pose - limits.high, 0) + jnp.minimum(body_pose - limits.low, 0)
    # Half-way between the T-pose and the middle of the range: people seldom stand at a range's middle.
    return excess, (body_pose - 0.5 * ((limits.low + limits.high) / 2)) / reach(limits)


def reach(limits: JointLimits) -> Array:
    """Radians (23, 3) by which the faint pull's distances are divided: half of each range, and 0.2 so that stiff joints
    are not held too hard."""
    return (limits.high - limits.low) / 2 + 0.2
