"""The closing table."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from experiments.datasets.base import Dataset
from experiments.progress import duration

# Label, unit, key without /init and /fit, digits, factor.
_ERRORS = (
    ("MPJPE (pose only)", "mm", "mpjpe_mm", 1, 1.0),
    ("PA-MPJPE", "mm", "pa_mpjpe_mm", 1, 1.0),
    ("MPJPE, root-aligned", "mm", "root_aligned_mpjpe_mm", 1, 1.0),
    ("G-MPJPE", "mm", "g_mpjpe_mm", 1, 1.0),
    ("acceleration error", "m/s²", "accel_mm_s2", 2, 1e-3),
)
_PIXELS = (
    ("reprojection, median", "px", "reprojection_px/median", 1, 1.0),
    ("reprojection, median", "% of box", "reprojection_share/median", 2, 100.0),
    ("PCK at 0.05", "%", "pck_0.05/fit", 1, 100.0),
    ("area under PCK", "%", "pck_auc/fit", 1, 100.0),
)


def print_table(console: Console, dataset: Dataset, metrics: Mapping[str, Any], output: Path) -> None:
    """Errors before and after, then those on hidden joints, time and where the results are."""

    def cell(key: str, digits: int, factor: float) -> str:
        return f"{metrics[key] * factor:.{digits}f}" if key in metrics else "–"

    kind = ", synthetic clips" if dataset.synthetic else ""
    held_out = any(key.startswith("heldout_") for key in metrics)
    table = Table(title=f"{dataset.action}{kind}", title_justify="left")
    table.add_column("")
    table.add_column("unit")
    with_truth = any(f"{key}/fit" in metrics for _, _, key, _, _ in _ERRORS)
    if with_truth:
        table.add_column("initial", justify="right")
    table.add_column("fit", justify="right")
    if held_out:
        table.add_column("hidden joints", justify="right")
    for label, unit, key, digits, factor in _ERRORS:
        if f"{key}/fit" in metrics:
            row = [cell(f"{key}/{which}", digits, factor) for which in ("init", "fit")]
            table.add_row(label, unit, *row, *(["–"] if held_out else []))
    for label, unit, key, digits, factor in _PIXELS:
        row = ["–"] if with_truth else []
        row.append(cell(key, digits, factor))
        table.add_row(label, unit, *row, *([cell(f"heldout_{key}", digits, factor)] if held_out else []))
    console.print(table)
    console.print(
        f"{duration(metrics['seconds/total'])} in all: {duration(metrics['seconds/compile'])} compiling, "
        f"{duration(metrics['seconds/fit'])} fitting"
    )
    console.print(f"Results: {output}/ (metrics.json, motion/, overview.png, phases.png, losses.png)")
