"""The table of scores, as in the terminal, with an explanation of each score."""

from collections.abc import Mapping
from typing import Any

from experiments.data.dataset import Dataset
from experiments.evaluation import summary
from experiments.show.report.markup import Html, element, table

DYNAMIC = "in the dynamic range"
MEANING = {
    "MPJPE (pose only)": "mean distance of 15 joints from the truth; no shape, root orientation or position (the paper's)",
    DYNAMIC: "the same from the first to the last frame with a joint faster than 2 m/s",
    "MPVPE (pose only)": "the same of all vertices of the body",
    "PA-MPJPE": "of the joints after the best rotation, shift and scale of each frame: pose alone, however it is turned",
    "MPJPE, root-aligned": "of the joints in the axes of the camera, roots at the origin",
    "G-MPJPE": "of the joints in the world after one rotation and shift of each whole clip, no scale",
    "G-MPVPE": "the same of all vertices",
    "W-MPJPE": "of the joints in the world, in chunks of 100 frames aligned at their first two: how far the motion drifts",
    "WA-MPJPE": "the same, each chunk aligned as a whole",
    "root translation error": "distance of the root from its true path after one rotation and shift, over the path's length",
    "jitter": "third derivative of the joints' positions: how much the motion trembles",
    "foot slide": "how far feet that truly stand move in a thirtieth of a second",
    "planted feet slide": "how far feet that the fit says stand move in a thirtieth of a second, which needs no truth",
    "floor tilt": "angle between what the fit and the truth say is up, after one rotation and shift of each clip",
    "peak height error": "difference of the greatest heights of the hips above the floor",
    "contacts, F1": "agreement of planted toes and heels with those that truly stand: slow and near the floor",
    "feet above the floor": "frames in which a foot said to stand is more than 2 cm above the floor",
    "feet below the floor": "frames in which a toe or heel is more than 2 cm below the floor",
    "height of the people": "of the unposed body, head to sole, as fitted, or as given by --height",
    "how sure it is, and all metres": "how much people's heights vary, and so distances and speeds; 0 where given",
    "acceleration error": "difference of joint accelerations from the true ones: how much the motion jitters",
    "reprojection, median": "distance in the picture between the body's joints and the visible input joints",
    "reprojection, mean of the paper": "mean over frames and 15 joints, joints that are not visible counting as 0",
    "PCK at 0.05": "share of the visible joints within 5% of the diagonal of the person's box",
    "PCK at 0.05 of the paper": "the same of 15 joints, the box over all joints, those not detected at (0, 0) included",
    "area under PCK": "mean of that share for limits from 0 to 10% of the diagonal",
}


def numbers(dataset: Dataset, metrics: Mapping[str, Any]) -> Html:
    """The table of scores: one row per score, with its meaning below its name, and one column per method."""
    shown = summary.comparison_table(dataset, metrics)
    head = ["measure", *(str(column.header) for column in shown.columns[2:])]
    rows = []
    for cells in zip(*(column.cells for column in shown.columns), strict=True):
        label, unit, *values = map(str, cells)
        inner = " inner" if label.startswith(" ") else ""
        name = element("span", element("b", label.strip()), f", {unit}")
        # A test checks that every score has an explanation; a page that lacks one is better than no page.
        meaning = element("span", MEANING.get(label.strip(), ""), class_="meaning")
        rows.append([element("div", name, meaning, class_=f"measure{inner}"), *values])
    return table(head, rows, numbers=range(1, len(head)))
