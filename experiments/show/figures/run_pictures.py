"""The pictures of a results folder: overview, phase curves, losses."""

from collections.abc import Mapping
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from experiments.base.files import replacing
from experiments.results.reading import Run
from experiments.show import overview
from experiments.show.style import CYCLE, NO_FORMULAS, RC

_NAMED_CURVES = 8  # more instances than this get no legend
_STAGES = {
    "lift": "lifting",
    "warmup": "warm-up",
    "camera": "cameras",
    "early": "joint stage, first part",
    "rescue": "rescue",
    "joint": "joint stage",
}


def write_all(run: Run, history: Mapping[str, Mapping[str, np.ndarray]], hidden: np.ndarray | None) -> None:
    """Writes `overview.png`, `phases.png` and `losses.png`. If not all instances fit into the overview, all of them are
    also drawn on the pages `overview/page_1.png` and so on.

    Args:
      history: losses of every step, by stage and term. hidden: (N, T, K), joints hidden from the fit, or None.
    """
    with matplotlib.rc_context(RC):
        with matplotlib.rc_context(NO_FORMULAS):
            _write_overview(run.folder, overview.make_scene(run, hidden))
            save(draw_phases(run), run.folder / "phases.png")
        save(draw_losses(history), run.folder / "losses.png")


def delete_all(folder: Path) -> None:
    """Deletes what `write_all` has written."""
    for name in ("overview.png", "phases.png", "losses.png"):
        (folder / name).unlink(missing_ok=True)
    for page in (folder / "overview").glob("page_*.png"):
        page.unlink()


def save(figure: Figure, path: Path) -> None:
    FigureCanvasAgg(figure)
    with replacing(path) as temporary:
        figure.savefig(temporary)


def _write_overview(folder: Path, scene: overview.Overview) -> None:
    dataset = scene.run.dataset
    names, kind = dataset.names, " (synthetic)" if dataset.synthetic else ""
    chosen = overview.spread(len(names))
    which = "" if len(chosen) == len(names) else f": {len(chosen)} of {len(names)} clips, the others in overview/"
    save(overview.draw_page(scene, chosen, f"{dataset.action}{kind}{which}"), folder / "overview.png")
    pages = range(0, len(names), overview.ROWS) if len(chosen) < len(names) else ()
    written = set()
    for number, first in enumerate(pages, start=1):
        rows = range(first, min(first + overview.ROWS, len(names)))
        title = f"{dataset.action}{kind}: page {number} of {len(pages)}"
        path = folder / "overview" / f"page_{number}.png"
        save(overview.draw_page(scene, rows, title), path)
        written.add(path)
    for stale in set((folder / "overview").glob("page_*.png")) - written:
        stale.unlink()


def draw_phases(run: Run) -> Figure:
    """The learned phase of every instance against its raw phase."""
    dataset, fitted = run.dataset, run.fitted
    figure = Figure(figsize=(7, 5.2), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color="0.6", ls="--", lw=1, label="no warp")
    few = len(dataset.names) <= _NAMED_CURVES
    colours = CYCLE if few else matplotlib.colormaps["viridis"](np.linspace(0, 0.95, len(dataset.names)))
    for n, name in enumerate(dataset.names):
        exists = np.asarray(dataset.clips.frame_mask[n]) > 0
        raw, warped = fitted.raw_phases[n][exists], fitted.prediction.phase[n][exists]
        axes.plot(raw, warped, color=colours[n], lw=1.8 if few else 1.0, label=name if few else None)
    axes.set(xlabel="time, share of the clip", ylabel="phase of the shared motion", xlim=(0, 1), ylim=(0, 1))
    more = "" if few else f", {len(dataset.names)} clips"
    axes.set_title(f"{dataset.action}: synchronisation{more}", loc="left")
    axes.legend(loc="upper left" if few else "lower right", fontsize=10)
    axes.set_aspect("equal")
    return figure


def draw_losses(history: Mapping[str, Mapping[str, np.ndarray]]) -> Figure:
    """Plots the total and the unweighted terms of every stage; logarithmic if they span more than a factor of 20."""
    stages = [name for name, terms in history.items() if terms]
    figure = Figure(figsize=(4.6 * max(len(stages), 1), 4), dpi=120, layout="constrained")
    for number, stage in enumerate(stages):
        axes = figure.add_subplot(1, len(stages), number + 1)
        terms = {term: np.asarray(values) for term, values in history[stage].items()}
        if len(terms) == 2:
            terms.pop("total", None)  # it is only a multiple of the one other term
        order = sorted(terms, key=lambda term: (term != "total", term))
        for colour, term in zip(_cycle(len(order)), order, strict=True):
            axes.plot(np.arange(1, len(terms[term]) + 1), terms[term], color=colour, lw=1.3, label=term)
        shown = np.concatenate([values[np.isfinite(values) & (values > 0)] for values in terms.values()])
        if shown.size and shown.max() > 20 * shown.min():
            axes.set_yscale("log")
            # Terms that start at zero, such as the codes', would take up most of a logarithmic axis.
            ends = [values[np.isfinite(values)][-1:] for values in terms.values()]
            ends = np.concatenate(ends)
            axes.set_ylim(bottom=0.3 * ends[ends > 0].min() if (ends > 0).any() else None)
        axes.set(xlabel="step", ylabel="loss" if number == 0 else None)
        axes.set_title(_STAGES.get(stage, stage), loc="left")
        if axes.lines:
            axes.legend(fontsize=9, loc="best")
    return figure


def _cycle(count: int) -> list[str]:
    return [CYCLE[i % len(CYCLE)] for i in range(count)]
