"""A fit's programs, compiled beside its first stages and run in chunks, so that a caller can report progress and save
checkpoints.

All programs run M fits at once (`nemo_jax.parallel`); a single fit has M = 1. A chunk is one compiled scan over a fixed
number of steps. Chunks always start at multiples of their length, so that a fit resumed at the end of a chunk runs the
same programs as an uninterrupted one.
"""

import copy
import dataclasses
import functools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from body_models.pytree import Tree
from experiments.base import programs
from nemo_jax import parallel, stacking, stages
from nemo_jax.stacking import Job, Padding
from nemo_jax.stages import Stage

History = dict[str, dict[str, np.ndarray]]
_CHUNKS_PER_STAGE = 20
# Maximal number of fits of one program on one device, if memory does not limit it further; more are not faster.
_ENOUGH = {"cpu": 4, "gpu": 32, "tpu": 32}
_MEMORY_SHARE = 0.9


@dataclasses.dataclass(frozen=True)
class Position:
    """The progress of a fit: `step` steps of stage number `stage` are done; (number of stages, 0) when finished."""

    stage: int = 0
    step: int = 0


class Shapes(NamedTuple):
    """Abstract values (shapes and dtypes) of a job: the state before each stage, each stage's carry, the last state."""

    states: tuple[Any, ...]
    carries: tuple[Any, ...]
    last: Tree

    def carry_at(self, position: Position) -> Any:
        """The abstract carry of a fit at `position`."""
        return (*self.carries, self.last)[position.stage]


class Chunk(NamedTuple):
    """The result of a chunk of `stage`: the losses (M, length) of each term from step number `first` on, the position
    of the fits after the chunk, and their carry there, which the next chunk overwrites; waited: seconds until the
    chunk's programs were compiled."""

    stage: Stage
    first: int
    losses: dict[str, np.ndarray]
    position: Position
    carry: Tree
    waited: float = 0.0

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
    """The position of a finished fit."""
    return Position(len(stages_of(job)))


def shapes_of_one(job: Job) -> Shapes:
    """Abstract values of one unstacked fit."""
    # By the functions of stacked fits, which are traced for its programs too.
    functions = parallel.functions(tuple(jax.local_devices()[:1]))
    alone, listed = stacking.stack([job], 1, Padding(None, None)), stages_of(job)
    follow = lambda key, function, *args: programs.shapes_of(_name(key, listed), function, *args)
    walked = _shapes(_walk(alone, functions, follow))
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), walked)


class ShapesOfMany:
    """A faster `shapes_of_one` for many jobs that differ mainly in the length of their clips.

    Tracing a fit takes a second. The sizes of all arrays are linear in the number of frames: if three traced lengths
    agree with this, the shapes for other lengths are computed from two of them.
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
    """The shapes for a number of frames, extrapolated linearly from those for two others."""
    (first, a), (second, b) = list(known.items())[:2]

    def leaf(one: Any, other: Any) -> jax.ShapeDtypeStruct:
        sizes = (
            m + (n - m) * (frames - first) // (second - first) for m, n in zip(one.shape, other.shape, strict=True)
        )
        return jax.ShapeDtypeStruct(tuple(sizes), one.dtype)

    return jax.tree.map(leaf, a, b)


def _shapes(walked: Iterable[tuple]) -> Shapes:
    _, states, carries = zip(*walked, strict=True)
    return Shapes(states[:-1], carries[:-1], states[-1])


def _walk(job: Job, functions: parallel.Functions, follow: Callable[..., Any]) -> Iterator[tuple]:
    """Follows a stacked job: abstract values (problem, state, carry) of each stage in turn, then the last state without a
    carry. follow: (key of a program, function, *abstract arguments) -> abstract results."""
    problem, state = follow("start", functions.start, *job.arguments)
    for number, stage in enumerate(stages_of(job)):
        carry = follow((number, "begin"), functions.begin(stage), problem, state)
        yield problem, state, carry
        state = follow((number, "end"), functions.end(stage), problem, carry)
    yield problem, state, None


def _name(key: Any, listed: Sequence[Stage]) -> str:
    """What the program of a key is called on disk: what it does, of which function of the stages."""
    if key == "start":
        return "fit start"
    number, part = key
    stage = listed[number]
    if isinstance(part, int):
        return f"fit steps of {stage.step.__qualname__}, batches {stage.draws}"
    return f"fit {part} of {getattr(stage, part).__qualname__}"


def chunk_length(steps: int, parts: int = _CHUNKS_PER_STAGE) -> int:
    """Steps of a chunk: near steps / parts, if possible a divisor of `steps`, so that no remainder is compiled."""
    ideal = max(1, steps // parts)
    near = [n for n in range(math.ceil(ideal / 2), 2 * ideal + 1) if steps % n == 0]
    return min(near, key=lambda n: abs(n - ideal), default=ideal)


class CompiledFit:
    """The programs of a stacked job from a position on. One thread traces them in the order of their use, others compile
    what is traced, and the fit runs as far as it has programs.

    seconds: the time until the first of them was there; each chunk says how long it waited for its own.

    Args:
      job: M stacked fits. position: the position of all of them.
      used: the devices to spread them over, whose number divides M; None = the first device.
    """

    def __init__(
        self,
        job: Job,
        position: Position,
        used: Sequence[Any] | None = None,
    ):
        begun = time.perf_counter()
        self.job = job
        self._used = tuple(jax.local_devices()[:1] if used is None else used)
        self._listed = listed = stages_of(job)
        self._programs: dict[Any, Future[Any]] = {"start": Future()}
        self._compiling: list[Future[Any]] = []
        for number in range(position.stage, len(listed)):
            self._programs |= {(number, "begin"): Future(), (number, "end"): Future()}
            for length in _lengths(listed[number], listed):
                same = _same_program(listed, number, length, position.stage)
                self._programs[number, length] = Future() if same == number else self._programs[same, length]
        self._traced = programs.in_turn(self._trace, position)
        try:
            self._programs["start"].result()
        except BaseException:
            self.cancel()
            raise
        self.seconds = time.perf_counter() - begun

    def _trace(self, position: Position) -> Shapes:
        """Traces all programs, each to be compiled in another thread at once; returns the abstract values."""
        functions, listed, waiting = parallel.functions(self._used), self._listed, set(self._programs.values())

        def begin(key: Any, function: Any, *args: Any, once: bool = True) -> Any:
            promised = self._programs[key]
            if promised.cancelled():
                raise CancelledError
            made = programs.make(_name(key, listed), function, *args, once=once, used=self._used)
            # Compiling releases Python's global lock, so that it goes on while this thread traces and another one fits.
            compiling = programs.beside(made.compiled)
            self._compiling.append(compiling)
            waiting.remove(promised)
            compiling.add_done_callback(functools.partial(programs.pass_on, promised=promised))
            return made.shapes

        def follow(key: Any, function: Any, *args: Any) -> Any:
            if key in self._programs:
                return begin(key, function, *args)
            return programs.shapes_of(_name(key, listed), function, *args, used=self._used)

        def walk() -> Iterator[tuple]:
            for number, (problem, state, carry) in enumerate(_walk(self.job, functions, follow)):
                yield problem, state, carry
                for length in _lengths(listed[number], listed) if position.stage <= number < len(listed) else ():
                    if _same_program(listed, number, length, position.stage) == number:
                        steps = functions.steps(listed[number])
                        begin((number, length), steps, problem, carry, _index(length), once=False)

        try:
            return _shapes(walk())
        except BaseException as error:
            # Whoever waits for a program that is not traced hears of it.
            for promised in waiting:
                if promised.set_running_or_notify_cancel():
                    promised.set_exception(error)
            raise

    @property
    def shapes(self) -> Shapes:
        """Abstract values of the stacked job; waits until all is traced."""
        return self._traced.result()

    def cancel(self) -> None:
        """Compiles nothing more, so that the process can end."""
        for program in (*self._programs.values(), *self._compiling):
            program.cancel()

    def of(self, job: Job) -> "CompiledFit":
        """The same programs for another job of the same shapes."""
        other = copy.copy(self)
        other.job = job
        return other

    @functools.cached_property
    def memory(self) -> int:
        """The largest memory, in bytes, that a program needs on one device; 0 if the device does not report it."""
        analyses = [program.result().memory_analysis() for program in self._programs.values()]
        parts = ("temp_size_in_bytes", "argument_size_in_bytes", "output_size_in_bytes")

        def needed(analysis: Any) -> int:
            # A donated argument and the output that reuses its memory are counted twice.
            return sum(getattr(analysis, part) for part in parts) - analysis.alias_size_in_bytes

        return max(needed(each) if each else 0 for each in analyses)

    def start(self) -> tuple[stages.Problem, stages.FitState]:
        """The problems and the initial states, with a leading axis M."""
        return self._programs["start"].result()(*self.job.arguments)

    def run(self, problem: stages.Problem, position: Position, carry: Tree) -> Iterator[Chunk]:
        """Runs from a position to the end and yields one chunk at a time; the last one has the final position and
        states.

        `carry` is the carry of the stage, or at step 0 of a stage the state before it. Its memory is donated, and so is
        that of each chunk's carry when the next chunk is requested: copy a carry to keep it for longer.
        """
        listed = stages_of(self.job)
        number, step = position.stage, position.step
        waited = 0.0

        def program(part: Any) -> Any:
            nonlocal waited
            begun = time.perf_counter()
            found = self._programs[number, part].result()
            waited += time.perf_counter() - begun
            return found

        while number < len(listed):
            stage = listed[number]
            if step == 0:
                carry = program("begin")(problem, carry)
            while step < stage.steps:
                length = min(_lengths(stage, listed)[0], stage.steps - step)
                index = stage.first + np.arange(step, step + length, dtype=np.int32)
                carry, losses = program(length)(problem, carry, index)
                losses = {term: np.asarray(values) for term, values in losses.items()}
                first, step = step, step + length
                here = Position(number, step)
                if here == Position(len(listed) - 1, listed[-1].steps):
                    carry, here = program("end")(problem, carry), Position(len(listed))
                yield Chunk(stage, first, losses, here, carry, waited)
                waited = 0.0
            if number < len(listed) - 1:
                carry = program("end")(problem, carry)
            number, step = number + 1, 0


def compile_together(jobs: Sequence[Job], position: Position, most: int | None) -> tuple[CompiledFit, int, Padding]:
    """Compiles programs for jobs of one kind; if not all fit into one program, they run in several turns.

    Args:
      jobs: the jobs to run. position: the position of all of them.
      most: maximal number of fits of one program; None = as many as are useful and fit into the devices' memory.

    Returns:
      The programs, the fits that they run at once, and the padding of clips.
    """
    # With more devices than fits some fits would be computed twice.
    used, padding = jax.local_devices()[: len(jobs)], stacking.padding_of(jobs)
    size = size_of_a_turn(len(jobs), most)
    while True:
        compiled = CompiledFit(stacking.stack(jobs[:size], size, padding), position, used)
        # What is limited is known only when all is compiled.
        if most is not None or size <= len(used) or _memory() == math.inf or compiled.memory <= _memory():
            return compiled, size, padding
        size = fits_of_a_turn(len(jobs), size // 2, len(used))


def size_of_a_turn(count: int, most: int | None) -> int:
    """Number of fits that run at once if memory suffices; `most` as in `compile_together`."""
    num_devices = min(count, len(jax.local_devices()))
    limit = num_devices * _ENOUGH.get(jax.default_backend(), 1) if most is None else most
    return fits_of_a_turn(count, limit, num_devices)


def fits_of_a_turn(count: int, limit: int, num_devices: int) -> int:
    """Number of fits of one turn: a multiple of the number of devices, near count / turns for the fewest turns."""
    per_turn = max(num_devices, limit // num_devices * num_devices)
    turns = math.ceil(count / per_turn)
    return min(per_turn, num_devices * math.ceil(count / turns / num_devices))


def _memory() -> float:
    """Bytes of memory that programs may use on a device; infinite if the device does not report its memory."""
    stats = jax.local_devices()[0].memory_stats() or {}
    return _MEMORY_SHARE * stats["bytes_limit"] if "bytes_limit" in stats else math.inf


def _lengths(stage: Stage, listed: Sequence[Stage]) -> tuple[int, ...]:
    """Steps of a stage's chunks: of all but the last, and of the last if that is shorter.

    Stages of the same steps have chunks of one length if that divides them, so that they share a program.
    """
    alike = [other.steps for other in listed if other.step is stage.step]
    length = chunk_length(sum(alike))
    if math.gcd(*alike) % length:
        near = [n for n in range(length // 2 + 1, 2 * length) if math.gcd(*alike) % n == 0]
        length = min(near, key=lambda n: abs(n - length), default=chunk_length(stage.steps))
    remainder = stage.steps % length
    return (length, remainder) if remainder else (length,)


def _same_program(listed: Sequence[Stage], number: int, length: int, first: int) -> int:
    """The first stage, from `first` on, whose chunks of this length are the same program as those of stage `number`."""
    stage = listed[number]
    alike = (n for n, other in enumerate(listed) if other.step is stage.step and length in _lengths(other, listed))
    return next(n for n in alike if n >= first)


def _index(length: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((length,), jnp.int32)
