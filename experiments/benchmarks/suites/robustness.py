"""The suite `robustness`: the default preset on recorded motion, as one thing after another gets worse."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from rich.console import Console

from body_models import loaders
from experiments.base.errors import UserError
from experiments.base.files import replacing
from experiments.benchmarks.suites import fits, mocap
from experiments.benchmarks.suites.fits import Case, Numbers, scores_of
from experiments.benchmarks.suites.rows import Cell, Row
from experiments.benchmarks.suites.settings import SuiteSettings
from experiments.benchmarks.suites.variants import Variant
from experiments.fitting.finishing import Finished
from experiments.fitting.inputs import Cache
from experiments.loaders import simulated
from experiments.show.style import CYCLE, NO_FORMULAS, RC
from experiments.simulation import amass

_CLIPS = 8  # of an action, where nothing else is said
_DRAWN = (("mpjpe_mm/fit", "MPJPE"), ("pa_mpjpe_mm/fit", "PA-MPJPE"), ("g_mpjpe_mm/fit", "G-MPJPE"))


@dataclasses.dataclass(frozen=True)
class Level:
    """One point of a curve. text: at its axis. observe: fields of the observation model. clips: of an action. stranger:
    whether one clip more shows another action."""

    text: str
    observe: dict[str, Any] = dataclasses.field(default_factory=dict)
    clips: int = _CLIPS
    stranger: bool = False


CURVES: dict[str, tuple[Level, ...]] = {
    "clips": tuple(Level(str(count), clips=count) for count in (1, 2, 3, 4, 6, 8)),
    "detector noise": tuple(
        Level(f"x{times:g}", {"noise_px": 5.0 * times, "noise_motion": 0.12 * times, "confidence_px": 30.0 * times})
        for times in (0.5, 1.0, 2.0, 4.0)
    ),
    "lost joints": tuple(Level(f"{share:.0%}", {"lost_fraction": share}) for share in (0.0, 0.08, 0.2, 0.4, 0.6)),
    "lens told wrong": tuple(
        Level(f"x{times:g}", {"focal_known": True, "focal_told": times}) for times in (0.5, 0.75, 1.0, 1.5, 2.0)
    ),
    "clips cut": tuple(Level(f"{share:.0%}", {"cut_share": share}) for share in (0.0, 0.15, 0.3)),
    "directions of cameras": tuple(
        Level(f"{wide:g}°", {"azimuth_range": (-wide / 2, wide / 2)}) for wide in (360.0, 90.0, 30.0)
    ),
    # Of one clip alone.
    "sides exchanged": tuple(Level(f"{share:.0%}", {"exchanged_share": share}) for share in (0.0, 0.2, 0.4)),
    "a clip of another action": (Level("none"), Level("one more", stranger=True)),
}


def cases(settings: SuiteSettings, variants: list[Variant], console: Console) -> tuple[list[Case], list[str]]:
    """The fits of the suite, curves x levels x actions x seeds x variants, and sentences about the clips.

    Raises:
      UserError, DatasetError: no such motion, or none that can be used.
    """
    del console
    cache = Cache()
    body = cache.get(("body", "nose"), lambda: loaders.load_body(settings.body_model))
    names = mocap.actions(settings)
    found = []
    for curve, levels in CURVES.items():
        for level in levels:
            observe = dataclasses.replace(settings.observe, **level.observe)
            for action in names:
                strangers = _strangers(settings, action, names) if level.stranger else []
                for seed in settings.fit_seeds:
                    drawn = settings.drawn(seed)
                    key = ("simulated", action, drawn, repr(observe), level.clips, tuple(strangers))
                    make = lambda a=action, o=observe, s=drawn, n=level.clips, more=strangers: simulated.of_motions(
                        str(settings.motion), a, body, o, s, most=n, more=more
                    )
                    dataset, _ = cache.get(key, make)
                    left = {path.stem for path in strangers}
                    score = lambda fit, left=left: _without(fit, left)
                    for variant in variants:
                        cell = Cell(action, variant.name, curve, seed, level.text)
                        found.append(fits.case(cell, variant, dataset, settings, cache, score=score))
    return found, []


def _strangers(settings: SuiteSettings, action: str, names: Sequence[str]) -> list[Path]:
    """One motion of the action that comes next."""
    others = [name for name in (names if len(names) > 1 else amass.actions(str(settings.motion))) if name != action]
    if not others:
        raise UserError(
            f"--motion={settings.motion} has one action; --suite=robustness needs a clip of another one too"
        )
    after = [name for name in others if name > action]
    return amass.find(str(settings.motion), (after or others)[0])[:1]


def _without(fit: Finished, left: set[str]) -> tuple[Numbers, dict[str, Numbers]]:
    """The scores, without those of clips that show something else."""
    numbers, each = scores_of(fit)
    if not left:
        return numbers, each
    each = {name: values for name, values in each.items() if name not in left}
    keys = {key for values in each.values() for key in values}
    means = {key: float(np.mean([values[key] for values in each.values() if key in values])) for key in keys}
    return {**numbers, **means}, each


def by_level(rows: Sequence[Row]) -> list[Row]:
    """The rows named for tables: the curve is the action, and the level the variant."""
    several = len({row.cell.variant for row in rows}) > 1
    found = []
    for row in rows:
        cell, named = row.cell, row.cell.without
        variant = f"{named}, {cell.variant}" if several else named
        found.append(dataclasses.replace(row, cell=Cell(cell.poses, variant, "", cell.seed)))
    return found


def draw(path: Path, title: str, rows: Sequence[Row]) -> bool:
    """Draws a curve for each thing that gets worse: means over actions and seeds, and the best and worst action.

    Returns False, and draws nothing, where no fit has a score.
    """
    good = [row for row in rows if row.error is None]
    if not good:
        return False
    variant = good[0].cell.variant
    with matplotlib.rc_context({**RC, **NO_FORMULAS}):
        figure = Figure(figsize=(14, 6.4), layout="constrained")
        grid, highest = list(figure.subplots(2, 4, sharey=True).flat), 0.0
        for axes, (curve, levels) in zip(grid, CURVES.items(), strict=False):
            for number, (key, label) in enumerate(_DRAWN):
                spread = [_of_actions(good, variant, curve, level.text, key) for level in levels]
                means = [np.mean(values) if values else np.nan for values in spread]
                highest = max([highest, *(float(mean) for mean in means if np.isfinite(mean))])
                ends = [(min(v), max(v)) if v else (np.nan, np.nan) for v in spread]
                below_above = np.abs(np.array(ends).T - np.array(means))
                x = np.arange(len(levels)) + 0.08 * (number - 1)
                axes.errorbar(
                    x, means, below_above, fmt="o-", ms=4, lw=1.5, elinewidth=0.7, color=CYCLE[number], label=label
                )
            axes.set_xticks(range(len(levels)), [level.text for level in levels])
            axes.set_title(curve, loc="left")
        for axes in grid[len(CURVES) :]:
            axes.set_visible(False)
        grid[0].set_ylim(0, 1.2 * highest)  # whiskers of one lost action must not hide the curves
        figure.supylabel("error, mm (whiskers: best and worst action)")
        figure.suptitle(title)
        figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="lower right")
        with replacing(path) as temporary:
            figure.savefig(temporary, dpi=150)
    return True


def _of_actions(rows: Sequence[Row], variant: str, curve: str, level: str, key: str) -> list[float]:
    """The mean over seeds of each action."""
    found: dict[str, list[float]] = {}
    for row in rows:
        cell = row.cell
        if (cell.variant, cell.poses, cell.without) == (variant, curve, level) and key in row.numbers:
            found.setdefault(cell.action, []).append(row.numbers[key])
    return [float(np.mean(values)) for values in found.values()]
