"""What describes an array in a file: its type, its shape, its order. Checked before anything is made of them."""

import math
import operator
import re
from typing import Any

import numpy as np

from body_models.wording import shown

# NumPy 1 has 32, NumPy 2 has 64; poses have five.
MAX_DIMENSIONS = 32
# Items of an array: beyond what any file here can hold, and small enough that sizes in bytes fit 64 bits.
_MAX_ITEMS = 1 << 48
_CODE = re.compile(r"[<>|=]?(\?|b1|[iu][1248]|f[248]|c8|c16|[SU]\d{0,6}|O[48]?)")
# Length of an axis of an array that has no items: what makes an array of that length of it makes nothing large.
_MAX_EMPTY = 1 << 24


def shape_of(shape: Any) -> tuple[int, ...]:
    """The shape as numbers; a single number is a shape too.

    Raises:
      ValueError: it is none, or larger than anything that is read.
    """
    if isinstance(shape, tuple | list):
        if len(shape) > MAX_DIMENSIONS:
            raise ValueError(f"an array has {len(shape)} axes, at most {MAX_DIMENSIONS} are read")
    else:
        shape = (shape,)
    lengths = [length_of(length) for length in shape]
    count = math.prod(lengths)
    if count > _MAX_ITEMS or (not count and max(lengths) > _MAX_EMPTY):
        raise ValueError(f"an array has the shape {tuple(lengths)}, which is larger than anything that is read")
    return tuple(lengths)


def length_of(length: Any) -> int:
    """The length of one axis, or a step along it, as a number.

    Raises:
      ValueError: it is none, or larger than anything that is read.
    """
    if isinstance(length, bool) or not hasattr(length, "__index__"):
        raise ValueError(f"an array has the length {shown(length)}, whole numbers were expected")
    found = operator.index(length)
    if not 0 <= found <= _MAX_ITEMS:
        raise ValueError(f"an array has the length {shown(found)}")
    return found


def dtype_named(code: Any) -> np.dtype:
    """The type of a code such as "<f4": of numbers, text or objects, in the byte order that it says.

    Raises:
      ValueError: any other.
    """
    match = _CODE.fullmatch(code) if isinstance(code, str) and len(code) < 16 else None
    if match is None:
        raise ValueError(f"it has an array of type {shown(code)}; only plain numbers, text and objects are read")
    return np.dtype(object) if match[1].startswith("O") else np.dtype(code)


def count_of(shape: tuple[int, ...], dtype: np.dtype) -> int:
    """Items of an array; also checks that they have a size.

    Raises:
      ValueError: text of length 0, as of "S0", which NumPy would widen to one byte each.
    """
    if not dtype.itemsize and shape != (0,):
        raise ValueError(f"an array has items of no size and shape {shape}")
    return math.prod(shape)
