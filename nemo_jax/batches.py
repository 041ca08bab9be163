"""Batches: which frames of which instances a step looks at."""

import jax
import jax.numpy as jnp

from body_models.pytree import pytree
from nemo_jax import clips as clips_lib
from nemo_jax import windows as windows_lib
from nemo_jax.clips import Clips
from nemo_jax.config import FitConfig

Array = jax.Array
PART = 128  # frames of a batch that terms look at which do not depend on the images


@pytree
class Batch:
    """B frames: instance (B,) and frame (B,), int."""

    instance: Array
    frame: Array


def sample_batch(key: Array, clips: Clips, size: int, pairs: int = 0, windows: int = 0) -> Batch:
    """`size` existing frames, uniform over all frames of all instances, with replacement.

    Some make room for neighbours of the first ones: of `pairs` and of `windows`, see `windows.drawn`.
    """
    ends = jnp.cumsum(clips_lib.num_frames(clips))
    index = jnp.floor(jax.random.uniform(key, (size,)) * ends[-1])
    index = jnp.minimum(index, ends[-1] - 1)
    instance = jnp.searchsorted(ends, index, side="right", method="compare_all")
    starts = ends - clips_lib.num_frames(clips)
    batch = Batch(instance=instance, frame=(index - starts[instance]).astype(jnp.int32))
    if not pairs and not windows:
        return batch
    instance, frame = windows_lib.drawn(clips, batch.instance, batch.frame, pairs, windows)
    return Batch(instance=instance, frame=frame)


def num_pairs(config: FitConfig) -> int:
    """Pairs of neighbouring frames in a drawn batch of the joint stage: a quarter of it, if contacts need them."""
    return config.batch_size // 4 if config.contact_centres and config.batch_size > 0 else 0


def paired(config: FitConfig) -> tuple[slice, slice]:
    """The rows of a batch that hold frames, and those that hold the frames after them."""
    if config.batch_size == -1:
        return slice(None, -1), slice(1, None)
    pairs = num_pairs(config)
    return slice(pairs), slice(pairs, 2 * pairs)


def full_batch(clips: Clips) -> Batch:
    """Every frame of every instance, T for each: frames of shorter clips are repeated, so that all clips weigh the
    same.

    Padded instances are replaced by repetitions of the first instances.
    """
    n, t = clips.num_instances, clips.num_frames
    instance, frames = jnp.arange(n), clips_lib.num_frames(clips)
    if clips.real is not None:
        instance = instance % (clips.real > 0).sum()
        frames = frames[instance]
    frame = jnp.arange(t) % jnp.maximum(frames, 1)[:, None]
    return Batch(instance=jnp.repeat(instance, t), frame=frame.reshape(-1).astype(jnp.int32))


def every_frame(clips: Clips) -> Batch:
    """The T frames of each instance in order, those that do not exist too."""
    n, t = clips.num_instances, clips.num_frames
    return Batch(instance=jnp.repeat(jnp.arange(n), t), frame=jnp.tile(jnp.arange(t), n))


def part_of(batch: Batch, frames: int = PART) -> int:
    """Every how many frames of a batch are enough for terms that do not depend on the images, so that they cost little:
    about so many `frames` are left."""
    return max(1, batch.instance.shape[0] // frames)
