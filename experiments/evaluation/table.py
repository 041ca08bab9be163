"""The evaluation table: every method on every instance, and its mean, side by side; `evaluation.csv`."""

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from experiments.base.files import replacing
from experiments.data.dataset import Dataset
from experiments.evaluation.pose_errors import given_poses

FIT = "fit"
MEAN = "mean"
# Columns that every method has; the key of a score is a name of this list, a slash and the method.
POSE_COLUMNS = (
    "mpjpe_mm",
    "mpvpe_mm",
    "mpjpe_dynamic_mm",
    "mpvpe_dynamic_mm",
    "pa_mpjpe_mm",
    "pa_mpjpe_dynamic_mm",
    "root_aligned_mpjpe_mm",
    "g_mpjpe_mm",
    "g_mpvpe_mm",
    "accel_mm_s2",
    "w_mpjpe_mm",
    "wa_mpjpe_mm",
    "rte_percent",
    "jitter_10m_s3",
    "foot_slide_mm",
    "floor_tilt_deg",
    "peak_height_error_cm",
    "contact_f1",
    "planted_percent",
    "planted_slide_mm",
    "float_percent",
    "below_percent",
)
# Columns that only the fit has, as only the fit has cameras and bodies of its own: column -> key.
PIXEL_COLUMNS = {
    "reprojection_px_paper": "reprojection_px/paper",
    "pck_0.05_paper": "pck_0.05/paper",
    "pck_0.05_visible_box": "pck_0.05/visible_box",
    "reprojection_px_median": "reprojection_px/median",
    "reprojection_share_median": "reprojection_share/median",
    "pck_0.05": "pck_0.05/fit",
    "pck_auc": "pck_auc/fit",
    "heldout_reprojection_px_median": "heldout_reprojection_px/median",
    "heldout_reprojection_share_median": "heldout_reprojection_share/median",
    "heldout_pck_0.05": "heldout_pck_0.05/fit",
    "heldout_pck_auc": "heldout_pck_auc/fit",
    "height_m": "height_m/fit",
    "scale_sd_percent": "scale_sd_percent/fit",
}
COLUMNS = ("method", "instance", "frames", *POSE_COLUMNS, *PIXEL_COLUMNS)

Row = dict[str, str | int | float]


def methods(dataset: Dataset) -> tuple[str, ...]:
    """The methods that have at least one pose: the initial estimate, the methods in the dataset, the fit."""
    given = (name for name, (_, mask) in given_poses(dataset).items() if np.any(mask > 0))
    return (*given, FIT)


def rows(dataset: Dataset, each: Mapping[str, Mapping[str, float]]) -> Iterator[Row]:
    """One row per method and instance, then the method's mean over its instances; unknown cells are omitted.

    `each`: scores of each instance from `scores.evaluate`. The column `frames` is the number of frames on which the
    method is scored; in the row of a mean it is their sum.
    """
    frame_mask = np.asarray(dataset.clips.frame_mask) > 0
    masks = {name: mask for name, (_, mask) in given_poses(dataset).items()} | {FIT: frame_mask}
    for method in methods(dataset):
        frames = ((np.asarray(masks[method]) > 0) & frame_mask).sum(-1)
        keys = {column: f"{column}/{method}" for column in POSE_COLUMNS}
        keys |= PIXEL_COLUMNS if method == FIT else {}
        found: dict[str, list[float]] = {}
        for instance, count in zip(dataset.names, frames, strict=True):
            row = {column: each[instance][key] for column, key in keys.items() if key in each[instance]}
            for column, value in row.items():
                found.setdefault(column, []).append(value)
            yield {"method": method, "instance": instance, "frames": int(count), **row}
        means = {column: float(np.mean(values)) for column, values in found.items()}
        yield {"method": method, "instance": MEAN, "frames": int(frames.sum()), **means}


def write_csv(path: Path, dataset: Dataset, each: Mapping[str, Mapping[str, float]]) -> None:
    """Writes the table as CSV (RFC 4180) with `COLUMNS` in its first line; unknown cells are empty."""
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="")
        writer.writeheader()
        writer.writerows(
            {k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows(dataset, each)
        )
