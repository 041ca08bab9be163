"""The picture of influences: skeletons with joints drawn as large as their influence, and influences over the phase."""

from typing import Any

import jax
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from body_models import joints as jn
from experiments.data.dataset import Dataset
from experiments.gradients import inputs
from experiments.show.style import RIGHT, SHADE
from nemo_jax import model
from nemo_jax.laplace import Given

_LIMBS = np.array(jn.BODY_25_LIMBS)
_COLUMNS, _BINS = 6, 40
_COLOURS = "viridis"
_predict = jax.jit(model.predict_clips)


def draw(dataset: Dataset, given: Given, target: tuple[int, int, int], size: np.ndarray) -> Figure:
    """Draws the picture.

    Args:
      target: instance, frame and keypoint of the influenced joint.
      size: (N, T, K), displacement of the joint in mm per pixel of each detection.
    """
    phase = inputs.phases(given)
    pixels = np.asarray(_predict(given.params, given.assets, given.config, given.clips).keypoints_2d)
    figure = Figure(figsize=(13, 8.6), dpi=110, layout="constrained")
    parts: Any = figure.subfigures(2, 1, height_ratios=[1.25, 1])
    top, bottom = parts
    own, others = target[0], _other(size, target[0])
    rows = top.subplots(2, _COLUMNS)
    middle = phase[own, target[1]]
    # Only frames close to the target's moment are shown, where the influence is large.
    columns = np.clip(middle + np.array([-0.2, -0.06, -0.02, 0.02, 0.06, 0.2]), 0, 1)
    columns[2:4] = middle, np.clip(middle + 0.03, 0, 1)
    largest = size.max()
    for axes_row, instance in zip(rows, (own, others), strict=True):
        for axes, moment in zip(axes_row, columns, strict=True):
            frame = _frame_at(given, phase, instance, moment)
            marked = target[2] if (instance, frame) == target[:2] else None
            _skeleton(axes, pixels[instance, frame], size[instance, frame], largest, marked)
            axes.set_title(f"phase {phase[instance, frame]:.2f}", fontsize=9)
        axes_row[0].set_ylabel(dataset.names[instance], fontsize=10)
    joint = jn.BODY_25_NAMES[target[2]].replace("_", " ")
    top.suptitle(f"What pulls the {joint} of {dataset.names[own]} at phase {middle:.2f} (circled)", x=0.01, ha="left")
    left, right = bottom.subplots(1, 2)
    _heat(left, _by_phase(given, phase, size, 2), jn.BODY_25_NAMES, "detected joint", middle)
    _heat(right, _by_phase(given, phase, size, 0), list(dataset.names), "clip", middle)
    image = right.images[0]
    bottom.colorbar(image, ax=right, label="log10 of mm per px")
    bottom.colorbar(left.images[0], ax=left, label="log10 of mm per px")
    return figure


def _other(size: np.ndarray, own: int) -> int:
    """The other clip with the largest influence; the clip itself if there is no other."""
    total = (size**2).sum((1, 2))
    if len(total) == 1:
        return own
    return int(np.argmax(np.where(np.arange(len(total)) == own, -1.0, total)))


def _frame_at(given: Given, phase: np.ndarray, instance: int, moment: float) -> int:
    exists = np.asarray(given.clips.frame_mask[instance]) > 0
    return int(np.argmin(np.where(exists, np.abs(phase[instance] - moment), np.inf)))


def _skeleton(axes: Axes, points: np.ndarray, size: np.ndarray, largest: float, marked: int | None) -> None:
    axes.add_collection(LineCollection(list(points[_LIMBS]), colors="0.6", linewidths=1.2, zorder=1))
    share = np.sqrt(size / largest)
    axes.scatter(*points.T, s=2 + 160 * share, c=share, cmap=_COLOURS, vmin=0, vmax=1, zorder=2, linewidths=0)
    if marked is not None:
        axes.scatter(*points[marked], s=260, facecolors="none", edgecolors=RIGHT, linewidths=1.8, zorder=3)
    middle = (points.min(0) + points.max(0)) / 2
    half = 0.58 * (points.max(0) - points.min(0)).max()
    axes.set(xlim=(middle[0] - half, middle[0] + half), ylim=(middle[1] + half, middle[1] - half), xticks=[], yticks=[])
    axes.set_aspect("equal")
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set(visible=True, color=SHADE)


def _by_phase(given: Given, phase: np.ndarray, size: np.ndarray, keep: int) -> np.ndarray:
    """Influence (R, bins) of rows, joints or clips, in bins of phase: root of the sum of squares in each bin."""
    n, _, k = size.shape
    exists = np.asarray(given.clips.frame_mask) > 0
    number = np.minimum((np.clip(phase, 0, 1) * _BINS).astype(int), _BINS - 1)
    found = np.zeros(((n if keep == 0 else k), _BINS))
    for instance, frame in np.argwhere(exists):
        square = size[instance, frame] ** 2
        if keep == 0:
            found[instance, number[instance, frame]] += square.sum()
        else:
            found[:, number[instance, frame]] += square
    return np.sqrt(found)


def _heat(axes: Axes, values: np.ndarray, names: list[str], label: str, moment: float) -> None:
    largest = values.max()
    shown = np.log10(np.maximum(values, 1e-3 * largest))
    axes.imshow(shown, aspect="auto", extent=(0, 1, len(values), 0), cmap=_COLOURS, interpolation="nearest")
    axes.axvline(moment, color=RIGHT, lw=1.2)
    axes.set_yticks(np.arange(len(values)) + 0.5, [name.replace("_", " ") for name in names], fontsize=7)
    axes.set(xlabel="phase", ylabel=label)
    axes.grid(False)
