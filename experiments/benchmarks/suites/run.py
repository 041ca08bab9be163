"""Runs a suite for one command line: makes its fits, runs them, and writes table and figure."""

import dataclasses
import datetime
from typing import Any

from rich.console import Console

from experiments.base import devices
from experiments.benchmarks.suites import figure, film, fits, mocap, penn, robustness, table, variants
from experiments.benchmarks.suites.rows import Rows
from experiments.benchmarks.suites.settings import OBSERVED, SuiteSettings
from experiments.fitting import finishing
from experiments.results import writing

_SUITES = {"mocap": mocap.cases, "penn": penn.cases, "film": film.cases, "robustness": robustness.cases}
# What the figure shows: key, label, factor.
_DRAWN = {
    "mocap": ("mpjpe_mm/fit", "MPJPE, mm", 1.0),
    "film": ("film_whole_mm/truth", "whole-clip error, mm", 1.0),
    "rendered": ("g_mpjpe_mm/fit", "G-MPJPE, mm", 1.0),
    "penn": ("heldout_pck_0.05/fit", "PCK at 0.05 of hidden keypoints, %", 100.0),
}


def run(settings: SuiteSettings, console: Console | None = None) -> list[table.Summary]:
    """Fits all that the settings ask for, except what is finished, and writes `table.md`, `.csv`, `.json` and `figure.png`.

    Raises:
      UserError, DatasetError, BodyModelError, PriorFileError: one sentence for the user.
    """
    console = console or Console(highlight=False, soft_wrap=True)
    chosen = variants.of(settings)
    with writing.held(settings.output):
        device = devices.choose(settings.accelerator)
        devices.keep_compiled()
        cases, notes = _SUITES[settings.suite](settings, chosen, console)
        for note in notes:
            console.print(f"Note: {note}.", markup=False)
        rows = fits.run(cases, Rows(settings.output), settings, console, device)
        # Real films are shown one by one, whether they were fitted together or not.
        rows = [part for row in rows for part in (row.by_clip() if row.cell.poses == film.REAL else [row])]
        title = f"Suite {settings.suite}"
        of_curves = rows if settings.suite == "robustness" else None
        rows = rows if of_curves is None else robustness.by_level(rows)
        about = _about(settings, device)
        said = [_conditions(settings), f"{about['date']}, {device}."]
        said += [f"{note}." for note in notes]
        lines = table.write(settings.output, title, rows, about, said, means=of_curves is None)
        rendered = settings.suite == "film" and settings.films is None
        if of_curves is not None:
            drawn = robustness.draw(settings.output / "figure.png", title, of_curves)
        else:
            key, label, factor = _DRAWN["rendered" if rendered else settings.suite]
            heading = f"{title}: bars are means, dots seeds"
            drawn = figure.write(settings.output / "figure.png", heading, rows, key, label, factor)
    console.print(table.markdown(title, lines, said[:1]), markup=False)
    names = "table.md, table.csv, table.json" + (", figure.png" if drawn else "")
    console.print(f"Written to {settings.output}: {names}; each fit is in rows/", markup=False)
    return lines


def _about(settings: SuiteSettings, device: str) -> dict[str, Any]:
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "device": device,
        "versions": finishing.versions(),
        "settings": dataclasses.asdict(settings),
    }


def _conditions(settings: SuiteSettings) -> str:
    """What the fits were not told, and what of the simulation is not as usual."""
    if settings.suite == "penn":
        return (
            "Annotated clips; the keypoints that are scored as hidden, and the unseen clips, are no part of the fits."
        )
    if settings.suite == "film":
        how = "as one take" if settings.as_take else "together, as clips of one action"
        how = how if settings.together else "each alone"
        how += f", shifted by {', '.join(settings.shift)} frames" if settings.shift else ""
        real = f" real films are fitted {how};" if settings.films is not None else ""
        known = "cameras known" if settings.calibration else "lens unknown"
        return f"Films through the detector;{real} {known}; errors in mm."
    lens = "known" if settings.observe.focal_known else "unknown"
    changed = [
        f"{field.name}={getattr(settings.observe, field.name)}"
        for field in dataclasses.fields(OBSERVED)
        if field.name != "focal_known" and getattr(settings.observe, field.name) != getattr(OBSERVED, field.name)
    ]
    seed = "each fit's own seed" if settings.clips_seed == -1 else f"seed {settings.clips_seed} for all fits"
    more = f", {', '.join(changed)}" if changed else ""
    return f"Clips of recorded motion, simulated with {seed}; lens {lens}{more}; errors in mm."
