"""A fit's programs, compiled ahead of time and run chunk by chunk, so that a caller can report and save.

Everything here is of M fits at once (`nemo_jax.parallel`), one fit being M = 1. A chunk is one compiled scan over a fixed
number of steps. Chunks start at multiples of their length, whoever starts them, so an interrupted fit that goes on from a
chunk's end runs the very programs that an uninterrupted one would have run.
"""

import copy
import dataclasses
import functools
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.base import devices
from nemo_jax import parallel, stacking, stages
from nemo_jax.stacking import Job, Padding
from nemo_jax.stages import Stage

History = dict[str, dict[str, np.ndarray]]
_CHUNKS_PER_STAGE = 20
# Fits of one program on one device, where nothing else limits them: more do not make it faster.
_ENOUGH = {"cpu": 4, "gpu": 32, "tpu": 32}
_MEMORY_SHARE = 0.9


@dataclasses.dataclass(frozen=True)
class Position:
    """Where a fit stands: `step` steps of stage number `stage` are done. A finished fit stands at (number of stages, 0)."""

    stage: int = 0
    step: int = 0


class Shapes(NamedTuple):
    """Abstract values of a job: its problem, the state before each stage, each stage's carry, the last state."""

    problem: Any
    states: tuple[Any, ...]
    carries: tuple[Any, ...]
    last: Any

    def carry_at(self, position: Position) -> Any:
        """Abstract carry of a fit that stands at `position`."""
        return (*self.carries, self.last)[position.stage]


class Chunk(NamedTuple):
    """What a chunk of `stage` leaves: the losses (M, length) of each term from step number `first` on, and where the fits
    stand now, with their carry there, which the next chunk overwrites."""

    stage: Stage
    first: int
    losses: dict[str, np.ndarray]
    position: Position
    carry: Any

    @property
    def length(self) -> int:
        return next(iter(self.losses.values())).shape[-1]

    @property
    def ends_stage(self) -> bool:
        return self.first + self.length == self.stage.steps


def stages_of(job: Job) -> tuple[Stage, ...]:
    """The stages of a job, in order."""
    return stages.stages(job.config)


def end_of(job: Job) -> Position:
    """Where a fit stands when it is finished."""
    return Position(len(stages_of(job)))


def shapes_of_one(job: Job) -> Shapes:
    """Abstract values of one fit that is not stacked."""
    return _shapes(job, stages.start, lambda stage: stage.begin, lambda stage: stage.end)


class ShapesOfMany:
    """`shapes_of_one` of many jobs that differ in little but the length of their clips.

    Tracing a fit takes a second. The sizes of all arrays follow the number of frames linearly; where three lengths that were
    traced agree with that, the others are computed.
    """

    def __init__(self) -> None:
        self._traced: dict[Any, dict[int, Shapes]] = {}
        self._linear: dict[Any, bool] = {}

    def __call__(self, job: Job) -> Shapes:
        frames = job.clips.num_frames
        static = jax.tree.structure(job.config), jax.tree.structure(job.priors)
        key = (*static, job.clips.num_instances, job.body.num_betas)
        known = self._traced.setdefault(key, {})
        if frames not in known:
            if self._linear.get(key):
                return _between(known, frames)
            traced = shapes_of_one(job)
            if len(known) == 2:
                self._linear[key] = _between(known, frames) == traced
            known[frames] = traced
        return known[frames]


def _between(known: dict[int, Shapes], frames: int) -> Shapes:
    """Shapes for a number of frames, from those for two others."""
    (first, a), (second, b) = list(known.items())[:2]

    def leaf(one: Any, other: Any) -> jax.ShapeDtypeStruct:
        sizes = (
            m + (n - m) * (frames - first) // (second - first) for m, n in zip(one.shape, other.shape, strict=True)
        )
        return jax.ShapeDtypeStruct(tuple(sizes), one.dtype)

    return jax.tree.map(leaf, a, b)


def _shapes(job: Job, start: Any, begin: Callable[[Stage], Any], end: Callable[[Stage], Any]) -> Shapes:
    problem, state = jax.eval_shape(start, *job.arguments)
    states, carries = [], []
    for stage in stages_of(job):
        states.append(state)
        carries.append(jax.eval_shape(begin(stage), problem, state))
        state = jax.eval_shape(end(stage), problem, carries[-1])
    return Shapes(problem, tuple(states), tuple(carries), state)


def chunk_length(steps: int, parts: int = _CHUNKS_PER_STAGE) -> int:
    """Steps of a chunk: near steps / parts, and a divisor of `steps` if one is near, so that no remainder is compiled."""
    ideal = max(1, steps // parts)
    near = [n for n in range(math.ceil(ideal / 2), 2 * ideal + 1) if steps % n == 0]
    return min(near, key=lambda n: abs(n - ideal), default=ideal)


class CompiledFit:
    """The programs of a stacked job from a position on; `seconds` is what compiling them took.

    Args:
      job: of M fits. position: where all of them stand.
      used: the devices to spread them over, whose number divides M; None = the first one.
    """

    def __init__(
        self,
        job: Job,
        position: Position,
        used: Sequence[Any] | None = None,
    ):
        begun = time.perf_counter()
        self.job = job
        functions = parallel.functions(tuple(jax.local_devices()[:1] if used is None else used))
        self.shapes = _shapes(job, functions.start, functions.begin, functions.end)
        lowered: dict[Any, Any] = {"start": functions.start.lower(*job.arguments)}
        each = zip(stages_of(job), self.shapes.states, self.shapes.carries, strict=True)
        for number, (stage, state, carry) in enumerate(each):
            if number >= position.stage:
                lowered[number, "begin"] = functions.begin(stage).lower(self.shapes.problem, state)
                lowered[number, "end"] = functions.end(stage).lower(self.shapes.problem, carry)
                for length in _lengths(stage):
                    lowered[number, length] = functions.steps(stage).lower(self.shapes.problem, carry, _index(length))
        options = devices.compiler_options()
        # Compiling leaves Python, so that threads share the cores.
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            programs = pool.map(lambda low: low.compile(compiler_options=options), lowered.values())
            self._programs = dict(zip(lowered, programs, strict=True))
        self.seconds = time.perf_counter() - begun

    def of(self, job: Job) -> "CompiledFit":
        """The same programs for another job of the same shapes."""
        other = copy.copy(self)
        other.job = job
        return other

    @functools.cached_property
    def memory(self) -> int:
        """Bytes that the hungriest of the programs needs on one device; 0 where the device does not tell."""
        analyses = [program.memory_analysis() for program in self._programs.values()]
        parts = ("temp_size_in_bytes", "argument_size_in_bytes", "output_size_in_bytes")

        def needed(analysis: Any) -> int:
            # A donated argument and the output in its place are counted twice.
            return sum(getattr(analysis, part) for part in parts) - analysis.alias_size_in_bytes

        return max(needed(each) if each else 0 for each in analyses)

    def start(self) -> tuple[stages.Problem, stages.FitState]:
        """The problems and the first states, leading M."""
        return self._programs["start"](*self.job.arguments)

    def run(self, problem: stages.Problem, position: Position, carry: Any) -> Iterator[Chunk]:
        """Runs on from a position to the end, one chunk at a time; the last one stands at the end, with the final states.

        `carry` is the stage's own; at step 0 of a stage, the state before it. It is used up, and so is each chunk's when
        the next chunk is asked for: who needs one for longer copies it.
        """
        listed = stages_of(self.job)
        number, step = position.stage, position.step
        while number < len(listed):
            stage = listed[number]
            if step == 0:
                carry = self._programs[number, "begin"](problem, carry)
            while step < stage.steps:
                length = min(_lengths(stage)[0], stage.steps - step)
                index = jnp.arange(step, step + length, dtype=jnp.int32)
                carry, losses = self._programs[number, length](problem, carry, index)
                losses = {term: np.asarray(values) for term, values in losses.items()}
                first, step = step, step + length
                here = Position(number, step)
                if here == Position(len(listed) - 1, listed[-1].steps):
                    carry, here = self._programs[number, "end"](problem, carry), Position(len(listed))
                yield Chunk(stage, first, losses, here, carry)
            if number < len(listed) - 1:
                carry = self._programs[number, "end"](problem, carry)
            number, step = number + 1, 0


def compile_together(jobs: Sequence[Job], position: Position, most: int | None) -> tuple[CompiledFit, int, Padding]:
    """Programs for jobs of one kind, which may take several turns.

    Args:
      jobs: those to run. position: where they all stand.
      most: fits of one program at most; None = as many as are worth while and fit into the devices' memory.

    Returns:
      The programs, the fits that they run at once, and the padding of clips.
    """
    # More devices than fits would compute fits twice.
    used, padding = jax.local_devices()[: len(jobs)], stacking.padding_of(jobs)
    size = size_of_a_turn(len(jobs), most)
    while True:
        programs = CompiledFit(stacking.stack(jobs[:size], size, padding), position, used)
        if most is not None or size <= len(used) or programs.memory <= _memory():
            return programs, size, padding
        size = fits_of_a_turn(len(jobs), size // 2, len(used))


def size_of_a_turn(count: int, most: int | None) -> int:
    """Fits that run at once where the memory takes them; arguments as of `compile_together`."""
    num_devices = min(count, len(jax.local_devices()))
    limit = num_devices * _ENOUGH.get(jax.default_backend(), 1) if most is None else most
    return fits_of_a_turn(count, limit, num_devices)


def fits_of_a_turn(count: int, limit: int, num_devices: int) -> int:
    """Fits of one turn: a multiple of the devices, near count / turns for the least number of turns."""
    per_turn = max(num_devices, limit // num_devices * num_devices)
    turns = math.ceil(count / per_turn)
    return min(per_turn, num_devices * math.ceil(count / turns / num_devices))


def _memory() -> float:
    """Bytes that programs may take on a device; infinite where it does not tell."""
    stats = jax.local_devices()[0].memory_stats() or {}
    return _MEMORY_SHARE * stats["bytes_limit"] if "bytes_limit" in stats else math.inf


def _lengths(stage: Stage) -> tuple[int, ...]:
    length = chunk_length(stage.steps)
    remainder = stage.steps % length
    return (length, remainder) if remainder else (length,)


def _index(length: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((length,), jnp.int32)
