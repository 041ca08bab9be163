"""The kinds of calls into a body model's JAX package, compiled side by side and then timed one after the other.

Imports nothing of the project, so that the peer of `body_models_peer.py` is measured by the same lines.
"""

import concurrent.futures
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

KINDS = ("keypoints", "keypoints gradient", "vertices", "vertices gradient")
"""Gradients are of the sum of squares, for the rotations of joints and root and for the shape."""


def timed(
    name: str,
    functions: Mapping[str, Callable[..., Any]],
    fixed: tuple[Any, ...],
    poses: Mapping[int, tuple[Any, Any, Any]],
    kinds: Sequence[str],
    seconds: Callable[[Callable[[], Any]], Any],
) -> dict[str, Any]:
    """The results of `seconds` for each kind and batch size ("vertices/64"); None if the device's memory was too small.

    Args:
      name: name of the package, for the lines of progress.
      functions: `keypoints` and `vertices` of (*fixed, pose, root, shape).
      fixed: the leading arguments, which hold the model.
      poses: the other arguments, by batch size.
      kinds: some of `KINDS`.
      seconds: function that times a call.
    """

    def program(kind: str) -> Any:
        function = functions[kind.split()[0]]
        if not kind.endswith("gradient"):
            return jax.jit(function)
        wanted = tuple(range(len(fixed), len(fixed) + 3))
        return jax.jit(jax.grad(lambda *x: jnp.sum(function(*x) ** 2), wanted))

    def compiled(kind: str, size: int) -> Any:
        return if_it_fits(lambda: program(kind).lower(*fixed, *poses[size]).compile())

    found = {}
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        ready = {(kind, size): pool.submit(compiled, kind, size) for kind in kinds for size in poses}
        # Nothing else may compute or compile while a call is timed.
        concurrent.futures.wait(ready.values())
    print(f"{name}: compiled {len(ready)} programs", flush=True)
    for kind, size in list(ready):
        call = ready.pop((kind, size)).result()
        timing = call and if_it_fits(lambda c=call, s=size: seconds(lambda: c(*fixed, *poses[s])))
        found[f"{kind}/{size}"] = timing
        tell(name, kind, size, timing)
    return found


def if_it_fits(work: Callable[[], Any]) -> Any:
    """The result of `work`; None if the device's memory is too small for it."""
    try:
        return work()
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return None


def tell(name: str, kind: str, size: int, timing: Any) -> None:
    """Prints one line of progress."""
    outcome = f"{1e3 * timing.median:.4g} ms" if timing else "out of memory"
    print(f"{name}: {kind}, batch {size}: {outcome}", flush=True)
