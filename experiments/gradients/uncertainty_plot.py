"""The picture of uncertainties: joints over phase with bands, and the uncertainty of each part of the body."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from body_models import joints as jn
from experiments.data.dataset import Dataset
from experiments.gradients import inputs
from experiments.show.style import CYCLE, TRUTH
from nemo_jax.laplace import Given

_AXES = ("to the right, m", "downwards, m", "away from the camera, m")
_CLIPS = 2


def draw(
    dataset: Dataset,
    given: Given,
    found: Any,
    errors: np.ndarray | None,
    scale: float,
    joints: tuple[str, ...],
) -> Figure:
    """Positions of `joints` over phase in the first two clips, relative to the hips, with bands of one and two standard
    deviations times `scale`; and the ground truth, if the `errors` (N, T, K, 3) of `found` are known."""
    phase, exists = inputs.phases(given), np.asarray(given.clips.frame_mask) > 0
    clips = range(min(_CLIPS, len(exists)))
    rows = [(clip, joint) for joint in joints for clip in clips]
    figure = Figure(figsize=(13, 2.5 * len(rows) + 0.6), dpi=100, layout="constrained")
    grid = figure.subplots(len(rows), 3, squeeze=False, sharex=True)
    usable = inputs.visible(given)
    for cells, (clip, joint) in zip(grid, rows, strict=True):
        k = jn.BODY_25_NAMES.index(joint)
        seen = exists[clip]
        order = np.argsort(phase[clip][seen])
        x = phase[clip][seen][order]
        lost = ~usable[clip, :, k][seen][order]
        for axis, axes in enumerate(cells):
            mean = found.mean[clip, :, k, axis][seen][order]
            sigma = scale * found.deviation[clip, :, k, axis][seen][order]
            truth = None if errors is None else mean - errors[clip, :, k, axis][seen][order]
            _bands(axes, x, mean, sigma, truth, lost, CYCLE[joints.index(joint) % len(CYCLE)])
            if cells is grid[0]:
                axes.set_title(_AXES[axis], loc="left")
        half = max(np.ptp(axes.get_ylim()) for axes in cells) / 2
        for axes in cells:
            # All three axes have the same range, so that widths can be compared.
            middle = np.mean(axes.get_ylim())
            axes.set_ylim(middle - half, middle + half)
        cells[0].set_ylabel(f"{joint.replace('_', ' ')}\n{dataset.names[clip]}")
    for axes in grid[-1]:
        axes.set_xlabel("phase")
    grid[0, 0].legend(fontsize=8, loc="best")
    known = f", scaled by {scale:.2f} to the truth of every other clip" if errors is not None else ""
    figure.suptitle(f"Joints relative to the hips with bands of 1 and 2 standard deviations{known}", x=0.01, ha="left")
    return figure


def _bands(
    axes: Axes,
    x: np.ndarray,
    mean: np.ndarray,
    sigma: np.ndarray,
    truth: np.ndarray | None,
    lost: np.ndarray,
    colour: str,
) -> None:
    axes.fill_between(x, mean - 2 * sigma, mean + 2 * sigma, color=colour, alpha=0.15, lw=0)
    axes.fill_between(x, mean - sigma, mean + sigma, color=colour, alpha=0.3, lw=0)
    axes.plot(x, mean, color=colour, lw=1.4, label="fit")
    if truth is not None:
        axes.plot(x, truth, color="black", lw=1.1, ls="--", label="truth")
    if lost.any():
        axes.scatter(x[lost], np.full(lost.sum(), 0.02), s=10, color=TRUTH, marker="|", label="not detected",
                     transform=axes.get_xaxis_transform())  # fmt: skip
