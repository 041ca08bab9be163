"""The project's readers of files from strangers, and the errors that they may answer with."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from body_models import loaders
from experiments import poses
from experiments.base.errors import UserError
from experiments.data import neutral_file
from experiments.data.dataset import DatasetError
from experiments.fitting import prior_files
from experiments.results import reading
from nemo_jax.config import FitConfig

_FRAMES = 3


def _instance(file: Path) -> object:
    return neutral_file.check(neutral_file.read(file))


def _laid(file: Path) -> object:
    """Read, and laid on the keypoints of a clip of three frames, as `--init` does."""
    keypoints = np.tile(np.linspace(100, 200, 25)[:, None], (_FRAMES, 1, 2))
    return poses.lay(poses.read(file), keypoints, np.ones((_FRAMES, 25)), (640.0, 480.0), str(file))


def _run(file: Path) -> object:
    return reading._read_params(file, 2, 10, FitConfig())


# name: (reader, its error, whether the error names the file)
READERS: dict[str, tuple[Callable[[Path], object], type[Exception], bool]] = {
    "body": (loaders.read_arrays, loaders.BodyModelError, True),
    "mixture": (prior_files.load_gmm, prior_files.PriorFileError, True),
    "vposer": (prior_files.load_vposer, prior_files.PriorFileError, True),
    "poses": (poses.read, DatasetError, True),
    "laid": (_laid, DatasetError, True),
    "instance": (_instance, neutral_file.FileError, False),
    "run": (_run, UserError, True),
}


def answer(reader: str, file: Path) -> str:
    """ "loaded", "refused" in one sentence, or what went wrong instead."""
    read, expected, named = READERS[reader]
    try:
        read(file)
    except expected as error:
        message = str(error)
        if "\n" in message or len(message) > 500 + len(str(file)):
            return f"no sentence of {len(message)} characters: {message[:200]!r}"
        return "refused" if not named or str(file) in message else f"not named: {message[:200]}"
    except BaseException as error:
        return f"trace: {type(error).__name__}: {str(error)[:200]}"
    return "loaded"
