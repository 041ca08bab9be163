"""A camera in a file that OpenCV's FileStorage has written, in YAML, XML or JSON, or in ROS's YAML.

Only numbers, lists and matrices are read of them. What a program calls its matrices is up to it; the usual names are known.
Translations are taken for metres, which is what a board measured in metres gives.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree

import numpy as np

from experiments.data.calibration import Calibration, CalibrationError, checked

Nodes = Mapping[str, Any]

# Names in small letters and without underscores.
_NAMES = {
    "matrix": ("cameramatrix", "k", "intrinsicmatrix", "intrinsics", "mtx", "m"),
    "distortion": ("distortioncoefficients", "distortioncoeffs", "distcoeffs", "distortion", "dist", "d"),
    "rotation": ("rvec", "rotation", "rotationmatrix", "rotationvector", "rmat", "rot", "r"),
    "translation": ("tvec", "translation", "translationvector", "t"),
    "size": ("imagesize", "size", "resolution"),
    "width": ("imagewidth", "width"),
    "height": ("imageheight", "height"),
    "name": ("cameraname", "name"),
}
_MATRIX = re.compile(
    r"^(?P<key>\w+):[ \t]*(?:!!opencv-matrix)?[ \t]*\n"
    r"[ \t]+rows:[ \t]*(?P<rows>\d+)[ \t]*\n[ \t]+cols:[ \t]*(?P<cols>\d+)[ \t]*\n(?:[ \t]+dt:.*\n)?"
    r"[ \t]+data:[ \t]*(?P<data>\[[^\]]*\])",
    re.MULTILINE,
)
_VALUE = re.compile(r"^(?P<key>\w+):[ \t]*(?P<value>\[[^:]*\]|[^\s\[!][^\n]*)$", re.MULTILINE)


def camera(nodes: Nodes, file_name: str) -> Calibration:
    """The camera that a file's nodes say. file_name: its name where none is said. Raises CalibrationError: there is none."""
    short = {key.lower().replace("_", ""): value for key, value in nodes.items()}

    def first(what: str) -> Any:
        return next((short[name] for name in _NAMES[what] if name in short), None)

    name = first("name")
    name = name if isinstance(name, str) else file_name
    if first("matrix") is None:
        raise CalibrationError(f"it has no camera_matrix; found {', '.join(list(nodes)[:8]) or 'nothing'}")
    if "fisheye" in str(nodes.get("distortion_model", "")) or str(nodes.get("distortion_model")) == "equidistant":
        raise CalibrationError(
            f"camera {name} is a fisheye, whose distortion is of another kind; calibrate it with the usual one"
        )
    width, height = first("width"), first("height")
    size = first("size") if width is None or height is None else (width, height)
    return checked(name, size, first("matrix"), first("distortion"), first("rotation"), first("translation"))


def of_yaml(text: str) -> Nodes:
    """The nodes of a YAML file: numbers, text, lists, and matrices with rows, cols and data."""
    text = text.replace("\r\n", "\n")
    found: dict[str, Any] = {}
    for match in _MATRIX.finditer(text):
        found[match["key"]] = _matrix(match["key"], match["rows"], match["cols"], _numbers(match["data"]))
    for match in _VALUE.finditer(text):
        found.setdefault(match["key"], _plain(match["value"].strip()))
    return found


def of_xml(root: ElementTree.Element) -> Nodes:
    """The nodes of an XML file with the root `opencv_storage`."""
    found: dict[str, Any] = {}
    for node in root:
        data = node.find("data")
        if data is not None:
            rows, cols = (node.findtext(part, "") for part in ("rows", "cols"))
            found[node.tag] = _matrix(node.tag, rows, cols, _numbers(data.text or ""))
        elif node.text and node.text.strip():
            found[node.tag] = _plain(" ".join(node.text.split()))
    return found


def of_json(nodes: Any) -> Nodes:
    """The nodes of a JSON file. Raises CalibrationError: it is no object."""
    if not isinstance(nodes, dict):
        raise CalibrationError("it is no JSON object with a camera_matrix")
    found = {}
    for key, node in nodes.items():
        if isinstance(node, dict) and "data" in node:
            found[key] = _matrix(key, node.get("rows"), node.get("cols"), node["data"])
        else:
            found[key] = node
    return found


def _matrix(key: str, rows: Any, cols: Any, data: Any) -> np.ndarray:
    try:
        return np.asarray(data, float).reshape(int(rows), int(cols))
    except (TypeError, ValueError) as error:
        raise CalibrationError(f"{key} has not the {rows} times {cols} numbers that it says") from error


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in re.split(r"[\s,]+", text.strip("[] \n\t")) if part]
    except ValueError as error:
        raise CalibrationError(f"{' '.join(text.split())[:60]!r} are no numbers") from error


def _plain(text: str) -> Any:
    """A number, a list of numbers, or text."""
    if text.startswith("["):
        return _numbers(text)
    try:
        return float(text)
    except ValueError:
        return text.strip("\"'")
