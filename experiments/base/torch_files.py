"""Reads what `torch.save` wrote, without PyTorch and without executing it.

A checkpoint is a zip archive: `<folder>/data.pkl`, a pickle whose tensors refer to storages, and the storages' bytes in
`<folder>/data/<key>`. Before torch 1.6 it was a sequence of pickles with the storages' bytes behind them, and a tensor in
an ordinary pickle still carries its storage in that form. `BUILDERS` reads such tensors.

Training frameworks leave objects of their own classes beside the tensors; the names of those frameworks' classes are let
pass as records that nothing is made of.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from body_models import expanded, pickle_calls, safe_pickle, safe_zip
from body_models.array_parts import length_of, shape_of
from body_models.budget import no_collection
from body_models.safe_pickle import Call, Resolver
from body_models.wording import listed, reason, shown

# Of the pickle, which describes tensors and does not hold them.
_MAX_PICKLE_BYTES = 64 << 20
# For each tensor, beside those of the instructions that describe it.
_TENSOR_STEPS = 40
# What files from before torch 1.6 start with, and the storages of tensors in ordinary pickles: 0x1950A86A20F9469CFC6C.
LEGACY_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"


@contextlib.contextmanager
def opened(file: Path, max_bytes: int) -> Iterator[tuple[Any, Resolver]]:
    """What the checkpoint describes, as recorded by `pickle_calls.record`, and what makes arrays of parts of it.

    The arrays are read while the context is open. All together may take `max_bytes`.

    Raises:
      ValueError: not a checkpoint, or damaged; without the file's name.
      BadPickleError: its pickle is; this names the file.
    """
    try:
        with file.open("rb") as stream:
            if stream.read(len(LEGACY_MAGIC)) == LEGACY_MAGIC:
                raise ValueError("it is in torch's format from before version 1.6, which is not read; save it again")
        with safe_zip.opened(file, max_bytes) as archive:
            yield _recorded(file, archive), Resolver(BUILDERS, archive.budget)
    except (OSError, safe_zip.ZipError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise ValueError(f"not a torch checkpoint (.ckpt, .pt), or truncated ({reason}); download it again") from error


def load(file: Path, max_bytes: int = safe_pickle.MAX_BYTES) -> Any:
    """Everything in the checkpoint, tensors as arrays.

    Raises:
      BadPickleError: not a checkpoint, damaged, unsafe, or with tensors that are not read.
    """
    try:
        with opened(file, max_bytes) as (recorded, resolve):
            # Hostile or damaged bytes can make the builders raise nearly anything.
            try:
                with no_collection():
                    found = resolve(recorded)
                    expanded.check(found, resolve.budget)
                return found
            except Exception as error:
                raise ValueError(f"its arrays cannot be used: {reason(error)}") from error
    except safe_pickle.BadPickleError:
        raise
    except ValueError as error:
        raise safe_pickle.BadPickleError(f"{file}: {error}") from error


def _recorded(file: Path, archive: safe_zip.Archive) -> Any:
    pickles = [entry for entry in archive.names() if is_pickle(entry)]
    if len(pickles) != 1:
        raise ValueError(f"not a torch checkpoint: its archive has {len(pickles)} data.pkl where 1 was expected")
    folder = pickles[0].removesuffix("data.pkl")
    for entry, most in ((pickles[0], _MAX_PICKLE_BYTES), (f"{folder}byteorder", 16)):
        if entry in archive and archive.size(entry) > most:
            raise ValueError(f"its {listed([entry])} unpacks to more than {most} bytes")
    order = bytes(archive.read(f"{folder}byteorder")) if f"{folder}byteorder" in archive else b"little"
    storages: dict[tuple[str, str, int], _Storage] = {}

    def storage(pid: Any) -> _Storage:
        name, key, count, dtype = _storage_id(pid, 5)
        # Kept, so that what many tensors share is read once.
        known = storages.get((key, name, count))
        if known is None:
            if dtype is not None:
                dtype = dtype.newbyteorder(">" if order == b"big" else "<")
            known = storages[key, name, count] = _InArchive(archive, f"{folder}data/{key}", dtype, count)
        return known

    contents = bytes(archive.read(pickles[0]))
    return pickle_calls.record(contents, str(file), _Names(), storage, budget=archive.budget)


def _storage_id(pid: Any, length: int) -> tuple[str, str, int, np.dtype | None]:
    """Name of the type, key, count and type of what a persistent id ('storage', type, key, device, count) stands for."""
    if not isinstance(pid, tuple) or len(pid) != length:
        raise ValueError(f"a tensor's storage is {shown(pid)}")
    _, kind, key, _, count, *_ = pid
    name = getattr(kind, "name", "")
    named = isinstance(key, str) and len(key) <= 200 and isinstance(name, str)
    if not named or not isinstance(count, int) or not 0 <= count < 1 << 48:
        raise ValueError(f"a tensor's storage has the key {shown(key)} and {shown(count)} numbers")
    return name, key, count, _STORAGES.get(name)


def is_pickle(entry: str) -> bool:
    """Whether this entry of an archive is a checkpoint's pickle."""
    return entry == "data.pkl" or (entry.count("/") == 1 and entry.endswith("/data.pkl"))


class _Storage:
    """The numbers of tensors, read when one of them is wanted, and kept."""

    def __init__(self, name: str, dtype: np.dtype | None, count: int):
        self._name, self._dtype, self._count = name, dtype, count
        self._numbers: np.ndarray | None = None

    def _contents(self) -> bytes | bytearray:
        raise NotImplementedError

    def read(self) -> np.ndarray:
        if self._numbers is not None:
            return self._numbers
        if self._dtype is None:
            raise ValueError(f"{self._name} is of a type that is not read; numbers of 8 to 64 bits are")
        contents = self._contents()
        if len(contents) != self._count * self._dtype.itemsize:
            raise ValueError(
                f"{self._name} has {len(contents)} bytes, {shown(self._count)} numbers of type {self._dtype} were expected"
            )
        self._numbers = np.frombuffer(contents, self._dtype)
        return self._numbers


class _InArchive(_Storage):
    def __init__(self, archive: safe_zip.Archive, entry: str, dtype: np.dtype | None, count: int):
        super().__init__(listed([entry]), dtype, count)
        self._archive, self._entry = archive, entry

    def _contents(self) -> bytearray:
        if self._entry not in self._archive:
            raise ValueError(f"there is no {self._name} in it")
        return self._archive.read(self._entry)


class _InMemory(_Storage):
    """Of the old format; its bytes come after all the pickles."""

    contents = b""

    def _contents(self) -> bytes:
        return self.contents


def _storage_from_bytes(call: Call, resolve: Resolver) -> _Storage:
    """`torch.storage._load_from_bytes(contents)`: one storage in the old format.

    That is four pickles (a magic number, a version, facts about the machine, the storage as a persistent id), a fifth of
    the keys, then for each key the count as 8 bytes and the numbers, little-endian.
    """
    contents = resolve(call.args[0]) if call.args else None
    if not isinstance(contents, bytes) or not contents.startswith(LEGACY_MAGIC):
        raise ValueError("a tensor's storage is not in a known form")
    resolve.reserve(len(contents))
    stream, storages = safe_pickle.Stream(contents), {}

    def storage(pid: Any) -> _Storage:
        _, key, count, dtype = _storage_id(pid, 6)
        if pid[5] is not None:
            raise ValueError("a tensor's storage is a view of another one, which is not read")
        storages[key] = _InMemory("a tensor's storage", dtype, count)
        return storages[key]

    about = [
        pickle_calls.record(stream, "a tensor's storage", _Names(), storage, budget=resolve.budget) for _ in range(5)
    ]
    found, keys = about[3:]
    if not isinstance(found, _InMemory) or not isinstance(keys, list) or len(keys) != 1 or len(storages) != 1:
        raise ValueError("a tensor's storage is not in a known form")
    if not isinstance(keys[0], str) or keys[0] not in storages:
        raise ValueError("a tensor's storage is not in a known form")
    found.contents = stream.rest()[8:]
    return found


def _tensor(call: Call, resolve: Resolver) -> np.ndarray:
    """`_rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks[, metadata])`."""
    storage, offset, size, stride, *_ = call.args
    if isinstance(storage, Call):
        storage = resolve(storage)
    if not isinstance(storage, _Storage):
        raise ValueError(f"a tensor's storage is {shown(storage)}")
    # Making an array takes as long as so many instructions.
    resolve.budget.take_steps(_TENSOR_STEPS)
    shape = shape_of(size)
    if not isinstance(stride, tuple | list) or len(stride) != len(shape):
        raise ValueError(f"a tensor of shape {shape} has {shown(stride)} for its strides")
    offset, *steps = map(length_of, (offset, *stride))
    count = math.prod(shape)
    numbers = storage.read()
    end = offset + sum((n - 1) * step for n, step in zip(shape, steps, strict=True)) + 1 if count else 0
    if end > numbers.size:
        raise ValueError(f"a tensor of shape {shape} and strides {steps} does not fit its {numbers.size} numbers")
    if not count:
        return np.zeros(shape, numbers.dtype)
    resolve.reserve(count * numbers.itemsize)
    item = numbers.itemsize
    view = np.ndarray(shape, numbers.dtype, numbers, offset * item, tuple(step * item for step in steps))
    return np.array(view, numbers.dtype.newbyteorder("="))


class _Names:
    """Names that a checkpoint may mention: all of the packages that training scripts save objects of."""

    def __contains__(self, name: str) -> bool:
        return name in BUILDERS or name in _PLAIN_TYPES or name.startswith(_FRAMEWORKS)


_FRAMEWORKS = (
    "torch.", "pytorch_lightning.", "lightning.", "human_body_prior.", "omegaconf.", "dotmap.", "configer.", "yacs.",
    "argparse.", "collections.", "pathlib.", "typing.",
)  # fmt: skip
_PLAIN_TYPES = tuple(f"builtins.{name}" for name in ("bool", "dict", "float", "int", "list", "str", "tuple"))
_STORAGES = {
    f"torch.{name}Storage": np.dtype(dtype)
    for name, dtype in {
        "Float": "<f4", "Double": "<f8", "Half": "<f2", "Long": "<i8", "Int": "<i4", "Short": "<i2",
        "Byte": "u1", "Char": "i1", "Bool": "?",
    }.items()
}  # fmt: skip
BUILDERS: dict[str, safe_pickle.Builder | None] = {
    **safe_pickle.BUILDERS,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": lambda call, resolve: resolve(call.args[0]),
    "torch.storage._load_from_bytes": _storage_from_bytes,
}
