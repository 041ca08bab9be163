"""`viewer.html`: one file with data, scripts and styles in it, which opens from disk in any browser with WebGL 2."""

import html
import json
import re
from pathlib import Path

from experiments.base.files import replacing
from experiments.results.reading import Run
from experiments.show.viewer import scene

_WEB = Path(__file__).parent / "web"
# The script files, in the order in which they are joined to one script.
SCRIPTS = (
    "unpack",
    "vectors",
    "field",
    "body",
    "contacts",
    "clips",
    "renderer",
    "cameras",
    "charts",
    "controls",
    "app",
    "start",
)


def write(path: Path, saved: Run) -> None:
    """Writes the page of a finished run."""
    with replacing(path) as temporary:
        temporary.write_text(render(saved), encoding="utf-8")


def render(saved: Run) -> str:
    """The page's HTML."""
    # "<" is escaped in the data, because a name could otherwise close the element that contains the data.
    data = json.dumps(scene.describe(saved), allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    parts = {
        "title": html.escape(f"{saved.dataset.action.replace('_', ' ')} in 3D"),
        "style": (_WEB / "style.css").read_text(encoding="utf-8").strip(),
        "script": "\n".join((_WEB / f"{name}.js").read_text(encoding="utf-8").strip() for name in SCRIPTS),
        "data": data,
    }
    template = (_WEB / "page.html").read_text(encoding="utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], template)
