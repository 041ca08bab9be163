"""Views: the part of a clip's picture that is shown, and its scale."""

import dataclasses

import numpy as np
from PIL import Image

from experiments.show.style import SHADE

Array = np.ndarray


@dataclasses.dataclass(frozen=True)
class View:
    """A part of a clip's picture. corner (2,): the clip's pixel at the upper left, which may lie outside the picture.
    scale: number of shown pixels per pixel of the clip. size: width and height of the view, in shown pixels."""

    corner: tuple[float, float]
    scale: float
    size: tuple[int, int]

    def place(self, pixels: Array) -> Array:
        """Positions in the view of pixels (..., 2) of the clip."""
        return (pixels - np.array(self.corner)) * self.scale


def whole(image_size: Array, long_side: int) -> View:
    """A view of the whole picture of `image_size` (2,), with a longer side of at most `long_side` pixels. Films need an
    even width and height, so a row or column at the edge may be left out."""
    scale = min(1.0, long_side / float(max(image_size)))
    width, height = (max(2, int(side * scale + 1e-6) // 2 * 2) for side in image_size)
    return View((0.0, 0.0), scale, (width, height))


def around(points: Array, image_size: Array, aspect: float, size: tuple[int, int], margin: float = 0.12) -> View:
    """A view of the area around points (P, 2), with a relative margin; its width is `aspect` times its height.

    The view stays inside the picture if it fits. For points outside the picture see `bounds`.
    """
    low, high = bounds(points, image_size)
    extent = np.maximum(high - low, 1.0) * (1 + 2 * margin)
    height = max(extent[1], extent[0] / aspect)
    extent = np.array([height * aspect, height])
    corner = (low + high - extent) / 2
    room = np.asarray(image_size, float) - extent
    corner = np.where(room >= 0, np.clip(corner, 0, np.maximum(room, 0)), room / 2)
    return View((float(corner[0]), float(corner[1])), size[1] / height, size)


def bounds(points: Array, image_size: Array) -> tuple[Array, Array]:
    """Corners (2,) of the box around points (P, 2) in a picture.

    Points that are not finite are ignored, and points outside the picture are moved to its edge; without any finite
    point the result is the whole picture.
    """
    points = points[np.isfinite(points).all(-1)]
    points = np.clip(points, 0, image_size) if len(points) else np.stack([np.zeros(2), np.asarray(image_size)])
    return points.min(0), points.max(0)


def background(picture: Array | None, image_size: Array, view: View) -> Array:
    """The part of a picture (H, W, 3) that a view shows, uint8 RGB; grey outside of the picture.

    The picture may be of another resolution than the clip's `image_size` (2,).
    """
    canvas = Image.new("RGB", view.size, SHADE)
    if picture is not None:
        # The part of the view that the picture covers, in whole pixels, and the matching part of the picture.
        corner, size = np.array(view.corner), np.array(view.size)
        first = np.clip(np.ceil(-corner * view.scale - 1e-6), 0, size)
        last = np.clip(np.floor((np.asarray(image_size) - corner) * view.scale + 1e-6), 0, size)
        if (last > first).all():
            density = np.array(picture.shape[1::-1]) / np.asarray(image_size)
            box = [*((corner + first / view.scale) * density), *((corner + last / view.scale) * density)]
            box = np.clip(box, 0, [*picture.shape[1::-1]] * 2)
            width, height = (last - first).astype(int)
            part = Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR, box=tuple(box))
            canvas.paste(part, (int(first[0]), int(first[1])))
    return np.asarray(canvas)
