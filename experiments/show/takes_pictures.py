"""Pictures of the takes of films: frames of each, and where they are in time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageDraw

from experiments.base import films as film_files
from experiments.base.files import replacing
from experiments.loaders.split_films import SplitFilm
from experiments.show.style import FIT

_FRAMES = 8  # of each take on the contact sheet
_HEIGHT = 120  # pixels of each
_LABEL = 16
_MOST_ROWS = 200


def contact_sheet(films: Sequence[SplitFilm], path: Path) -> None:
    """A row of frames for each take, from its first to its last, named with its film, number and times; a box is around the
    person who is followed.
    """
    rows: list[tuple[str, list[Image.Image]]] = []
    for film in films:
        chosen = [np.linspace(f.start, f.stop - 1, min(_FRAMES, len(f))).astype(int).tolist() for f in film.frames]
        wanted = sorted({frame for row in chosen for frame in row})
        pictures = {
            frame: _small(picture, film.boxes[frame])
            for frame, picture in zip(wanted, film_files.decode(film.path, wanted, film.turn), strict=False)
        }
        for take, frames in zip(film.takes, chosen, strict=True):
            label = f"{film.name}, take {take.number}: {take.start:.2f} to {take.end:.2f} s"
            rows.append((label, [pictures[frame] for frame in frames if frame in pictures]))
    rows = rows[:_MOST_ROWS]
    width = max(sum(picture.width for picture in pictures) for _, pictures in rows)
    sheet = Image.new("RGB", (max(width, 300), len(rows) * (_HEIGHT + _LABEL)), "white")
    draw = ImageDraw.Draw(sheet)
    for number, (label, pictures) in enumerate(rows):
        top, left = number * (_HEIGHT + _LABEL), 0
        # The built-in letters are Latin ones.
        draw.text((3, top + 2), label.encode("latin-1", "replace").decode("latin-1"), fill="black")
        for picture in pictures:
            sheet.paste(picture, (left, top + _LABEL))
            left += picture.width
    with replacing(path) as temporary:
        sheet.save(temporary, "PNG")


def timeline(films: Sequence[SplitFilm], path: Path) -> None:
    """How fast the person of each film moves over time, its takes shaded and its cuts dashed."""
    figure = Figure(figsize=(12, 0.6 + 1.5 * len(films)), layout="constrained")
    axes = np.atleast_1d(figure.subplots(len(films), 1, squeeze=False)[:, 0])
    for axis, film in zip(axes, films, strict=True):
        axis.plot(film.seconds, film.speed, color="0.2", linewidth=0.8)
        for take in film.takes:
            colour = ("tab:blue", "tab:orange")[take.number % 2]
            axis.axvspan(take.start, take.end, color=colour, alpha=0.25, linewidth=0)
            axis.text(
                (take.start + take.end) / 2, 0.98, str(take.number), transform=axis.get_xaxis_transform(), va="top"
            )
        for cut in film.cuts:
            axis.axvline(cut, color="tab:red", linestyle="--", linewidth=0.8)
        axis.set_xlim(0, max(float(film.seconds[-1]), 0.1))
        axis.set_ylim(bottom=0)
        # A $ in a name is no formula.
        axis.set_title(film.name.replace("$", r"\$"), loc="left", fontsize=9)
        axis.set_ylabel("trunks/s", fontsize=8)
    axes[-1].set_xlabel("seconds")
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=100)


def _small(picture: np.ndarray, box: np.ndarray) -> Image.Image:
    """A picture made small, with a box (4,): left, top, right, bottom, pixels; NaN = none."""
    image = Image.fromarray(picture)
    scale = _HEIGHT / image.height
    small = image.resize((max(1, round(image.width * scale)), _HEIGHT))
    if np.isfinite(box).all():
        left, top, right, bottom = (float(place) * scale for place in box)
        ImageDraw.Draw(small).rectangle([(left - 2, top - 2), (right + 2, bottom + 2)], outline=FIT)
    return small
