"""What a run shows of its fit besides numbers: films, figures for a paper, a page in 3D, a report. Each can be left out."""

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

# The flag of each and what it leaves in the results folder.
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
    """Writes the pictures of a run and the parts that the settings ask for into its folder, and deletes what an older fit
    left of the others.

    Args:
      run: the fit, as a later command would read it from its folder.
      settings: as the command line gave them.
      each: numbers of each clip, as `instances.json` has them. notes: sentences for the user.
      hidden: (N, T, K), true where a keypoint was hidden from the fit; None where none was.
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
        # Last, as it shows and links what is there by then.
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
