"""Neural networks in TensorFlow Lite files, run by LiteRT.

LiteRT (the package ai-edge-litert) is what became of TensorFlow Lite's own runtime. It connects to nothing.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments.base.errors import UserError
from experiments.detection.models import INSTALL

Array = np.ndarray

_MOST_THREADS = 4  # other runs may share the machine


class Network:
    """Takes a square picture, float32 (S, S, 3), and gives arrays."""

    def __init__(self, content: bytes, outputs: Sequence[tuple[int, ...]]):
        """Loads a TensorFlow Lite file whose outputs have, among others, these shapes, without the leading 1.

        Raises:
          UserError: the runtime cannot be imported.
          ValueError: the file is no such network.
        """
        threads = min(_MOST_THREADS, os.cpu_count() or 1)
        self._interpreter = _runtime().Interpreter(model_content=content, num_threads=threads)
        self._interpreter.allocate_tensors()
        (entry,) = self._interpreter.get_input_details()
        shape = tuple(int(side) for side in entry["shape"])
        if len(shape) != 4 or shape[0] != 1 or shape[1] != shape[2] or shape[3] != 3 or entry["dtype"] != np.float32:
            raise ValueError(f"its input is {entry['dtype'].__name__} of shape {shape}, not a square picture")
        found = {
            tuple(int(side) for side in one["shape"]): one["index"] for one in self._interpreter.get_output_details()
        }
        missing = [shape for shape in outputs if (1, *shape) not in found]
        if missing:
            raise ValueError(f"it has no output of shape {(1, *missing[0])}")
        self.side = shape[1]
        self._input = entry["index"]
        self._outputs = [found[1, *shape] for shape in outputs]

    def __call__(self, picture: Array) -> list[Array]:
        """The outputs, in the order in which they were asked for."""
        self._interpreter.set_tensor(self._input, np.ascontiguousarray(picture, np.float32)[None])
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(index)[0] for index in self._outputs]


def _runtime() -> Any:
    """LiteRT, which is no more than optional, and not typed."""
    try:
        return importlib.import_module("ai_edge_litert.interpreter")
    except (ImportError, OSError) as error:
        raise UserError(
            f"the package ai-edge-litert is installed but cannot be imported ({error}); install what it misses, or {INSTALL}"
        ) from error
