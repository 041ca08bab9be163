"""Frames of a batch that belong together: pairs of neighbours, and windows of three moments, at which the prior over short
motions looks."""

import jax
import jax.numpy as jnp
import numpy as np

from body_models.pytree import pytree
from body_models.rows import pick
from nemo_jax import clips as clips_lib
from nemo_jax.clips import Clips
from nemo_jax.config import FitConfig
from nemo_jax.model import Prediction
from nemo_jax.priors import LimbPrior, MotionPrior, Priors, limbs, motion

Array = jax.Array


@pytree
class Windows:
    """W windows: the rows (W, 3) of their moments in the batch, in order of time, whether each exists (W,) as 0 or 1, and
    the seconds (W,) between moments. A window that would leave its clip does not exist."""

    rows: Array | np.ndarray
    exists: Array
    spacing: Array


def count(config: FitConfig) -> int:
    """Windows of a drawn batch of the joint stage: as many as are configured, and an eighth of it at most."""
    return min(config.motion_windows, config.batch_size // 8) if config.batch_size > 0 else 0


def reach(fps: Array) -> Array:
    """How many frames (...) from moment to moment, at frames per second (...): a fifteenth of a second, one at least."""
    return jnp.maximum(jnp.round(jnp.asarray(fps) * motion.SPACING), 1).astype(jnp.int32)


def drawn(clips: Clips, instance: Array, frame: Array, pairs: int, windows: int) -> tuple[Array, Array]:
    """The batch, instance (B,) and frame (B,), in which some frames have made room for neighbours of the first ones.

    The first `pairs` are followed by the frames after them, these by the frames before and those ahead of the first
    `windows`, at the distance of `reach`. Where a clip ends, its last or first frame is taken.
    """
    last = jnp.maximum(clips_lib.num_frames(clips)[instance].astype(jnp.int32) - 1, 0)
    apart = reach(jnp.asarray(clips.fps))[instance]
    own = max(pairs, windows)
    after = jnp.minimum(frame + 1, last)[:pairs]
    before, ahead = jnp.maximum(frame - apart, 0)[:windows], jnp.minimum(frame + apart, last)[:windows]
    rest = own + pairs + 2 * windows
    same = [instance[:own], instance[:pairs], instance[:windows], instance[:windows], instance[rest:]]
    return jnp.concatenate(same), jnp.concatenate([frame[:own], after, before, ahead, frame[rest:]])


def of_batch(config: FitConfig, clips: Clips, instance: Array, frame: Array, pairs: int) -> Windows:
    """The windows of a batch: those that `drawn` made, or of all frames as many as are configured, evenly spread."""
    if config.batch_size == -1:
        size = instance.shape[0]
        middle = jnp.arange(0, size, max(1, size // config.motion_windows))
        apart = reach(jnp.asarray(clips.fps))[instance[middle]]
        rows = jnp.stack([jnp.maximum(middle - apart, 0), middle, jnp.minimum(middle + apart, size - 1)], 1)
    else:
        windows = count(config)
        first, before = np.arange(windows, dtype=np.int32), max(pairs, windows) + pairs
        rows = np.stack([before + first, first, before + windows + first], 1)
    return around(clips, instance, frame, rows)


def around(clips: Clips, instance: Array, frame: Array, rows: Array | np.ndarray) -> Windows:
    """The windows whose moments are at `rows` (W, 3) of a batch of frames, instance (B,) and frame (B,).

    They exist where these rows are what they should be, which rows that were held back at the ends of clips are not.
    """
    fps = jnp.asarray(clips.fps)[instance[rows[:, 1]]]
    apart = reach(fps)
    steps = frame[rows[:, 1:]] - frame[rows[:, :-1]]
    exists = (steps == apart[:, None]).all(-1) & (instance[rows[:, :1]] == instance[rows]).all(-1)
    return Windows(rows=rows, exists=exists.astype(jnp.float32), spacing=apart / fps)


def terms(
    prediction: Prediction, priors: Priors, config: FitConfig, clips: Clips, instance: Array, frame: Array, pairs: int
) -> dict[str, Array]:
    """Value () of the prior over short motions, a mean over the windows of the batch, if the fit has it."""
    if not config.motion_windows or priors.limbs is None or priors.motion is None:
        return {}
    found = of_batch(config, clips, instance, frame, pairs)
    return {"motion": loss(priors.motion, priors.limbs, prediction.joints, prediction.rotations[:, 0], found)}


def loss(prior: MotionPrior, poses: LimbPrior, joints: Array, roots: Array, windows: Windows) -> Array:
    """Mean () of `motion_loss` over the windows that exist, 0 if none does.

    Args:
      prior: over motions. poses: over poses. joints: (B, 24, 3) metres and roots (B, 3, 3), of the batch, in the world.
      windows: of the batch.
    """

    def one(joints: Array, roots: Array, spacing: Array) -> Array:
        seen = jax.vmap(limbs.directions)(joints, roots)
        return motion.motion_loss(prior, poses, seen[1], motion.moving(seen, roots, joints[:, 0], spacing))

    each = jax.vmap(one)(_picked(joints, windows.rows), _picked(roots, windows.rows), windows.spacing)
    return jnp.sum(each * windows.exists) / jnp.maximum(windows.exists.sum(), 1)


def _picked(values: Array, rows: Array | np.ndarray) -> Array:
    """`values[rows]`, (W, 3, ...) of (B, ...)."""
    if isinstance(rows, np.ndarray):
        return jnp.stack([pick(values, moment) for moment in rows.T], 1)
    return values[rows]
