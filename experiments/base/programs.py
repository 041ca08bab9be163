"""Functions as compiled programs of the device, which are compiled ahead, in other threads, or found on disk."""

import functools
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import jax

from experiments.base import devices, kept_programs, tree_text

_MOST_THREADS = 8


def beside(function: Callable[..., Any], *args: Any) -> Future[Any]:
    """Runs a function in one of a few threads, which take functions in the order of calls; for what compiles."""
    return _threads().submit(function, *args)


def in_turn(function: Callable[..., Any], *args: Any) -> Future[Any]:
    """Runs a function in a thread of its own, which takes one after another in the order of calls; for what traces."""
    return _tracer().submit(function, *args)


@functools.cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(min(_MOST_THREADS, devices.num_cores()), "compile")


@functools.cache
def _tracer() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, "trace")


def pass_on(done: Future[Any], promised: Future[Any]) -> None:
    """Gives a future the result or the error of another one, which is done, unless it is cancelled."""
    if not promised.set_running_or_notify_cancel():
        return
    error = CancelledError() if done.cancelled() else done.exception()
    if error is None:
        promised.set_result(done.result())
    else:
        promised.set_exception(error)


class Made(NamedTuple):
    """A program that can be had. shapes: its results, abstract. compiled: loads or compiles it, for any thread."""

    shapes: Any
    compiled: Callable[[], Any]


def make(name: str, function: Any, *args: Any, once: bool = True, used: Sequence[Any] | None = None) -> Made:
    """A program for arguments of these shapes, concrete or abstract: found among those kept on disk, or traced.

    Args:
      name: of the function, unique in the project (`kept_programs.place_of`). function: made by `jax.jit`.
      once: whether it runs once or twice in a command, see `devices.compiler_options`.
      used: the devices that it runs on; None = the first.
    """
    options = devices.compiler_options(once)
    used, place, kept = _looked_up(name, args, options, used)
    if kept is not None and kept.code:
        load = lambda: kept_programs.load(kept, args, used)
        return Made(kept.shapes, lambda: load() or _compiled(place, function.trace(*args), options, anew=True))
    traced = function.trace(*args)
    lowered = traced.lower()
    anew = kept is not None
    return Made(tree_text.abstract(traced.out_info), lambda: _compiled(place, traced, options, anew, lowered))


def shapes_of(name: str, function: Any, *args: Any, used: Sequence[Any] | None = None) -> Any:
    """The abstract results of a program as of `make`, without compiling it."""
    _, place, kept = _looked_up(name, args, devices.compiler_options(True), used)
    if kept is not None:
        return kept.shapes
    shapes = tree_text.abstract(function.trace(*args).out_info)
    if place is not None:
        kept_programs.keep(place, shapes)
    return shapes


def _looked_up(
    name: str, args: tuple[Any, ...], options: Mapping[str, Any], used: Sequence[Any] | None
) -> tuple[tuple[Any, ...], Path | None, kept_programs.Kept | None]:
    """The devices of a program, where it is kept, and what is found there."""
    used = tuple(jax.local_devices()[:1] if used is None else used)
    place = kept_programs.place_of(name, args, options, used)
    return used, place, None if place is None else kept_programs.find(place)


def _compiled(place: Path | None, traced: Any, options: Any, anew: bool, lowered: Any = None) -> Any:
    lowered = lowered or traced.lower()
    if place is None:
        return lowered.compile(compiler_options=options)
    compiled, whole = kept_programs.compiled(lowered, options, anew)
    kept_programs.keep(place, tree_text.abstract(traced.out_info), compiled if whole else None)
    return compiled


class Program:
    """`jax.jit` of a function, with this project's compiler options, for one set of shapes at a time.

    Args:
      function: pure, of pytrees of arrays. once: whether it runs once or twice in a command, see
        `devices.compiler_options`.
      name: unique in the project, by which compiled programs are found on disk; None = that of its module and its own.

    Raises:
      ValueError: the function is made inside another and has no name.
    """

    def __init__(self, function: Callable[..., Any], once: bool = False, name: str | None = None):
        if name is None and "<" in function.__qualname__:
            raise ValueError(f"{function.__qualname__} needs a name: it is not the only function that is called so")
        self._name = name or f"{function.__module__}.{function.__qualname__}"
        self._function, self._once = jax.jit(function), once
        self._compiled: dict[Any, tuple[Any, Future[Any]]] = {}
        self._lock = threading.Lock()

    def ahead(self, *args: Any) -> None:
        """Traces for arguments of these shapes, concrete or abstract, and compiles beside, unless that was done."""
        self._for(args)

    def shapes(self, *args: Any) -> Any:
        """The abstract results for such arguments, for which it compiles beside."""
        return self._for(args)[0]

    def __call__(self, *args: Any) -> Any:
        return self._for(args)[1].result()(*args)

    def _for(self, args: tuple[Any, ...]) -> tuple[Any, Future[Any]]:
        """The abstract results and the program, which another thread compiles."""
        leaves, tree = jax.tree.flatten(tree_text.abstract(args))
        key = (tree, tuple((leaf.shape, leaf.dtype, leaf.weak_type) for leaf in leaves))
        with self._lock:
            if key not in self._compiled:
                made = make(self._name, self._function, *args, once=self._once)
                self._compiled[key] = made.shapes, beside(made.compiled)
            return self._compiled[key]
