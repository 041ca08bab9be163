"""The optional visual outputs of a run: films, figures for a paper, a 3D viewer page, a report."""

import contextlib
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console

from experiments.base.text import duration
from experiments.evaluation import doubts
from experiments.fitting.finishing import Finish
from experiments.fitting.settings import Settings
from experiments.fitting.workers import Later, Shared, Submit
from experiments.results.reading import Run
from experiments.show import figures, report
from experiments.show.figures import run_pictures
from experiments.show.render import overlay
from experiments.show.report import followed
from experiments.show.report import page as report_page
from experiments.show.viewer import page

# The flag of each kind of output and the files or folders that it writes into the results folder.
PARTS = {"overlay": "overlay", "figures": "figures", "viewer": "viewer.html", "report": "report.html"}


def begin(
    run: Run,
    settings: Settings,
    hidden: np.ndarray | None,
    history: Mapping[str, Mapping[str, np.ndarray]],
    submit: Submit = Later,
) -> Finish:
    """Deletes the outputs that are not asked for and begins to draw the others.

    Args:
      run: the fit, in the form in which a later command reads it from its folder, but for its metrics.
      settings: the settings from the command line.
      hidden: (N, T, K), true where a keypoint was hidden from the fit; None if no keypoints were hidden.
      history: losses of every step, by stage and term.
      submit: takes the pieces of the work; they are done at the same time where it has processes for them.

    Returns:
      What waits for them and then writes the report, once the files of the run but `metrics.json` are there: of the run
      with its metrics, the scores of each clip as in `instances.json`, sentences for the user, and where to report.
    """
    asked = {name: getattr(settings, name) for name in PARTS}
    for name in PARTS:
        if not asked[name]:
            _delete(run.folder / PARTS[name])
    # Before anything reads it: what that computes is kept in it.
    shared = Shared(run, submit)
    # Films last: many small pieces end together where few long ones have begun before.
    overview = [submit(run_pictures.write_all, shared, history, hidden)] if settings.overview else []
    drawn = [submit(figures.write, shared, name) for name in figures.NAMES] if asked["figures"] else []
    viewer = [submit(page.write, run.folder / PARTS["viewer"], shared)] if asked["viewer"] else []
    thumbnails = submit(followed.thumbnails, shared) if asked["report"] else None
    if not settings.overview:
        run_pictures.delete_all(run.folder)
    films = overlay.Films(shared, settings.compare, settings.overlay_ground, submit) if asked["overlay"] else None

    def finish(run: Run, each: Mapping[str, Mapping[str, float]], notes: Sequence[str], console: Console) -> None:
        suspicious = (
            submit(report_page.suspicious, shared, run.metrics.get(doubts.KEY, {})) if asked["report"] else None
        )
        # Each says how long the command still waited for it.
        for name, work in (("overview", overview), ("figures", drawn), ("viewer", viewer)):
            begun = time.perf_counter()
            with console.status(name) if console.is_terminal and work else contextlib.nullcontext():
                for piece in work:
                    piece.result()
            if work and name != "overview":
                console.print(f"{name} in {duration(time.perf_counter() - begun)}")
        # Of finished figures, beside the films.
        embedded = submit(report_page.pictures, shared) if asked["report"] else None
        if films:
            films.finish(console)
        # The report is last, because it shows and links the other outputs.
        if thumbnails and suspicious and embedded:
            begun = time.perf_counter()
            pieces = report_page.Pieces(thumbnails.result(), suspicious.result(), embedded.result())
            report.write(run, settings, each, notes, pieces)
            console.print(f"report in {duration(time.perf_counter() - begun)}")

    return finish


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
