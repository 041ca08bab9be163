"""Reads files written by `joblib.dump`, without joblib and without executing them.

The file is a pickle, possibly compressed as a whole. For an array the pickle builds a `NumpyArrayWrapper` with `shape`,
`dtype` and `order`; the bytes of the array follow in the file directly after the instruction that sets these. Since
joblib 1.2 they are aligned: they are preceded by one byte with the number of padding bytes, and the padding. Arrays of
objects follow as a separate pickle. Before joblib 0.10 arrays were files beside the pickle; these are not read.
"""

from __future__ import annotations

import bz2
import lzma
import math
import operator
import zlib

import numpy as np

from body_models import pickle_calls, safe_pickle
from body_models.safe_pickle import BadPickleError, Call, Resolver, Stream
from experiments.base import torch_files

_WRAPPER = "joblib.numpy_pickle.NumpyArrayWrapper"
_OLD_FORMAT = "it is in joblib's format from before version 0.10, whose arrays lie in other files; save it again"


def loads(contents: bytes, name: str, max_bytes: int = safe_pickle.MAX_BYTES) -> object:
    """The object in a joblib file or an ordinary pickle; tensors become arrays.

    Args:
      contents: the bytes of the file.
      name: the name of the file in error messages, usually its path.
      max_bytes: limit of the decompressed size, and of the size of the arrays.

    Raises:
      UnsafePickleError: the pickle calls something that could run code.
      BadPickleError: the file is not a pickle, truncated, damaged, too large, or of an unsupported format.
    """

    def array_behind(call: Call, stream: Stream) -> object:
        state = call.state
        dtype = safe_pickle.dtype_of(state["dtype"])
        if dtype.hasobject:
            return pickle_calls.record(stream, name, _BUILDERS, None)
        if state.get("numpy_array_alignment_bytes") is not None:
            stream.read(stream.read(1)[0])
        count = math.prod(operator.index(n) for n in state["shape"])
        if count < 0:
            raise ValueError(f"an array has shape {state['shape']}")
        return stream.read(count * dtype.itemsize)

    contents = _decompressed(contents, name, max_bytes)
    return safe_pickle.loads(contents, name, _BUILDERS, max_bytes=max_bytes, followers={_WRAPPER: array_behind})


def _array(call: Call, resolve: Resolver) -> np.ndarray:
    state, attached = call.state, call.attached
    if isinstance(attached, bytes):
        return safe_pickle.make_array(attached, resolve(state["dtype"]), state["shape"], state.get("order"), resolve)
    return resolve(attached)


def _old_array(call: Call, resolve: Resolver) -> object:
    raise ValueError(_OLD_FORMAT)


_BUILDERS: dict[str, safe_pickle.Builder | None] = {
    **torch_files.BUILDERS,
    _WRAPPER: _array,
    **dict.fromkeys(["numpy.memmap", "numpy._core.memmap.memmap", "numpy.matrix", "numpy.matrixlib.defmatrix.matrix"]),
    **dict.fromkeys([f"joblib.numpy_pickle.{kind}ArrayWrapper" for kind in ("ND", "ZND")], _old_array),
    **dict.fromkeys([f"joblib.numpy_pickle_compat.{kind}ArrayWrapper" for kind in ("ND", "ZND")], _old_array),
}


def _decompressed(contents: bytes, name: str, max_bytes: int) -> bytes:
    """The decompressed contents; the compression is recognised by the first bytes, as in joblib."""
    if contents.startswith(b"ZF0x"):
        raise BadPickleError(f"{name}: {_OLD_FORMAT}")
    if contents.startswith(b"\x04\x22\x4d\x18"):
        raise BadPickleError(f"{name}: it is compressed with lz4, which is not read; save it with another compression")
    make = next((make for magic, make in _DECOMPRESSORS.items() if contents.startswith(magic)), None)
    if make is None:
        return contents
    decompressor = make()
    try:
        found = decompressor.decompress(contents, max_bytes)
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise BadPickleError(f"{name}: its compression is damaged ({pickle_calls.reason(error)})") from error
    if not decompressor.eof:
        why = "truncated" if len(found) < max_bytes else f"unpacking to more than the {max_bytes} bytes allowed"
        raise BadPickleError(f"{name}: it is compressed, and {why}")
    return found


_DECOMPRESSORS = {
    b"\x78": zlib.decompressobj,
    b"\x1f\x8b": lambda: zlib.decompressobj(16 + zlib.MAX_WBITS),
    b"BZh": bz2.BZ2Decompressor,
    b"\xfd7zXZ": lzma.LZMADecompressor,
    b"\x5d\x00": lzma.LZMADecompressor,
}
