"""The overview: one row per instance, one column per phase; each cell shows the frame with its skeleton and the 3D
body.

A page is a single Matplotlib axes with a unit square per picture, so that it draws in a second with any number of
cells.
"""

import dataclasses
import textwrap
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image

from body_models import joints as jn
from experiments.data import pictures
from experiments.data.visible import visible
from experiments.results.reading import Run
from experiments.show.style import CENTRE, LEFT, RIGHT, SHADE, TRUTH

matplotlib.use("Agg")

ROWS, COLUMNS = 8, 6
_LIMBS = np.array(jn.BODY_25_LIMBS)
_SIDES = {"left": LEFT, "right": RIGHT}
_COLOURS = np.array([_SIDES.get(name.split("_")[0], CENTRE) for name in jn.BODY_25_NAMES])
_MID_HIP = jn.BODY_25_NAMES.index("mid_hip")
_PIXELS = 220  # width and height of a cell's picture
_METRES = 2.2  # width and height of the area that a cell of the 3D view shows
_GROUND = 0.07  # height of the ground line in a cell


@dataclasses.dataclass(frozen=True)
class Overview:
    """The data of the pages. hidden (N, T, K): joints hidden from the fit, or None. visible (N, T, K): input joints
    that are drawn. across (3,): the direction that points to the right in the fixed view of the 3D bodies."""

    run: Run
    hidden: np.ndarray | None
    visible: np.ndarray
    across: np.ndarray


def make_scene(run: Run, hidden: np.ndarray | None) -> Overview:
    exists = np.asarray(run.dataset.clips.frame_mask) > 0
    across = widest_direction(np.asarray(run.fitted.prediction.keypoints)[exists])
    return Overview(run, hidden, visible(run.dataset, run.threshold, derived=True), across)


def widest_direction(joints: np.ndarray) -> np.ndarray:
    """The horizontal direction (3,) in which bodies (F, K, 3) extend farthest from their centres. Its sign is such that
    it points to the right for a viewer on the side of +z, which the first instance faces on average."""
    level = (joints - joints[:, _MID_HIP : _MID_HIP + 1])[..., [0, 2]].reshape(-1, 2)
    x, z = np.linalg.eigh(level.T @ level)[1][:, -1]
    return np.array([x, 0.0, z]) * (1.0 if x >= 0 else -1.0)


def spread(count: int, rows: int = ROWS) -> list[int]:
    """Indices of at most `rows` of `count` instances, evenly spread, including the first and the last."""
    return sorted({round(i) for i in np.linspace(0, count - 1, min(rows, count))})


def draw_page(scene: Overview, instances: Sequence[int], title: str) -> Figure:
    """Draws one page with at most `ROWS` instances."""
    columns = 2 * COLUMNS
    rows = len(instances)
    labels = [_row_label(scene, instance) for instance in instances]
    # The page is wide enough for the longest line of text at ten points.
    left = max(1.1, 0.2 + 0.088 * max(len(line) for label in labels for line in label.split("\n")))
    figure = Figure(figsize=(left + 0.1 + 1.25 * columns, 1.1 + 1.25 * rows), dpi=100)
    bottom, top = 0.5 / figure.get_figheight(), 1 - 0.6 / figure.get_figheight()
    width = figure.get_figwidth()
    axes = figure.add_axes((left / width, bottom, 1 - (left + 0.1) / width, top - bottom))
    axes.set(xlim=(0, columns), ylim=(rows, 0), aspect="equal")
    axes.axis("off")
    for row, (instance, label) in enumerate(zip(instances, labels, strict=True)):
        axes.text(-0.08, row + 0.5, label, ha="right", va="center", fontsize=10)
        _draw_row(axes, scene, instance, row)
    for column, phase in enumerate(np.linspace(0, 1, COLUMNS)):
        axes.text(2 * column + 1, -0.08, f"phase {phase:.1f}", ha="center", va="bottom", fontsize=11)
    figure.text(0.012, 1 - 0.14 / figure.get_figheight(), title, ha="left", va="top", fontsize=12)
    figure.legend(handles=_legend(scene), loc="lower center", ncols=7, fontsize=10, frameon=False, handlelength=1.4)
    return figure


def _row_label(scene: Overview, instance: int) -> str:
    frames = scene.run.num_frames(instance)
    mirrored = "\nmirrored" if scene.run.fitted.params.mirrored[instance] > 0.5 else ""
    name = "\n".join(textwrap.wrap(scene.run.dataset.names[instance], 24))
    return f"{name}\n{frames} frames{mirrored}"


def _draw_row(axes: Axes, scene: Overview, instance: int, row: int) -> None:
    frames = _frames_at_phases(scene, instance)
    clips, fitted, truth = scene.run.dataset.clips, scene.run.fitted, scene.run.truth
    shown = scene.visible[instance]
    predicted = fitted.scored_2d[instance]
    boxes = [_bounds(np.asarray(clips.keypoints[instance, f]), shown[f], predicted[f]) for f in frames]
    side = 1.15 * max(max(high - low) for low, high in boxes)
    joints = np.asarray(fitted.prediction.keypoints[instance])
    exists = np.asarray(clips.frame_mask[instance]) > 0
    ground = np.percentile(joints[exists][..., 1].min(-1), 10)
    seen = pictures.frames(scene.run.dataset, instance, frames)
    for column, (frame, (low, high), picture) in enumerate(zip(frames, boxes, seen, strict=True)):
        corner = (low + high) / 2 - side / 2
        cell = np.array([2 * column, row], float)
        _draw_picture(axes, _square(picture, corner, side), cell)

        def place(pixels: np.ndarray, corner: np.ndarray = corner, cell: np.ndarray = cell) -> np.ndarray:
            return cell + (pixels - corner) / side

        _draw_skeleton(axes, place(predicted[frame]), cell, halo=True)
        _draw_inputs(axes, place(np.asarray(clips.keypoints[instance, frame])), scene, instance, frame, cell)
        beside = cell + [1, 0]
        axes.plot(beside[0] + np.array([0.06, 0.94]), np.full(2, beside[1] + 1 - _GROUND), color="0.75", lw=1, zorder=1)
        centre = joints[frame, _MID_HIP]
        if truth is not None and truth.mask[instance, frame]:
            true = _view(truth.joints[instance, frame], centre, ground, beside, scene.across)
            _draw_skeleton(axes, true, beside, colour=TRUTH)
        _draw_skeleton(axes, _view(joints[frame], centre, ground, beside, scene.across), beside)


def _frames_at_phases(scene: Overview, instance: int) -> list[int]:
    """For each column, the frame of the instance whose warped phase is nearest to the column's phase."""
    exists = np.asarray(scene.run.dataset.clips.frame_mask[instance]) > 0
    phases = np.where(exists, scene.run.fitted.prediction.phase[instance], np.inf)
    return [int(np.argmin(np.abs(phases - phase))) for phase in np.linspace(0, 1, COLUMNS)]


def _bounds(keypoints: np.ndarray, visible: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Corners of the box around the visible joints, or around the predicted joints if fewer than three are visible."""
    points = keypoints[visible] if visible.sum() > 2 else predicted
    return points.min(0), points.max(0)


def _square(picture: np.ndarray | None, corner: np.ndarray, side: float) -> np.ndarray | None:
    """The square of a frame's picture, (P, P, 3), that the cell shows."""
    if picture is None:
        return None
    box = (corner[0], corner[1], corner[0] + side, corner[1] + side)
    extent, bilinear = Image.Transform.EXTENT, Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(picture).transform((_PIXELS, _PIXELS), extent, box, bilinear, fillcolor=SHADE))


def _draw_picture(axes: Axes, picture: np.ndarray | None, cell: np.ndarray) -> None:
    left, top = cell + 0.01
    right, bottom = cell + 0.99
    if picture is None:
        axes.fill([left, right, right, left], [top, top, bottom, bottom], color=SHADE, lw=0, zorder=0)
    else:
        axes.imshow(picture, extent=(left, right, bottom, top), zorder=0, interpolation="antialiased", aspect="equal")


def _draw_skeleton(
    axes: Axes, points: np.ndarray, cell: np.ndarray, halo: bool = False, colour: str | None = None
) -> None:
    """Limbs of BODY_25 between points (K, 2), cut at the cell's edge."""
    inside = _inside(points, cell)
    limbs = _LIMBS[inside[_LIMBS].all(-1)]
    segments = list(points[limbs])
    # The end joint of a limb determines its side (left or right); the spine and the neck have no side.
    colours = [colour] * len(limbs) if colour else list(_COLOURS[limbs[:, 1]])
    if halo:
        axes.add_collection(
            LineCollection(segments, colors="white", linewidths=3.2, capstyle="round", zorder=2, alpha=0.8)
        )
    width = 1.2 if colour else 1.7
    axes.add_collection(LineCollection(segments, colors=colours, linewidths=width, capstyle="round", zorder=3))


def _draw_inputs(axes: Axes, points: np.ndarray, scene: Overview, instance: int, frame: int, cell: np.ndarray) -> None:
    shown = scene.visible[instance, frame] & _inside(points, cell)
    hidden = np.zeros_like(shown) if scene.hidden is None else scene.hidden[instance, frame]
    seen, unseen = shown & ~hidden, shown & hidden
    axes.scatter(*points[seen].T, s=10, c=_COLOURS[seen], edgecolors="white", linewidths=0.6, zorder=4)
    axes.scatter(*points[unseen].T, s=22, c="black", marker="x", linewidths=1.3, zorder=4)


def _inside(points: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """Which of the points (K, 2) lie in the cell, (K,)."""
    return np.all((points > cell) & (points < cell + 1), axis=-1)


def _view(joints: np.ndarray, centre: np.ndarray, ground: float, cell: np.ndarray, across: np.ndarray) -> np.ndarray:
    """Joints (K, 3) in the fixed view: the body's centre is in the middle of the cell, the ground on its line."""
    right = (joints - centre) @ across
    up = joints[:, 1] - ground
    return cell + np.stack([0.5 + right / _METRES, 1 - _GROUND - up / _METRES], -1)


def _legend(scene: Overview) -> list[Line2D]:
    handles = [
        Line2D([], [], color=LEFT, lw=2, label="left"),
        Line2D([], [], color=RIGHT, lw=2, label="right"),
        Line2D([], [], color=CENTRE, lw=2, label="middle"),
        Line2D([], [], color="0.5", marker="o", ls="", ms=5, label="input joint"),
    ]
    if scene.hidden is not None:
        handles.append(Line2D([], [], color="black", marker="x", ls="", ms=5, label="hidden from the fit"))
    if scene.run.truth is not None:
        handles.append(Line2D([], [], color=TRUTH, lw=2, label="truth, moved onto the fit"))
    return handles
