"""Stacks several fits on a leading axis M, padded to a common size, and splits their results again.

Stacked fits run in one program, so their static settings, body and priors are equal. Shorter clips are padded with
frames, and actions of fewer clips with instances; padding is never drawn into a batch and has no part in any loss.
"""

import dataclasses
import math
from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from body_models import smpl
from body_models.pytree import Tree
from nemo_jax import clips as clips_lib
from nemo_jax import model
from nemo_jax.clips import Clips
from nemo_jax.config import FitConfig, with_steps
from nemo_jax.fit import FitResult
from nemo_jax.priors import Priors

Array = jax.Array

# Lengths of clips and numbers of instances are rounded up to these, so that actions of similar sizes share one program. A
# step's batch is as large for few instances as for many: only lifting and the camera stage pay for padded ones.
FRAME_BUCKETS = (32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
INSTANCE_BUCKETS = (4, 8, 12, 16, 24, 32, 48, 64, 96, 128)
# Frames of stacked fits are padded to a multiple of this, so that clips of other lengths can reuse the compiled
# program.
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
        """The arguments of `nemo_jax.fit.fit`, in order."""
        return self.key, self.clips, self.body, self.priors, self.config


class Padding(NamedTuple):
    """The number of instances and of frames to which clips are padded; None where all jobs have the same number."""

    instances: int | None
    frames: int | None


# --- which fits go together ---


def bucket(count: int, sizes: Sequence[int] = FRAME_BUCKETS) -> int:
    """The smallest of `sizes` that is at least `count`; above the last size, the next multiple of the last size."""
    return next((size for size in sizes if size >= count), -(-count // sizes[-1]) * sizes[-1])


def shape_of_program(clips: Clips, config: FitConfig) -> tuple[int, int]:
    """The largest numbers of instances and frames to which these clips are padded to share a program with others."""
    if config.batch_size == -1:
        # Batches of all frames would include the padding.
        return clips.num_instances, clips.num_frames
    return bucket(clips.num_instances, INSTANCE_BUCKETS), bucket(clips.num_frames)


def kind_of(clips: Clips, config: FitConfig, by_length: bool = False) -> Hashable:
    """A key that is equal for fits that one program can run: equal static settings, clips of which the same is
    known, similar numbers of instances.

    Clips of any length share a key, except with `by_length` or with batches of all frames.
    """
    # Only existing instances count, not padded ones.
    static = jax.tree.structure(with_steps(config, clips.num_instances))
    instances, frames = shape_of_program(clips, config)
    known = tuple(getattr(clips, field.name) is not None for field in dataclasses.fields(Clips) if field.name != "real")
    return static, known, instances, frames if by_length or config.batch_size == -1 else None


def groups(actions: Sequence[Clips], configs: Sequence[FitConfig]) -> list[list[int]]:
    """Groups indices of fits, one program per group: equal static settings, same buckets of instances and frames."""
    found: dict[Hashable, list[int]] = {}
    for index, (clips, config) in enumerate(zip(actions, configs, strict=True)):
        found.setdefault(kind_of(clips, config, by_length=True), []).append(index)
    return list(found.values())


# --- padding and stacking ---


def padding_of(jobs: Sequence[Job]) -> Padding:
    """The common padding of jobs of one kind; a single job is not padded."""
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
    """Stacks configurations into one whose floats have a leading axis M.

    Raises:
      ValueError: they differ in a static field and thus cannot run in one program.
    """
    for field in dataclasses.fields(FitConfig):
        values = {getattr(config, field.name) for config in configs}
        if not isinstance(field.default, float) and len(values) > 1:
            raise ValueError(
                f"the fits differ in {field.name} ({', '.join(sorted(map(str, values)))}), one was expected"
            )
    return jax.tree.map(lambda *values: jnp.asarray(values, jnp.float32), *configs)


def stack_clips(actions: Sequence[Clips]) -> Clips:
    """Stacks actions into arrays (M, N, T, ...), padding those with fewer instances or frames than others.

    Padding changes results only by rounding, except with `batch_size=-1`, which repeats frames of short clips.
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

    timed = {name: getattr(clips, name) for name in clips_lib.TIMED}
    return dataclasses.replace(clips, **{name: padded(leaf) for name, leaf in timed.items() if leaf is not None})


def pad_instances(clips: Clips, instances: int) -> Clips:
    """Clips padded at the end to `instances` instances. Padded instances have no frames; they are not drawn into
    batches and not counted in means. `real` is set even if none are added. Call `fit.for_clips` with the clips before
    padding."""
    more = instances - clips.num_instances

    def padded(leaf: Any, mode: str) -> Array:
        return _pad(leaf, [(0, more), *[(0, 0)] * (jnp.ndim(leaf) - 1)], mode)

    # Padded instances copy image size and focal length of the last instance, so that they do not change any maximum.
    values = {
        field.name: padded(getattr(clips, field.name), "constant" if field.name in clips_lib.TIMED else "edge")
        for field in dataclasses.fields(Clips)
        if field.name != "real" and getattr(clips, field.name) is not None
    }
    real = np.ones(clips.num_instances, np.float32) if clips.real is None else clips.real
    return Clips(**values, real=padded(real, "constant"))


def _pad(leaf: Any, widths: Any, mode: Any = "constant") -> Any:
    """`jnp.pad`, but NumPy arrays are padded on the host: JAX would compile a program for every length of a clip."""
    return np.pad(leaf, widths, mode) if isinstance(leaf, np.ndarray) else jnp.pad(leaf, widths, mode)


# --- taking apart ---


def result_of(results: FitResult, index: int, clips: Clips) -> FitResult:
    """One of the results of `parallel.fit_many`, without padding: as `fit.fit` of these clips (N, T, ...) returns it."""
    one: FitResult = jax.tree.map(lambda leaf: leaf[index], results)
    n, t = clips.num_instances, clips.num_frames
    params = jax.tree.map(lambda leaf: leaf[:n], model.without_shared(one.params))
    targets = jax.tree.map(lambda leaf: leaf[(slice(n), slice(t))[: leaf.ndim]], one.targets)
    return FitResult(
        params=model.with_shared(params, one.params),
        history=one.history,
        targets=targets,
        rescued=one.rescued[:n],
        exchanged=one.exchanged[:n, :t],
    )


def take_apart(stacked: Tree, index: int, shapes: Tree) -> Any:
    """One fit's part of a stacked pytree on the host, without the padding.

    Args:
      stacked: leaves (M, ...), NumPy. index: which fit. shapes: a pytree with the shapes of the unpadded fit; its
      leaves may be abstract.
    """
    return jax.tree.map(lambda leaf, own: leaf[index][tuple(map(slice, own.shape))].astype(own.dtype), stacked, shapes)


def put_together(parts: Sequence[Any], shapes: Tree) -> Any:
    """The inverse of `take_apart`: stacks parts into leaves (M, ...) of the shapes `shapes`. Padding repeats the last
    entry, and missing fits are filled with the last part."""

    def grown(row: Any, shape: tuple[int, ...]) -> np.ndarray:
        widths = [(0, wide - narrow) for wide, narrow in zip(shape, np.shape(row), strict=True)]
        return np.pad(row, widths, "edge") if any(after for _, after in widths) else np.asarray(row)

    def leaf(stacked: Tree, *own: Tree) -> np.ndarray:
        rows = [grown(row, stacked.shape[1:]) for row in own]
        return np.stack(rows + [rows[-1]] * (stacked.shape[0] - len(rows))).astype(stacked.dtype)

    return jax.tree.map(leaf, shapes, *parts)
