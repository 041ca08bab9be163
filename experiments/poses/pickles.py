"""Reads whatever container another method wrote its arrays into: pickle, joblib, torch, npy, npz. Runs nothing."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from body_models import file_kinds, safe_npz
from body_models.pickle_calls import OtherFormatError
from body_models.safe_pickle import MAX_BYTES, BadPickleError, Budget, Stream, UnsafePickleError
from experiments.base import torch_files
from experiments.poses import joblib_files

__all__ = ["BadPickleError", "OtherFormatError", "UnsafePickleError", "load"]


def load(path: str | os.PathLike, max_bytes: int = MAX_BYTES) -> object:
    """What the file holds: plain containers, numbers, text and NumPy arrays.

    Told by the file's first bytes, not by its name: a pickle of any protocol, `joblib.dump` (also compressed),
    `torch.save` (torch 1.6 or later), a NumPy `.npy`, or a `.npz` as a dict. Arrays of objects become arrays of what they
    hold, a single object that was saved as an array becomes the object itself, as it was before `numpy.save`.

    Args:
      path: the file.
      max_bytes: limit of the file, of what it unpacks to and of its arrays.

    Raises:
      UnsafePickleError: it asks for something that could run code.
      BadPickleError: missing, of another format, truncated, damaged or too large. One sentence naming the file.
    """
    file = Path(path)
    name = str(file)
    try:
        with file.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            if size > max_bytes:
                raise BadPickleError(f"{file}: {size} bytes are more than the {max_bytes} that a file may have here")
            head = stream.read(file_kinds.HEAD)
            stream.seek(0)
            if not head.startswith((b"PK", safe_npz.MAGIC)):
                _check_head(head, name)
                return joblib_files.load(stream, size, name, max_bytes)
    except OSError as error:
        raise BadPickleError(f"{file}: cannot be read ({error.strerror})") from error
    return _npy(file, max_bytes) if head.startswith(safe_npz.MAGIC) else _archive(file, max_bytes)


def _check_head(head: bytes, name: str) -> None:
    if head.startswith(torch_files.LEGACY_MAGIC):
        raise BadPickleError(
            f"{name}: it is in torch's format from before version 1.6, which is not read; save it again"
        )
    kind = file_kinds.found(head)
    if kind is not None:
        raise OtherFormatError(name, kind)


def _archive(file: Path, max_bytes: int) -> object:
    try:
        with safe_npz.opened(file, max_bytes, _objects(str(file))) as arrays:
            if not any(torch_files.is_pickle(name) for name in arrays.others):
                if not arrays:
                    raise BadPickleError(f"{file}: a zip archive with no arrays in it; expected .npz or torch's .pt")
                return {key: arrays[key] for key in arrays}
    except safe_npz.TooLargeError as error:
        raise BadPickleError(f"{file}: {error}") from error
    except safe_npz.NpzError as error:
        raise BadPickleError(f"{file}: a damaged or truncated archive ({error}); copy it again") from error
    return torch_files.load(file, max_bytes)


def _npy(file: Path, max_bytes: int) -> object:
    try:
        return safe_npz.read_npy(file, max_bytes, _objects(str(file)))
    except safe_npz.NpzError as error:
        raise BadPickleError(f"{file}: a damaged or truncated array ({error})") from error


def _objects(name: str) -> safe_npz.Objects:
    """Reads what follows the header of an array of objects: a pickle."""

    def read(stream: Stream, budget: Budget, key: str) -> object:
        held = joblib_files.load_stream(stream, f"{name} ({key})" if key else name, budget)
        if isinstance(held, np.ndarray) and held.dtype == object and held.shape == ():
            return held.item()
        return held

    return read
