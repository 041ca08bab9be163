"""The report of a run: one self-contained HTML page."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from experiments.base.files import replacing
from experiments.fitting.settings import Settings
from experiments.results.reading import Run
from experiments.show.report import page
from experiments.show.report.page import Pieces

NAME = "report.html"


def write(
    run: Run,
    settings: Settings,
    each: Mapping[str, Mapping[str, float]],
    notes: Sequence[str],
    pieces: Pieces | None = None,
) -> Path:
    """Writes `report.html` into the run's folder and returns its path. Pictures that exist in the folder are embedded
    in the page; other files are linked.

    Args:
      settings: the settings from the command line.
      each: scores of each clip, as in `instances.json`.
      notes: sentences for the user.
      pieces: what takes long, where it was made before.
    """
    built = page.build(run, settings, each, notes, pieces)
    path = run.folder / NAME
    with replacing(path) as temporary:
        temporary.write_text(built, encoding="utf-8")
    return path
