"""Reads the files of the learned pose priors: the Gaussian mixture's pickle and the snapshot folder of VPoser.

Both come from the internet as pickles. Neither is executed: `body_models.safe_pickle` records what they ask for, and only
arrays are built; `experiments.base.torch_files` reads torch's checkpoints so. PyTorch is not needed.
"""

import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from body_models import safe_pickle
from body_models.safe_pickle import Call
from body_models.wording import listed, reason
from experiments.base import torch_files
from nemo_jax.priors import gmm, vposer

GMM_FILE = "gmm_08.pkl"
VPOSER_FOLDER = "V02_05"

_MAX_BYTES = 1 << 30
# Of an array of a mixture: a thousand components, where the published one has 8.
_MAX_NUMBERS = 1000 * gmm.NUM_DIMENSIONS**2
_WEIGHTS_PREFIX = "vp_model."
_VERSION_1_LAYER = "bodyprior_enc_fc1.weight"
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
            raise PriorFileError(f"{file}: {about}, an array was expected; found {listed(contents)}")
        if found.size > _MAX_NUMBERS:
            raise PriorFileError(f"{file}: its {name} have shape {found.shape}, a mixture of 8 components was expected")
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


def _read_checkpoint(file: Path, wanted: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Those of the wanted arrays that the checkpoint has, under their names without prefix.

    Raises:
      ValueError: not a checkpoint, or damaged. BadPickleError: its pickle is; this names the file.
    """
    with torch_files.opened(file, _MAX_BYTES) as (recorded, resolve):
        top = _items(recorded)
        state = _items(top.get("state_dict", recorded))
        keys = {name: key for name in wanted for key in (name, _WEIGHTS_PREFIX + name) if key in state}
        # Hostile or damaged bytes can make the builders raise nearly anything.
        try:
            found = {name: resolve(state[key]) for name, key in keys.items()}
        except Exception as error:
            raise ValueError(f"its arrays cannot be used: {reason(error)}") from error
    for name, array in found.items():
        if not isinstance(array, np.ndarray):
            raise ValueError(f"{name} is a {type(array).__name__}, an array was expected")
    if not found:
        version_1 = any(isinstance(key, str) and key.endswith(_VERSION_1_LAYER) for key in state)
        held = "version 1 of VPoser" if version_1 else f"no VPoser (found {listed(state or top)})"
        raise ValueError(f"it holds {held}, the weights of version 2 ({VPOSER_FOLDER}) were expected")
    return found


def _items(recorded: Any) -> dict:
    """Entries of a recorded dict or ordered dict; none of anything else."""
    if isinstance(recorded, Call):
        return recorded.items if recorded.name == "collections.OrderedDict" else {}
    return recorded if isinstance(recorded, dict) else {}


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
