"""Reads `.npy` and `.npz` files of strangers: plain arrays, at a bounded price, without evaluating what their headers say.

An array's header is text that looks like a Python dict. It is matched, not evaluated, and the size that it announces must
be that of the contents, before room is made for them.
"""

import contextlib
import io
import os
import re
import struct
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from body_models import safe_zip
from body_models.array_parts import count_of, dtype_named, shape_of
from body_models.budget import MAX_BYTES, Budget, TooMuchError
from body_models.streams import Stream

MAGIC = b"\x93NUMPY"
# A header is about 100 bytes, and as many more as it has axes.
_MAX_HEADER = 4096
_AXES = r"\(\s*(?:\d{1,19}L?\s*(?:,\s*\d{1,19}L?\s*)*(?:,\s*)?)?\)"
_VALUE = rf"'[^'\\]{{0,16}}'|\"[^\"\\]{{0,16}}\"|True|False|{_AXES}"
_KEY = r"['\"](descr|fortran_order|shape)['\"]\s*:\s*"
_HEADER = re.compile(rf"\{{\s*{_KEY}({_VALUE})\s*,\s*{_KEY}({_VALUE})\s*,\s*{_KEY}({_VALUE})\s*(?:,\s*)?\}}\s*")

# Makes, of the bytes behind the header of an array of objects, its value; the last is its key in the archive, or "".
Objects = Callable[[Stream, Budget, str], Any]


class NpzError(ValueError):
    """The file cannot be read; says why in part of a sentence, and does not name it."""


class TooLargeError(NpzError):
    """It would take more memory than it may."""


class Header(NamedTuple):
    """shape, dtype and order ("C" or "F") of an array; offset: bytes of the header."""

    shape: tuple[int, ...]
    dtype: np.dtype
    order: str
    offset: int


def read_header(stream: BinaryIO) -> Header:
    """The header at the start of a `.npy` file, which is left at its end.

    Raises:
      ValueError: it is none, or of an array that is not read.
    """
    start = stream.read(len(MAGIC) + 2)
    version, width = (start[len(MAGIC) : len(MAGIC) + 1], 2 if start[len(MAGIC) : len(MAGIC) + 1] == b"\1" else 4)
    if not start.startswith(MAGIC) or version not in (b"\1", b"\2", b"\3"):
        raise ValueError("it does not start as a .npy file")
    length = stream.read(width)
    if len(length) < width:
        raise EOFError("its header ends early")
    (count,) = struct.unpack("<H" if width == 2 else "<I", length)
    if count > _MAX_HEADER:
        raise ValueError(f"its header has {count} bytes, at most {_MAX_HEADER} are read")
    text = stream.read(count)
    if len(text) < count:
        raise EOFError("its header ends early")
    return _parsed(text.decode("latin1"), len(start) + width + count)


def _parsed(text: str, offset: int) -> Header:
    match = _HEADER.fullmatch(text)
    parts = dict(zip(match.groups()[::2], match.groups()[1::2], strict=True)) if match else {}
    shape, order, code = (parts.get(key, "") for key in ("shape", "fortran_order", "descr"))
    if not shape.startswith("(") or order not in ("True", "False") or code[:1] not in ("'", '"'):
        found = ascii(text[:60].strip()).strip("'")
        raise ValueError(f"its header is {found}, expected descr, fortran_order and shape of plain numbers or text")
    lengths = shape_of([int(length) for length in re.findall(r"\d+", shape)])
    return Header(lengths, dtype_named(code[1:-1]), "F" if order == "True" else "C", offset)


class Npz(Mapping[str, Any]):
    """The arrays of a `.npz` file by their keys, each read when it is asked for.

    `objects` reads arrays of objects; None: there may be none. Arrays come in the machine's byte order. Entries that are no
    arrays are in `others`.

    Raises, when an array is asked for: NpzError.
    """

    def __init__(self, archive: safe_zip.Archive, objects: Objects | None = None):
        self.archive, self._objects = archive, objects
        names = archive.names()
        self._names = {name.removesuffix(".npy"): name for name in names if name.endswith(".npy")}
        self.others = [name for name in names if not name.endswith(".npy")]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, key: object) -> bool:
        return key in self._names

    def header(self, key: str) -> Header:
        """Shape and type of an array without its contents."""
        with _told(key), self.archive.stream(self._names[key]) as stream:
            return read_header(stream)

    def __getitem__(self, key: str) -> Any:
        name, budget = self._names[key], self.archive.budget
        if self.header(key).dtype.hasobject and self._objects is not None:
            with _told(key):
                contents = Stream(io.BytesIO(self.archive.read(name)), self.archive.size(name))
            read_header(contents.file)
            return self._objects(contents, budget, ascii(key[:80])[1:-1])
        with _told(key), self.archive.stream(name) as stream:
            array = _read(stream, self.archive.size(name), budget)
            # Whether the checksum fits shows at the end.
            stream.read(1)
            return array


@contextlib.contextmanager
def opened(path: str | os.PathLike, max_bytes: int = MAX_BYTES, objects: Objects | None = None) -> Iterator[Npz]:
    """The arrays in a `.npz` file.

    Args:
      path: of the file.
      max_bytes: most that it may unpack to, where its size does not set a lower limit.
      objects: as in `Npz`.

    Raises:
      NpzError: it is none, damaged, or too large.
    """
    with contextlib.ExitStack() as stack:
        with _told():
            archive = stack.enter_context(safe_zip.opened(path, max_bytes))
        yield Npz(archive, objects)


def read(path: str | os.PathLike, keys: Collection[str] | None = None) -> dict[str, np.ndarray]:
    """The arrays of a `.npz` file, of those keys that it has, or all. Raises NpzError."""
    with opened(path) as arrays:
        return {key: arrays[key] for key in arrays if keys is None or key in keys}


def read_npy(path: str | os.PathLike, max_bytes: int = MAX_BYTES, objects: Objects | None = None) -> Any:
    """The array in a `.npy` file, in the machine's byte order. Arguments and errors as in `opened`."""
    with contextlib.ExitStack() as stack:
        with _told():
            file = stack.enter_context(Path(path).open("rb"))
            size = os.fstat(file.fileno()).st_size
            if size > max_bytes:
                raise NpzError(f"it has {size} bytes, more than the {max_bytes} that a file may have here")
            budget = Budget(size, max_bytes)
            if objects is None or not read_header(file).dtype.hasobject:
                file.seek(0)
                return _read(file, size, budget)
        return objects(Stream(file, size), budget, "")


def _read(stream: BinaryIO, size: int, budget: Budget) -> np.ndarray:
    """The array of plain values that a `.npy` file of `size` bytes has, from its start."""
    shape, dtype, order, offset = read_header(stream)
    if dtype.hasobject:
        raise ValueError("Object arrays cannot be loaded here, numbers and text are")
    needed, there = count_of(shape, dtype) * dtype.itemsize, size - offset
    if needed != there:
        raise ValueError(f"{needed} bytes of numbers were expected, {there} are there")
    budget.take_bytes(needed)
    array = np.empty(shape, dtype, order)  # pyright: ignore[reportCallIssue, reportArgumentType]
    if needed:
        safe_zip.fill(stream, memoryview(array.reshape(-1, order="A").view(np.uint8)))
    if dtype.isnative:
        return array
    budget.take_bytes(needed)
    return array.astype(dtype.newbyteorder("="))


@contextlib.contextmanager
def _told(key: str = "") -> Iterator[None]:
    """What reading raises, as NpzError; `key`: of the array that is read."""
    try:
        yield
    except NpzError:
        raise
    except TooMuchError as error:
        raise TooLargeError(str(error)) from error
    except (OSError, EOFError, ValueError) as error:
        which = f"{ascii(key[:40]).strip(chr(39))} in it: " if key else ""
        why = error.strerror if isinstance(error, OSError) and error.strerror else " ".join(str(error)[:200].split())
        raise NpzError(f"{which}{why or type(error).__name__}") from error
