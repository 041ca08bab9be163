"""Everything on disk becomes `Clips` here, one file per format."""

from __future__ import annotations

from pathlib import Path

from body_models import loaders, smpl
from experiments.datasets import penn_action, synthetic
from experiments.datasets.base import Dataset, DatasetError

__all__ = ["FORMATS", "Dataset", "DatasetError", "guess", "load"]

# Formats on disk, in the order in which a folder is tried: each has `recognises(data_dir)` and `load(data_dir, action,
# ...)`.
FORMATS = {"penn_action": penn_action}


def load(
    action: str,
    data_dir: str | None = None,
    dataset: str | None = None,
    max_instances: int | None = None,
    seed: int = 0,
    body: smpl.SMPL | None = None,
) -> Dataset:
    """Reads an action from a folder, or makes the synthetic one.

    Args:
      action: what the clips show.
      data_dir: folder of the data; None = the synthetic action.
      dataset: a name in `FORMATS`, or `synthetic`; None = guessed from the folder.
      max_instances: at most so many clips; None = all.
      seed: of the synthetic action.
      body: body of the synthetic action; None = the open body.

    Raises:
      DatasetError: with one sentence for the user.
    """
    if max_instances is not None and max_instances < 1:
        raise DatasetError(f"--max_instances={max_instances} leaves no clip; give 1 or more")
    name = dataset or guess(data_dir)
    if name == "synthetic":
        if data_dir is not None:
            raise DatasetError(
                f"--dataset=synthetic reads no folder, but --data_dir={data_dir} is given; leave one of them out"
            )
        if action != synthetic.ACTION:
            raise DatasetError(
                f"--action={action} needs --data_dir: without data only the synthetic {synthetic.ACTION} can be made"
            )
        return synthetic.load(body or loaders.load_body(), seed, min(max_instances or 8, 8))
    if name not in FORMATS:
        raise DatasetError(f"--dataset={name} is not a known format; choose one of synthetic, {', '.join(FORMATS)}")
    if data_dir is None:
        raise DatasetError(f"--dataset={name} needs --data_dir, the folder to read")
    return FORMATS[name].load(data_dir, action, max_instances)


def guess(data_dir: str | None) -> str:
    """The format of a folder.

    Raises:
      DatasetError: there is no such folder, it is empty, or it looks like none of the formats.
    """
    if data_dir is None:
        return "synthetic"
    root = Path(data_dir)
    if not root.exists():
        raise DatasetError(f"--data_dir={data_dir}: there is no such folder; check the path")
    if not root.is_dir():
        raise DatasetError(f"--data_dir={data_dir} is a file; give the folder that holds the data")
    if not any(root.iterdir()):
        raise DatasetError(f"--data_dir={data_dir} is an empty folder; give the folder that holds the data")
    for name, module in FORMATS.items():
        if module.recognises(root):
            return name
    raise DatasetError(
        f"--data_dir={data_dir} looks like none of the known formats ({', '.join(FORMATS)}); "
        "expected Penn Action's labels/0001.mat and so on, or name the format with --dataset"
    )
