"""Options that several commands have, and what makes a name or a path unusable: said before a run has cost a second."""

import os
from typing import Any

from nemo_jax.options import REQUIRED, option

SEED_LIMIT = 2**32
MOST_FPS = 1000.0
MOST_CLIPS = 100_000
_NAME_BYTES = 200  # of the 255 that a file system takes, so that suffixes find room
_PART_BYTES = 255
_PATH_BYTES = 3400  # of the 4096 that it takes, so that the folders and files of a run find room


def results(text: str = "Output folder of a finished run, such as results/kick. Required.", **known: Any) -> Any:
    """`--results`, the folder of a finished run."""
    return path(REQUIRED, text, required=("give the output folder of a run", "results/kick"), **known)


def body_model(**known: Any) -> Any:
    """`--body_model`, the file of a body."""
    return path(None, "SMPL file (.pkl, .npz) or its folder. Without it, the open body that ships here.", **known)


def seed(text: str = "Seed of all randomness.", **known: Any) -> Any:
    """`--seed`."""
    return option(0, text, least=0, most=SEED_LIMIT - 1, **known)


def fps(text: str, **known: Any) -> Any:
    """`--fps`, frames per second."""
    return option(None, text, above=0, most=MOST_FPS, **known)


def max_instances(text: str, **known: Any) -> Any:
    """`--max_instances`, how many are read at most."""
    return option(None, text, least=1, most=MOST_CLIPS, **known)


def path(default: Any, text: str, **known: Any) -> Any:
    """A file or a folder, or several."""
    return option(default, text, check=path_problem, **known)


def name_problem(name: str, example: str) -> str | None:
    """Why an action could not name a folder of results and of clips, to follow the name in a sentence; None = it could."""
    why = None
    if not name.strip():
        why = "it is empty"
    elif name.startswith("."):
        why = "it begins with a dot"
    elif wrong := next((letter for letter in name if letter in "/\\" or not letter.isprintable()), None):
        why = f"{wrong!r} cannot be in the name of a folder"
    elif len(name.encode()) > _NAME_BYTES:
        why = f"it has {len(name.encode())} bytes, and the name of its folder can have {_NAME_BYTES}"
    return f"is not a name ({why}); give one such as {example}" if why else None


def path_problem(value: Any) -> str | None:
    """Why no file system could hold a path, or one of several; None = it could."""
    for each in value if isinstance(value, tuple | list) else [value]:
        text = os.fspath(each)
        if "\0" in text:
            return "is not a path: it has a NUL in it; give another"
        longest = max(text.encode(errors="surrogatepass").split(os.sep.encode()), key=len)
        if len(longest) > _PART_BYTES:
            return f"has a name of {len(longest)} bytes in it, and file systems take {_PART_BYTES}; give a shorter one"
        whole = len(os.path.abspath(text).encode(errors="surrogatepass"))
        if whole > _PATH_BYTES:
            return f"is a path of {whole} bytes, and no more than {_PATH_BYTES} leave room for its files; give a shorter one"
    return None
