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

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from body_models import expanded, pickled_matrices
from body_models.array_parts import count_of, dtype_named, shape_of
from body_models.budget import MAX_BYTES, Budget, no_collection
from body_models.pickle_calls import BadPickleError, Call, Follower, UnsafePickleError, record
from body_models.resolver import Builder, Opaque, Resolver, attributes
from body_models.streams import Stream
from body_models.wording import reason, shown

__all__ = [
    "BUILDERS",
    "MAX_BYTES",
    "BadPickleError",
    "Budget",
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


def load(
    path: str | os.PathLike,
    builders: Mapping[str, Builder | None] | None = None,
    persistent_load: Callable[[Any], Any] | None = None,
    max_bytes: int = MAX_BYTES,
) -> Any:
    """What the pickle file at `path` holds. Arguments and errors as in `loads`."""
    try:
        with Path(path).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > max_bytes:
                raise BadPickleError(f"{path}: {size} bytes are more than the {max_bytes} that a pickle may have here")
            return loads(Stream(file, size), str(path), builders, persistent_load, max_bytes)
    except OSError as error:
        raise BadPickleError(f"{path}: cannot be read ({error.strerror})") from error


def loads(
    contents: bytes | Stream,
    name: str,
    builders: Mapping[str, Builder | None] | None = None,
    persistent_load: Callable[[Any], Any] | None = None,
    max_bytes: int = MAX_BYTES,
    followers: Mapping[str, Follower] | None = None,
    budget: Budget | None = None,
) -> Any:
    """What the pickle `contents` holds.

    Args:
      contents: the pickle.
      name: what errors call it, usually its path.
      builders: more allowed names ("package.module.Class") and what to build for them: a function of the recorded
        `Call` and the `Resolver` that evaluates its parts, e.g. `attributes`; None allows the bare name only.
      persistent_load: turns the persistent ids of formats that have them (torch) into values.
      max_bytes: limit for all arrays together, where the size of the pickle does not set a lower one (`budget`).
      followers: read what a format (joblib) puts right behind the state of objects of a name, outside of the pickle; it
        becomes their `Call.attached`.
      budget: of the file that the pickle is part of. None: it is all of it.

    Raises:
      UnsafePickleError: it asks for a name outside the list.
      BadPickleError: it is no pickle, truncated, damaged or too large, also when unpacked.
    """
    allowed = {**BUILDERS, **(builders or {})}
    if budget is None:
        size = len(contents) if isinstance(contents, bytes) else contents.size
        budget = Budget(size or 0, max_bytes)
    recorded = record(contents, name, allowed, persistent_load, followers, budget=budget)
    # Hostile or damaged bytes can make the builders raise nearly anything.
    try:
        with no_collection():
            found = Resolver(allowed, budget)(recorded)
            expanded.check(found, budget)
        return found
    except Exception as error:
        raise BadPickleError(f"{name}: the pickle cannot be used: {reason(error)}") from error


def _as_bytes(data: object, resolve: Resolver) -> bytes | bytearray:
    if isinstance(data, str):
        resolve.reserve(len(data))
        return data.encode("latin1")
    if not isinstance(data, bytes | bytearray):
        raise BadPickleError(f"the contents of an array are {shown(data)}, not bytes")
    return data


def dtype_of(call: Any, resolve: Resolver | None = None) -> np.dtype:
    """The type that `numpy.dtype(code, ...)` and its state describe: numbers, text or objects.

    Raises:
      ValueError: any other type, or no type at all.
    """
    del resolve  # everything in it is plain
    if not isinstance(call, Call) or call.name != "numpy.dtype":
        raise ValueError(f"an array has {shown(call)} for a type")
    dtype, state = dtype_named(call.args[0] if call.args else None), call.state
    if state is None:
        return dtype
    # (version, byte order, base type, field names, ...).
    if not isinstance(state, tuple) or len(state) < 5 or state[2] is not None or state[3] is not None:
        raise ValueError("it has an array of a type with parts; only plain numbers, text and objects are read")
    order = state[1] if isinstance(state[1], str) else ""
    return dtype.newbyteorder(order) if order in ("<", ">") and not dtype.hasobject else dtype


def make_array(data: object, dtype: Any, shape: Any, order: Any, resolve: Resolver, owned: bool = False) -> np.ndarray:
    """The array of these contents, in the machine's byte order: bytes, or a list where the type is of objects.

    Args:
      owned: the bytes are writable and nobody else's, so that the array may lie in them.

    Raises:
      ValueError: they do not fit.
    """
    shape = shape_of(shape)
    if not isinstance(dtype, np.dtype) or order not in ("C", "F"):
        raise ValueError(f"an array of shape {shape} has {shown(dtype)} for a type and {shown(order)} for an order")
    count = count_of(shape, dtype)
    if dtype.hasobject:
        if not isinstance(data, list) or len(data) != count:
            raise ValueError(f"an object array of shape {shape} does not come with a list of {count}")
        resolve.reserve(8 * count)
        array = np.empty(count, object)
        for i, item in enumerate(data):
            array[i] = resolve(item)
        return array.reshape(shape, order=order)
    contents = _as_bytes(data, resolve)
    if len(contents) != count * dtype.itemsize:
        raise ValueError(
            f"an array of shape {shape} and type {dtype} needs {count * dtype.itemsize} bytes and has {len(contents)}"
        )
    if not contents:
        return np.zeros(shape, dtype)
    array = np.frombuffer(contents, dtype).reshape(shape, order=order)
    if owned and dtype.isnative and array.flags.c_contiguous:
        return array
    resolve.reserve(len(contents))
    return array.astype(dtype.newbyteorder("="), order="C")


def _array(call: Call, resolve: Resolver) -> np.ndarray:
    """`_reconstruct(ndarray, (0,), 'b')`, then the state ([version,] shape, dtype, is_fortran, data)."""
    if not isinstance(call.state, tuple) or len(call.state) not in (4, 5):
        raise ValueError("an array comes without its contents")
    shape, dtype, is_fortran, data = call.state[-4:]
    contents = data if isinstance(data, list) else resolve(data)
    made = make_array(contents, resolve(dtype), shape, "F" if is_fortran else "C", resolve)
    # The bytes are not needed beside the array.
    call.state = None
    return made


def _array_from_buffer(call: Call, resolve: Resolver) -> np.ndarray:
    """Protocol 5: `_frombuffer(data, dtype, shape, order[, axis_order])`."""
    data, dtype, shape, order, *axes = call.args
    permuted = isinstance(order, str) and order == "K"
    array = make_array(resolve(data), resolve(dtype), shape, "C" if permuted else order, resolve)
    return array.transpose(shape_of(axes[0])) if permuted and axes and axes[0] is not None else array


def _scalar(call: Call, resolve: Resolver) -> Any:
    dtype, data = call.args
    return make_array(resolve(data), resolve(dtype), (), "C", resolve)[()]


def _bytes(call: Call, resolve: Resolver) -> bytes | bytearray:
    """`bytes()`, `bytearray(bytes)`, or as Python 3 writes bytes for Python 2, `_codecs.encode(text, 'latin1')`."""
    text, encoding = (*call.args, *("", "latin1")[len(call.args) :])
    if not isinstance(encoding, str) or encoding not in ("latin1", "latin-1"):
        raise ValueError(f"it encodes text as {shown(encoding)}, only latin1 is read")
    return _as_bytes(resolve(text), resolve)


def _bytearray(call: Call, resolve: Resolver) -> bytearray:
    found = _bytes(call, resolve)
    resolve.reserve(len(found))
    return bytearray(found)


def _listed(call: Call, resolve: Resolver) -> list:
    """The one argument of a container, a copy of it; empty where there is none."""
    if not call.args:
        return []
    found = resolve(call.args[0])
    if not isinstance(found, list | tuple | set | frozenset):
        raise ValueError(f"{call.name} is made of {shown(found)}")
    # Copies of one list, thousands of times, would be more than the file.
    resolve.budget.take_steps(len(found))
    return list(found)


def _ordered_dict(call: Call, resolve: Resolver) -> dict:
    pairs = _listed(call, resolve)
    if not all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in pairs):
        raise ValueError("an OrderedDict is made of what are no pairs")
    return {**dict(zip(resolve.hashable([key for key, _ in pairs]), (value for _, value in pairs), strict=True)),
            **resolve.keyed(call.items)}  # fmt: skip


def _default_dict(call: Call, resolve: Resolver) -> dict:
    return resolve.keyed(call.items)


def _deque(call: Call, resolve: Resolver) -> list:
    return [*_listed(call, resolve), *resolve(call.values)]


def _reconstructed(call: Call, resolve: Resolver) -> Any:
    """Protocols 0 and 1: `copyreg._reconstructor(cls, object, None)`, then a state."""
    cls = call.args[0] if call.args else None
    if not (isinstance(cls, type) and issubclass(cls, Call)):
        raise BadPickleError("it rebuilds an object without a class")
    built = cls()
    built.state, built.items, built.values, built.attached = call.state, call.items, call.values, call.attached
    return resolve(built)


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
    "builtins.bytearray": _bytearray,
    "builtins.set": lambda call, resolve: set(resolve.hashable(_listed(call, resolve))),
    "builtins.frozenset": lambda call, resolve: frozenset(resolve.hashable(_listed(call, resolve))),
    "collections.OrderedDict": _ordered_dict,
    "collections.defaultdict": _default_dict,
    "collections.deque": _deque,
    "copyreg._reconstructor": _reconstructed,
    **dict.fromkeys(["scipy.sparse.csc", "scipy.sparse.csr", "scipy.sparse.coo"], pickled_matrices.sparse),
    "chumpy.ch.Ch": pickled_matrices.chumpy,
    **dict.fromkeys(
        ["chumpy.reordering.Select", "chumpy.reordering.Reshape", "chumpy.reordering.transpose"],
        pickled_matrices.chumpy,
    ),
}
