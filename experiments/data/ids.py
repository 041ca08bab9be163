"""Which clips of a folder are meant: the folder of `--data_dir`, and the names of `--ids`."""

from collections.abc import Iterable
from pathlib import Path

from experiments.base.text import listed, natural
from experiments.data.dataset import DatasetError


def no_folder(root: Path, wanted: str) -> str:
    """The sentence for a `--data_dir` that is no folder; `wanted` says which folder to give."""
    return f"--data_dir={root} is {'a file' if root.exists() else 'nothing'}, not a folder; give {wanted}"


def choose_ids(names: Iterable[str], action: str, ids: str | None, place: Path) -> list[str]:
    """The names that `--ids` asks for, in natural order; a clip `<action>.<id>` is also known by its id.

    Raises:
      DatasetError: one that is not there.
    """
    known = sorted(names, key=natural)
    if ids in (None, "all"):
        return known
    chosen = []
    for wanted in (part.strip() for part in ids.split(",")):
        fitting = [name for name in known if wanted in (name, name.removeprefix(f"{action}."))]
        if not fitting:
            raise DatasetError(f"--ids={ids}: there is no {wanted} of {action} in {place}, which has {listed(known)}")
        chosen += fitting
    return [name for name in known if name in chosen]
