"""Draws 2D marks on pictures: joints, text, bars."""

import functools
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.colors import to_rgb
from PIL import Image, ImageDraw, ImageFont

from body_models import joints as jn
from experiments.show.style import CENTRE, LEFT, RIGHT

Array = np.ndarray

_SIDES = {"left": LEFT, "right": RIGHT}
_JOINT_COLOURS = np.array([to_rgb(_SIDES.get(name.split("_")[0], CENTRE)) for name in jn.BODY_25_NAMES])


def rgb(colour: str) -> tuple[int, int, int]:
    """A colour of the palette as three bytes."""
    red, green, blue = (round(255 * part) for part in to_rgb(colour))
    return red, green, blue


def draw_joints(picture: Array, pixels: Array, visible: Array, radius: float) -> None:
    """Draws dots with a light rim into the picture, in place: the `visible` (25,) joints at pixels (25, 2), BODY_25."""
    for joint in np.flatnonzero(visible & np.isfinite(pixels).all(-1)):
        _draw_dot(picture, pixels[joint], radius + 1, np.ones(3))
        _draw_dot(picture, pixels[joint], radius, _JOINT_COLOURS[joint])


def _draw_dot(picture: Array, centre: Array, radius: float, colour: Array) -> None:
    low = np.maximum(np.floor(centre - radius), 0).astype(int)
    high = np.minimum(np.ceil(centre + radius), picture.shape[1::-1]).astype(int)
    if (high <= low).any():
        return
    (left, top), (right, bottom) = low, high
    x, y = np.arange(left, right) + 0.5 - centre[0], np.arange(top, bottom) + 0.5 - centre[1]
    cover = np.clip(radius + 0.5 - np.hypot(x, y[:, None]), 0, 1)[..., None]
    part = picture[top:bottom, left:right]
    part[:] = (1 - cover) * part + cover * 255 * colour + 0.5


def draw_lines(picture: Array, start: Array, end: Array, alpha: Array, colour: str) -> None:
    """Draws smooth lines, a pixel wide, into the picture, in place: from pixels start (S, 2) to end (S, 2), each with its
    alpha (S,). What is outside of the picture is left out, however far the ends are."""
    height, width = picture.shape[:2]
    # Along the axis of its larger extent a line has one place at every pixel's centre.
    steep = np.abs(end - start).argmax(-1) == 1
    a, b = (np.where(steep[:, None], ends[:, ::-1], ends) for ends in (start, end))
    back = (a[:, 0] > b[:, 0])[:, None]
    a, b = np.where(back, b, a), np.where(back, a, b)
    most = np.where(steep, height, width)
    first, last = (np.clip(np.ceil(ends[:, 0] - 0.5), 0, most).astype(np.int64) for ends in (a, b))
    counts = np.maximum(last - first, 0)
    which = np.repeat(np.arange(len(counts)), counts)
    along = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts - first, counts)
    slope = (b - a)[:, 1] / np.maximum((b - a)[:, 0], 1e-9)
    aside = a[which, 1] + slope[which] * (along + 0.5 - a[which, 0]) - 0.5
    whole = np.floor(np.clip(aside, -2, max(height, width))).astype(np.int64)
    cover = np.zeros(height * width)
    found = []
    for step, share in ((0, 1 - (aside - whole)), (1, aside - whole)):
        x, y = np.where(steep[which], (whole + step, along), (along, whole + step))
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        found.append((y * width + x)[inside])
        np.maximum.at(cover, found[-1], (share * alpha[which])[inside])
    index = np.concatenate(found)
    mixed, flat = cover[index, None], picture.reshape(-1, 3)
    flat[index] = (1 - mixed) * flat[index] + mixed * np.array(rgb(colour)) + 0.5


@functools.cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """The figures' font, which comes with Matplotlib."""
    return ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")), size)


def shorten(text: str, size: int, width: float) -> str:
    """The text, cut and ended with dots if it is wider than `width` pixels."""
    if font(size).getlength(text) <= width:
        return text
    while text and font(size).getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"


def draw_legend(picture: Array, entries: list[tuple[str, str]]) -> Array:
    """The picture with a legend of the colours in its upper left corner; entries: (text, colour) pairs."""
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image, "RGBA")
    size = max(11, min(18, picture.shape[0] // 28))
    pad, line = size // 2, round(1.4 * size)
    room = picture.shape[1] - 4 * pad - size
    texts = [shorten(text, size, room) for text, _ in entries]
    wide = max(font(size).getlength(text) for text in texts)
    draw.rectangle((0, 0, 3 * pad + size + wide, pad + line * len(entries)), fill=(255, 255, 255, 215))
    for number, (text, (_, colour)) in enumerate(zip(texts, entries, strict=True)):
        top = pad + line * number
        draw.rectangle((pad, top, pad + size - 1, top + size - 1), fill=rgb(colour))
        draw.text((2 * pad + size, top + size / 2), text, fill=rgb(CENTRE), font=font(size), anchor="lm")
    return np.asarray(image)
