"""A clip as TRC, the marker file that OpenSim reads: millimetres, tabs.

The layout is that of OpenSim's reader (`OpenSim/Common/TRCFileAdapter.cpp`; user's guide, Marker (.trc) Files): five
header lines with fixed keywords, then rows of frame number, seconds and three coordinates for each marker.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from experiments.export import animation
from experiments.export.animation import Animation
from experiments.export.axes import turned

MM = 1000
KEYS = (
    "DataRate", "CameraRate", "NumFrames", "NumMarkers", "Units", "OrigDataRate", "OrigDataStartFrame", "OrigNumFrames"
)  # fmt: skip


def write(clip: Animation, path: Path, up: str) -> None:
    """Writes one clip: the 24 joints, then nose, eyes, ears, toes and heels, in a world with `up` y (OpenSim's) or z."""
    names, points = animation.marker_names(), MM * turned(animation.markers(clip), up)
    rate = f"{clip.fps:.10g}"
    frames, count = points.shape[:2]
    values = (rate, rate, frames, count, "mm", rate, 1, frames)
    axes = [f"{axis}{number}" for number in range(1, count + 1) for axis in "XYZ"]
    lines = [
        ["PathFileType", "4", "(X/Y/Z)", f"{clip.name}.trc"],
        KEYS,
        map(str, values),
        ["Frame#", "Time", *(cell for name in names for cell in (name, "", ""))],
        ["", "", *axes],
        [],
    ]
    for number, (time, row) in enumerate(zip(clip.times, points.reshape(frames, -1), strict=True), start=1):
        lines.append([str(number), f"{time:.6f}", *(f"{value:.4f}" for value in np.asarray(row))])
    path.write_text("\n".join("\t".join(line) for line in lines) + "\n")
