"""Sheets for print: width, fonts, grids of pictures with vector labels, files.

Lengths are inches of the printed sheet.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from experiments.base.files import replacing
from experiments.data.dataset import Dataset
from experiments.show import style
from experiments.show.render import marks

Array = np.ndarray

WIDTH = 7.0  # width of the text on a page with two columns
DPI = 300  # resolution of pictures, in both formats
SMALL, NORMAL = 8.0, 9.0  # font sizes, points
NAMED = 8  # with more clips than this the legend does not name each one
RC = {
    **style.RC,
    **style.NO_FORMULAS,
    "font.size": SMALL,
    "axes.titlesize": NORMAL,
    "axes.labelsize": NORMAL,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "legend.fontsize": SMALL,
    "axes.linewidth": 0.6,
    # Journals require complete embedded TrueType fonts.
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
}

_WIDEST = 1.3  # largest width of a grid's cell
_LABELS = 0.95  # width of the names beside a grid
_GAP = 0.04
_LINE = 0.19
_EDGE = 0.06


@dataclasses.dataclass(frozen=True)
class Grid:
    """The layout of a grid of pictures: `columns` cells per row, each `aspect` times as wide as high."""

    columns: int
    aspect: float

    @property
    def cell(self) -> tuple[float, float]:
        """Width and height of a cell."""
        width = (WIDTH - _LABELS - _EDGE - _GAP * (self.columns - 1)) / self.columns
        width = min(width, _WIDEST)
        return width, width / self.aspect

    @property
    def width(self) -> float:
        """Width of the sheet; with few columns it is narrower than the page."""
        return self.left(self.columns) - _GAP + _EDGE

    @property
    def pixels(self) -> tuple[int, int]:
        """Width and height of a cell's picture."""
        width, height = self.cell
        return round(width * DPI), round(height * DPI)

    def left(self, column: int) -> float:
        return _LABELS + column * (self.cell[0] + _GAP)

    def draw(
        self,
        cells: Sequence[Sequence[Array | None]],
        rows: Sequence[str],
        columns: Sequence[str],
        title: str,
        groups: Sequence[tuple[int, int, str]] = (),
        note: str = "",
    ) -> Figure:
        """Draws the sheet.

        Args:
          cells: the pictures of each row, of the size `pixels`, RGB uint8; None is drawn as a dash.
          rows: one label per row, of one or two lines. columns: one label per column.
          groups: (first column, last column, label), drawn above the labels of the columns.
          note: a line of text below the grid.
        """
        width, height = self.cell
        top = _EDGE + _LINE * (2.1 + bool(groups))
        below = _EDGE + _LINE * bool(note)
        total = top + len(cells) * (height + _GAP) - _GAP + below
        figure = Figure(figsize=(self.width, total))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, self.width), ylim=(total, 0))
        axes.axis("off")
        axes.text(_EDGE, _EDGE, fit_text(title, NORMAL, self.width - 2 * _EDGE), va="top", fontsize=NORMAL)
        for first, last, label in groups:
            left, right = self.left(first), self.left(last) + width
            y = _EDGE + 2.0 * _LINE
            axes.text((left + right) / 2, y - 0.03, label, ha="center", va="bottom")
            axes.plot([left, right], [y, y], color="0.6", lw=0.6)
        for column, label in enumerate(columns):
            axes.text(self.left(column) + width / 2, top - 0.04, label, ha="center", va="bottom")
        for row, (label, pictures) in enumerate(zip(rows, cells, strict=True)):
            y = top + row * (height + _GAP)
            axes.text(_LABELS - 0.07, y + height / 2, label, ha="right", va="center")
            self._draw_row(axes, pictures, y)
        # Drawing a picture changes the limits of the axes.
        axes.set(xlim=(0, self.width), ylim=(total, 0))
        if note:
            axes.text(_EDGE, total - _EDGE, fit_text(note, SMALL, self.width - 2 * _EDGE), va="bottom", color="0.3")
        return figure

    def _draw_row(self, axes: Axes, pictures: Sequence[Array | None], y: float) -> None:
        width, height = self.cell
        for column, picture in enumerate(pictures):
            left = self.left(column)
            if picture is None:
                axes.add_patch(Rectangle((left, y), width, height, color="0.96", lw=0))
                axes.text(left + width / 2, y + height / 2, "–", ha="center", va="center", color="0.4")
            else:
                axes.imshow(picture, extent=(left, left + width, y + height, y), aspect="auto", interpolation="none")


def fit_text(text: str, points: float, inches: float) -> str:
    """The text shortened to a line of `inches`; it is cut in the middle, where names differ least."""
    measure = marks.font(100)
    room = inches * 72 / points * 100
    if measure.getlength(text) <= room:
        return text
    for kept in range(len(text) - 1, 1, -1):
        short = f"{text[: kept - kept // 2]}…{text[len(text) - kept // 2 :]}"
        if measure.getlength(short) <= room:
            return short
    return "…"


def row_label(dataset: Dataset, instance: int, *lines: str) -> str:
    """A clip's name, on two lines if it is too wide for the grid's margin, followed by the lines `lines`."""
    room = _LABELS - 0.1
    name = dataset.names[instance]
    fits = lambda text: fit_text(text, SMALL, room) == text
    parts = [name]
    if not fits(name):
        cuts = [k for k in range(1, len(name)) if fits(name[:k])]
        # The name is preferably cut after a separator, not within a word.
        cuts = [k for k in cuts if name[k - 1] in "_-. "] or cuts[-1:]
        cut = min(cuts, key=lambda k: max(k, len(name) - k))
        parts = [name[:cut], name[cut:]]
    return "\n".join(fit_text(text, SMALL, room) for text in (*parts, *lines))


def kind(dataset: Dataset, shown: int | None = None) -> str:
    """The name of the action, with a note about the clips that are shown."""
    few = "" if shown in (None, len(dataset.names)) else f": {shown} of {len(dataset.names)} clips, evenly spread"
    return f"{dataset.action}{' (synthetic)' if dataset.synthetic else ''}{few}"


def colours(count: int) -> list:
    """One colour for each of `count` clips: distinct colours for few clips, a sequential scale for many."""
    if count <= NAMED:
        return list(style.CYCLE[:count])
    return list(matplotlib.colormaps["viridis"](np.linspace(0, 0.93, count)))


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Writes `<name>.png` and `<name>.pdf`."""
    paths = [folder / f"{name}.png", folder / f"{name}.pdf"]
    FigureCanvasAgg(figure)
    for path in paths:
        # No dates are written, so that equal figures give equal files.
        metadata = {"CreationDate": None} if path.suffix == ".pdf" else None
        with replacing(path) as temporary:
            figure.savefig(temporary, dpi=DPI, metadata=metadata)
    return paths
