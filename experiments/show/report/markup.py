"""Builds HTML. Plain strings are escaped; values of the type `Html` are inserted unchanged."""

import base64
import html
import io
from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image


class Html(str):
    """Text that is HTML already."""


def text(value: object) -> Html:
    return value if isinstance(value, Html) else Html(html.escape(str(value)))


def element(name: str, *children: object, **attributes: str) -> Html:
    """An HTML element with attributes and children; the attribute class is written `class_`."""
    given = "".join(f' {key.rstrip("_")}="{html.escape(value)}"' for key, value in attributes.items())
    return Html(f"<{name}{given}>{''.join(text(child) for child in children)}</{name}>")


def section(title: str, *children: object, id_: str) -> Html:
    return element("section", element("h2", title), *children, id=id_)


def table(head: Sequence[object], rows: Iterable[Sequence[object]], numbers: Sequence[int] = ()) -> Html:
    """A table that can be scrolled sideways; `numbers`: indices of columns that are aligned to the right. The first
    column is the header of the row."""

    def cell(name: str, column: int, value: object, **attributes: str) -> Html:
        if column in numbers:
            attributes["class"] = "number"
        return element(name, value, **attributes)

    top = element("tr", *(cell("th", column, value, scope="col") for column, value in enumerate(head)))
    body = []
    for row in rows:
        first, *rest = row
        cells = [element("th", first, scope="row"), *(cell("td", c, value) for c, value in enumerate(rest, 1))]
        body.append(element("tr", *cells))
    return element("div", element("table", element("thead", top), element("tbody", *body)), class_="wide", tabindex="0")


def image(shown: Image.Image, alt: str, longest: int = 1400, photo: bool = True) -> Html:
    """An embedded picture: JPEG for a photograph, PNG with few colours for a drawing."""
    shown = shown.convert("RGB")
    scale = longest / max(shown.size)
    if scale < 1:
        size = (max(1, round(shown.width * scale)), max(1, round(shown.height * scale)))
        shown = shown.resize(size, Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    if photo:
        shown.save(buffer, "JPEG", quality=86, optimize=True)
    else:
        shown.quantize(128, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    data = base64.b64encode(buffer.getvalue()).decode()
    source = f"data:image/{'jpeg' if photo else 'png'};base64,{data}"
    return Html(f'<img src="{source}" alt="{html.escape(alt)}" width="{shown.width}" height="{shown.height}">')


def picture(shown: Image.Image, alt: str, caption: object = "", longest: int = 1400, photo: bool = True) -> Html:
    """A figure element with an embedded picture, as `image` makes it."""
    tag = image(shown, alt, longest, photo)
    return element("figure", tag, *([element("figcaption", caption)] if caption else []))


def from_array(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(pixels)
