"""Reads the files of the learned pose priors: the Gaussian mixture's pickle and the snapshot folder of VPoser.

Both come from the internet as pickles. Neither is executed: `body_models.safe_pickle` records what they ask for, and only
arrays are built. PyTorch is not needed.

A torch checkpoint is a zip archive: `<folder>/data.pkl`, a pickle whose tensors refer to storages, and the storages'
bytes in `<folder>/data/<key>`. Training frameworks leave objects of their own classes beside the weights; the names of
those frameworks' classes are let pass as records that nothing is made of.
"""

import math
import operator
import os
import re
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from body_models import pickle_calls, safe_pickle
from body_models.safe_pickle import Call, Resolver
from nemo_jax.priors import gmm, vposer

GMM_FILE = "gmm_08.pkl"
VPOSER_FOLDER = "V02_05"

_MAX_BYTES = 1 << 30
_MAX_PICKLE_BYTES = 64 << 20
_WEIGHTS_PREFIX = "vp_model."
_VERSION_1_LAYER = "bodyprior_enc_fc1.weight"
# What a pickle from before torch 1.6 starts with.
_LEGACY_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"
_GMM_KEYS = {
    "means": ("means", "means_"),
    "covariances": ("covars", "covars_", "_covars", "covariances_"),
    "weights": ("weights", "weights_"),
}


class PriorFileError(ValueError):
    """A prior's file that cannot be used. One sentence naming the file, what was found and what was expected."""


def load_gmm(path: str | os.PathLike) -> gmm.GaussianMixture:
    """The mixture in the file `path`, or in `gmm_08.pkl` of the folder `path`.

    The pickle holds a dict of `means` (M, 69), `covars` (M, 69, 69) and `weights` (M,), or scikit-learn's object of a
    fitted mixture with full covariances.

    Raises:
      PriorFileError: no such file, no mixture, damaged, unsafe, of another size.
    """
    file = Path(path)
    if file.is_dir():
        file = file / GMM_FILE
    if not file.exists():
        raise PriorFileError(f"{file}: no such file; the Gaussian mixture is SMPLify's {GMM_FILE}, or a folder with it")
    try:
        contents = safe_pickle.load(file, _SKLEARN, max_bytes=_MAX_BYTES)
    except safe_pickle.BadPickleError as error:
        raise PriorFileError(str(error)) from error
    if not isinstance(contents, dict):
        raise PriorFileError(
            f"{file}: it holds a {type(contents).__name__}, a mixture is a dict or scikit-learn's object"
        )
    arrays = {}
    for name, keys in _GMM_KEYS.items():
        found = next((contents[key] for key in keys if key in contents), None)
        if not isinstance(found, np.ndarray):
            about = f"its {name} are a {type(found).__name__}" if found is not None else f"it has no {name}"
            raise PriorFileError(f"{file}: {about}, an array was expected; found {_listed(list(contents))}")
        arrays[name] = found
    try:
        return gmm.mixture(**arrays)
    except ValueError as error:
        raise PriorFileError(f"{file}: {error}") from error


def load_vposer(path: str | os.PathLike) -> vposer.VPoser:
    """VPoser of the snapshot folder `path` (`V02_05`, or the folder it is in), or of one `.ckpt` file.

    Of several checkpoints, the one of the latest epoch is taken, by its name; without epochs, the newest, as published.
    Its yaml is not read: the sizes are those of the arrays.

    Raises:
      PriorFileError: no such file or checkpoint, not VPoser version 2, damaged, unsafe.
    """
    file = _find_checkpoint(Path(path))
    try:
        return vposer.from_state_dict(_read_checkpoint(file, vposer.state_names()))
    except safe_pickle.BadPickleError as error:
        raise PriorFileError(str(error)) from error
    except ValueError as error:
        raise PriorFileError(f"{file}: {error}") from error


def _find_checkpoint(path: Path) -> Path:
    if not path.is_dir():
        if not path.exists():
            raise PriorFileError(f"{path}: no such file; VPoser is its folder {VPOSER_FOLDER} or a .ckpt file of it")
        return path
    folders = [path / "snapshots", path, path / VPOSER_FOLDER / "snapshots"]
    for folder in folders:
        files = [file for file in folder.glob("*.ckpt") if file.is_file()]
        if files:
            return max(files, key=_age)
    older = [file for folder in folders for file in folder.glob("*.pt")]
    hint = f"; {older[0].name} there is version 1 of VPoser, version 2 ({VPOSER_FOLDER}) is needed" if older else ""
    raise PriorFileError(f"{path}: no .ckpt file in this folder, its snapshots, or {VPOSER_FOLDER}/snapshots{hint}")


def _age(file: Path) -> tuple[int, float, str]:
    epoch = re.search(r"epoch=?(\d{1,9})", file.name)
    return int(epoch[1]) if epoch else -1, file.stat().st_mtime, file.name


class _Storage:
    """Bytes of a checkpoint's tensors, read when one of them is wanted."""

    def __init__(self, archive: zipfile.ZipFile, entry: str, dtype: np.dtype | None, count: int):
        self._archive, self._entry, self._dtype, self._count = archive, entry, dtype, count

    def read(self, resolve: Resolver) -> np.ndarray:
        if self._dtype is None:
            raise ValueError(f"{self._entry} is of a type that is not read; numbers of 16 to 64 bits are")
        if self._entry not in self._archive.namelist():
            raise ValueError(f"there is no {self._entry[:80]!a} in it")
        resolve.reserve(self._archive.getinfo(self._entry).file_size)
        contents = self._archive.read(self._entry)
        if len(contents) != self._count * self._dtype.itemsize:
            raise ValueError(
                f"{self._entry} has {len(contents)} bytes, {self._count} numbers of type {self._dtype} were expected"
            )
        return np.frombuffer(contents, self._dtype)


def _tensor(call: Call, resolve: Resolver) -> np.ndarray:
    """`_rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks[, metadata])`."""
    storage, offset, size, stride, *_ = call.args
    if not isinstance(storage, _Storage):
        raise ValueError(f"a tensor's storage is a {type(storage).__name__}")
    numbers = storage.read(resolve)
    offset, shape = operator.index(offset), tuple(operator.index(n) for n in size)
    steps = tuple(operator.index(n) for n in stride)
    end = offset + sum((n - 1) * step for n, step in zip(shape, steps, strict=True)) + 1 if math.prod(shape) else 0
    if min((offset, *shape, *steps)) < 0 or end > numbers.size:
        raise ValueError(f"a tensor of shape {shape} and strides {steps} does not fit its {numbers.size} numbers")
    if not math.prod(shape):
        return np.zeros(shape, numbers.dtype)
    resolve.reserve(math.prod(shape) * numbers.itemsize)
    view = np.lib.stride_tricks.as_strided(numbers[offset:], shape, tuple(step * numbers.itemsize for step in steps))
    return np.array(view, numbers.dtype.newbyteorder("="))


def _read_checkpoint(file: Path, wanted: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Those of the wanted arrays that the checkpoint has, under their names without prefix.

    Raises:
      ValueError: not a checkpoint, or damaged. BadPickleError: its pickle is; this names the file.
    """
    try:
        with file.open("rb") as stream:
            if stream.read(len(_LEGACY_MAGIC)) == _LEGACY_MAGIC:
                raise ValueError("it is in torch's format from before version 1.6, which is not read; save it again")
        with zipfile.ZipFile(file) as archive:
            return _read_archive(file, archive, wanted)
    except (OSError, EOFError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"not a torch checkpoint (.ckpt), or truncated ({reason}); download it again") from error


def _read_archive(file: Path, archive: zipfile.ZipFile, wanted: tuple[str, ...]) -> dict[str, np.ndarray]:
    entries = set(archive.namelist())
    pickles = [
        entry for entry in entries if entry == "data.pkl" or (entry.count("/") == 1 and entry.endswith("/data.pkl"))
    ]
    if len(pickles) != 1:
        raise ValueError(f"not a torch checkpoint: its archive has {len(pickles)} data.pkl where 1 was expected")
    folder = pickles[0].removesuffix("data.pkl")
    if archive.getinfo(pickles[0]).file_size > _MAX_PICKLE_BYTES:
        raise ValueError(f"its {pickles[0]} unpacks to more than {_MAX_PICKLE_BYTES} bytes")
    order = archive.read(f"{folder}byteorder") if f"{folder}byteorder" in entries else b"little"

    def storage(pid: Any) -> _Storage:
        _, kind, key, _, count = pid
        dtype = _STORAGES.get(getattr(kind, "name", ""))
        if dtype is not None:
            dtype = dtype.newbyteorder(">" if order == b"big" else "<")
        return _Storage(archive, f"{folder}data/{key}", dtype, operator.index(count))

    recorded = pickle_calls.record(archive.read(pickles[0]), str(file), _Names(), storage)
    top = _items(recorded)
    state = _items(top.get("state_dict", recorded))
    keys = {name: key for name in wanted for key in (name, _WEIGHTS_PREFIX + name) if key in state}
    # Hostile or damaged bytes can make the builders raise nearly anything.
    try:
        resolve = Resolver(_BUILDERS, _MAX_BYTES)
        found = {name: resolve(state[key]) for name, key in keys.items()}
    except Exception as error:
        raise ValueError(f"its arrays cannot be used: {pickle_calls.reason(error)}") from error
    for name, array in found.items():
        if not isinstance(array, np.ndarray):
            raise ValueError(f"{name} is a {type(array).__name__}, an array was expected")
    if not found:
        version_1 = any(isinstance(key, str) and key.endswith(_VERSION_1_LAYER) for key in state)
        held = "version 1 of VPoser" if version_1 else f"no VPoser (found {_listed(list(state or top))})"
        raise ValueError(f"it holds {held}, the weights of version 2 ({VPOSER_FOLDER}) were expected")
    return found


def _items(recorded: Any) -> dict:
    """Entries of a recorded dict or ordered dict; none of anything else."""
    if isinstance(recorded, Call):
        return recorded.items if recorded.name == "collections.OrderedDict" else {}
    return recorded if isinstance(recorded, dict) else {}


class _Names:
    """Names that a checkpoint may mention: all of the packages that training scripts save objects of."""

    def __contains__(self, name: str) -> bool:
        return name in _BUILDERS or name in _PLAIN_TYPES or name.startswith(_FRAMEWORKS)


def _listed(names: list[object]) -> str:
    shown = ", ".join(ascii(str(name)[:40]).strip("'") for name in names[:8])
    return (shown or "nothing") + (", ..." if len(names) > 8 else "")


_FRAMEWORKS = (
    "torch.", "pytorch_lightning.", "lightning.", "human_body_prior.", "omegaconf.", "dotmap.", "configer.", "yacs.",
    "argparse.", "collections.", "pathlib.", "typing.",
)  # fmt: skip
_PLAIN_TYPES = tuple(f"builtins.{name}" for name in ("bool", "dict", "float", "int", "list", "str", "tuple"))
_STORAGES = {
    f"torch.{name}Storage": np.dtype(dtype)
    for name, dtype in {"Float": "f4", "Double": "f8", "Half": "f2", "Long": "i8", "Int": "i4", "Short": "i2"}.items()
}
_BUILDERS: dict[str, safe_pickle.Builder | None] = {
    **safe_pickle.BUILDERS,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": lambda call, resolve: resolve(call.args[0]),
}
_MIXTURES = ("gmm.GMM", "gaussian_mixture.GaussianMixture", "_gaussian_mixture.GaussianMixture")
_GENERATORS = (
    "numpy.random.__RandomState_ctor",
    "numpy.random._pickle.__randomstate_ctor",
    "numpy.random._pickle.__bit_generator_ctor",
    "numpy.random._mt19937.MT19937",
)
_SKLEARN: dict[str, safe_pickle.Builder | None] = {
    **{f"sklearn.mixture.{name}": safe_pickle.attributes for name in _MIXTURES},
    # The random generator that fitted it, of which nothing is made.
    **{name: lambda call, resolve: safe_pickle.Opaque(call.name) for name in _GENERATORS},
}
