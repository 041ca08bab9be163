"""The fit in pieces: each stage compiled ahead of time and run chunk by chunk, so that a caller can report and save.

A chunk is one compiled scan over a fixed number of steps. Chunks start at multiples of their length, whoever starts them,
so an interrupted fit that goes on from a chunk's end runs the very programs that an uninterrupted one would have run.
"""

import copy
import dataclasses
import functools
import math
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from body_models import smpl
from experiments.base import devices
from nemo_jax import stages
from nemo_jax.clips import Clips
from nemo_jax.config import FitConfig
from nemo_jax.priors import Priors
from nemo_jax.stages import FitState, Problem, Stage

Array = jax.Array
History = dict[str, dict[str, np.ndarray]]
_CHUNKS_PER_STAGE = 20


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


@dataclasses.dataclass(frozen=True)
class Functions:
    """The parts of a fit, jitted: `stages.start`; of a stage its begin, its end, and (problem, carry, step numbers) ->
    carry, losses. The steps are given their carry for good: what they return is written over it."""

    start: Callable[..., Any]
    begin: Callable[[Stage], Any]
    end: Callable[[Stage], Any]
    steps: Callable[[Stage], Any]


def of_one(stage: Stage):
    """The steps of a stage of one fit."""

    def chunk(problem: Problem, carry: Any, steps: Array) -> tuple[Any, dict[str, Array]]:
        return stages.run_steps(problem, stage, carry, steps)

    return chunk


ONE_FIT = Functions(
    start=jax.jit(stages.start),
    begin=lambda stage: jax.jit(stage.begin),
    end=lambda stage: jax.jit(stage.end),
    steps=lambda stage: jax.jit(of_one(stage), donate_argnums=1),
)


@dataclasses.dataclass(frozen=True)
class Job:
    """What is to be fitted: the arguments of `fit`, or, with functions of their own, those of several fits at once."""

    key: Array
    clips: Clips
    body: smpl.SMPL
    priors: Priors
    config: FitConfig
    functions: Functions = ONE_FIT

    @property
    def arguments(self) -> tuple[Array, Clips, smpl.SMPL, Priors, FitConfig]:
        return self.key, self.clips, self.body, self.priors, self.config

    @property
    def stages(self) -> tuple[Stage, ...]:
        return stages.stages(self.config)

    @functools.cached_property
    def shapes(self) -> Shapes:
        problem, state = jax.eval_shape(self.functions.start, *self.arguments)
        states, carries = [], []
        for stage in self.stages:
            states.append(state)
            carries.append(jax.eval_shape(self.functions.begin(stage), problem, state))
            state = jax.eval_shape(self.functions.end(stage), problem, carries[-1])
        return Shapes(problem, tuple(states), tuple(carries), state)

    def carry_at(self, position: Position) -> Any:
        """Abstract carry of a fit that stands at `position`."""
        return (*self.shapes.carries, self.shapes.last)[position.stage]


class Chunk(NamedTuple):
    """After a chunk of `stage`: the losses (length,) of each term from step number `first` on, (M, length) where M fits run
    at once, and where the fit stands now, with its carry there, which the next chunk overwrites."""

    stage: Stage
    first: int
    losses: dict[str, np.ndarray]
    position: Position
    carry: Any

    @property
    def length(self) -> int:
        return next(iter(self.losses.values())).shape[-1]


def chunk_length(steps: int, parts: int = _CHUNKS_PER_STAGE) -> int:
    """Steps of a chunk: near steps / parts, and a divisor of `steps` if one is near, so that no remainder is compiled."""
    ideal = max(1, steps // parts)
    near = [n for n in range(math.ceil(ideal / 2), 2 * ideal + 1) if steps % n == 0]
    return min(near, key=lambda n: abs(n - ideal), default=ideal)


class CompiledFit:
    """A job's programs from a position on; `seconds` is what compiling them took."""

    def __init__(self, job: Job, position: Position):
        begun = time.perf_counter()
        self.job = job
        shapes, functions = job.shapes, job.functions
        lowered: dict[Any, Any] = {"start": functions.start.lower(*job.arguments)}
        for number, (stage, state, carry) in enumerate(zip(job.stages, shapes.states, shapes.carries, strict=True)):
            if number >= position.stage:
                lowered[number, "begin"] = functions.begin(stage).lower(shapes.problem, state)
                lowered[number, "end"] = functions.end(stage).lower(shapes.problem, carry)
                for length in _lengths(stage):
                    lowered[number, length] = functions.steps(stage).lower(shapes.problem, carry, _index(length))
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

    @property
    def memory(self) -> int:
        """Bytes that the hungriest of the programs needs on one device; 0 where the device does not tell."""
        analyses = [program.memory_analysis() for program in self._programs.values()]
        parts = ("temp_size_in_bytes", "argument_size_in_bytes", "output_size_in_bytes")

        def needed(analysis: Any) -> int:
            # A donated argument and the output in its place are counted twice.
            return sum(getattr(analysis, part) for part in parts) - analysis.alias_size_in_bytes

        return max(needed(each) if each else 0 for each in analyses)

    def start(self) -> tuple[Problem, FitState]:
        """The problem and the first state."""
        return self._programs["start"](*self.job.arguments)

    def run(self, problem: Problem, position: Position, carry: Any) -> Iterator[Chunk]:
        """Runs on from a position to the end, one chunk at a time; the last one stands at the end, with the final state.

        `carry` is the stage's own; at step 0 of a stage, the state before it. It is used up, and so is each chunk's when
        the next chunk is asked for: who needs one for longer copies it.
        """
        stages = self.job.stages
        number, step = position.stage, position.step
        while number < len(stages):
            stage = stages[number]
            if step == 0:
                carry = self._programs[number, "begin"](problem, carry)
            while step < stage.steps:
                length = min(_lengths(stage)[0], stage.steps - step)
                index = jnp.arange(step, step + length, dtype=jnp.int32)
                carry, losses = self._programs[number, length](problem, carry, index)
                losses = {term: np.asarray(values) for term, values in losses.items()}
                first, step = step, step + length
                here = Position(number, step)
                if here == Position(len(stages) - 1, stages[-1].steps):
                    carry, here = self._programs[number, "end"](problem, carry), Position(len(stages))
                yield Chunk(stage, first, losses, here, carry)
            if number < len(stages) - 1:
                carry = self._programs[number, "end"](problem, carry)
            number, step = number + 1, 0


def _lengths(stage: Stage) -> tuple[int, ...]:
    length = chunk_length(stage.steps)
    remainder = stage.steps % length
    return (length, remainder) if remainder else (length,)


def _index(length: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((length,), jnp.int32)
