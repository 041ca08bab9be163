"""The table of all fits of one command line, on the screen and as CSV, made from the files in their folders."""

import contextlib
import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from experiments.base.files import replacing
from experiments.fitting.plan import Planned
from experiments.results import writing

NAME, METRICS, ERROR = "many.csv", "metrics.json", "error.txt"
# Key in metrics.json, heading on the screen, digits, factor.
_SHOWN = (
    ("mpjpe_mm/fit", "MPJPE", 1, 1.0),
    ("pa_mpjpe_mm/fit", "PA", 1, 1.0),
    ("g_mpjpe_mm/fit", "G-MPJPE", 1, 1.0),
    ("reprojection_px/median", "pixels", 1, 1.0),
    ("pck_0.05/fit", "PCK", 1, 100.0),
    ("heldout_pck_0.05/fit", "hidden", 1, 100.0),
    ("seconds/total", "s", 1, 1.0),
)
_TITLE = "{} fits: 3D errors in mm, reprojection in pixels and PCK in %, of hidden joints too, seconds"
_WRITTEN = ("mpvpe_mm/fit", "g_mpvpe_mm/fit", "accel_mm_s2/fit", "pck_auc/fit", "seconds/fit", "seconds/compile")


def headline(metrics: Mapping[str, Any]) -> str:
    """The main metrics in one line, such as `MPJPE 61.2, PCK 93.1, s 4.0`."""
    return ", ".join(
        f"{heading} {metrics[key] * factor:.{digits}f}" for key, heading, digits, factor in _SHOWN if key in metrics
    )


def write(path: Path, fits: Sequence[Planned], failed: Mapping[Path, str]) -> list[dict[str, Any]]:
    """Writes the CSV file and returns its rows: action, seed, swept fields, status, metrics, folder, error.

    Args:
      path: the CSV file. fits: all planned fits, including those of other processes. failed: the error messages of the
        fits that failed in this process, by folder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Only one process at a time reads the folders and writes the table, so that the last one sees all results.
    with _turn(path):
        rows = [_row(planned, failed.get(planned.folder)) for planned in fits]
        order = [key for key, *_ in _SHOWN] + list(_WRITTEN)
        keys = [key for key in order if any(key in row for row in rows)]
        columns = ["action", "seed", *fits[0].swept, "status", *keys, "folder", "error"]
        with replacing(path) as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, columns, restval="", extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)
    return rows


def table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """The rows as a table for the screen."""
    first = list(rows[0])
    # Columns in which all fits have the same value are omitted.
    names = [name for name in first[: first.index("status")] if len({str(row[name]) for row in rows}) > 1]
    shown = [column for column in _SHOWN if any(column[0] in row for row in rows)]
    made = Table(title=_TITLE.format(len(rows)), title_justify="left")
    for name in [*names, "status"]:
        made.add_column(name, no_wrap=True)
    for _, heading, *_ in shown:
        made.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        cells = [f"{row[key] * factor:.{digits}f}" if key in row else "–" for key, _, digits, factor in shown]
        made.add_row(*(str(row[name]) for name in [*names, "status"]), *cells)
    return made


def num_starts(folder: Path) -> int:
    """Of how many starts the results in a folder are the best; 0 if there are no results."""
    metrics = folder / METRICS
    return len(json.loads(metrics.read_text()).get("starts", [None])) if metrics.exists() else 0


def _row(planned: Planned, failed: str | None) -> dict[str, Any]:
    metrics, error = planned.folder / METRICS, planned.folder / ERROR
    reason = failed or (error.read_text().strip() if error.exists() else "")
    numbers = json.loads(metrics.read_text()) if metrics.exists() and not reason else {}
    status = "failed" if reason else "done" if numbers else "unfinished"
    row = {"action": planned.settings.action, "seed": planned.settings.seed, **planned.swept, "status": status}
    return {**row, **numbers, "folder": str(planned.folder), "error": reason}


@contextlib.contextmanager
def _turn(path: Path):
    """Waits until no other process writes the table."""
    if writing.fcntl is None:
        yield
        return
    with path.with_name(f".{path.name}.lock").open("w") as lock:
        # Some network file systems have no locks: then, of two processes that end at once, the last one to write may
        # miss the other's last fit.
        with contextlib.suppress(OSError):
            writing.fcntl.flock(lock, writing.fcntl.LOCK_EX)
        yield
