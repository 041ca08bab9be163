"""Reads what `joblib.dump` wrote, without joblib and without executing it.

The file is a pickle, possibly compressed as a whole. Where it has an array, the pickle builds a `NumpyArrayWrapper` with
`shape`, `dtype` and `order`, and the array's bytes follow in the file right behind the instruction that sets these. Since
joblib 1.2 they are aligned: one byte that says how many bytes of padding come first. Objects arrays follow as a pickle of
their own. Before joblib 0.10 arrays were files beside the pickle; these are not read.
"""

from __future__ import annotations

import io
from typing import BinaryIO

import numpy as np

from body_models import pickle_calls, safe_pickle
from body_models.array_parts import count_of, shape_of
from body_models.safe_pickle import BadPickleError, Budget, Call, Resolver, Stream
from body_models.wording import shown
from experiments.base import torch_files
from experiments.poses import unpacked

_WRAPPER = "joblib.numpy_pickle.NumpyArrayWrapper"
_OLD_FORMAT = "it is in joblib's format from before version 0.10, whose arrays lie in other files; save it again"


def loads(contents: bytes, name: str, max_bytes: int = safe_pickle.MAX_BYTES) -> object:
    """As `load`, from memory."""
    return load(io.BytesIO(contents), len(contents), name, max_bytes)


def load(file: BinaryIO, size: int, name: str, max_bytes: int = safe_pickle.MAX_BYTES) -> object:
    """What a joblib file or ordinary pickle holds; tensors in it become arrays.

    Args:
      file: stands at the start.
      size: its bytes.
      name: what errors call it, usually its path.
      max_bytes: limit of what it unpacks to, and of its arrays, where its size does not set a lower one.

    Raises:
      UnsafePickleError: it asks for something that could run code.
      BadPickleError: it is neither, truncated, damaged, too large, or in a format that is not read.
    """
    budget = Budget(size, max_bytes)
    head = file.read(6)
    file.seek(0)
    if head.startswith(b"ZF0x"):
        raise BadPickleError(f"{name}: {_OLD_FORMAT}")
    if head.startswith(b"\x04\x22\x4d\x18"):
        raise BadPickleError(f"{name}: it is compressed with lz4, which is not read; save it with another compression")
    if not unpacked.is_compressed(head):
        return load_stream(Stream(file, size), name, budget)
    try:
        stream = unpacked.Unpacked(file, budget)
        if unpacked.is_compressed(stream.peek(6)):
            raise BadPickleError(f"{name}: it is compressed twice; unpack it once")
        found = load_stream(stream, name, budget)
        stream.finish()
        return found
    except unpacked.CompressionError as error:
        raise BadPickleError(f"{name}: {error}") from error


def load_stream(stream: Stream, name: str, budget: Budget) -> object:
    """What a joblib file or ordinary pickle holds that is not compressed. Errors as in `load`."""

    def array_behind(call: Call, stream: Stream) -> object:
        state = call.state
        if not isinstance(state, dict):
            raise ValueError(f"an array has {shown(state)} for a description")
        dtype, shape = safe_pickle.dtype_of(state.get("dtype")), shape_of(state.get("shape"))
        if dtype.hasobject:
            return pickle_calls.record(stream, name, _BUILDERS, None, budget=budget)
        if state.get("numpy_array_alignment_bytes") is not None:
            stream.read(stream.read(1)[0])
        return stream.read_array(count_of(shape, dtype) * dtype.itemsize)

    followers = {_WRAPPER: array_behind}
    return safe_pickle.loads(stream, name, _BUILDERS, followers=followers, budget=budget)


def _array(call: Call, resolve: Resolver) -> np.ndarray:
    state, attached = call.state, call.attached
    if not isinstance(attached, bytearray):
        return resolve(attached)
    return safe_pickle.make_array(attached, resolve(state["dtype"]), state["shape"], state.get("order"), resolve, True)


def _old_array(call: Call, resolve: Resolver) -> object:
    raise ValueError(_OLD_FORMAT)


_BUILDERS: dict[str, safe_pickle.Builder | None] = {
    **torch_files.BUILDERS,
    _WRAPPER: _array,
    **dict.fromkeys(["numpy.memmap", "numpy._core.memmap.memmap", "numpy.matrix", "numpy.matrixlib.defmatrix.matrix"]),
    **dict.fromkeys([f"joblib.numpy_pickle.{kind}ArrayWrapper" for kind in ("ND", "ZND")], _old_array),
    **dict.fromkeys([f"joblib.numpy_pickle_compat.{kind}ArrayWrapper" for kind in ("ND", "ZND")], _old_array),
}
