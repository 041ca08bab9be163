"""Reads the files in which other methods save arrays (pickle, joblib, torch, npy, npz) without executing any code."""

from __future__ import annotations

import io
import math
import os
import zipfile
import zlib
from pathlib import Path

import numpy as np

from body_models.safe_pickle import MAX_BYTES, BadPickleError, UnsafePickleError
from experiments.base import torch_files
from experiments.poses import joblib_files

__all__ = ["BadPickleError", "UnsafePickleError", "load"]

_NPY_MAGIC = b"\x93NUMPY"


def load(path: str | os.PathLike, max_bytes: int = MAX_BYTES) -> object:
    """The contents of the file: plain containers, numbers, text and NumPy arrays.

    The format is recognised by the file's first bytes, not by its name: a pickle of any protocol, `joblib.dump` (also
    compressed), `torch.save` (torch 1.6 or later), a NumPy `.npy`, or a `.npz`, which is returned as a dict. Arrays of
    objects become arrays of their contents; an array of a single object becomes the object itself, as before
    `numpy.save`.

    Args:
      path: the file.
      max_bytes: limit of the size of the file, of its decompressed contents and of its arrays.

    Raises:
      UnsafePickleError: the file calls something that could run code.
      BadPickleError: the file is missing, of another format, truncated, damaged or too large. One sentence names the
        file.
    """
    file = Path(path)
    try:
        size = file.stat().st_size
        if size > max_bytes:
            raise BadPickleError(f"{file}: {size} bytes are more than the {max_bytes} that a file may have here")
        contents = file.read_bytes()
    except OSError as error:
        raise BadPickleError(f"{file}: cannot be read ({error.strerror})") from error
    name = str(file)
    if contents.startswith(_NPY_MAGIC):
        return _npy(contents, name, max_bytes)
    if contents.startswith(b"PK"):
        return _archive(file, contents, max_bytes)
    if contents.startswith(torch_files.LEGACY_MAGIC):
        raise BadPickleError(
            f"{name}: it is in torch's format from before version 1.6, which is not read; save it again"
        )
    return joblib_files.loads(contents, name, max_bytes)


def _archive(file: Path, contents: bytes, max_bytes: int) -> object:
    try:
        with zipfile.ZipFile(io.BytesIO(contents)) as archive:
            entries = archive.infolist()
            if any(torch_files.is_pickle(entry.filename) for entry in entries):
                return torch_files.load(file, max_bytes)
            if sum(entry.file_size for entry in entries) > max_bytes:
                raise BadPickleError(f"{file}: its arrays would take more than the {max_bytes} bytes allowed")
            arrays = {entry.filename: archive.read(entry) for entry in entries if entry.filename.endswith(".npy")}
    except (OSError, EOFError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise BadPickleError(f"{file}: a damaged or truncated archive ({reason}); copy it again") from error
    if not arrays:
        raise BadPickleError(f"{file}: a zip archive with no arrays in it; expected .npz or torch's .pt")
    return {
        name.removesuffix(".npy"): _npy(array, f"{file} ({name[:80]})", max_bytes) for name, array in arrays.items()
    }


def _npy(contents: bytes, name: str, max_bytes: int) -> object:
    stream = io.BytesIO(contents)
    # With damaged bytes the reader of the header can raise almost any exception.
    try:
        version = np.lib.format.read_magic(stream)
        reader = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
        shape, _, dtype = reader(stream)
        needed, there = math.prod(shape) * dtype.itemsize, len(contents) - stream.tell()
        if not dtype.hasobject:
            if needed != there:
                raise ValueError(f"{needed} bytes of numbers were expected, {there} are there")
            return np.lib.format.read_array(io.BytesIO(contents), allow_pickle=False)
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise BadPickleError(f"{name}: a damaged or truncated array ({reason})") from error
    held = joblib_files.loads(contents[stream.tell() :], name, max_bytes)
    if isinstance(held, np.ndarray) and held.dtype == object and held.shape == ():
        return held.item()
    return held
