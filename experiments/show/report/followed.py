"""Who is followed: a small picture of each clip with a box around the person, and thin ones around others in view."""

from __future__ import annotations

import numpy as np
from matplotlib.colors import to_rgb
from PIL import Image, ImageDraw

from experiments.data import pictures
from experiments.data.dataset import Dataset
from experiments.results.reading import Run
from experiments.show.report.markup import Html, from_array, image
from experiments.show.style import FIT

Array = np.ndarray

_LONG_SIDE = 190  # pixels
_MOST = 60  # clips with a picture: reading films takes time
_FEWEST = 4  # keypoints that make a box
_SELDOM = 0.05  # share of the frames
_MARGIN = 0.06  # of a box, in heights of it: keypoints lie within the body
_OTHERS = (150, 150, 150)


def thumbnails(run: Run) -> list[Html | None]:
    """A picture for each clip, None where there is none."""
    dataset = run.dataset
    return [_of_clip(dataset, n) if n < _MOST else None for n in range(len(dataset.names))]


def _of_clip(dataset: Dataset, n: int) -> Html | None:
    frame = telling_frame(dataset, n)
    if frame is None or not (dataset.videos or dataset.frame_paths):
        return None
    seen = next(pictures.frames(dataset, n, [frame]), None)
    if seen is None:
        return None
    return image(from_array(drawn(dataset, n, frame, seen)), f"who is followed in {dataset.names[n]}", _LONG_SIDE)


def telling_frame(dataset: Dataset, n: int) -> int | None:
    """The frame that shows the person of a clip well and most others, the nearest to the middle; None without the person.

    More people than are seen in other frames too are mistakes of the detector.
    """
    count = int(np.asarray(dataset.clips.frame_mask[n]).sum())
    shown = (np.asarray(dataset.clips.confidence[n])[:count] > 0).sum(1)
    if not count or shown.max() < _FEWEST:
        return None
    own = dataset.bystanders[n] if dataset.bystanders else None
    others = np.zeros(count, int) if own is None else np.array([len(own.at(frame)) for frame in range(count)])
    well = shown >= max(_FEWEST, 0.8 * shown.max())
    often = max(1, round(_SELDOM * count))
    most = np.sort(others[well])[::-1][min(often, int(well.sum())) - 1]
    best = np.flatnonzero(well & (others == most))
    return int(best[np.argmin(np.abs(best - count // 2))])


def drawn(dataset: Dataset, n: int, frame: int, picture: Array) -> Array:
    """A picture (H, W, 3) of a clip, made small, with the boxes."""
    scale = min(1.0, _LONG_SIDE / max(picture.shape[:2]))
    height, width = (max(1, round(side * scale)) for side in picture.shape[:2])
    small = Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR)
    # The picture may be of another resolution than the clip.
    density = np.array([width, height]) / np.asarray(dataset.clips.image_size[n], float)
    draw = ImageDraw.Draw(small)
    own = dataset.bystanders[n] if dataset.bystanders else None
    for box in own.at(frame) if own is not None else ():
        draw.rectangle(_corners(box[:2], box[2:], density), outline=_OTHERS)
    points = np.asarray(dataset.clips.keypoints[n, frame], float)[np.asarray(dataset.clips.confidence[n, frame]) > 0]
    red, green, blue = (round(255 * level) for level in to_rgb(FIT))
    draw.rectangle(_corners(points.min(0), points.max(0), density), outline=(red, green, blue), width=2)
    return np.asarray(small)


def _corners(low: Array, high: Array, density: Array) -> list[tuple[float, float]]:
    margin = _MARGIN * (high[1] - low[1])
    (left, top), (right, bottom) = (low - margin) * density, (high + margin) * density
    return [(float(left), float(top)), (float(right), float(bottom))]
