"""Which instances do the action with the other hand, found from their own initial poses.

Every pair of instances is compared as it is and with one of the two mirrored; which of the two fits better says whether
the pair uses the same hand. Those pairwise votes are reconciled by the sign of the leading eigenvector of the vote matrix
(synchronisation over Z2; Singer, Applied and Computational Harmonic Analysis 2011), and the larger group is the action.

Lifted poses do not take part: seen from one side alone, a left-hander can be taken for a right-hander turned in depth.
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np

from body_models import joints as jn
from nemo_jax import camera_search, mirror
from nemo_jax.clips import Clips
from nemo_jax.objective import Targets

Array = jax.Array

# Joints whose rotation tells the hands apart; the spine's and the ends' are noise here.
_TELLING = np.array(
    [
        jn.SMPL_JOINTS.index(f"{side}_{part}")
        for part in ("hip", "knee", "shoulder", "elbow")
        for side in ("left", "right")
    ]
)


def mirrored_instances(targets: Targets, clips: Clips, margin: float = 0.2, count: int = 24, slack: int = 4) -> Array:
    """1 for each instance (N,) that is to be mirrored, else 0.

    Args:
      targets: initial poses. clips: they say which instances came with poses of their own; the others get 0.
      margin: an instance is mirrored only if that makes its poses fit the others' better by this share of their distance;
        a symmetric action, or a doubtful one, is left as it is.
      count: phases compared. slack: an instance may run ahead of another, or behind, by so many of them.
    """
    chex.assert_rank(targets.rotations, 5)
    frames = jax.vmap(camera_search.nearest_known)(targets.mask, camera_search.key_frames(clips, count))
    rows = jnp.arange(clips.num_instances)[:, None]
    poses = targets.rotations[rows, frames]
    no_shift = jnp.zeros(3)
    reflected = jax.vmap(jax.vmap(lambda r: mirror.mirror_motion(r, no_shift, jnp.ones(()))[0]))(poses)
    known = ((clips.init_mask * clips.frame_mask).sum(-1) > 0).astype(poses.dtype)
    pairs = known[:, None] * known * (1 - jnp.eye(clips.num_instances))
    same, other = _distances(poses, poses, slack), _distances(poses, reflected, slack)
    votes = pairs * (other - same)
    votes = (votes + votes.T) / 2
    _, vectors = jnp.linalg.eigh(votes)
    sign = jnp.where(vectors[:, -1] < 0, -1.0, 1.0)
    sign = jnp.where((sign * known).sum() < 0, -sign, sign)
    # What the others say of each instance, weighed against how far apart they are anyway.
    support = (votes * sign).sum(-1)
    doubt = margin * (pairs * (other + same) / 2).sum(-1)
    return (support < -doubt).astype(poses.dtype)


def _distances(a: Array, b: Array, slack: int) -> Array:
    """Mean over phases of the least chordal distance within `slack` phases; (N, P, 24, 3, 3) each -> (N, N)."""
    a, b = a[:, :, _TELLING].reshape(*a.shape[:2], -1), b[:, :, _TELLING].reshape(*b.shape[:2], -1)
    cross = jnp.einsum("npd,mqd->nmpq", a, b, precision="highest")
    chordal = len(_TELLING) - cross / 3
    phases = jnp.arange(a.shape[1])
    near = jnp.abs(phases[:, None] - phases) <= slack
    return jnp.where(near, chordal, jnp.inf).min(-1).mean(-1)
