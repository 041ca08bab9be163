"""Figures for a paper, as PNG and PDF: rollout, comparison, time warps, root trajectories, errors of the joints."""

import shutil
from pathlib import Path

import matplotlib

from body_models import smpl
from experiments.data.dataset import Dataset
from experiments.results.fitted_motion import FittedMotion
from experiments.show.figures import comparison, curves, joint_errors, rollout, sheet
from nemo_jax.config import FitConfig

FOLDER = "figures"
NAMES = ("rollout", "comparison", "phase_curves", "trajectories", "joint_errors")


def write_all(
    output: Path, dataset: Dataset, fitted: FittedMotion, body: smpl.SMPL, config: FitConfig, threshold: float
) -> list[Path]:
    """Writes `figures/<name>.png` and `.pdf` for each of `NAMES`, and returns their paths.

    Args:
      output: the results folder.
      body: the body that was fitted, with the nose as keypoint 0. config: of the fit.
      threshold: confidence above which an input joint is scored.
    """
    with matplotlib.rc_context(sheet.RC):
        drawn = {
            "rollout": lambda: rollout.draw(dataset, fitted, body, config),
            "comparison": lambda: comparison.draw(dataset, fitted, body),
            "phase_curves": lambda: curves.draw_phases(dataset, fitted),
            "trajectories": lambda: curves.draw_trajectories(dataset, fitted),
            "joint_errors": lambda: joint_errors.draw(dataset, fitted, body, threshold),
        }
        return [path for name in NAMES for path in sheet.save(drawn[name](), output / FOLDER, name)]


def remove(output: Path) -> None:
    """Deletes the figures of an older fit."""
    shutil.rmtree(output / FOLDER, ignore_errors=True)
