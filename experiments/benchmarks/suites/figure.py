"""The figure of a suite: the error of each action and variant, a bar for the mean and a dot for each seed."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from experiments.base.files import replacing
from experiments.benchmarks.suites.rows import Row
from experiments.show.style import CYCLE, NO_FORMULAS, RC

_BAR = 0.8  # of the place of an action, for all its variants


def write(path: Path, title: str, rows: Sequence[Row], key: str, label: str, factor: float = 1.0) -> bool:
    """Draws a number of every fit as PNG; returns False, and draws nothing, where no fit has it.

    Args:
      path: the picture. title: what is written above it. rows: the fits. key: of the number, a mean over a fit's clips.
      label: of its axis. factor: what it is multiplied by.
    """
    good = [(row, factor * value) for row in rows if (value := _number(row, key)) is not None]
    if not good:
        return False
    actions = list(dict.fromkeys(row.cell.action for row, _ in good))
    several = len({row.cell.poses for row, _ in good}) > 1
    name = lambda row: f"{row.cell.variant}, {row.cell.poses}" if several else row.cell.variant
    kinds = list(dict.fromkeys(name(row) for row, _ in good))
    with matplotlib.rc_context({**RC, **NO_FORMULAS}):
        width = float(np.clip(2.5 + 0.35 * len(actions) * (1 + len(kinds)), 6, 22))
        figure = Figure(figsize=(width, 4.5), layout="constrained")
        axes = figure.subplots()
        wide = _BAR / len(kinds)
        for number, kind in enumerate(kinds):
            colour = CYCLE[number % len(CYCLE)]
            for place, action in enumerate(actions):
                values = [value for row, value in good if row.cell.action == action and name(row) == kind]
                if not values:
                    continue
                x = place + (number + 0.5) * wide - _BAR / 2
                axes.bar(x, np.mean(values), 0.9 * wide, color=colour, alpha=0.45, label=kind if place == 0 else None)
                spread = np.linspace(-0.25, 0.25, len(values)) * wide if len(values) > 1 else [0.0]
                axes.plot(x + np.asarray(spread), values, ".", color=colour, ms=5)
        turned = {"rotation": 30, "ha": "right"} if len(actions) > 4 else {}
        axes.set_xticks(range(len(actions)), actions, **turned)
        axes.set(ylabel=label, ylim=(0, None), xlim=(-0.6, len(actions) - 0.4))
        axes.grid(False, axis="x")
        axes.set_axisbelow(True)
        axes.set_title(title, loc="left")
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=min(len(kinds), 4))
        with replacing(path) as temporary:
            figure.savefig(temporary, dpi=150)
    return True


def _number(row: Row, key: str) -> float | None:
    """A number of the whole fit, or the mean over its clips; None = it has neither."""
    if key in row.numbers:
        return row.numbers[key]
    values = [clip[key] for clip in row.each.values() if key in clip]
    return float(np.mean(values)) if values else None
