"""Builders for pickled matrices of SciPy (csc, csr, coo, as dense arrays) and arrays of chumpy; neither is needed."""

from typing import Any

import numpy as np

from body_models.array_parts import MAX_DIMENSIONS, count_of, shape_of
from body_models.pickle_calls import Call
from body_models.resolver import Opaque, Resolver, attributes
from body_models.wording import shown


def _part(state: dict, key: str, kinds: str, resolve: Resolver) -> np.ndarray:
    """An array of a matrix that is one row of numbers."""
    array = state.get(key)
    if not isinstance(array, np.ndarray) or array.ndim != 1 or array.dtype.kind not in kinds:
        raise ValueError(f"a sparse matrix has {shown(array)} for its {key}")
    # Copies of it are made, for each matrix that shares it.
    resolve.reserve(32 * array.size)
    return array


def sparse(call: Call, resolve: Resolver) -> np.ndarray:
    state = attributes(call, resolve)
    kind = call.name.rpartition(".")[2]
    shape = shape_of(state.get("_shape", state.get("shape")))
    data = _part(state, "data", "biufc", resolve)
    if kind == "coo":
        coords = state.get("coords", (state.get("row"), state.get("col")))
        if not isinstance(coords, tuple) or len(coords) != 2:
            raise ValueError(f"a sparse matrix has {shown(coords)} for its coords")
        row, col = (_part({"coords": axis}, "coords", "iu", resolve) for axis in coords)
    else:
        inner, pointers = _part(state, "indices", "iu", resolve), _part(state, "indptr", "iu", resolve)
        counts = np.diff(pointers.astype(np.int64))
        within = not counts.size or (counts.min() >= 0 and counts.max() <= inner.size)
        if not within or counts.sum() > inner.size:
            raise ValueError(f"a sparse matrix of shape {shape} has an index that does not fit its entries")
        lines = np.repeat(np.arange(len(counts)), counts)
        inner = inner[: len(lines)]
        row, col = (inner, lines) if kind == "csc" else (lines, inner)
        data = data[: len(lines)]
    ok = len(shape) == 2 and row.shape == col.shape == data.shape
    if not ok or (data.size and not (row.min() >= 0 <= col.min() and row.max() < shape[0] and col.max() < shape[1])):
        raise ValueError(f"a sparse matrix of shape {shape} has entries that do not fit it")
    resolve.reserve(count_of(shape, data.dtype) * data.itemsize)
    dense = np.zeros(shape, data.dtype)
    np.add.at(dense, (row, col), data)
    return dense


def chumpy(call: Call, resolve: Resolver) -> np.ndarray | Opaque:
    """The stored array of a `Ch`, and what merely reorders one; expressions stay `Opaque`."""
    kind, state = call.name.rpartition(".")[2], call.state
    if not isinstance(state, dict):
        return Opaque(call.name)
    source = resolve(state.get("x" if kind == "Ch" else "a"))
    if isinstance(source, int | float) and abs(source) < 1 << 62:
        source = np.asarray(source)
    if isinstance(source, np.generic):
        source = np.asarray(source)
    if not isinstance(source, np.ndarray):
        return Opaque(call.name)
    if kind == "Ch":
        return source
    # What is chosen or put into another order is a copy, for each object that shares the source.
    resolve.reserve(source.nbytes)
    if kind == "Select":
        chosen = resolve(state["idxs"])
        if not isinstance(chosen, np.ndarray) or chosen.dtype.kind not in "iub":
            raise ValueError(f"it selects {shown(chosen)} of an array, whole numbers were expected")
        resolve.reserve(chosen.size * (source.itemsize + 8))
        array = source.ravel()[chosen]
        return array.reshape(shape_of(resolve(state["preferred_shape"]))) if "preferred_shape" in state else array
    if kind == "Reshape":
        return source.reshape(_lengths(resolve(state["newshape"])))
    axes = resolve(state.get("axes"))
    return source.transpose(None if axes is None else shape_of(axes))


def _lengths(shape: Any) -> tuple[int, ...]:
    """As `shape_of`, with -1 for the length that fits."""
    shape = shape if isinstance(shape, tuple | list) else (shape,)
    known = [length for length in shape[: MAX_DIMENSIONS + 1] if not (isinstance(length, int) and length == -1)]
    shape_of(known)
    return tuple(shape[: MAX_DIMENSIONS + 1])
