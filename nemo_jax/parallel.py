"""Many fits in one program: the functions of `nemo_jax.fit`, vmapped over a leading axis of fits and spread over devices.

Fits differ in key, clips and the floats of their configuration: actions x seeds x hyperparameters. Body and priors are
shared and never copied. No fit reads another's numbers, so that one that diverges leaves its neighbours bit for bit.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from body_models import smpl
from nemo_jax import clips as clips_lib
from nemo_jax import stages
from nemo_jax.clips import Clips
from nemo_jax.config import FitConfig
from nemo_jax.fit import FitResult, fit, with_steps
from nemo_jax.model import Assets
from nemo_jax.priors import Priors
from nemo_jax.stages import FitState, Losses, Problem, Stage

Array = jax.Array

# Lengths of clips and numbers of instances are rounded up to these, so that actions of similar sizes share one program. A
# step's batch is as large for few instances as for many: only lifting and the camera stage pay for padded ones.
FRAME_BUCKETS = (32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
INSTANCE_BUCKETS = (4, 8, 12, 16, 24, 32, 48, 64, 96, 128)

# Which parts of a problem differ between fits: a tree of axes in place of arrays.
_ASSET_AXES: Any = {"body": None, "priors": None, "focal": 0, "principal": 0, "pixel_scale": 0, "rows": None}
_AXES: Any = Problem(key=0, clips=0, assets=Assets(**_ASSET_AXES), config=0)  # pyright: ignore[reportArgumentType]


def over_fits(function: Callable[..., Any], in_axes: tuple[Any, ...], out_axes: Any = 0) -> Callable[..., Any]:
    """`jax.vmap` with every axis 0 or None, but one fit alone runs as itself.

    XLA's products of a CPU are four times slower with an axis of one fit than without it.
    """

    def call(*args: Any) -> Any:
        fits = jax.tree.leaves(_mapped(lambda leaf: leaf, in_axes, args, shared=lambda _: None))[0].shape[0]
        if fits > 1:
            return jax.vmap(function, in_axes, out_axes)(*args)
        return _mapped(lambda leaf: leaf[None], out_axes, function(*_mapped(lambda leaf: leaf[0], in_axes, args)))

    return call


def _mapped(
    change: Callable[[Any], Any], axes: Any, tree: Any, shared: Callable[[Any], Any] = lambda part: part
) -> Any:
    """The tree with its leaves changed where `axes`, a prefix, has an axis; `shared` of the parts where it has None."""
    each = lambda axis, part: shared(part) if axis is None else jax.tree.map(change, part)
    return jax.tree.map(each, axes, tree, is_leaf=lambda axis: axis is None)


def start(keys: Array, clips: Clips, body: smpl.SMPL, priors: Priors, configs: FitConfig) -> tuple[Problem, FitState]:
    """`nemo_jax.stages.start` of M fits: keys (M,), clips and the configurations' floats with leading M."""
    return over_fits(stages.start, (0, 0, None, None, 0), (_AXES, 0))(keys, clips, body, priors, configs)


def begin(stage: Stage, problem: Problem, state: FitState) -> Any:
    """A stage's carries, leading M."""
    return over_fits(stage.begin, (_AXES, 0))(problem, state)


def end(stage: Stage, problem: Problem, carry: Any) -> FitState:
    """The states after a stage, leading M."""
    return over_fits(stage.end, (_AXES, 0))(problem, carry)


def run_steps(problem: Problem, stage: Stage, carry: Any, steps: Array) -> tuple[Any, Losses]:
    """`stages.run_steps` of every fit; losses (M, L)."""
    return over_fits(lambda p, c: stages.run_steps(p, stage, c, steps), (_AXES, 0))(problem, carry)


def fit_many(
    keys: Array,
    clips: Clips,
    body: smpl.SMPL,
    priors: Priors,
    configs: FitConfig,
    devices: Sequence[Any] | None = None,
) -> FitResult:
    """`fit` of M fits at once, an equal share on each device.

    Args:
      keys: (M,), one a fit.
      clips: leading M, see `stack_clips`.
      body, priors: shared by all.
      configs: floats (M,), see `stack_configs`; what is static is the same for all.
      devices: of this process; None = all. Where M is no multiple of their number, the last fit is done again.

    Returns:
      Results with leading M, see `result_of`. A fit whose losses are not finite has diverged; the others are as they would
      be beside any other fit.

    Raises:
      ValueError: `joint_steps` is -1 and some instances are padding, which would count too.
    """
    if clips.real is not None and configs.joint_steps == -1:
        raise ValueError(
            "joint_steps is -1, steps by the number of instances, some of which are padding; expected a number, as "
            "nemo_jax.for_clips of each action gives it"
        )
    mesh = Mesh(np.asarray(jax.local_devices() if devices is None else devices), ("fits",))
    count, size = keys.shape[0], mesh.size
    rows = jnp.minimum(jnp.arange(-(-count // size) * size), count - 1)
    keys, clips, configs = jax.tree.map(lambda leaf: leaf[rows], (keys, clips, configs))
    each, shared = PartitionSpec("fits"), PartitionSpec()

    local = over_fits(fit, (0, 0, None, None, 0))
    spread = jax.shard_map(
        local, mesh=mesh, in_specs=(each, each, shared, shared, each), out_specs=each, check_vma=False
    )
    return jax.tree.map(lambda leaf: leaf[:count], spread(keys, clips, body, priors, configs))


def stack_configs(configs: Sequence[FitConfig]) -> FitConfig:
    """Configurations as one whose floats have leading M.

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

    Padding changes no result but by rounding, except with `batch_size=-1`, which goes round short clips again.
    """
    frames, counts = max(clips.num_frames for clips in actions), {clips.num_instances for clips in actions}
    padded = [pad_frames(clips, frames) for clips in actions]
    if len(counts) > 1:
        padded = [pad_instances(clips, max(counts)) for clips in padded]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *padded)


def pad_frames(clips: Clips, frames: int) -> Clips:
    """Clips with frame slots added up to `frames`; frames that exist stay first."""
    more = frames - clips.num_frames

    def padded(leaf: Array) -> Array:
        return jnp.pad(leaf, [(0, 0), (0, more), *[(0, 0)] * (leaf.ndim - 2)])

    return dataclasses.replace(clips, **{name: padded(jnp.asarray(getattr(clips, name))) for name in clips_lib.TIMED})


def pad_instances(clips: Clips, instances: int) -> Clips:
    """Clips with instances added up to `instances` that have no frames, which no batch draws and no mean counts; those
    that exist stay first. `real` is set, even if none are added. The configuration is that of the clips before
    (`for_clips`)."""
    more = instances - clips.num_instances

    def padded(leaf: Array, mode: str) -> Array:
        return jnp.pad(jnp.asarray(leaf), [(0, more), *[(0, 0)] * (jnp.ndim(leaf) - 1)], mode)

    # Their images and lenses are like the last one's, so that none is the largest of all.
    values = {
        field.name: padded(getattr(clips, field.name), "constant" if field.name in clips_lib.TIMED else "edge")
        for field in dataclasses.fields(Clips)
        if field.name != "real"
    }
    real = jnp.ones(clips.num_instances) if clips.real is None else jnp.asarray(clips.real)
    return Clips(**values, real=padded(real, "constant"))


def result_of(results: FitResult, index: int, clips: Clips) -> FitResult:
    """One of the results of `fit_many`, without padding: as `fit` of these clips (N, T, ...) returns it."""
    one: FitResult = jax.tree.map(lambda leaf: leaf[index], results)
    n, t = clips.num_instances, clips.num_frames
    params = jax.tree.map(lambda leaf: leaf[:n], dataclasses.replace(one.params, field=None))
    targets = jax.tree.map(lambda leaf: leaf[(slice(n), slice(t))[: leaf.ndim]], one.targets)
    return FitResult(params=dataclasses.replace(params, field=one.params.field), history=one.history, targets=targets)


def bucket(count: int, sizes: Sequence[int] = FRAME_BUCKETS) -> int:
    """The least of `sizes` that holds `count`, and beyond the last the next multiple of it."""
    return next((size for size in sizes if size >= count), -(-count // sizes[-1]) * sizes[-1])


def shape_of_program(clips: Clips, config: FitConfig) -> tuple[int, int]:
    """Instances and frames up to which clips are padded at most to share a program with others."""
    if config.batch_size == -1:
        # Batches of all frames go over the padding too.
        return clips.num_instances, clips.num_frames
    return bucket(clips.num_instances, INSTANCE_BUCKETS), bucket(clips.num_frames)


def groups(actions: Sequence[Clips], configs: Sequence[FitConfig]) -> list[list[int]]:
    """Indices of fits that can run as one program: one bucket of instances and of lengths, equal static choices."""
    found: dict[Any, list[int]] = {}
    for index, (clips, config) in enumerate(zip(actions, configs, strict=True)):
        # By the instances that there are, not by the padded ones.
        static = jax.tree.structure(with_steps(config, clips.num_instances))
        found.setdefault((shape_of_program(clips, config), static), []).append(index)
    return list(found.values())
