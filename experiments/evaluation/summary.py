"""The table of scores that is printed at the end of a run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from experiments.base.text import duration
from experiments.data.dataset import Dataset
from experiments.evaluation import doubts, expected_error, lens_error
from experiments.evaluation import table as comparison
from experiments.results import take_offsets

# Label, unit, key without the method, digits, factor.
_ERRORS = (
    ("MPJPE (pose only)", "mm", "mpjpe_mm", 1, 1.0),
    ("  in the dynamic range", "mm", "mpjpe_dynamic_mm", 1, 1.0),
    ("MPVPE (pose only)", "mm", "mpvpe_mm", 1, 1.0),
    ("  in the dynamic range", "mm", "mpvpe_dynamic_mm", 1, 1.0),
    ("PA-MPJPE", "mm", "pa_mpjpe_mm", 1, 1.0),
    ("  in the dynamic range", "mm", "pa_mpjpe_dynamic_mm", 1, 1.0),
    ("MPJPE, root-aligned", "mm", "root_aligned_mpjpe_mm", 1, 1.0),
    ("G-MPJPE", "mm", "g_mpjpe_mm", 1, 1.0),
    ("G-MPVPE", "mm", "g_mpvpe_mm", 1, 1.0),
    ("W-MPJPE", "mm", "w_mpjpe_mm", 1, 1.0),
    ("WA-MPJPE", "mm", "wa_mpjpe_mm", 1, 1.0),
    ("root translation error", "%", "rte_percent", 1, 1.0),
    ("acceleration error", "m/s²", "accel_mm_s2", 2, 1e-3),
    ("jitter", "10 m/s³", "jitter_10m_s3", 2, 1.0),
    ("foot slide", "mm", "foot_slide_mm", 2, 1.0),
    ("planted feet slide", "mm", "planted_slide_mm", 2, 1.0),
    ("floor tilt", "°", "floor_tilt_deg", 1, 1.0),
    ("peak height error", "cm", "peak_height_error_cm", 1, 1.0),
    ("contacts, F1", "%", "contact_f1", 1, 100.0),
    ("feet above the floor", "% of frames", "float_percent", 1, 1.0),
    ("feet below the floor", "% of frames", "below_percent", 1, 1.0),
    ("height of the people", "m", "height_m", 2, 1.0),
    ("  how sure it is, and all metres", "% sd", "scale_sd_percent", 1, 1.0),
)
_PIXELS = (
    ("reprojection, median", "px", "reprojection_px/median", 1, 1.0),
    ("reprojection, median", "% of box", "reprojection_share/median", 2, 100.0),
    ("reprojection, mean of the paper", "px", "reprojection_px/paper", 1, 1.0),
    ("PCK at 0.05", "%", "pck_0.05/fit", 1, 100.0),
    ("PCK at 0.05 of the paper", "%", "pck_0.05/paper", 1, 100.0),
    ("area under PCK", "%", "pck_auc/fit", 1, 100.0),
)
_HEADINGS = {"init": "initial"}


def print_table(console: Console, dataset: Dataset, metrics: Mapping[str, Any], output: Path) -> None:
    """Prints mean scores of all methods side by side, then those on hidden joints, which clips are no fit, how sure
    lenses are, when clips of takes start, the time and the results folder."""
    console.print(comparison_table(dataset, metrics))
    for sentence in doubts.shown(metrics.get(doubts.KEY, {})):
        console.print(f"Warning: {sentence}", markup=False)
    if expected := metrics.get(expected_error.KEY):
        console.print(expected_error.described(expected, expected_error.shipped()), markup=False)
    if lenses := metrics.get(lens_error.KEY):
        console.print(lens_error.described(lenses), markup=False)
    for sentence in take_offsets.sentences(metrics.get(take_offsets.KEY, [])):
        console.print(sentence, markup=False)
    console.print(
        f"{duration(metrics['seconds/total'])} in all: {duration(metrics['seconds/compile'])} compiling, "
        f"{duration(metrics['seconds/fit'])} fitting"
    )
    page = next((name for name in ("report.html", "overview.png") if (output / name).exists()), "metrics.json")
    console.print(f"Results: {output}/, of which {page} shows most", markup=False)


def comparison_table(dataset: Dataset, metrics: Mapping[str, Any]) -> Table:
    """One row per score, one column per method; methods without any score and scores without any method are omitted."""

    def cell(key: str, digits: int, factor: float) -> str:
        return f"{metrics[key] * factor:.{digits}f}" if key in metrics else "–"

    kind = ", synthetic clips" if dataset.synthetic else ""
    held_out = any(key.startswith("heldout_") for key in metrics)
    methods = [m for m in comparison.methods(dataset) if m == "fit" or f"mpjpe_mm/{m}" in metrics]
    # Names come from files, so brackets in them are not markup.
    table = Table(title=Text(f"{dataset.action}{kind}", "table.title"), title_justify="left")
    table.add_column("")
    table.add_column("unit")
    for method in methods:
        table.add_column(Text(_HEADINGS.get(method, method)), justify="right")
    if held_out:
        table.add_column("hidden joints", justify="right")
    for label, unit, key, digits, factor in _ERRORS:
        row = [cell(f"{key}/{method}", digits, factor) for method in methods]
        if any(value != "–" for value in row):
            table.add_row(label, unit, *row, *(["–"] if held_out else []))
    for label, unit, key, digits, factor in _PIXELS:
        row = [*["–"] * (len(methods) - 1), cell(key, digits, factor)]
        table.add_row(label, unit, *row, *([cell(f"heldout_{key}", digits, factor)] if held_out else []))
    return table
