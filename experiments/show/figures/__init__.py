"""Figures for a paper, as PNG and PDF: rollout, comparison, time warps, root trajectories, errors of the joints."""

import shutil
from pathlib import Path

import matplotlib

from experiments.results.reading import Run
from experiments.show.figures import comparison, curves, joint_errors, rollout, sheet

FOLDER = "figures"
_DRAW = {
    "rollout": rollout.draw,
    "comparison": comparison.draw,
    "phase_curves": curves.draw_phases,
    "trajectories": curves.draw_trajectories,
    "joint_errors": joint_errors.draw,
}
NAMES = tuple(_DRAW)


def write_all(run: Run) -> list[Path]:
    """Writes `figures/<name>.png` and `.pdf` for each of `NAMES` into the run's folder, and returns their paths."""
    return [path for name in NAMES for path in write(run, name)]


def write(run: Run, name: str) -> list[Path]:
    """Writes one of them; returns its paths."""
    with matplotlib.rc_context(sheet.RC):
        return sheet.save(_DRAW[name](run), run.folder / FOLDER, name)


def remove(output: Path) -> None:
    """Deletes the figures of an older fit."""
    shutil.rmtree(output / FOLDER, ignore_errors=True)
