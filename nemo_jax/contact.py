"""Which points of the feet stand on the ground, as a function of the shared phase, and what follows from it.

A planted point neither moves nor leaves the floor; of a point in the air nothing is said. Which is the case is a hidden
variable of each point and frame (a line process; Geman and Geman, TPAMI 1984). Its probability is one function of the
phase for all clips, so that clips vote, and the loss is the bound that expectation maximisation descends (Neal and
Hinton, 1998): p E + (1 - p) K + KL(p | prior), with E the energy of a planted point and K that of one in the air.

What recorded motion does (143 recordings of 24 actions of the CMU database, toes and heels): 46% of the points move
slower than 0.3 m/s; those within 5 cm of the floor vary by 1.3 cm in height and 0.07 m/s along each axis; of those 10 to
20 cm high 9% are as slow, and points in the air move at 1.4 m/s in the median.
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

POINTS = FOOT_POINTS  # left big toe, left heel, right big toe, right heel
NAMES = ("left_toe", "left_heel", "right_toe", "right_heel")
OTHER_SIDE = np.array([2, 3, 0, 1])
PLANTED_SHARE = 0.46
AIR_ENERGY = 10.0
"""K: log of how much broader speeds and heights are in the air, 3 log(1.5 / 0.07) + log(0.15 / 0.013) - 2."""
_TAIL = 10.0  # energy from which a planted point is pulled less and less
_FLOOR_POINTS = 0.25  # quantile of the lowest points that is taken for the floor at first


class ContactHead(nn.Module):
    """Logits of contact at ONE phase for ONE code: normalised Gaussians of the phase, each with a value of its own that
    the code may change.

    Attributes:
      num_centres: number of Gaussians, evenly spaced.
    """

    num_centres: int = 24

    @nn.compact
    def __call__(self, phase: Array, code: Array) -> Array:
        """phase (), code (C,) -> logits (4,) of `POINTS`."""
        chex.assert_rank([phase, code], [0, 1])
        centres = jnp.linspace(0.0, 1.0, self.num_centres)
        features = nn.softmax(-0.5 * ((phase - centres) * max(self.num_centres - 1, 1)) ** 2)
        values = self.param("values", nn.initializers.zeros, (self.num_centres, len(POINTS)))
        own = self.param("own", nn.initializers.zeros, (code.shape[0], self.num_centres, len(POINTS)))
        return features @ (values + jnp.tensordot(code, own, 1))


def logits(parameters: Tree, num_centres: int, phase: Array, code: Array, mirrored: Array) -> Array:
    """Logits (4,) of `POINTS` of ONE frame; `mirrored` () above one half swaps the sides.

    Contact is read off the motion and does not bend phases and codes, through which it would be cheaper to agree.
    """
    phase, code = jax.lax.stop_gradient((phase, code))
    found = ContactHead(num_centres).apply({"params": parameters}, phase, code)
    assert isinstance(found, jax.Array)
    return jnp.where(mirrored > 0.5, found[OTHER_SIDE], found)


def soles(body: smpl.SMPL) -> tuple[Array, Array]:
    """Heights (4,) of `POINTS` above the lowest point of the unposed body, and the height () of that, metres."""
    rest = jnp.broadcast_to(jnp.eye(3), (NUM_JOINTS, 3, 3))
    points = smpl.keypoints(body, rest, jnp.zeros(body.num_betas), jnp.zeros(3))
    lowest = body.mesh.template[:, 1].min()
    return points[np.array(POINTS), 1] - lowest, lowest


def first_floor(heights: Array, mask: Array) -> Array:
    """A first guess of the floor () from heights (F, 4) of `POINTS` above it being 0; mask (F,), 1 where a frame counts.

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
) -> Array:
    """The bound (...) described above, for each point.

    Args:
      logit: (...,) of the probability p of contact. velocity: (..., 3) m/s. height: (...,) metres above the floor.
      speed_scale: m/s along each axis. height_scale: metres. broader: factor of both; a point in the air is then so
        much less different from a planted one.
    """
    square = 0.5 * jnp.sum((velocity / speed_scale) ** 2, -1) + 0.5 * (height / height_scale) ** 2
    square = square / broader**2
    air = AIR_ENERGY - 4 * jnp.log(broader)
    planted = _TAIL * jnp.log1p(square / _TAIL)
    p, log_p, log_not = jax.nn.sigmoid(logit), jax.nn.log_sigmoid(logit), jax.nn.log_sigmoid(-logit)
    surprise = p * (log_p - np.log(PLANTED_SHARE)) + (1 - p) * (log_not - np.log(1 - PLANTED_SHARE))
    return p * planted + (1 - p) * air + surprise


def broader(begin: Array | float, steps: Array | float, step: Array) -> Array:
    """How many times broader contacts are at a step: `begin` times at first, once from step number `steps` on.

    Narrowing finds the feet of clips that still slide too fast for any to be called planted (graduated non-convexity; Blake
    and Zisserman, Visual Reconstruction, 1987).
    """
    return jnp.asarray(begin) ** jnp.maximum(1 - step / steps, 0.0)


def below(height: Array, height_scale: Array | float) -> Array:
    """One-sided penalty (...) of points below the floor, 1/2 (h / s_h)^2 where h < 0; height (...,) metres."""
    return 0.5 * (jnp.minimum(height, 0.0) / height_scale) ** 2
