"""How fast bodies are drawn, on one core: `python -m experiments.benchmarks.overlay`.

Draws the open body in a turning T-pose over a picture of noise, then whole films from arrays to MP4.
"""

import datetime
import os
import platform
import tempfile
import time
from pathlib import Path

# This must be set before any library starts threads.
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.spatial.transform import Rotation

from body_models import loaders
from experiments.show.render import mp4
from experiments.show.render.rasterizer import Projection
from experiments.show.render.shading import Mesh, draw

_FRAMES = 40
# What, width, height, share of the picture's height that the body takes, bodies.
_CASES = (
    ("one body", 640, 360, 0.5, 1),
    ("one body, as tall as the picture", 640, 360, 0.95, 1),
    ("one body, close up", 640, 360, 3.0, 1),
    ("two bodies", 640, 360, 0.5, 2),
    ("one body", 960, 540, 0.5, 1),
    ("one body", 1920, 1080, 0.5, 1),
)


def machine() -> str:
    """The processor's name, if the system reports it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def frames_per_second(width: int, height: int, share: float, bodies: int, film: Path | None = None) -> float:
    """Pictures drawn per second of processor time, so that other programs have no effect; with `film`, encoded too."""
    arrays = loaders.read_arrays(loaders.OPEN_BODY)
    template = arrays["v_template"] - arrays["v_template"].mean(0)
    distance = 4.0
    focal = share * height * distance / np.ptp(template[:, 1])
    camera = Projection(
        np.diag([1.0, -1, -1]), np.array([0, 0, distance]), focal, np.array([width, height]) / 2, (width, height)
    )
    picture = np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)

    def pictures(count: int):
        for frame in range(count):
            turn = Rotation.from_euler("y", 2 * np.pi * frame / count).as_matrix()
            meshes = [Mesh(template @ turn.T + [0.2 * body, 0, 0], arrays["f"], alpha=0.8) for body in range(bodies)]
            yield draw(picture, meshes, camera)

    list(pictures(3))
    begun = time.process_time()
    if film:
        with mp4.writing(film, (width, height), 30) as add:
            for drawn in pictures(_FRAMES):
                add(drawn)
    else:
        for _ in pictures(_FRAMES):
            pass
    return _FRAMES / (time.process_time() - begun)


def main() -> None:
    table = Table(title=f"{machine()}, one core, {datetime.date.today()}; by processor time", title_justify="left")
    for column in ("", "size", "body's share of the height", "frames a second"):
        table.add_column(column)
    for what, width, height, share, bodies in _CASES:
        speed = frames_per_second(width, height, share, bodies)
        table.add_row(what, f"{width} x {height}", f"{share:.2f}", f"{speed:.0f}")
    with tempfile.TemporaryDirectory() as folder:
        speed = frames_per_second(960, 540, 0.5, 1, Path(folder) / "film.mp4")
    table.add_row("one body, drawn and encoded", "960 x 540", "0.50", f"{speed:.0f}")
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
