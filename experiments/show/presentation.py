"""The optional visual outputs of a run: films, figures for a paper, a 3D viewer page, a report."""

import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console

from experiments.base.text import duration
from experiments.fitting.settings import Settings
from experiments.fitting.workers import Later, Submit
from experiments.results.reading import Run
from experiments.show import figures, report
from experiments.show.figures import run_pictures
from experiments.show.render import overlay
from experiments.show.report import followed
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
    submit: Submit = Later,
) -> None:
    """Writes the pictures of a run and the outputs that the settings ask for into its folder, and deletes all other
    outputs, which an older fit may have left there.

    Args:
      run: the fit, in the form in which a later command reads it from its folder.
      settings: the settings from the command line.
      each: scores of each clip, as in `instances.json`. notes: sentences for the user.
      hidden: (N, T, K), true where a keypoint was hidden from the fit; None if no keypoints were hidden.
      history: losses of every step, by stage and term.
      submit: takes the pieces of the work; they are done at the same time where it has processes for them.
    """
    asked = {name: getattr(settings, name) for name in PARTS}
    for name in PARTS:
        if not asked[name]:
            _delete(run.folder / PARTS[name])
    films = overlay.Films(run, settings.compare, settings.overlay_ground, submit) if asked["overlay"] else None
    drawn = [submit(figures.write, run, name) for name in figures.NAMES] if asked["figures"] else []
    viewer = [submit(page.write, run.folder / PARTS["viewer"], run)] if asked["viewer"] else []
    thumbnails = submit(followed.thumbnails, run) if asked["report"] else None
    overview = [submit(run_pictures.write_all, run, history, hidden)] if settings.overview else []
    if not settings.overview:
        run_pictures.delete_all(run.folder)
    if films:
        films.finish(console)
    for piece in overview:
        piece.result()
    # Each says how long the command still waited for it.
    begun = time.perf_counter()
    for name, work in (("figures", drawn), ("viewer", viewer)):
        for piece in work:
            piece.result()
        if work:
            console.print(f"{name} in {duration(time.perf_counter() - begun)}")
        begun = time.perf_counter()
    # The report is last, because it shows and links the other outputs.
    if thumbnails:
        report.write(run, settings, each, notes, thumbnails.result())
        console.print(f"report in {duration(time.perf_counter() - begun)}")


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
