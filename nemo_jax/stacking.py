"""Several fits as one: padded to a common size, stacked on a leading axis of M fits, and taken apart again.

Fits that are stacked share a program: their static choices are equal, and so are body and priors. Shorter clips are padded
with frames, and fewer clips with instances, that do not exist: no batch draws them and no loss sees them.
"""

import dataclasses
import math
from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from body_models import smpl
from nemo_jax import clips as clips_lib
from nemo_jax.clips import Clips
from nemo_jax.config import FitConfig, with_steps
from nemo_jax.fit import FitResult
from nemo_jax.priors import Priors

Array = jax.Array

# Lengths of clips and numbers of instances are rounded up to these, so that actions of similar sizes share one program. A
# step's batch is as large for few instances as for many: only lifting and the camera stage pay for padded ones.
FRAME_BUCKETS = (32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
INSTANCE_BUCKETS = (4, 8, 12, 16, 24, 32, 48, 64, 96, 128)
# Frames of stacked fits are padded to a multiple of this, so that other clips find the compiled program again.
_FRAMES = 32


@dataclasses.dataclass(frozen=True)
class Job:
    """A fit to be done: the arguments of `nemo_jax.fit.fit`; or M of them, stacked by `stack`, with a leading axis M."""

    key: Array
    clips: Clips
    body: smpl.SMPL
    priors: Priors
    config: FitConfig

    @property
    def arguments(self) -> tuple[Array, Clips, smpl.SMPL, Priors, FitConfig]:
        """As `nemo_jax.fit.fit` takes them."""
        return self.key, self.clips, self.body, self.priors, self.config


class Padding(NamedTuple):
    """The size to which clips are padded: instances, None where all jobs have as many, and frames, None where all have as
    many."""

    instances: int | None
    frames: int | None


# --- which fits go together ---


def bucket(count: int, sizes: Sequence[int] = FRAME_BUCKETS) -> int:
    """The least of `sizes` that holds `count`, and beyond the last the next multiple of it."""
    return next((size for size in sizes if size >= count), -(-count // sizes[-1]) * sizes[-1])


def shape_of_program(clips: Clips, config: FitConfig) -> tuple[int, int]:
    """Instances and frames up to which clips are padded at most to share a program with others."""
    if config.batch_size == -1:
        # Batches of all frames go over the padding too.
        return clips.num_instances, clips.num_frames
    return bucket(clips.num_instances, INSTANCE_BUCKETS), bucket(clips.num_frames)


def kind_of(clips: Clips, config: FitConfig, by_length: bool = False) -> Hashable:
    """Equal for fits that one program can run: equal static choices, about as many instances.

    Clips of any length go together, but with `by_length`, or for batches of all frames.
    """
    # By the instances that there are, not by the padded ones.
    static = jax.tree.structure(with_steps(config, clips.num_instances))
    instances, frames = shape_of_program(clips, config)
    return static, instances, frames if by_length or config.batch_size == -1 else None


def groups(actions: Sequence[Clips], configs: Sequence[FitConfig]) -> list[list[int]]:
    """Indices of fits to run as one program each: one bucket of instances and of lengths, equal static choices."""
    found: dict[Hashable, list[int]] = {}
    for index, (clips, config) in enumerate(zip(actions, configs, strict=True)):
        found.setdefault(kind_of(clips, config, by_length=True), []).append(index)
    return list(found.values())


# --- padding and stacking ---


def padding_of(jobs: Sequence[Job]) -> Padding:
    """The padding that jobs of one kind share; none for a job alone."""
    if len(jobs) == 1:
        return Padding(None, None)
    longest, counts = max(job.clips.num_frames for job in jobs), {job.clips.num_instances for job in jobs}
    frames = longest if jobs[0].config.batch_size == -1 else _FRAMES * math.ceil(longest / _FRAMES)
    return Padding(max(counts) if len(counts) > 1 else None, frames)


def stack(jobs: Sequence[Job], size: int, padding: Padding) -> Job:
    """One job of `size` fits; the last of the jobs is repeated to fill it up."""
    filled = [*jobs, *[jobs[-1]] * (size - len(jobs))]
    clips = [job.clips if padding.frames is None else pad_frames(job.clips, padding.frames) for job in filled]
    if padding.instances is not None:
        clips = [pad_instances(each, padding.instances) for each in clips]
    return Job(
        key=jnp.stack([job.key for job in filled]),
        clips=jax.tree.map(lambda *leaves: np.stack(leaves), *clips),
        body=jobs[0].body,
        priors=jobs[0].priors,
        config=stack_configs([job.config for job in filled]),
    )


def stack_configs(configs: Sequence[FitConfig]) -> FitConfig:
    """Configurations as one whose floats have a leading axis M.

    Raises:
      ValueError: they differ in a static field, which takes another program.
    """
    for field in dataclasses.fields(FitConfig):
        values = {getattr(config, field.name) for config in configs}
        if not isinstance(field.default, float) and len(values) > 1:
            raise ValueError(
                f"the fits differ in {field.name} ({', '.join(sorted(map(str, values)))}), one was expected"
            )
    return jax.tree.map(lambda *values: jnp.asarray(values, jnp.float32), *configs)


def stack_clips(actions: Sequence[Clips]) -> Clips:
    """Actions stacked (M, N, T, ...), those with fewer instances or frames than others padded.

    Padding changes no result but by rounding, except with `batch_size=-1`, which repeats frames of short clips.
    """
    frames, counts = max(clips.num_frames for clips in actions), {clips.num_instances for clips in actions}
    padded = [pad_frames(clips, frames) for clips in actions]
    if len(counts) > 1:
        padded = [pad_instances(clips, max(counts)) for clips in padded]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *padded)


def pad_frames(clips: Clips, frames: int) -> Clips:
    """Clips with frame slots added up to `frames`; frames that exist stay first."""
    more = frames - clips.num_frames

    def padded(leaf: Any) -> Array:
        return _pad(leaf, [(0, 0), (0, more), *[(0, 0)] * (jnp.ndim(leaf) - 2)])

    return dataclasses.replace(clips, **{name: padded(getattr(clips, name)) for name in clips_lib.TIMED})


def pad_instances(clips: Clips, instances: int) -> Clips:
    """Clips with instances added up to `instances` that have no frames, which no batch draws and no mean counts; those
    that exist stay first. `real` is set, even if none are added. The configuration is that of the clips before
    (`fit.for_clips`)."""
    more = instances - clips.num_instances

    def padded(leaf: Any, mode: str) -> Array:
        return _pad(leaf, [(0, more), *[(0, 0)] * (jnp.ndim(leaf) - 1)], mode)

    # Their images and lenses are like the last one's, so that none is the largest of all.
    values = {
        field.name: padded(getattr(clips, field.name), "constant" if field.name in clips_lib.TIMED else "edge")
        for field in dataclasses.fields(Clips)
        if field.name != "real"
    }
    real = np.ones(clips.num_instances, np.float32) if clips.real is None else clips.real
    return Clips(**values, real=padded(real, "constant"))


def _pad(leaf: Any, widths: Any, mode: Any = "constant") -> Any:
    """`jnp.pad`, but on the host for what is there: JAX would compile a program for every length of a clip."""
    return np.pad(leaf, widths, mode) if isinstance(leaf, np.ndarray) else jnp.pad(leaf, widths, mode)


# --- taking apart ---


def result_of(results: FitResult, index: int, clips: Clips) -> FitResult:
    """One of the results of `parallel.fit_many`, without padding: as `fit.fit` of these clips (N, T, ...) returns it."""
    one: FitResult = jax.tree.map(lambda leaf: leaf[index], results)
    n, t = clips.num_instances, clips.num_frames
    params = jax.tree.map(lambda leaf: leaf[:n], dataclasses.replace(one.params, field=None))
    targets = jax.tree.map(lambda leaf: leaf[(slice(n), slice(t))[: leaf.ndim]], one.targets)
    return FitResult(params=dataclasses.replace(params, field=one.params.field), history=one.history, targets=targets)


def take_apart(stacked: Any, index: int, shapes: Any) -> Any:
    """One fit's part of a stacked pytree on the host, without the padding.

    Args:
      stacked: leaves (M, ...), NumPy. index: which fit. shapes: what the leaves of that fit alone are, abstract or not.
    """
    return jax.tree.map(lambda leaf, own: leaf[index][tuple(map(slice, own.shape))].astype(own.dtype), stacked, shapes)


def put_together(parts: Sequence[Any], shapes: Any) -> Any:
    """The inverse of `take_apart`: stacked to `shapes`, leaves (M, ...). Padding repeats what is before it, and the last
    part fills up missing fits."""

    def grown(row: Any, shape: tuple[int, ...]) -> np.ndarray:
        widths = [(0, wide - narrow) for wide, narrow in zip(shape, np.shape(row), strict=True)]
        return np.pad(row, widths, "edge") if any(after for _, after in widths) else np.asarray(row)

    def leaf(stacked: Any, *own: Any) -> np.ndarray:
        rows = [grown(row, stacked.shape[1:]) for row in own]
        return np.stack(rows + [rows[-1]] * (stacked.shape[0] - len(rows))).astype(stacked.dtype)

    return jax.tree.map(leaf, shapes, *parts)
