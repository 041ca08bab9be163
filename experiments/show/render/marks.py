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
    shown = np.flatnonzero(visible & np.isfinite(pixels).all(-1))
    centres, size = pixels[shown], picture.shape[1::-1]
    low = np.maximum(np.floor(centres - radius - 1), 0).astype(int)
    high = np.minimum(np.ceil(centres + radius + 1), size).astype(int)
    for joint, centre, (left, top), (right, bottom) in zip(shown, centres, low.tolist(), high.tolist(), strict=True):
        if right <= left or bottom <= top:
            continue
        x, y = np.arange(left, right) + (0.5 - centre[0]), np.arange(top, bottom) + (0.5 - centre[1])
        inside = (radius + 0.5) - np.sqrt(x**2 + (y**2)[:, None])[..., None]
        rim, dot = np.minimum(np.maximum(inside + 1, 0), 1), np.minimum(np.maximum(inside, 0), 1)
        part = picture[top:bottom, left:right]
        rimmed = part + rim * (255.0 - part)
        part[:] = rimmed + dot * (255 * _JOINT_COLOURS[joint] - rimmed) + 0.5


def draw_lines(picture: Array, start: Array, end: Array, alpha: Array, colour: str, shadow: str | None = None) -> None:
    """Draws smooth lines, a pixel wide, into the picture, in place: from pixels start (S, 2) to end (S, 2), each with its
    alpha (S,). What is outside of the picture is left out, however far the ends are. shadow: colour of the same lines a
    pixel farther down and to the right, which lie below; None = there are none."""
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
    upright, found, shares = steep[which], [], []
    for step, share in ((0, 1 - (aside - whole)), (1, aside - whole)):
        beside = whole + step
        x, y = np.where(upright, beside, along), np.where(upright, along, beside)
        inside = np.flatnonzero((x >= 0) & (x < width) & (y >= 0) & (y < height))
        found.append((y * width + x)[inside])
        shares.append((share * alpha[which])[inside])
    index = np.concatenate(found)
    if not index.size:
        return
    # Where lines meet the strongest counts; only pixels from the first to the last are looked at.
    lowest, flat = index.min(), picture.reshape(-1, 3)
    cover = np.zeros(index.max() - lowest + 1, np.float32)
    np.maximum.at(cover, index - lowest, np.concatenate(shares).astype(np.float32))
    index = np.flatnonzero(cover)
    share, index = cover[index, None], index + lowest
    if shadow is not None:
        inside = np.flatnonzero((index % width < width - 1) & (index < width * (height - 1)))
        _mix(flat, index[inside] + width + 1, share[inside], shadow)
    _mix(flat, index, share, colour)


def _mix(flat: Array, index: Array, share: Array, colour: str) -> None:
    """Mixes a colour into pixels `index` (P,) of a picture's (H * W, 3), with shares (P, 1), in place."""
    flat[index] = (1 - share) * flat[index] + share * np.array(rgb(colour), np.float32) + np.float32(0.5)


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
