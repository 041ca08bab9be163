"""Finds, from the initial poses, the instances whose person does the action with the other hand, or begins with the other
foot.

Every pair of instances is compared twice: as it is, and with one instance mirrored. The better match tells whether the
pair uses the same hand. Who turns the same way in both is the same, whatever the limbs say: a mirrored turn to the left is
one to the right. These pairwise votes are reconciled by the sign of the leading eigenvector of the vote matrix
(synchronisation over Z2; Singer, Applied and Computational Harmonic Analysis 2011), and the larger group is the action.

Initial poses of one video share their errors, so what differs all the time counts for less than what moves. With it, and
with phases that may be far out of step, half a stride later would be as good as the other foot.

Lifted poses do not take part: seen from one side alone, a left-hander can be taken for a right-hander turned in depth.
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np

from body_models import joints as jn
from nemo_jax import camera_search, mirror
from nemo_jax import clips as clips_lib
from nemo_jax.clips import Clips
from nemo_jax.objective import Targets

Array = jax.Array

# Joints whose rotations distinguish left- from right-handed actions; the spine, hands and feet add only noise.
_TELLING = np.array(
    [
        jn.SMPL_JOINTS.index(f"{side}_{part}")
        for part in ("hip", "knee", "shoulder", "elbow")
        for side in ("left", "right")
    ]
)
_CONSTANT = 0.5  # how much what differs all the time counts beside what moves
_TURN = 2.0  # how much the turn of the whole body counts beside one joint


def mirrored_instances(
    targets: Targets,
    clips: Clips,
    margin: float = 0.2,
    count: int = 24,
    slack: int = 1,
    same_take: Array | None = None,
) -> Array:
    """Array (N,): 1 for each instance that is to be mirrored, else 0.

    Args:
      targets: initial poses. clips: tells which instances came with initial poses; the result is 0 for the others.
      margin: an instance is mirrored only if that reduces the distance of its poses to the others' by at least this
        fraction; symmetric or doubtful actions are left unchanged.
      count: number of phases compared. slack: number of phases by which two instances may be out of step.
      same_take: (N, N), `Assets.same_take`; clips of one take are mirrored together.
    """
    chex.assert_rank(targets.rotations, 5)
    frames = jax.vmap(camera_search.nearest_known)(targets.mask, camera_search.key_frames(clips, count))
    rows = jnp.arange(clips.num_instances)[:, None]
    poses = targets.rotations[rows, frames]
    no_shift = jnp.zeros(3)
    reflected = jax.vmap(jax.vmap(lambda r: mirror.mirror_motion(r, no_shift, jnp.ones(()))[0]))(poses)
    known = clips_lib.posed(clips).astype(poses.dtype)
    pairs = known[:, None] * known * (1 - jnp.eye(clips.num_instances))
    same, other = _distances(poses, poses, slack), _distances(poses, reflected, slack)
    turned = _turns_apart(poses, reflected) - _turns_apart(poses, poses)
    votes = pairs * (other - same + _TURN * jnp.maximum(turned, 0.0))
    votes = (votes + votes.T) / 2
    _, vectors = jnp.linalg.eigh(votes)
    sign = jnp.where(vectors[:, -1] < 0, -1.0, 1.0)
    sign = jnp.where((sign * known).sum() < 0, -sign, sign)
    # Votes of the other instances for each instance, relative to the distances between them.
    support = (votes * sign).sum(-1)
    doubt = margin * (pairs * (other + same) / 2).sum(-1)
    if same_take is not None:
        support, doubt = (jnp.matmul(same_take, votes, precision="highest") for votes in (support, doubt))
    found = (support < -doubt).astype(poses.dtype)
    # Rounding must not part the clips of a take.
    return found if same_take is None else found[jnp.argmax(same_take > 0, -1)]


def _distances(a: Array, b: Array, slack: int) -> Array:
    """Distances (N, N) of rotations (N, P, 24, 3, 3): mean over phases of the least chordal distance within `slack`."""
    a, b = _moving(a), _moving(b)
    square = lambda x: jnp.sum(x**2, -1)
    cross = jnp.einsum("npd,mqd->nmpq", a, b, precision="highest")
    chordal = (square(a)[:, None, :, None] + square(b)[None, :, None] - 2 * cross) / 6
    phases = jnp.arange(a.shape[1])
    near = jnp.abs(phases[:, None] - phases) <= slack
    return jnp.where(near, chordal, jnp.inf).min(-1).mean(-1)


def _moving(poses: Array) -> Array:
    """Telling rotations (N, P, D) of poses (N, P, 24, 3, 3), those of each instance nearer to a common mean."""
    telling = poses[:, :, _TELLING].reshape(*poses.shape[:2], -1)
    return telling - (1 - _CONSTANT**0.5) * telling.mean(1, keepdims=True)


def _turns_apart(a: Array, b: Array) -> Array:
    """Distances (N, N) of the turns of whole bodies, poses (N, P, 24, 3, 3): the mean over phases of the chordal distance
    after the best rotation of each pair, which the cameras leave open (Wahba, SIAM Review 1965)."""
    between = jnp.einsum("npij,mpkj->nmik", b[:, :, 0], a[:, :, 0], precision="highest") / a.shape[1]
    # Singular values, the least of which comes first and counts less than nothing in a reflection.
    squares = jnp.linalg.eigvalsh(jnp.einsum("nmki,nmkj->nmij", between, between, precision="highest"))
    sizes = jnp.sqrt(jnp.maximum(squares, 0.0))
    reflects = jnp.where(jnp.linalg.det(between) < 0, -1.0, 1.0)
    return 1 - (reflects * sizes[..., 0] + sizes[..., 1] + sizes[..., 2]) / 3
