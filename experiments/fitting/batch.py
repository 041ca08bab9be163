"""Several fits in one program: stacked, padded, spread over the devices of this machine, and taken apart again.

Fits go together when they compile to the same program: the same static fields, about as many clips, the same body and
priors. Their keys, clips and every number of the configuration have a leading axis of M fits, which
`parallel.over_fits` runs over and `jax.shard_map` splits between the devices; devices never talk to each other. Shorter
clips are padded with frames, and fewer clips with clips, that do not exist, which no batch draws and no loss sees.
"""

import dataclasses
import functools
import math
from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from experiments.fitting.compiled_programs import CompiledFit, Functions, Job, Position, of_one
from nemo_jax import parallel, stages
from nemo_jax.config import FitConfig
from nemo_jax.model import Assets

_AXIS = "fits"
# Fits of one program on one device, where nothing else limits them: more do not make it faster.
_ENOUGH = {"cpu": 4, "gpu": 32, "tpu": 32}
_MEMORY_SHARE = 0.9
# Frames are padded to a multiple, so that other clips find the compiled program again.
_FRAMES = 32


_SHARED = ("body", "priors", "rows")  # of the assets


def _problem(own: Any, shared: Any) -> Any:
    """`own` for the parts of a problem that each fit has, `shared` for those that all share."""
    assets: Any = {f.name: shared if f.name in _SHARED else own for f in dataclasses.fields(Assets)}
    return stages.Problem(key=own, clips=own, assets=Assets(**assets), config=own)


_AXES = _problem(0, None)
_SPECS = _problem(P(_AXIS), P())


class Slots(NamedTuple):
    """To what the clips of one program are padded: instances, None where all have as many, and frames."""

    instances: int | None
    frames: int


def kind_of(job: Job) -> Hashable:
    """What fits of one program have in common."""
    config = job.config
    static = tuple((f.name, getattr(config, f.name)) for f in dataclasses.fields(FitConfig) if not _is_number(f))
    instances, frames = parallel.shape_of_program(job.clips, config)
    # One program takes clips of any length, but for batches of all frames.
    return static, instances, frames if config.batch_size == -1 else None, id(job.body), id(job.priors)


def slots_of(jobs: Sequence[Job]) -> Slots:
    """To what the clips of these jobs of one kind are padded."""
    longest, counts = max(job.clips.num_frames for job in jobs), {job.clips.num_instances for job in jobs}
    frames = longest if jobs[0].config.batch_size == -1 else _FRAMES * math.ceil(longest / _FRAMES)
    return Slots(max(counts) if len(counts) > 1 else None, frames)


def stack(jobs: Sequence[Job], size: int, slots: Slots) -> Job:
    """One job of `size` fits, padded to `slots`; the last one is repeated to fill it."""
    filled = [*jobs, *[jobs[-1]] * (size - len(jobs))]
    clips = [parallel.pad_frames(job.clips, slots.frames) for job in filled]
    if slots.instances is not None:
        clips = [parallel.pad_instances(each, slots.instances) for each in clips]
    return Job(
        key=jnp.stack([job.key for job in filled]),
        clips=jax.tree.map(lambda *leaves: np.stack(leaves), *clips),
        body=jobs[0].body,
        priors=jobs[0].priors,
        config=jax.tree.map(lambda *values: np.asarray(values, np.float32), *(job.config for job in filled)),
        functions=_functions(),
    )


def take_apart(carry: Any, lane: int, shapes: Any) -> Any:
    """The carry of one fit out of a stacked one on the host, without the padding; `shapes` are those of that fit alone."""
    return jax.tree.map(lambda leaf, own: leaf[lane][tuple(map(slice, own.shape))].astype(own.dtype), carry, shapes)


def put_together(carries: Sequence[Any], shapes: Any) -> Any:
    """The inverse of `take_apart`; `shapes` are those of the stacked carry. Padding repeats what stands before it."""

    def grown(row: Any, shape: tuple[int, ...]) -> np.ndarray:
        widths = [(0, wide - narrow) for wide, narrow in zip(shape, np.shape(row), strict=True)]
        return np.pad(row, widths, "edge") if any(after for _, after in widths) else np.asarray(row)

    def leaf(stacked: Any, *own: Any) -> np.ndarray:
        rows = [grown(row, stacked.shape[1:]) for row in own]
        return np.stack(rows + [rows[-1]] * (stacked.shape[0] - len(rows))).astype(stacked.dtype)

    return jax.tree.map(leaf, shapes, *carries)


def compiled(jobs: Sequence[Job], position: Position, most: int | None) -> tuple[CompiledFit, int, Slots]:
    """Programs for these jobs of one kind, which may take several turns.

    Args:
      jobs: those to run. position: where they all stand.
      most: fits of one program at most; None = as many as are worth while and fit into the devices' memory.

    Returns:
      The programs, the fits that they run at once, and to what clips are padded.
    """
    devices, slots = len(jax.local_devices()), slots_of(jobs)
    limit = devices * _ENOUGH.get(jax.default_backend(), 1) if most is None else most
    while True:
        size = _even(len(jobs), limit, devices)
        programs = CompiledFit(stack(jobs[:size], size, slots), position)
        if most is not None or size <= devices or programs.memory <= _memory():
            return programs, size, slots
        limit = size // 2


def _even(count: int, limit: int, devices: int) -> int:
    """Fits of one turn: a multiple of the devices, near count / turns for the least number of turns."""
    per_turn = max(devices, limit // devices * devices)
    turns = math.ceil(count / per_turn)
    return min(per_turn, devices * math.ceil(count / turns / devices))


def _memory() -> float:
    """Bytes that programs may take on a device; infinite where it does not tell."""
    stats = jax.local_devices()[0].memory_stats() or {}
    return _MEMORY_SHARE * stats["bytes_limit"] if "bytes_limit" in stats else math.inf


def _is_number(field: Any) -> bool:
    return isinstance(field.default, float)


@functools.cache
def _functions() -> Functions:
    mesh = Mesh(np.array(jax.local_devices()), (_AXIS,))
    each = P(_AXIS)

    def spread(
        function: Any, axes: Any, specs: Any, out_axes: Any = 0, out_specs: Any = each, donate: tuple[int, ...] = ()
    ) -> Any:
        # The values of constants inside a fit are the same on all devices, which the check does not see.
        over_fits = parallel.over_fits(function, axes, out_axes)
        spread_out = jax.shard_map(over_fits, mesh=mesh, in_specs=specs, out_specs=out_specs, check_vma=False)
        return jax.jit(spread_out, donate_argnums=donate)

    def steps(stage: stages.Stage) -> Any:
        # Each chunk is written over the carry that it was given.
        return spread(of_one(stage), (_AXES, 0, None), (_SPECS, each, P()), donate=(1,))

    return Functions(
        start=spread(stages.start, (0, 0, None, None, 0), (each, each, P(), P(), each), (_AXES, 0), (_SPECS, each)),
        begin=lambda stage: spread(stage.begin, (_AXES, 0), (_SPECS, each)),
        end=lambda stage: spread(stage.end, (_AXES, 0), (_SPECS, each)),
        steps=steps,
    )
