"""Functions as compiled programs of the device, which are compiled ahead, in other threads."""

import functools
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jax

from experiments.base import devices

_MOST_THREADS = 8


def beside(function: Callable[..., Any], *args: Any) -> Future[Any]:
    """Runs a function in one of a few threads, which take functions in the order of calls; for what compiles."""
    return _threads().submit(function, *args)


@functools.cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(min(_MOST_THREADS, devices.num_cores()), "compile")


class Program:
    """`jax.jit` of a function, with this project's compiler options, for one set of shapes at a time.

    Args:
      function: pure, of pytrees of arrays. once: whether it runs once or twice in a command, see
        `devices.compiler_options`.
    """

    def __init__(self, function: Callable[..., Any], once: bool = False):
        self._function, self._once = function, once
        self._compiled: dict[Any, Any] = {}
        self._lock = threading.Lock()

    def ahead(self, *args: Any) -> None:
        """Compiles for arguments of these shapes, concrete or abstract, unless that was done."""
        self._for(args)

    def __call__(self, *args: Any) -> Any:
        return self._for(args)(*args)

    def _for(self, args: tuple[Any, ...]) -> Any:
        leaves, tree = jax.tree.flatten(args)
        shapes = [jax.typeof(leaf) if not isinstance(leaf, jax.ShapeDtypeStruct) else leaf for leaf in leaves]
        key = (tree, tuple((leaf.shape, leaf.dtype, getattr(leaf, "weak_type", False)) for leaf in shapes))
        with self._lock:
            if key not in self._compiled:
                lowered = jax.jit(self._function).lower(*args)
                self._compiled[key] = lowered.compile(compiler_options=devices.compiler_options(self._once))
            return self._compiled[key]
