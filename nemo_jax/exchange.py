"""Left and right that a detector has exchanged for a stretch of a clip, put right by what the shared motion says.

A detector that takes somebody's back for the front, or one leg for the other, calls left what is right, often for many
frames. Where the fit has a motion, both ways to read a frame are scored against it: the keypoints as given, and with left
and right exchanged, arms and legs each by themselves (`GROUPS`). The motion is the shared one, without the clip's own
variation, by which it could follow wrong names too. For each clip and group the cheapest way through both readings, where
every change from one to the other has its price, says which stretches are exchanged: the shortest path through a chain of
two states (Viterbi, IEEE Trans. Information Theory 1967).

A stretch is exchanged only where that explains it far better. Who turns his back for a while, unlike the others, looks as if
left and right were exchanged too; so it must also explain much of what the clip's own variation explains (`variation`), or
the names must be seen to change: joints jump to the places of their twins where the stretch begins or ends. A clip is
exchanged only in a part of its frames: one that reads better the other way round throughout shows the other hand or has
another camera, which `handedness` and `rescue` decide.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from body_models import joints as jn
from nemo_jax import batches, objective, reprojection, variation
from nemo_jax import clips as clips_lib
from nemo_jax.clips import Clips
from nemo_jax.config import FitConfig
from nemo_jax.model import Assets, Params, Prediction
from nemo_jax.objective import Targets

Array = jax.Array

GROUPS = ("arms", "legs")
_LEG_PARTS = ("hip", "knee", "ankle", "toe", "heel")
# Which keypoints (2, 25) belong to each group; eyes and ears go with the arms, neck and middle of the hips with none.
_SIDED = np.array(["left" in name or "right" in name for name in jn.BODY_25_NAMES])
_OF_LEGS = np.array([name.split("_")[-1] in _LEG_PARTS for name in jn.BODY_25_NAMES])
MEMBERS = np.stack([_SIDED & ~_OF_LEGS, _SIDED & _OF_LEGS]).astype(np.float32)
# A stretch is exchanged only where it loses so much of its loss by it, a share.
MARGIN = 0.1
# Where names are not seen to change: share of what the variation explains that exchanging must explain, see `variation`.
# Measured of wrong stretches: 0.13 to 0.35 and twice 0.53; of right ones 0.7 and more.
SHARE = 0.6
# Frames around the ends of a stretch in which names are looked for to change.
AROUND = 3
# Where more of a clip than this reads better the other way round, its camera or hand is in doubt and not its names.
MOST = 0.5


def swapped(clips: Clips, exchanged: Array | np.ndarray) -> Clips:
    """The clips as they are read: left and right keypoints traded in the frames and groups where `exchanged` (N, T, 2) is 1.

    Initial poses of these frames, which are made of the same pictures, are no longer trusted.
    """
    flag = of_keypoints(exchanged)
    twin = jn.MIRROR_BODY_25
    keypoints, confidence = jnp.asarray(clips.keypoints), jnp.asarray(clips.confidence)
    return dataclasses.replace(
        clips,
        keypoints=jnp.where(flag[..., None], keypoints[:, :, twin], keypoints),
        confidence=jnp.where(flag, confidence[:, :, twin], confidence),
        init_mask=jnp.where(jnp.asarray(exchanged).any(-1), 0.0, clips.init_mask),
    )


def of_keypoints(exchanged: Array | np.ndarray) -> Array:
    """Whether (N, T, 25) each keypoint is read as its twin, by flags (N, T, 2) of frames and groups."""
    return jnp.asarray(exchanged) @ MEMBERS > 0


def without(targets: Targets, exchanged: Array) -> Targets:
    """The 3D targets without those of frames in which `exchanged` (N, T, 2) is 1 somewhere, also where they were lifted."""
    kept = 1 - exchanged.max(-1)
    return dataclasses.replace(targets, mask=targets.mask * kept, root_mask=targets.root_mask * kept)


def as_read(clips: Clips, targets: Targets, exchanged: Array, config: FitConfig) -> tuple[Clips, Targets]:
    """Clips and 3D targets as they are read; as given, and the same arrays, where the configuration exchanges nothing."""
    if not config.exchange_price:
        return clips, targets
    return swapped(clips, exchanged), without(targets, exchanged)


def none(clips: Clips) -> Array:
    """Flags (N, T, 2) of clips that are read as given."""
    return jnp.zeros((clips.num_instances, clips.num_frames, len(GROUPS)))


def find(params: Params, assets: Assets, config: FitConfig, clips: Clips) -> Array:
    """Which frames and groups (N, T, 2) of the clips, as given, are exchanged: 1 there. It has no gradient."""
    if not config.exchange_price:
        return none(clips)
    by_group = jax.vmap(decide, (-1, -1, -1, -1, None, None), -1)
    chosen = jax.vmap(by_group, (0, 0, 0, 0, None, 0))(
        *costs(params, assets, config, clips),
        jumps(clips, config),
        float(config.exchange_price),
        jnp.asarray(clips.frame_mask),
    )
    return jax.lax.stop_gradient(chosen)


def costs(params: Params, assets: Assets, config: FitConfig, clips: Clips) -> tuple[Array, Array, Array]:
    """Keypoint losses (N, T, 2) of every frame and group: against the shared motion, as given and exchanged, and as given
    against the motion with each clip's variation.

    They are 0 where nothing is seen.
    """
    batch = batches.every_frame(clips)
    shared = objective.predict_batch(variation.without(params), assets, config, clips, batch)
    varied = objective.predict_batch(params, assets, config, clips, batch)

    def of_groups(prediction: Prediction, clips: Clips) -> Array:
        sums = jnp.mean(objective.keypoint_losses(prediction, assets, config, clips, batch), -1) @ MEMBERS.T
        return sums.reshape(clips.num_instances, clips.num_frames, -1)

    other = of_groups(shared, swapped(clips, jnp.ones_like(none(clips))))
    return of_groups(shared, clips), other, of_groups(varied, clips)


def jumps(clips: Clips, config: FitConfig) -> Array:
    """How much less (N, T, 2) each group's joints move to the next frame if left and right are exchanged between the two, in
    pixels: the sum of their ways as named, less twice that of their ways to their twins. Above 0, names change there.

    Joints count that are seen in both frames, as are their twins; 0 where there are none.
    """
    rows = jnp.arange(clips.num_instances)[:, None]
    weight, at = reprojection.seen(clips, config, rows, jnp.arange(clips.num_frames))
    seen = weight > 0
    both = seen & seen[..., jn.MIRROR_BODY_25]
    both = both[:, :-1] & both[:, 1:]
    way = jnp.linalg.norm(at[:, 1:] - at[:, :-1], axis=-1)
    crossed = jnp.linalg.norm(at[:, 1:, jn.MIRROR_BODY_25] - at[:, :-1], axis=-1)
    return jnp.pad(jnp.where(both, way - 2 * crossed, 0.0) @ MEMBERS.T, ((0, 0), (0, 1), (0, 0)))


def decide(given: Array, other: Array, varied: Array, jump: Array, price: Array | float, mask: Array) -> Array:
    """Which frames (T,) of ONE group of ONE clip are exchanged, 1 there.

    Args:
      given, other: losses (T,) of its frames as given and exchanged. varied (T,): as given, with the clip's variation.
      jump (T,): see `jumps`. price: of a change from one reading to the other, in frames of the usual difference between
        them. mask (T,): 1 where the frame exists.
    """
    given, other, varied, count = given * mask, other * mask, varied * mask, jnp.maximum(mask.sum(), 1)
    # In a clip that is not yet explained well both losses are large, but they still differ by as much as left and right do.
    usual = jnp.abs(given - other).sum() / count
    chosen = cheapest(jnp.stack([given, other], -1), price * usual) * mask
    chosen = jnp.where(_clear(chosen, given, other, varied, jump), chosen, 0.0)
    return jnp.where(chosen.sum() <= MOST * count, chosen, 0.0)


def cheapest(cost: Array, price: Array | float) -> Array:
    """The states (T,), 0 or 1, of the path of least cost (T, 2), where every change of state costs `price` more.

    Of equally cheap paths it is the one that changes late and starts in state 0.
    """
    change = price * (1 - jnp.eye(2))

    def forward(total: Array, now: Array) -> tuple[Array, Array]:
        through = total[:, None] + change
        # A tie stays in its state.
        stays = jnp.diagonal(through) <= through.min(0)
        return through.min(0) + now, jnp.where(stays, jnp.arange(2), jnp.argmin(through, 0))

    def back(state: Array, origin: Array) -> tuple[Array, Array]:
        return origin[state], state

    total, origins = jax.lax.scan(forward, cost[0], cost[1:])
    first, rest = jax.lax.scan(back, jnp.argmin(total), origins, reverse=True)
    return jnp.concatenate([first[None], rest]).astype(cost.dtype)


def _clear(chosen: Array, given: Array, other: Array, varied: Array, jump: Array) -> Array:
    """Where (T,) the stretch of equal `chosen` (T,) that a frame is in loses `MARGIN` of its loss when exchanged, and either
    `SHARE` of what the variation takes from it, or names change at its ends."""
    change = jnp.abs(jnp.diff(chosen))
    stretch = jnp.cumsum(jnp.concatenate([jnp.zeros(1), change])).astype(int)
    # The motion says only roughly where a stretch ends.
    window = 2 * AROUND + 1
    near = jax.lax.reduce_window(jump, -jnp.inf, jax.lax.max, (window,), (1,), "SAME")[:-1] * change
    ends = jnp.pad(near, (0, 1)) + jnp.pad(near, (1, 0))
    sums = jax.ops.segment_sum(jnp.stack([given, other, varied, ends], -1), stretch, num_segments=chosen.shape[0])
    given, other, varied, ends = sums[stretch].T
    enough = variation.explained(given, other, varied, SHARE) | (ends > 0)
    return (other < (1 - MARGIN) * given) & enough


def shares(exchanged: Array | np.ndarray, clips: Clips) -> np.ndarray:
    """Share (N, 2) of each clip's frames that are exchanged, on the host."""
    count = np.maximum(np.asarray(clips_lib.num_frames(clips)), 1)
    return np.asarray(exchanged).sum(1) / count[:, None]
