"""Which points of feet and hands stand on the ground, as a function of the shared phase, and what follows from it.

A planted point neither moves nor leaves the floor; of a point in the air nothing is said. Which is the case is a hidden
variable of each point and frame (a line process; Geman and Geman, TPAMI 1984). Its probability is one function of the
phase for all clips, so that clips vote, and the loss is the bound that expectation maximisation descends (Neal and
Hinton, 1998): p E + (1 - p) K + KL(p | prior), with E the energy of a planted point and K that of one in the air.

What recorded motion does with feet (143 recordings of 23 actions of the CMU database, toes and heels): 46% of the points
move slower than 0.3 m/s; those within 5 cm of the floor vary by 1.3 cm in height and 0.07 m/s along each axis; of those 10
to 20 cm high 9% are as slow, and points in the air move at 1.4 m/s in the median.

What it does with hands: of all wrists in all frames 1.4% are less than 25 cm above the floor, half of these slower than
0.5 m/s, all of them in the four cartwheels (20% of the frames there). They are 12 cm high in the median, nine of ten
between 6 and 18, and move at 0.2 m/s along each axis, since the arm tips over the hand; the other half moves at 0.7. A low
and slow wrist is so much likelier to stand, by 3 log(0.7 / 0.25) + log(10 / 0.03) = 9, nearly the K of feet, which is taken.
The wrist of a flat hand is lower, so that hands stand 8 cm high at first.
"""

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from body_models import smpl
from body_models.joints import NUM_JOINTS
from body_models.pytree import Tree
from nemo_jax.world_metrics import FOOT_POINTS

Array = jax.Array

FEET = FOOT_POINTS  # left big toe, left heel, right big toe, right heel
POINTS = (*FEET, 7, 4)  # and the wrists, left and right: of fits whose hands may stand
NAMES = ("left_toe", "left_heel", "right_toe", "right_heel", "left_hand", "right_hand")
OTHER_SIDE = np.array([2, 3, 0, 1, 5, 4])
PLANTED_SHARE = np.array([0.46] * 4 + [0.007] * 2)
HAND_RISE = 0.08  # metres, of the wrist of a hand that stands
# How much broader speed and height are than those of a foot.
_SPEED, _HEIGHT = np.array([1.0] * 4 + [2.5] * 2), np.array([1.0] * 4 + [2.0] * 2)
# Logits: of hands those of the prior.
_FIRST = np.log(PLANTED_SHARE / (1 - PLANTED_SHARE)) * [0, 0, 0, 0, 1, 1]
AIR_ENERGY = 10.0
"""K: log of how much broader speeds and heights are in the air, 3 log(1.5 / 0.07) + log(0.15 / 0.013) - 2."""
_TAIL = 10.0  # energy from which a planted point is pulled less and less
_TIGHTENING = 0.3  # share of the steps in which what has been found is held more and more
_FLOOR_POINTS = 0.25  # quantile of the lowest points that is taken for the floor at first


class ContactHead(nn.Module):
    """Logits of contact at ONE phase for ONE code: normalised Gaussians of the phase, each with a value of its own that
    the code may change.

    Attributes:
      num_centres: number of Gaussians, evenly spaced. num_points: how many of `POINTS`, from the first.
    """

    num_centres: int = 24
    num_points: int = len(FEET)

    @nn.compact
    def __call__(self, phase: Array, code: Array) -> Array:
        """phase (), code (C,) -> logits (P,) of `POINTS`."""
        chex.assert_rank([phase, code], [0, 1])
        centres = jnp.linspace(0.0, 1.0, self.num_centres)
        features = nn.softmax(-0.5 * ((phase - centres) * max(self.num_centres - 1, 1)) ** 2)
        first = lambda _, shape: jnp.broadcast_to(jnp.asarray(_FIRST[: self.num_points], jnp.float32), shape)
        values = self.param("values", first, (self.num_centres, self.num_points))
        own = self.param("own", nn.initializers.zeros, (code.shape[0], self.num_centres, self.num_points))
        return features @ (values + jnp.tensordot(code, own, 1))


def logits(parameters: Tree, num_centres: int, phase: Array, code: Array, mirrored: Array) -> Array:
    """Logits (P,) of `POINTS` of ONE frame, of as many as the parameters know; `mirrored` () above one half swaps the sides.

    Contact is read off the motion and does not bend phases and codes, through which it would be cheaper to agree.
    """
    phase, code = jax.lax.stop_gradient((phase, code))
    count = parameters["values"].shape[-1]
    found = ContactHead(num_centres, count).apply({"params": parameters}, phase, code)
    assert isinstance(found, jax.Array)
    return jnp.where(mirrored > 0.5, found[OTHER_SIDE[:count]], found)


def points(hands: bool) -> tuple[int, ...]:
    """The keypoints that may stand: `POINTS`, or those of the feet alone."""
    return POINTS if hands else FEET


def soles(body: smpl.SMPL, hands: bool = False) -> tuple[Array, Array]:
    """Heights (4,) of `FEET` above the lowest point of the unposed body, with hands (6,) of `POINTS` when they stand, and
    the height () of that lowest point, metres."""
    rest = jnp.broadcast_to(jnp.eye(3), (NUM_JOINTS, 3, 3))
    found = smpl.keypoints(body, rest, jnp.zeros(body.num_betas), jnp.zeros(3))
    lowest = body.mesh.template[:, 1].min()
    return jnp.append(found[np.array(FEET), 1] - lowest, jnp.full(2 * hands, HAND_RISE)), lowest


def first_floor(heights: Array, mask: Array) -> Array:
    """A first guess of the floor () from heights (F, 4) of `FEET` above it being 0; mask (F,), 1 where a frame counts.

    A foot is on the ground in most frames, and what is on the ground is low.
    """
    lowest = jnp.where(mask > 0, heights.min(-1), jnp.nan)
    return jnp.nan_to_num(jnp.nanquantile(lowest, _FLOOR_POINTS))


def loss(
    logit: Array,
    velocity: Array,
    height: Array,
    speed_scale: Array | float,
    height_scale: Array | float,
    broader: Array | float = 1.0,
    share: np.ndarray | float = PLANTED_SHARE[0],
) -> Array:
    """The bound (...) described above, for each point.

    Args:
      logit: (...,) of the probability p of contact. velocity: (..., 3) m/s. height: (...,) metres above the floor.
      speed_scale: m/s along each axis. height_scale: metres. broader: factor of both; a point in the air is then so
        much less different from a planted one. share: (...,) or () of contact in the prior.
    """
    square = 0.5 * jnp.sum((velocity / speed_scale) ** 2, -1) + 0.5 * (height / height_scale) ** 2
    square = square / broader**2
    air = AIR_ENERGY - 4 * jnp.log(broader)
    planted = _TAIL * jnp.log1p(square / _TAIL)
    p, log_p, log_not = jax.nn.sigmoid(logit), jax.nn.log_sigmoid(logit), jax.nn.log_sigmoid(-logit)
    surprise = p * (log_p - np.log(share)) + (1 - p) * (log_not - np.log(1 - share))
    return p * planted + (1 - p) * air + surprise


def loss_of_points(
    logit: Array,
    velocity: Array,
    height: Array,
    speed_scale: Array | float,
    height_scale: Array | float,
    broader: Array | float = 1.0,
) -> Array:
    """Sum (...) of `loss` over the first P of `POINTS`, in parts of the number of points of feet.

    Args:
      Those of `loss`, with a last axis P (of velocity the last but one); scales are those of feet.
    """
    count = logit.shape[-1]
    velocity, height = velocity / _SPEED[:count, None], height / _HEIGHT[:count]
    each = loss(logit, velocity, height, speed_scale, height_scale, broader, PLANTED_SHARE[:count])
    return each.sum(-1) / len(FEET)


def broader(begin: Array | float, steps: Array | float, step: Array) -> Array:
    """How many times broader contacts are at a step: `begin` times at first, once from step number `steps` on.

    Narrowing finds the feet of clips that still slide too fast for any to be called planted (graduated non-convexity; Blake
    and Zisserman, Visual Reconstruction, 1987).
    """
    return jnp.asarray(begin) ** jnp.maximum(1 - step / steps, 0.0)


def looser(loose: Array | float, narrow: Array | float, passed: Array) -> Array:
    """How many times its last speed and height a planted point is allowed when a share `passed` () of the steps is done:
    `loose` times until a share `narrow` of them, then falling to once.

    Points that the errors of a fit's first half move need room to be found; what has been found is then held to what truly
    standing points do. What a point in the air costs stays the same, so that contacts are not given up by it.
    """
    return broader(loose, _TIGHTENING, jnp.maximum(passed - narrow, 0.0))


def below(height: Array, height_scale: Array | float) -> Array:
    """One-sided penalty (...) of points below the floor, 1/2 (h / s_h)^2 where h < 0; height (...,) metres."""
    return 0.5 * (jnp.minimum(height, 0.0) / height_scale) ** 2


def below_of_points(height: Array, soles: Array, height_scale: Array | float) -> Array:
    """Sum (...) of `below` over the first P of `POINTS`, in parts of the number of points of feet.

    Args:
      height: (..., P) metres above the floor. soles: (P,) when they stand; wrists may be lower, but not below the floor.
      height_scale: metres, of feet.
    """
    count = height.shape[-1]
    least = jnp.where(np.arange(count) < len(FEET), soles, 0.0)
    return below((height - least) / _HEIGHT[:count], height_scale).sum(-1) / len(FEET)
