"""Files of calibrated cameras: which format one has, and what it says.

| format | files |
| --- | --- |
| Pose2Sim, Anipose | TOML, a table for each camera |
| OpenCV's FileStorage, ROS | YAML, XML or JSON, a file for each camera |
| Qualisys | XML, also named `.qca.txt` |
| OpenCap | `cameraIntrinsicsExtrinsics.pickle`, a file for each camera |
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from body_models import safe_pickle
from experiments.base.errors import UserError
from experiments.data import calibration_opencv, calibration_qualisys
from experiments.data.calibration import Calibration, CalibrationError, checked

SUFFIXES = (".toml", ".yml", ".yaml", ".xml", ".txt", ".json", ".pickle", ".pkl")
_MOST_BYTES = 10_000_000
_MILLIMETRES = 1000.0


def read(path: Path) -> list[Calibration]:
    """The cameras of a file.

    Raises:
      UserError: it cannot be read, or is no calibration; one sentence that names it.
    """
    try:
        found = _read(path)
        if not found:
            raise CalibrationError("it has no camera")
    except CalibrationError as error:
        raise UserError(f"--calibration: {path} cannot be used: {error}") from error
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UserError(f"--calibration: {path} cannot be read ({reason}); check the path") from error
    return found


def _read(path: Path) -> list[Calibration]:
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise CalibrationError(f"its name ends in {suffix or 'nothing'!r}, expected one of {', '.join(SUFFIXES)}")
    if suffix in (".pickle", ".pkl"):
        return [_opencap(path)]
    if path.stat().st_size > _MOST_BYTES:
        raise CalibrationError(f"it has {path.stat().st_size} bytes, expected {_MOST_BYTES} at most")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise CalibrationError("it is no text") from error
    if suffix == ".toml":
        return _pose2sim(text)
    if suffix in (".xml", ".txt"):
        root = calibration_qualisys.parsed(text)
        if root.tag == "opencv_storage":
            return [calibration_opencv.camera(calibration_opencv.of_xml(root), path.stem)]
        return calibration_qualisys.cameras(root)
    nodes = _json(text) if suffix == ".json" else calibration_opencv.of_yaml(text)
    return [calibration_opencv.camera(nodes, path.stem)]


def _json(text: str) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise CalibrationError(f"it is no JSON ({error})") from error
    return calibration_opencv.of_json(found)


def _pose2sim(text: str) -> list[Calibration]:
    """The tables of a TOML file that have a `matrix`."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise CalibrationError(f"it is no TOML ({error})") from error
    found = []
    for key, table in tables.items():
        if not isinstance(table, dict) or "matrix" not in table:
            continue
        name = str(table.get("name", key))
        if table.get("fisheye"):
            raise CalibrationError(
                f"camera {name} is a fisheye, whose distortion is of another kind; calibrate it with the usual one"
            )
        what = (table.get(part) for part in ("size", "matrix", "distortions", "rotation", "translation"))
        found.append(checked(name, *what))
    return found


def _opencap(path: Path) -> Calibration:
    """The camera of a pickle of OpenCap's: `imageSize` is height, width; `translation` is in millimetres."""
    try:
        given = safe_pickle.load(path, max_bytes=_MOST_BYTES)
    except ValueError as error:
        raise CalibrationError(str(error)) from error
    if not isinstance(given, dict) or "intrinsicMat" not in given:
        raise CalibrationError("it is no calibration of OpenCap, a dictionary with intrinsicMat")
    # All of them are called the same, in a folder for each camera.
    name = path.absolute().parent.name if path.stem.startswith("cameraIntrinsics") else path.stem
    size, moved = given.get("imageSize"), given.get("translation")
    try:
        size = None if size is None else np.asarray(size, float).reshape(-1)[::-1]
        moved = None if moved is None else np.asarray(moved, float) / _MILLIMETRES
    except (TypeError, ValueError) as error:
        raise CalibrationError(f"camera {name}: its imageSize or translation are no numbers") from error
    return checked(name, size, given["intrinsicMat"], given.get("distortion"), given.get("rotation"), moved)
