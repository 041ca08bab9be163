"""Finished fits of a suite, a file each: written at once, found again by an interrupted run.

A row is found by what it is of, its `Cell`, and is the one that is asked for if its identity is the same: a digest of the
clips, their truth, the whole configuration, body, priors, and the sources of the method.
"""

import dataclasses
import functools
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import nemo_jax
from experiments.base.errors import UserError
from experiments.base.files import replacing

FORMAT = 1
_PACKAGES = ("nemo_jax", "body_models")


@dataclasses.dataclass(frozen=True)
class Cell:
    """What one fit of a suite is of. action, variant: their names. poses: whether it starts from initial poses, or another
    short word on its clips. seed: of the fit. without: the clip that it is not fitted to, but scored on; empty = none."""

    action: str
    variant: str
    poses: str
    seed: int
    without: str = ""

    @property
    def name(self) -> str:
        """In words for people."""
        left_out = f", without {self.without}" if self.without else ""
        return f"{self.action} ({self.variant}, {self.poses}, seed {self.seed}{left_out})"


@dataclasses.dataclass(frozen=True)
class Row:
    """The scores of one fit.

    numbers: of the whole fit, as in `metrics.json`. each: of each clip, by name. error: why it failed, or None.
    """

    cell: Cell
    numbers: Mapping[str, float]
    each: Mapping[str, Mapping[str, float]]
    error: str | None = None

    def by_clip(self) -> list["Row"]:
        """A row for each clip, as if each were an action; the same row where the fit failed."""
        if self.error is not None:
            return [self]
        return [
            Row(dataclasses.replace(self.cell, action=name), {}, {name: values}) for name, values in self.each.items()
        ]


class Rows:
    """The rows of a results folder."""

    def __init__(self, folder: Path):
        self._folder = folder / "rows"

    def path(self, cell: Cell) -> Path:
        """The file of a row: readable, and different for different cells."""
        name = "_".join(
            (cell.action, cell.variant, cell.poses, f"seed{cell.seed}", *([cell.without] if cell.without else []))
        )
        mark = hashlib.sha256(json.dumps(dataclasses.astuple(cell)).encode()).hexdigest()[:8]
        return self._folder / f"{re.sub(r'[^A-Za-z0-9._-]+', '-', name)[:120]}.{mark}.json"

    def find(self, cell: Cell, identity: str) -> Row | None:
        """The finished row of this cell and identity, or None.

        Raises:
          UserError: the file is damaged.
        """
        path = self.path(cell)
        if not path.exists():
            return None
        try:
            found = json.loads(path.read_text())
            if (found["format"], found["identity"]) != (FORMAT, identity):
                return None
            return Row(Cell(**found["cell"]), found["numbers"], found["each"], found["error"])
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{path} is damaged ({type(error).__name__}: {error}); delete it, and its fit is done again"
            ) from error

    def write(self, row: Row, identity: str) -> None:
        """Writes a row; it is complete or not there."""
        values = {"format": FORMAT, "identity": identity, **dataclasses.asdict(row)}
        with replacing(self.path(row.cell)) as temporary:
            temporary.write_text(json.dumps(values, indent=1, allow_nan=False) + "\n")

    def frames_path(self, cell: Cell) -> Path:
        """The file of what a fit expected of its frames, for `experiments.benchmarks.calibration`."""
        return self._folder.parent / "frames" / f"{self.path(cell).stem}.npz"

    def write_frames(self, cell: Cell, arrays: Mapping[str, Any]) -> None:
        """Writes arrays of a fit's frames; they are complete or not there."""
        with replacing(self.frames_path(cell)) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **{"action": cell.action, "variant": cell.variant, **arrays})


def identity_of(parts: Mapping[str, Any]) -> str:
    """A digest of what a fit and its scores depend on, the sources of the method included."""
    text = json.dumps({**parts, "sources": _sources()}, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


@functools.cache
def _sources() -> str:
    """A digest of the Python files of the method, so that a change of it is never taken for finished."""
    total = hashlib.sha256()
    root = Path(nemo_jax.__file__).parents[1]
    for package in _PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            total.update(path.relative_to(root).as_posix().encode())
            total.update(path.read_bytes())
    return total.hexdigest()
