"""Arrays as text in a page: base64 of little-endian numbers, exact or rounded to few bits. `web/unpack.js` reads it."""

import base64
from typing import Any

import numpy as np

Array = np.ndarray
Packed = dict[str, Any]


def pack(array: Any) -> Packed:
    """Packs an array without loss: floats as float32, integers and booleans in the smallest integer type that fits."""
    array = np.asarray(array)
    if array.dtype.kind == "f":
        array = array.astype("<f4")
    else:
        largest = int(array.max(initial=0))
        if array.min(initial=0) < 0:
            raise ValueError("integers below zero have no packed form")
        array = array.astype("<u1" if largest < 2**8 else "<u2" if largest < 2**16 else "<u4")
    return {"type": array.dtype.name, "shape": list(array.shape), "data": base64.b64encode(array.tobytes()).decode()}


def pack_rounded(array: Any, bits: int, axis: int | None = None) -> Packed:
    """Packs floats as integers of 8 or 16 bits times a scale: one scale for all, or one for each index along `axis`.

    The largest error is half a step: 1/254 or 1/65534 of the largest magnitude.
    """
    array = np.asarray(array, np.float64)
    limit = 2 ** (bits - 1) - 1
    others = None if axis is None else tuple(i for i in range(array.ndim) if i != axis % array.ndim)
    step = np.abs(array).max(axis=others, keepdims=True, initial=0.0) / limit
    step = np.where(step > 0, step, 1.0)
    whole = np.round(array / step).astype(f"<i{bits // 8}")
    packed = {"type": whole.dtype.name, "shape": list(array.shape), "scale": step.ravel().tolist()}
    return {
        **packed,
        "axis": None if axis is None else axis % array.ndim,
        "data": base64.b64encode(whole.tobytes()).decode(),
    }


def unpack(packed: Packed) -> Array:
    """The unpacked array, with the values that the page uses: float32 if it was rounded."""
    kind = np.dtype(packed["type"]).newbyteorder("<")
    array = np.frombuffer(base64.b64decode(packed["data"]), kind).reshape(packed["shape"])
    if "scale" not in packed:
        return array
    shape = [1] * array.ndim
    if packed["axis"] is not None:
        shape[packed["axis"]] = -1
    return (array * np.reshape(packed["scale"], shape if array.ndim else ())).astype(np.float32)
