"""Reads pickles written by strangers: builds arrays and plain containers, and runs nothing that the file asks for.

A pickle is a program: it names functions and has them called. Here every name must stand in an allow-list, and a call
to it is only *recorded* (`Call`). When the whole file has been read, the records are turned into values by the builders
of that list, which check every shape against the bytes that are there. NumPy's own rebuilding functions are not used:
a crafted dtype state makes them read bytes as object pointers.

Read are: dict, defaultdict, list, deque, tuple, set, str, bytes, numbers, None; NumPy arrays and scalars of numbers,
text and objects;
SciPy csc, csr and coo matrices (as dense arrays); chumpy arrays (as NumPy arrays); pickle protocols 0 to 5, Python 2's
too (text as latin-1). Neither SciPy nor chumpy has to be installed. Other formats pass `builders` for their names.
"""

import math
import operator
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from body_models.pickle_calls import BadPickleError, Call, Follower, Stream, UnsafePickleError, reason, record

__all__ = [
    "BUILDERS",
    "BadPickleError",
    "Call",
    "Follower",
    "Opaque",
    "Resolver",
    "Stream",
    "UnsafePickleError",
    "attributes",
    "dtype_of",
    "load",
    "loads",
    "make_array",
]

MAX_BYTES = 4 << 30


class Opaque:
    """Stands where the file has a chumpy expression that is not a stored array; its `name` says which."""

    def __init__(self, name: str):
        self.name = name

    def __repr__(self) -> str:
        return f"<{self.name}, not evaluated>"


_PLAIN = (str, bytes, bytearray, int, float, complex, type(None), np.ndarray, np.generic, Opaque)


class Resolver:
    """Turns what was recorded into values: `resolve(value)`, with sharing and cycles through lists and dicts kept."""

    def __init__(self, builders: Mapping[str, "Builder | None"], max_bytes: int):
        self._builders = builders
        self._bytes_left = max_bytes
        # Values by the id of what they came from, which is kept beside them so that no id is used twice.
        self._done: dict[int, tuple[object, Any]] = {}

    def reserve(self, num_bytes: int) -> None:
        """To be called before memory is taken that the file's own size does not bound."""
        self._bytes_left -= num_bytes
        if self._bytes_left < 0:
            raise ValueError("its arrays would take more memory than the limit for pickles allows")

    def __call__(self, value: Any) -> Any:
        if isinstance(value, _PLAIN):
            return value
        if id(value) not in self._done:
            if isinstance(value, list | dict):
                self._done[id(value)] = (value, value)
            self._done[id(value)] = (value, self._build(value))
        return self._done[id(value)][1]

    def _build(self, value: Any) -> Any:
        if isinstance(value, list):
            value[:] = [self(item) for item in value]
            return value
        if isinstance(value, dict):
            items = [(self(key), self(item)) for key, item in value.items()]
            value.clear()
            value.update(items)
            return value
        if isinstance(value, tuple | set | frozenset):
            return type(value)(self(item) for item in value)
        if isinstance(value, Call):
            if value.name not in self._builders:
                return Opaque(value.name)
            builder = self._builders[value.name]
            if builder is None:
                raise ValueError(f"{value.name} is called, which is only read as a name")
            return builder(value, self)
        named = value.name if isinstance(value, type) and issubclass(value, Call) else type(value).__name__
        raise ValueError(f"it holds {named} itself, which is not data")


Builder = Callable[[Call, Resolver], Any]


def load(
    path: str | os.PathLike,
    builders: Mapping[str, Builder | None] | None = None,
    persistent_load: Callable[[Any], Any] | None = None,
    max_bytes: int = MAX_BYTES,
) -> Any:
    """What the pickle file at `path` holds. Arguments and errors as in `loads`."""
    try:
        size = os.stat(path).st_size
        if size > max_bytes:
            raise BadPickleError(f"{path}: {size} bytes are more than the {max_bytes} that a pickle may have here")
        contents = Path(path).read_bytes()
    except OSError as error:
        raise BadPickleError(f"{path}: cannot be read ({error.strerror})") from error
    return loads(contents, str(path), builders, persistent_load, max_bytes)


def loads(
    contents: bytes,
    name: str,
    builders: Mapping[str, Builder | None] | None = None,
    persistent_load: Callable[[Any], Any] | None = None,
    max_bytes: int = MAX_BYTES,
    followers: Mapping[str, Follower] | None = None,
) -> Any:
    """What the pickle `contents` holds.

    Args:
      contents: the pickle.
      name: what errors call it, usually its path.
      builders: more allowed names ("package.module.Class") and what to build for them: a function of the recorded
        `Call` and the `Resolver` that evaluates its parts, e.g. `attributes`; None allows the bare name only.
      persistent_load: turns the persistent ids of formats that have them (torch) into values.
      max_bytes: limit for all arrays together.
      followers: read what a format (joblib) puts right behind the state of objects of a name, outside of the pickle; it
        becomes their `Call.attached`.

    Raises:
      UnsafePickleError: it asks for a name outside the list.
      BadPickleError: it is no pickle, truncated, damaged or too large.
    """
    allowed = {**BUILDERS, **(builders or {})}
    recorded = record(contents, name, allowed, persistent_load, followers)
    # Hostile or damaged bytes can make the builders raise nearly anything.
    try:
        return Resolver(allowed, max_bytes)(recorded)
    except Exception as error:
        raise BadPickleError(f"{name}: the pickle cannot be used: {reason(error)}") from error


def attributes(call: Call, resolve: Resolver) -> dict:
    """Builder for an object of any class: its attributes, as a dict."""
    state = resolve(call.state)
    if not isinstance(state, dict):
        raise BadPickleError(f"{call.name} comes without attributes")
    return state


def _as_bytes(data: object) -> bytes:
    if isinstance(data, str):
        return data.encode("latin1")
    if not isinstance(data, bytes | bytearray):
        raise BadPickleError(f"the contents of an array are a {type(data).__name__}, not bytes")
    return bytes(data)


def dtype_of(call: Call, resolve: Resolver | None = None) -> np.dtype:
    """The type that `numpy.dtype(code, ...)` and its state describe: numbers, text or objects.

    Raises:
      ValueError: any other type.
    """
    del resolve  # everything in it is plain
    code = call.args[0] if call.args else None
    match = re.fullmatch(r"[<>|=]?([?biufcSUO])\d{0,6}", code) if isinstance(code, str) else None
    state = call.state
    # A state is (version, byte order, base type, field names, ...).
    if match is None or (state is not None and (state[2] is not None or state[3] is not None)):
        raise ValueError(f"it has an array of type {code!r}; only plain numbers, text and objects are read")
    if match[1] == "O":
        return np.dtype(object)
    dtype = np.dtype(code)
    return dtype.newbyteorder(state[1]) if state is not None and state[1] in ("<", ">") else dtype


def make_array(data: object, dtype: np.dtype, shape: Any, order: Any, resolve: Resolver) -> np.ndarray:
    """The array of these contents, in the machine's byte order: bytes, or a list where the type is of objects.

    Raises:
      ValueError: they do not fit.
    """
    shape = tuple(operator.index(n) for n in (shape if isinstance(shape, tuple | list) else (shape,)))
    if min(shape, default=0) < 0 or not isinstance(dtype, np.dtype):
        raise ValueError(f"an array has shape {shape} and type {dtype!r}")
    if not dtype.itemsize and shape != (0,):
        # Text of length 0, as of "S0", which NumPy would widen to one byte each.
        raise ValueError(f"an array has items of no size and shape {shape}")
    count = math.prod(shape)
    if dtype.hasobject:
        if not isinstance(data, list) or len(data) != count:
            raise ValueError(f"an object array of shape {shape} does not come with a list of {count}")
        resolve.reserve(8 * count)
        array = np.empty(count, object)
        for i, item in enumerate(data):
            array[i] = resolve(item)
        return array.reshape(shape, order=order)
    contents = _as_bytes(data)
    if len(contents) != count * dtype.itemsize:
        raise ValueError(
            f"an array of shape {shape} and type {dtype} needs {count * dtype.itemsize} bytes and has {len(contents)}"
        )
    resolve.reserve(len(contents))
    if not contents:
        return np.zeros(shape, dtype)
    return np.frombuffer(contents, dtype).reshape(shape, order=order).astype(dtype.newbyteorder("="), order="C")


def _array(call: Call, resolve: Resolver) -> np.ndarray:
    """`_reconstruct(ndarray, (0,), 'b')`, then the state ([version,] shape, dtype, is_fortran, data)."""
    if not isinstance(call.state, tuple) or len(call.state) not in (4, 5):
        raise ValueError("an array comes without its contents")
    shape, dtype, is_fortran, data = call.state[-4:]
    contents = data if isinstance(data, list) else resolve(data)
    return make_array(contents, resolve(dtype), shape, "F" if is_fortran else "C", resolve)


def _array_from_buffer(call: Call, resolve: Resolver) -> np.ndarray:
    """Protocol 5: `_frombuffer(data, dtype, shape, order[, axis_order])`."""
    data, dtype, shape, order, *axes = call.args
    array = make_array(resolve(data), resolve(dtype), shape, "C" if order == "K" else order, resolve)
    return array.transpose(axes[0]) if order == "K" and axes and axes[0] is not None else array


def _scalar(call: Call, resolve: Resolver) -> Any:
    dtype, data = call.args
    return make_array(resolve(data), resolve(dtype), (), "C", resolve)[()]


def _bytes(call: Call, resolve: Resolver) -> bytes:
    """`bytes()`, `bytearray(bytes)`, or as Python 3 writes bytes for Python 2, `_codecs.encode(text, 'latin1')`."""
    text, encoding = {0: ("", "latin1"), 1: (*call.args, "latin1")}.get(len(call.args), call.args)
    if encoding not in ("latin1", "latin-1"):
        raise ValueError(f"it encodes text as {encoding!r}, only latin1 is read")
    return _as_bytes(resolve(text))


def _ordered_dict(call: Call, resolve: Resolver) -> dict:
    return {**dict(resolve(call.args[0]) if call.args else ()), **resolve(call.items)}


def _default_dict(call: Call, resolve: Resolver) -> dict:
    return resolve(call.items)


def _deque(call: Call, resolve: Resolver) -> list:
    return [*(resolve(call.args[0]) if call.args else ()), *resolve(call.values)]


def _reconstructed(call: Call, resolve: Resolver) -> Any:
    """Protocols 0 and 1: `copyreg._reconstructor(cls, object, None)`, then a state."""
    cls, *_ = call.args
    if not (isinstance(cls, type) and issubclass(cls, Call)):
        raise BadPickleError("it rebuilds an object without a class")
    built = cls()
    built.state, built.items, built.values, built.attached = call.state, call.items, call.values, call.attached
    return resolve(built)


def _sparse(call: Call, resolve: Resolver) -> np.ndarray:
    state = attributes(call, resolve)
    kind = call.name.rpartition(".")[2]
    shape = tuple(operator.index(n) for n in (state["_shape"] if "_shape" in state else state["shape"]))
    data = np.asarray(state["data"])
    if kind == "coo":
        index = state["coords"] if "coords" in state else (state["row"], state["col"])
        row, col = (np.asarray(i) for i in index)
    else:
        inner, counts = np.asarray(state["indices"]), np.diff(np.asarray(state["indptr"]).astype(np.int64))
        if counts.ndim != 1 or counts.min(initial=0) < 0 or counts.sum(dtype=object) > inner.size:
            raise ValueError(f"a sparse matrix of shape {shape} has an index that does not fit its entries")
        lines = np.repeat(np.arange(len(counts)), counts)
        inner = inner[: len(lines)]
        row, col = (inner, lines) if kind == "csc" else (lines, inner)
        data = data[: len(lines)]
    ok = len(shape) == 2 and data.ndim == 1 and row.shape == col.shape == data.shape
    if not ok or (data.size and not (row.min() >= 0 <= col.min() and row.max() < shape[0] and col.max() < shape[1])):
        raise ValueError(f"a sparse matrix of shape {shape} has entries that do not fit it")
    resolve.reserve(math.prod(shape) * data.itemsize)
    dense = np.zeros(shape, data.dtype)
    np.add.at(dense, (row, col), data)
    return dense


def _chumpy(call: Call, resolve: Resolver) -> np.ndarray | Opaque:
    """The stored array of a `Ch`, and what merely reorders one; expressions stay `Opaque`."""
    kind, state = call.name.rpartition(".")[2], call.state
    if not isinstance(state, dict):
        return Opaque(call.name)
    source = resolve(state.get("x" if kind == "Ch" else "a"))
    if not isinstance(source, np.ndarray | np.generic | int | float):
        return Opaque(call.name)
    source = np.asarray(source)
    if kind == "Ch":
        return source
    if kind == "Select":
        chosen = source.ravel()[np.asarray(resolve(state["idxs"]))]
        return chosen.reshape(resolve(state["preferred_shape"])) if "preferred_shape" in state else chosen
    if kind == "Reshape":
        return source.reshape(resolve(state["newshape"]))
    return source.transpose(resolve(state.get("axes")))


# Allowed names. None: the bare name may stand as an argument and is never built.
BUILDERS: dict[str, Builder | None] = {
    "numpy.ndarray": None,
    **dict.fromkeys(["builtins.object", "builtins.dict", "builtins.list", "builtins.int", "builtins.float"]),
    "numpy.dtype": dtype_of,
    "numpy._core.multiarray._reconstruct": _array,
    "numpy._core.multiarray.scalar": _scalar,
    "numpy._core.numeric._frombuffer": _array_from_buffer,
    "_codecs.encode": _bytes,
    "builtins.bytes": _bytes,
    "builtins.bytearray": lambda call, resolve: bytearray(_bytes(call, resolve)),
    "builtins.set": lambda call, resolve: set(resolve(call.args[0])),
    "builtins.frozenset": lambda call, resolve: frozenset(resolve(call.args[0])),
    "collections.OrderedDict": _ordered_dict,
    "collections.defaultdict": _default_dict,
    "collections.deque": _deque,
    "copyreg._reconstructor": _reconstructed,
    **dict.fromkeys(["scipy.sparse.csc", "scipy.sparse.csr", "scipy.sparse.coo"], _sparse),
    "chumpy.ch.Ch": _chumpy,
    **dict.fromkeys(["chumpy.reordering.Select", "chumpy.reordering.Reshape", "chumpy.reordering.transpose"], _chumpy),
}
