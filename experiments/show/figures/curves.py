"""Figures with curves: the synchronisation of the clips and the trajectories of their roots."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from body_models import joints as jn
from experiments.data.dataset import Dataset
from experiments.results.reading import Run
from experiments.show.figures.sheet import NAMED, NORMAL, SMALL, WIDTH, colours, fit_text, kind
from experiments.show.style import TRUTH

Array = np.ndarray

_MID_HIP = jn.BODY_25_NAMES.index("mid_hip")
_LEGEND_COLUMNS = 4


def draw_phases(run: Run) -> Figure:
    """Draws the learned time warps: phase against time, and the difference of each from an even pace."""
    dataset, fitted = run.dataset, run.fitted
    figure = Figure(figsize=(WIDTH, 3.7 + _legend_height(dataset)), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot([0, 1], [0, 1], color="0.6", ls="--", lw=0.8)
    right.axhline(0, color="0.6", ls="--", lw=0.8)
    for n, colour in enumerate(colours(len(dataset.names))):
        frames = int(np.asarray(dataset.clips.frame_mask[n]).sum())
        raw, warped = fitted.raw_phases[n, :frames], np.asarray(fitted.prediction.phase)[n, :frames]
        left.plot(raw, warped, color=colour, lw=_width(dataset))
        right.plot(raw, warped - raw, color=colour, lw=_width(dataset))
    left.set(xlim=(0, 1), ylim=(0, 1), xlabel="time, share of the clip", ylabel="phase")
    left.set_aspect("equal")
    right.set(xlim=(0, 1), xlabel="time, share of the clip", ylabel="phase ahead of an even pace")
    least = 0.05 - max(abs(value) for value in right.get_ylim())
    if least > 0:
        # The axis has a minimal range, so that small differences from an even pace look small.
        right.set_ylim(-0.05, 0.05)
    left.set_title("learned time warp", loc="left")
    right.set_title("its difference from an even pace", loc="left")
    left.legend(handles=[Line2D([], [], color="0.6", ls="--", lw=0.8, label="no warp")], loc="upper left")
    _finish(figure, dataset, "synchronisation")
    return figure


def draw_trajectories(run: Run) -> Figure:
    """Draws the paths of the roots in the shared world, seen from above, and their heights over the phase."""
    dataset, fitted = run.dataset, run.fitted
    truth = None if run.truth is None else run.truth.joints
    figure = Figure(figsize=(WIDTH, 3.6 + _legend_height(dataset)), layout="constrained")
    above, height = figure.subplots(1, 2)
    for n, colour in enumerate(colours(len(dataset.names))):
        frames = int(np.asarray(dataset.clips.frame_mask[n]).sum())
        phase = np.asarray(fitted.prediction.phase)[n, :frames]
        joints = np.asarray(fitted.prediction.keypoints)[n, :frames]
        path = joints[:, _MID_HIP]
        if truth is not None and len(dataset.names) <= NAMED:
            true = truth[n, :frames, _MID_HIP]
            above.plot(true[:, 0], true[:, 2], color=TRUTH, lw=0.9, ls="--", zorder=1)
            height.plot(phase, true[:, 1] - _ground(truth[n, :frames]), color=TRUTH, lw=0.9, ls="--", zorder=1)
        above.plot(path[:, 0], path[:, 2], color=colour, lw=_width(dataset))
        above.plot(*path[0, [0, 2]], marker="o", ms=3.5, color=colour, zorder=3)
        height.plot(phase, path[:, 1] - _ground(joints), color=colour, lw=_width(dataset))
    above.set(xlabel="x, to the side (m)", ylabel="z, forwards (m)")
    _keep_square(above)
    # Seen from above with x to the right, z points down.
    above.invert_yaxis()
    above.set_title("paths of the roots, from above", loc="left")
    height.set(xlim=(0, 1), xlabel="phase", ylabel="height (m)")
    height.set_title("heights above each clip's ground", loc="left")
    handles = [Line2D([], [], color="0.3", marker="o", ms=3.5, ls="", label="start")]
    if truth is not None and len(dataset.names) <= NAMED:
        handles.append(Line2D([], [], color=TRUTH, lw=0.9, ls="--", label="truth, moved\nonto the fit"))
    above.legend(handles=handles, loc="best")
    _finish(figure, dataset, "roots in the shared world")
    return figure


def _ground(joints: Array) -> float:
    """Height of the ground under joints (F, K, 3): the lowest joint, ignoring the lowest tenth of the frames."""
    return float(np.percentile(joints[..., 1].min(-1), 10))


def _keep_square(axes: Axes) -> None:
    """Equal metres along both axes, and the same length of each, so that the panel keeps its shape."""
    (x0, x1), (y0, y1) = axes.get_xlim(), axes.get_ylim()
    half = max(x1 - x0, y1 - y0, 0.1) / 2
    x, y = (x0 + x1) / 2, (y0 + y1) / 2
    axes.set(xlim=(x - half, x + half), ylim=(y - half, y + half))
    axes.set_aspect("equal", adjustable="box")


def _width(dataset: Dataset) -> float:
    return 1.4 if len(dataset.names) <= NAMED else 0.8


def _legend_height(dataset: Dataset) -> float:
    count = len(dataset.names)
    return 0.17 * -(-count // _LEGEND_COLUMNS) if count <= NAMED else 0.0


def _finish(figure: Figure, dataset: Dataset, what: str) -> None:
    """Adds the title line and, for few clips, the legend below."""
    count = len(dataset.names)
    more = f", {count} clips, coloured in their order from dark to light"
    if count <= NAMED:
        more = ""
        room = WIDTH / _LEGEND_COLUMNS - 0.5
        # Matplotlib omits labels that start with an underscore from a legend.
        labels = [f"\u2009{fit_text(name, SMALL, room)}" for name in dataset.names]
        entries = [
            Line2D([], [], color=colour, lw=1.4, label=label)
            for label, colour in zip(labels, colours(count), strict=True)
        ]
        # Matplotlib fills a legend column by column, but it is read row by row.
        entries = [entry for column in range(_LEGEND_COLUMNS) for entry in entries[column::_LEGEND_COLUMNS]]
        figure.legend(handles=entries, loc="outside lower center", ncols=_LEGEND_COLUMNS, handlelength=1.6)
    figure.suptitle(f"{kind(dataset)}: {what}{more}", x=0.01, ha="left", fontsize=NORMAL)
