"""The optional visual outputs of a run: films, figures for a paper, a 3D viewer page, a report."""

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from rich.console import Console

from experiments.base.text import duration
from experiments.fitting.settings import Settings
from experiments.results.reading import Run
from experiments.show import figures, report
from experiments.show.figures import run_pictures
from experiments.show.render import overlay
from experiments.show.viewer import page

# The flag of each kind of output and the files or folders that it writes into the results folder.
PARTS = {"overlay": "overlay", "figures": "figures", "viewer": "viewer.html", "report": "report.html"}


def write_all(
    run: Run,
    settings: Settings,
    each: Mapping[str, Mapping[str, float]],
    notes: Sequence[str],
    hidden: np.ndarray | None,
    history: Mapping[str, Mapping[str, np.ndarray]],
    console: Console,
) -> None:
    """Writes the pictures of a run and the outputs that the settings ask for into its folder, and deletes all other
    outputs, which an older fit may have left there.

    Args:
      run: the fit, in the form in which a later command reads it from its folder.
      settings: the settings from the command line.
      each: scores of each clip, as in `instances.json`. notes: sentences for the user.
      hidden: (N, T, K), true where a keypoint was hidden from the fit; None if no keypoints were hidden.
      history: losses of every step, by stage and term.
    """
    if settings.overview:
        run_pictures.write_all(run, history, hidden)
    else:
        run_pictures.delete_all(run.folder)
    parts: dict[str, Callable[[], Any]] = {
        "overlay": lambda: overlay.write_all(run, console, settings.compare),
        "figures": lambda: figures.write_all(run),
        "viewer": lambda: page.write(run.folder / PARTS["viewer"], run),
        # The report is last, because it shows and links the other outputs.
        "report": lambda: report.write(run, settings, each, notes),
    }
    for name, write in parts.items():
        path = run.folder / PARTS[name]
        if getattr(settings, name):
            begun = time.perf_counter()
            write()
            if name != "overlay":  # which speaks for itself
                console.print(f"{name} in {duration(time.perf_counter() - begun)}")
        elif path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
