"""Balance: over a whole clip people have their centre of mass above the feet that carry them.

What one camera sees does not tell legs that lean away from it from bent ones. But who leans falls: the forces at the feet
turn the body neither way on average, so that the mean way on the ground from the lowest points of the feet to the centre of
mass is short, or as much of its height as its mean acceleration is of gravity's: who runs in a curve leans into it. In 143
recordings of 23 actions of the CMU database and 38 of six others it is 6 cm beside that in the median and below 17 cm in
95%; in fits whose straight legs lean backwards it is 35 cm. Who lies, sits or stands on the hands is not over the feet, so
that a long way costs no more than a certain amount.

Masses of segments and their centres: de Leva, Adjustments to Zatsiorsky-Seluyanov's segment inertia parameters, J. Biomech.
1996, rounded, means of women and men.
"""

import jax
import jax.numpy as jnp
import numpy as np

from body_models.rows import pick
from nemo_jax import losses
from nemo_jax.contact import FEET

Array = jax.Array

# Share of the mass, ends in BODY_25, and where between these the centre is. The head's is near the ears.
_SEGMENTS = [
    (0.068, 17, 18, 0.5),
    (0.430, 1, 8, 0.45),
    *((0.027, upper, lower, 0.57) for upper, lower in ((2, 3), (5, 6))),
    *((0.022, elbow, wrist, 0.65) for elbow, wrist in ((3, 4), (6, 7))),  # with the hand
    *((0.145, hip, knee, 0.39) for hip, knee in ((9, 10), (12, 13))),
    *((0.044, knee, ankle, 0.44) for knee, ankle in ((10, 11), (13, 14))),
    *((0.013, heel, toe, 0.5) for heel, toe in ((24, 22), (21, 19))),
]
_LOWEST = 0.03  # metres: points that are so much higher than the lowest carry 1 / e of what it does
SCALE = 0.15  # metres beyond what is usual, from which it costs less and less more
GRAVITY = 9.81
_FEW = 0.1  # s^2, of times that tell an acceleration hardly


def _centre() -> np.ndarray:
    weights = np.zeros(25, np.float32)
    for mass, start, end, at in _SEGMENTS:
        weights[start] += mass * (1 - at)
        weights[end] += mass * at
    return weights / weights.sum()


CENTRE = _centre()
"""Weights (25,) of the keypoints of BODY_25 whose mean is the centre of mass."""


def centre(keypoints: Array) -> Array:
    """Centres of mass (..., 3), metres, of bodies with keypoints (..., 25, 3) of BODY_25."""
    return jnp.einsum("k,...kc->...c", CENTRE, keypoints, precision="highest")


def way(keypoints: Array, up: Array) -> Array:
    """Ways (..., 3), metres, from what carries bodies, the lowest points of their feet, to their centres of mass.

    keypoints (..., 25, 3): of BODY_25, metres. up (3,) or (..., 3): unit vectors.
    """
    feet = pick(keypoints, np.array(FEET), axis=-2)
    height = jnp.sum(feet * up[..., None, :], -1)
    carries = jax.nn.softmax(-height / _LOWEST, axis=-1)
    return centre(keypoints) - jnp.sum(carries[..., None] * feet, -2)


def loss(mean: Array, up: Array, gain: Array | float = 0.0, usual: Array | float = 0.0) -> Array:
    """Price (...), 0 to 1, of clips whose mean ways are (..., 3), metres.

    up (3,) or (..., 3): unit vectors. gain (..., 3): mean accelerations of the centres of mass, m/s^2; short clips, in which
    the body turns, may follow them or not, and pay the lower price.
    """
    height = jnp.sum(mean * up, -1, keepdims=True)
    ground = mean - height * up
    gain = gain - jnp.sum(gain * up, -1, keepdims=True) * up
    either = jnp.minimum(_length(ground), _length(ground - height * gain / GRAVITY))
    far = jnp.maximum(either - usual, 0.0) ** 2
    return far / (far + SCALE**2)


def _length(vector: Array) -> Array:
    # At rest a norm has no gradient.
    return jnp.sqrt(jnp.sum(vector**2, -1) + 1e-12)


def gains(speed: Array, time: Array, counts: Array, instance: Array, num_instances: int) -> Array:
    """Mean accelerations (N, 3), m/s^2: slopes of the speeds of N instances over time, towards 0 where few are known.

    speed (P, 3), m/s, at time (P,), seconds, of instance (P,). counts (P,): 1 where it is known, else 0.
    """
    member = losses.members(instance, num_instances) * counts[:, None]
    total = jnp.maximum(member.sum(0), 1.0)
    past = member * (time[:, None] - (member * time[:, None]).sum(0) / total)
    return jnp.sum(past[..., None] * speed[:, None], 0) / ((past**2).sum(0) + _FEW)[:, None]
