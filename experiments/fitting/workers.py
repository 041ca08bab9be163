"""A pool of processes for work that needs no accelerator: simulating clips, writing many results, drawing pictures."""

import atexit
import contextlib
import functools
import importlib
import multiprocessing
import os
import pickle
import tempfile
import weakref
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any, Generic, TypeVar

import jax

from experiments.base import devices, garbage, stopping

# Starting a process takes seconds, so fewer fits than this are faster without a pool.
_LEAST_FITS = 8
_MOST_WORKERS = 32
# Films and figures of one fit are about so many pieces of work.
_MOST_DRAWING = 16

# Takes a function and its arguments and returns a future of its result.
Submit = Callable[..., Future[Any]]
T = TypeVar("T")


class Later(Future[Any]):
    """A future without another process: its function runs when its result is first asked for; its errors pass."""

    def __init__(self, function: Callable[..., Any], *args: Any):
        super().__init__()
        self._call = functools.partial(function, *(each.value if isinstance(each, Shared) else each for each in args))

    def result(self, timeout: float | None = None) -> Any:
        if not self.done():
            self.set_result(self._call())
        return super().result(timeout)


class Shared(Generic[T]):
    """A value that many pieces of work take as an argument: they are given the value itself, which is pickled once, as it is
    now, and which each process reads once.

    Args:
      value: what is shared. submit: takes the pieces of work.
    """

    def __init__(self, value: T, submit: Submit):
        self.value = value
        self._path: Path | None = None
        if submit is not Later:
            handle, name = tempfile.mkstemp(prefix="nemo_jax_")
            self._path = Path(name)
            weakref.finalize(self, self._path.unlink, missing_ok=True)
            with open(handle, "wb") as file:
                pickle.dump(value, file, pickle.HIGHEST_PROTOCOL)

    def __reduce__(self) -> tuple[Any, ...]:
        assert self._path is not None, "shared with pieces of work of this process alone"
        return _read, (self._path,)


# Of one fit: its run, and the cells of films of all clips.
@functools.lru_cache(maxsize=2)
def _read(path: Path) -> Any:
    return pickle.loads(path.read_bytes())


class Workers:
    """Runs functions in other processes if there are many fits, otherwise immediately in this one; a context manager.

    Functions, arguments and results are pickled. Workers compute on the CPU and leave the accelerators to this process.

    Args:
      num_fits: how many fits there are. drawing: whether an only fit has much to draw, for which there are processes too.
    """

    def __init__(self, num_fits: int, drawing: bool = False):
        self._many = num_fits >= _LEAST_FITS
        count = min(devices.num_cores(), num_fits if self._many else _MOST_DRAWING, _MOST_WORKERS)
        if not self._many and not drawing:
            count = 0
        self._pool = None
        if count > 1:
            # Processes are spawned, because a forked process would inherit JAX's threads and locks.
            context = multiprocessing.get_context("spawn")
            # What most tasks need is imported before the first one; who draws needs no loaders.
            needed = "experiments.fitting.clips" if self._many else "experiments.results.reading"
            self._pool = ProcessPoolExecutor(count, mp_context=context, initializer=_begin, initargs=(needed,))
            with _environment(_one_thread(drawing=not self._many)):
                # A process starts for a task that finds none idle; all import while this one sees to its devices.
                for _ in range(count):
                    self._pool.submit(os.getpid)

    @property
    def apart(self) -> bool:
        """Whether functions given to `submit` run in other processes."""
        return self._many and self._pool is not None

    @property
    def draw(self) -> Submit:
        """Takes what an only fit has to draw: for other processes where there are some, otherwise for later."""
        return Later if self._pool is None else self._pool.submit

    def submit(self, function: Callable[..., Any], *args: Any) -> Future[Any]:
        """A future of the function's result; an error of the function is raised by its `result` method."""
        if self._many and self._pool is not None:
            return self._pool.submit(function, *args)
        done: Future[Any] = Future()
        try:
            done.set_result(function(*args))
        except Exception as error:
            done.set_exception(error)
        return done

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: Any) -> None:
        if self._pool is not None:
            # A worker finishes the results that it has begun to write.
            self._pool.shutdown(wait=True, cancel_futures=error is not None)


def _one_thread(drawing: bool) -> dict[str, str]:
    """Variables by which a worker computes on one core, as there is one for each core.

    Who draws runs every program a few times alone, and compiles it in a third of the time.
    """
    flags = [*os.environ.get("XLA_FLAGS", "").split(), "--xla_cpu_multi_thread_eigen=false"]
    if drawing:
        flags += [f"--{name}={str(value).lower()}" for name, value in devices.options_of_cpu(once=True).items()]
    return {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "XLA_FLAGS": " ".join(flags)}


@contextlib.contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """The environment with these variables, for processes that start meanwhile."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _begin(needed: str) -> None:
    """Prepares a worker, which imports the module `needed`."""
    garbage.collect_seldom()
    importlib.import_module(needed)
    jax.config.update("jax_platforms", "cpu")
    devices.keep_compiled()
    stopping.leave_to_parent()
    # Results are with the parent by then; taking apart what was imported takes half a second.
    atexit.register(os._exit, 0)
