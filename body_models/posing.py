"""Poses many frames in chunks: one compiled program for any number of frames, and one chunk of meshes in memory."""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from body_models.pytree import Tree

CHUNK = 32  # frames that are posed at once


def pose_in_chunks(function: Callable[..., Any], shared: Tree, *arrays: Tree, size: int = CHUNK) -> Any:
    """Applies `function` to every frame and returns the results on the host.

    Args:
      function: (shared, *frame) -> arrays of ONE frame. The compiled program is cached by the identity of the function,
        so give a module-level function, not a lambda.
      shared: the inputs that are the same for all frames, such as the body.
      arrays: trees of arrays (F, ...), one row per frame, F at least 1; they are converted to float32.
      size: frames that are posed at once; results of other sizes may differ in the last bit.

    Returns:
      The results of `function`, as NumPy arrays with a leading axis F.
    """
    parts = list(chunks(function, shared, *arrays, size=size))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)


def chunks(function: Callable[..., Any], shared: Tree, *arrays: Tree, size: int = CHUNK) -> Iterator[Any]:
    """Yields the results of `pose_in_chunks` one chunk at a time, computed lazily: leaves of at most `size` frames."""
    given = jax.tree.map(lambda array: np.asarray(array, np.float32), arrays)
    count = len(jax.tree.leaves(given)[0])
    for first in range(0, count, size):
        frames = min(size, count - first)
        # The last frame is repeated to fill the last chunk.
        rows = np.minimum(np.arange(first, first + size), count - 1)
        part = jax.tree.map(lambda array, rows=rows: array[rows], given)
        found = jax.device_get(_pose_chunk(function, shared, part))
        yield jax.tree.map(lambda leaf, frames=frames: leaf[:frames], found)


@functools.partial(jax.jit, static_argnums=0)
def _pose_chunk(function: Callable[..., Any], shared: Tree, frames: tuple[Any, ...]) -> Any:
    return jax.vmap(lambda *frame: function(shared, *frame))(*frames)
