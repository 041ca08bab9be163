"""Reads numbers and text of strangers' MATLAB files (`.mat`, versions 5 to 7), counting what it takes before it is taken.

Source: MathWorks, MAT-File Format, level 5: a head of 128 bytes, then elements, each a type, its number of bytes and the
bytes; an element of type 15 is another one, compressed. A matrix holds flags, lengths, a name and its values, column by
column. Cells, structures, objects and sparse matrices are passed over where they are not asked for, and refused where they
are.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from body_models.array_parts import shape_of
from body_models.budget import Budget, TooMuchError

Array = np.ndarray

_MOST_BYTES = 256 << 20  # of a file, and of all that is made of it; an hour of 13 joints has 12 MB
_HEAD, _TAG = 128, 8
_COMPRESSED, _MATRIX = 15, 14
# The types of stored values, and the classes of matrices that are read: text, and numbers of every type.
_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_TEXT_TYPES = {1: "latin1", 2: "latin1", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
_TEXT_CLASS = 4
_OTHERS = {1: "a cell array", 2: "a structure", 3: "an object", 5: "a sparse matrix", 16: "a function", 17: "an object"}
_ABOUT = 4096  # bytes in which flags, lengths and name of a matrix lie


class MatError(ValueError):
    """The file cannot be read; says why in part of a sentence, and does not name it."""


class _Element(NamedTuple):
    kind: int
    content: memoryview


def read(path: Path, names: Collection[str]) -> dict[str, Array | str]:
    """The arrays of numbers, and the texts, of these names that the file has.

    Raises:
      MatError: it cannot be opened, is none or damaged, holds something else under one of the names, or takes more memory
        than a file of its size may.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise MatError((error.strerror or str(error)).lower()) from error
    if len(content) > _MOST_BYTES:
        raise MatError(f"it has more than {_MOST_BYTES} bytes")
    order = _order(content)
    budget = Budget(len(content), _MOST_BYTES)
    found: dict[str, Array | str] = {}
    try:
        for element in _elements(memoryview(content)[_HEAD:], order):
            matrix = _unpacked(element, order, budget, names)
            if matrix is not None:
                name, value = matrix
                found[name] = value
    except (struct.error, zlib.error, TooMuchError, ValueError) as error:
        raise error if isinstance(error, MatError) else MatError(str(error) or "cut short") from error
    return found


def _order(content: bytes) -> str:
    """ "<" or ">", the byte order. Raises MatError: it is no such file."""
    orders = {b"IM": "<", b"MI": ">"}
    if len(content) >= _HEAD and content[126:128] in orders:
        order = orders[content[126:128]]
        if struct.unpack(f"{order}H", content[124:126])[0] == 0x0100:
            return order
    if content[512:520] == b"\x89HDF\r\n\x1a\n" or content.startswith((b"MATLAB 7.3", b"\x89HDF")):
        raise MatError("it is of version 7.3; save it with -v7")
    raise MatError("it does not start as a MATLAB file of version 5 to 7" if content else "it is empty")


def _elements(content: memoryview, order: str) -> Iterator[_Element]:
    """The elements one after the other. Raises MatError: one is cut short."""
    at = 0
    while len(content) - at >= _TAG:
        kind, size = struct.unpack_from(f"{order}II", content, at)
        if kind >> 16:  # a small one: its size and its bytes lie in the tag
            kind, size, start, end = kind & 0xFFFF, kind >> 16, at + 4, at + _TAG
            if size > 4:
                raise MatError(f"a small element says to have {size} bytes")
        else:
            start = at + _TAG
            # Compressed ones are not padded to eight bytes.
            end = start + size + (0 if kind == _COMPRESSED else -size % 8)
        if start + size > len(content):
            raise MatError("it is cut short")
        yield _Element(kind, content[start : start + size])
        at = end


def _unpacked(element: _Element, order: str, budget: Budget, names: Collection[str]) -> tuple[str, Array | str] | None:
    """Name and value of a matrix; None for what is not asked for."""
    if element.kind == _COMPRESSED:
        unpacking = zlib.decompressobj()
        start = unpacking.decompress(element.content, _TAG + _ABOUT)
        if len(start) < _TAG:
            raise MatError("it is cut short")
        kind, size = struct.unpack_from(f"{order}II", start)
        if kind != _MATRIX or _about(memoryview(start)[_TAG:], order)[2] not in names:
            return None
        budget.take_bytes(size)
        rest = max(size - (len(start) - _TAG), 0)
        content = start[_TAG:] + (unpacking.decompress(unpacking.unconsumed_tail, rest) if rest else b"")
        if len(content) < size:
            raise MatError("it is cut short")
        element = _Element(kind, memoryview(content)[:size])
    if element.kind != _MATRIX or _about(element.content[:_ABOUT], order)[2] not in names:
        return None
    return _matrix(element.content, order, budget)


def _about(content: memoryview, order: str) -> tuple[int, tuple[int, ...], str]:
    """Class, lengths and name of a matrix, from its first bytes."""
    parts = _elements(content, order)
    flags, lengths, name = next(parts, None), next(parts, None), next(parts, None)
    if flags is None or lengths is None or name is None or len(flags.content) < 4 or len(lengths.content) % 4:
        raise MatError("a matrix in it has no lengths or no name")
    (flag,) = struct.unpack_from(f"{order}I", flags.content)
    shape = shape_of(struct.unpack(f"{order}{len(lengths.content) // 4}i", lengths.content))
    return flag & 0xFF, shape, bytes(name.content).decode("latin1")


def _matrix(content: memoryview, order: str, budget: Budget) -> tuple[str, Array | str]:
    kind, shape, name = _about(content[:_ABOUT], order)
    if kind not in _CLASSES and kind != _TEXT_CLASS:
        raise MatError(f"{name} is {_OTHERS.get(kind, f'of class {kind}')}, numbers or text were expected")
    parts = _elements(content, order)
    for _ in range(3):
        next(parts)
    count = math.prod(shape)
    values = next(parts, None)
    if values is None:
        if count:
            raise MatError(f"{name} has no values")
        values = _Element(9, memoryview(b""))
    if kind == _TEXT_CLASS:
        return name, _text(name, values, order)
    stored = np.dtype(f"{order}{_TYPES.get(values.kind, 'V1')}")
    if stored.kind == "V" or len(values.content) != count * stored.itemsize:
        raise MatError(f"{name} says to have {count} values, and has {len(values.content)} bytes of them")
    target = np.dtype(_CLASSES[kind])
    budget.take_bytes(count * target.itemsize)
    with np.errstate(invalid="ignore"):
        return name, np.frombuffer(values.content, stored).astype(target).reshape(shape, order="F")


def _text(name: str, values: _Element, order: str) -> str:
    if values.kind == 9 and not values.content:
        return ""
    if values.kind not in _TEXT_TYPES:
        raise MatError(f"{name} holds text of type {values.kind}")
    encoding = _TEXT_TYPES[values.kind]
    endian = {"<": "-le", ">": "-be"}[order] if encoding in ("utf-16", "utf-32") else ""
    return bytes(values.content).decode(f"{encoding}{endian}", errors="replace")
