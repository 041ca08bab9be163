"""The table of a suite: means over seeds for each action and variant, then for each variant; Markdown, CSV and JSON."""

import csv
import dataclasses
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.base.files import replacing
from experiments.benchmarks.suites.rows import Row

MEAN = "mean"


class Column(NamedTuple):
    """A column: its key in `summaries`, heading, digits after the point, factor."""

    key: str
    heading: str
    digits: int = 1
    factor: float = 1.0


COLUMNS = (
    Column("clips", "clips", 0),
    Column("seeds", "seeds", 0),
    Column("mpjpe_mm/init", "initial MPJPE"),
    Column("mpjpe_mm/fit", "MPJPE"),
    Column("expected_mm", "expected MPJPE"),
    Column("pa_mpjpe_mm/fit", "PA"),
    Column("g_mpjpe_mm/fit", "G-MPJPE"),
    Column("w_mpjpe_mm/fit", "W-MPJPE"),
    Column("wa_mpjpe_mm/fit", "WA-MPJPE"),
    Column("rte_percent/fit", "RTE %"),
    Column("jitter_10m_s3/fit", "jitter", 2),
    Column("foot_slide_mm/fit", "foot slide", 2),
    Column("floor_tilt_deg/fit", "floor tilt °"),
    Column("peak_height_error_cm/fit", "peak height cm"),
    Column("contact_f1/fit", "contact F1", 2),
    Column("float_percent/fit", "floats %", 1),
    Column("below_percent/fit", "below %", 1),
    Column("pck_0.05/fit", "PCK %", 1, 100.0),
    Column("heldout_pck_0.05/fit", "hidden PCK %", 1, 100.0),
    Column("unseen_pck_0.05/fit", "unseen clip PCK %", 1, 100.0),
    Column("synchrony_mm", "same phase"),
    Column("synchrony_least_mm", "best warp"),
    Column("focal_error", "lens error %", 1, 100.0),
    Column("clock_error_frames", "clock error, frames", 2),
    Column("worst", "worst clip"),
    Column("worse_than_init", "worse than initial %", 1, 100.0),
    Column("spread", "worst seed / median", 2),
    Column("failed", "failed fits", 0),
)
_LABELS = ("action", "variant", "poses")
# The error by which clips and seeds are compared.
ERROR, INITIAL = "mpjpe_mm/fit", "mpjpe_mm/init"


@dataclasses.dataclass(frozen=True)
class Summary:
    """One line of the table. action: `mean` in that of a variant. values: by the keys of `COLUMNS` and others."""

    action: str
    variant: str
    poses: str
    values: Mapping[str, float]


def summaries(rows: Sequence[Row]) -> list[Summary]:
    """A line for each action, variant and kind of poses, action by action, then the mean of each variant.

    A number is the mean over clips, then over seeds, and in the lines of means over actions too. `worst` is that of any clip
    and seed; `worse_than_init` the share of clips and seeds whose MPJPE is above that of their own initial poses; `spread`
    the MPJPE of the worst seed over that of the median one, in the lines of means the largest of any action.
    """
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.cell.action, row.cell.variant, row.cell.poses), []).append(row)
    actions = list(dict.fromkeys(action for action, *_ in groups))
    ordered = sorted(groups, key=lambda labels: actions.index(labels[0]))
    lines = [Summary(*labels, _of_action(groups[labels])) for labels in ordered]
    kinds = dict.fromkeys((line.variant, line.poses) for line in lines)
    return lines + [
        Summary(MEAN, *kind, _of_variant([line for line in lines if (line.variant, line.poses) == kind]))
        for kind in kinds
    ]


def _of_action(rows: Sequence[Row]) -> dict[str, float]:
    good = [row for row in rows if row.error is None]
    counted: dict[str, float] = {
        "clips": max((len(row.each) for row in good), default=0),
        "seeds": len({row.cell.seed for row in rows}),
        "failed": len(rows) - len(good),
    }
    # Those of the whole fit, as in metrics.json, where there are such: shares of joints are over the joints of all clips.
    means = [{**_mean_of(row.each.values()), **row.numbers} for row in good]
    values = _mean_of(means)
    clips = [clip for row in good for clip in row.each.values() if ERROR in clip]
    if clips:
        values["worst"] = max(clip[ERROR] for clip in clips)
        seeds = [mean[ERROR] for mean in means if ERROR in mean]
        values["spread"] = max(seeds) / float(np.median(seeds))
    compared = [clip[ERROR] > clip[INITIAL] for clip in clips if INITIAL in clip]
    if compared:
        values["worse_than_init"] = float(np.mean(compared))
        values["compared"] = len(compared)
    return {**counted, **values}


def _of_variant(lines: Sequence[Summary]) -> dict[str, float]:
    values = _mean_of(line.values for line in lines)
    for key, gather in (("clips", sum), ("failed", sum), ("seeds", max), ("worst", max), ("spread", max)):
        if known := [line.values[key] for line in lines if key in line.values]:
            values[key] = gather(known)
    if compared := [line.values for line in lines if "compared" in line.values]:
        count = sum(each["compared"] for each in compared)
        values["worse_than_init"] = sum(each["worse_than_init"] * each["compared"] for each in compared) / count
        values["compared"] = count
    return values


def _mean_of(each: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """The means of all keys, each over those that have it."""
    found: dict[str, list[float]] = {}
    for values in each:
        for key, value in values.items():
            found.setdefault(key, []).append(value)
    return {key: float(np.mean(values)) for key, values in found.items()}


def markdown(title: str, lines: Sequence[Summary], notes: Sequence[str]) -> str:
    """The table in Markdown, without columns that nothing has."""
    shown = _shown(lines)
    labels = [label for label in _LABELS if label != "poses" or len({line.poses for line in lines}) > 1]
    text = [f"# {title}", ""]
    text.append(f"| {' | '.join([*labels, *(column.heading for column in shown)])} |")
    text.append(f"|{' --- |' * len(labels)}{' ---: |' * len(shown)}")
    for line in lines:
        cells = [getattr(line, label).replace("|", "\\|") for label in labels]
        cells += [_cell(column, line.values) for column in shown]
        text.append(f"| {' | '.join(cells)} |")
    return "\n".join([*text, "", *(f"{note}\n" for note in notes)])


def _shown(lines: Sequence[Summary]) -> list[Column]:
    every = [*COLUMNS[:2], *_of_films(lines), *COLUMNS[2:]]
    known = [column for column in every if any(column.key in line.values for line in lines)]
    # Failures are shown where there are any.
    return [c for c in known if c.key != "failed" or any(line.values["failed"] for line in lines)]


def _of_films(lines: Sequence[Summary]) -> list[Column]:
    """Errors against measured joints, named by the truths that the films have."""
    headings = {"film_pa_mm": "PA", "film_whole_mm": "whole clip"}
    keys = dict.fromkeys(key for line in lines for key in line.values if key.split("/")[0] in headings)
    return [Column(key, f"{headings[key.split('/')[0]]} ({key.split('/', 1)[1]})") for key in keys]


def _cell(column: Column, values: Mapping[str, float]) -> str:
    return f"{values[column.key] * column.factor:.{column.digits}f}" if column.key in values else "–"


def write(
    folder: Path, title: str, rows: Sequence[Row], about: Mapping[str, Any], notes: Sequence[str], means: bool = True
) -> list[Summary]:
    """Writes `table.md`, `table.csv` and `table.json`, which has every fit and clip too; returns the lines.

    means: whether there are lines for the means of the variants.
    """
    lines = [line for line in summaries(rows) if means or line.action != MEAN]
    with replacing(folder / "table.md") as temporary:
        temporary.write_text(markdown(title, lines, notes), encoding="utf-8")
    keys = [column.key for column in COLUMNS if any(column.key in line.values for line in lines)]
    keys += sorted({key for line in lines for key in line.values} - set(keys))
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow([*_LABELS, *keys])
    for line in lines:
        numbers = [f"{line.values[key]:.6g}" if key in line.values else "" for key in keys]
        writer.writerow([line.action, line.variant, line.poses, *numbers])
    with replacing(folder / "table.csv") as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8", newline="")
    values = {
        "title": title,
        **about,
        "notes": list(notes),
        "table": [dataclasses.asdict(line) for line in lines],
        "fits": [dataclasses.asdict(row) for row in rows],
    }
    with replacing(folder / "table.json") as temporary:
        temporary.write_text(json.dumps(values, indent=1, allow_nan=False, default=str) + "\n", encoding="utf-8")
    return lines
