"""The report of a run: one page that needs nothing beside it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from body_models import smpl
from experiments.base.files import replacing
from experiments.data.dataset import Dataset
from experiments.fitting.settings import Settings
from experiments.results.fitted_motion import FittedMotion
from experiments.show.render.overlay import Overlay
from experiments.show.report import page

NAME = "report.html"


def write(
    output: Path,
    dataset: Dataset,
    fitted: FittedMotion,
    body: smpl.SMPL,
    metrics: Mapping[str, Any],
    each: Mapping[str, Mapping[str, float]],
    notes: Sequence[str],
    settings: Settings,
    threshold: float,
) -> Path:
    """Writes `report.html` and returns its path. Pictures that are in the folder by then are put into the page, other
    files are linked.

    Args:
      output: the results folder.
      dataset: the clips as read, before joints were hidden.
      body: the body that was fitted, with the nose as keypoint 0.
      metrics: as `metrics.json` has them. each: as `instances.json` has them.
      notes: sentences for the user.
      settings: as the command line gave them.
      threshold: confidence above which an input joint counts as visible.
    """
    built = page.build(output, Overlay(dataset, fitted, body), metrics, each, notes, settings, threshold)
    path = output / NAME
    with replacing(path) as temporary:
        temporary.write_text(built, encoding="utf-8")
    return path
