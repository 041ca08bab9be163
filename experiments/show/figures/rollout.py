"""The rollout figure: the motion field sampled at equal phases, one row per clip, all seen from the same side."""

import numpy as np
from matplotlib.figure import Figure

from experiments.results.reading import Run
from experiments.show.figures import posed
from experiments.show.figures.sheet import Grid, kind, row_label
from experiments.show.overview import spread, widest_direction
from experiments.show.style import FIT, TRUTH

Array = np.ndarray

ROWS, COLUMNS = 8, 8
_MARGIN = 0.06  # margin around the bodies, metres
_ASPECTS = (0.6, 1.6)
_LINE = 200  # grey value of the ground line


def draw(run: Run) -> Figure:
    """Draws the motion of the mean code and shape and, below, of at most `ROWS` clips. Bodies are drawn around their
    roots, so that a row shows poses only; the figure `trajectories` shows the positions."""
    dataset, fitted, body = run.dataset, run.fitted, run.body
    chosen = spread(len(dataset.names), ROWS)
    phases = np.linspace(0, 1, COLUMNS, dtype=np.float32)
    params = fitted.params
    with_mean = lambda values: np.concatenate([np.mean(values, 0, keepdims=True), np.asarray(values)[chosen]])
    codes, betas = with_mean(params.codes), with_mean(params.betas)
    mirrored = np.concatenate([[0.0], np.asarray(params.mirrored)[chosen]]).astype(np.float32)
    rows = len(codes)
    each = lambda values: np.repeat(values, COLUMNS, axis=0)
    rotation, translation = posed.sample(params, run.config, np.tile(phases, rows), each(codes), each(mirrored))
    meshes = posed.vertices(body, rotation, each(betas), translation).reshape(rows, COLUMNS, -1, 3)

    exists = np.asarray(dataset.clips.frame_mask) > 0
    right = widest_direction(np.asarray(fitted.prediction.keypoints)[exists])
    down = np.array([0.0, -1.0, 0.0])
    axes = np.stack([right, down, np.cross(right, down)])
    # The middle of the box, not the root: an arm stretched to one side would leave the other side empty.
    middle = (meshes @ right).min(-1) / 2 + (meshes @ right).max(-1) / 2
    ground = np.percentile(meshes[..., 1].min(-1), 10, axis=1)
    half = float(np.ptp(meshes @ right, axis=-1).max()) / 2 + _MARGIN
    heights = meshes[..., 1] - ground[:, None, None]
    above, under = float(heights.max()) + _MARGIN, max(-float(heights.min()), 0.0) + _MARGIN
    aspect = float(np.clip(2 * half / (above + under), *_ASPECTS))
    grid = Grid(COLUMNS, aspect)
    width, height = grid.pixels
    scale = min(width / (2 * half), height / (above + under))
    bottom = height - under * scale

    def cell(row: int, column: int) -> Array:
        centre = right * middle[row, column] + np.array([0.0, ground[row], 0.0])
        place = (width / 2, bottom)
        colour = FIT if row else TRUTH
        faces = np.asarray(body.faces)
        drawn = posed.picture(meshes[row, column], faces, colour, axes, centre, scale, place, grid.pixels)
        line = drawn[round(bottom) : round(bottom) + 3]
        # The ground line is drawn behind the body: only on pixels that are still empty.
        line[(line == 255).all(-1)] = _LINE
        return drawn

    cells = [[cell(row, column) for column in range(COLUMNS)] for row in range(rows)]
    labels = ["mean of all"]
    labels += [row_label(dataset, n, *(["mirrored"] if params.mirrored[n] > 0.5 else [])) for n in chosen]
    title = f"{kind(dataset, len(chosen))}, the motion field at equal phases"
    return grid.draw(cells, labels, [f"phase {p:.2f}" for p in phases], title)
