"""Cameras in a calibration that Qualisys Track Manager has exported: XML, also named `.qca.txt`.

Lengths are millimetres, focal lengths and centres are 64ths of a pixel, distortions are those of OpenCV, in no unit
(Qualisys' real-time protocol; Pose2Sim divides distortions by 64 too, which leaves next to nothing of them). `transform`
has the camera's place in the world and, row by row, a rotation from the world into axes whose y is up and whose z looks
back; its half turn about x gives OpenCV's. Signs of tangential distortions have not been verified against such a camera.
"""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np

from experiments.data.calibration import Calibration, CalibrationError, checked

_SUBPIXELS = 64.0
_MILLIMETRES = 1000.0
_HALF_TURN = np.diag([1.0, -1.0, -1.0])


def parsed(text: str) -> ElementTree.Element:
    """The root of an XML text. Raises CalibrationError: it is none, or defines entities, which could take any memory."""
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise CalibrationError("it defines a document type, which no calibration does")
    try:
        return ElementTree.fromstring(text.encode())
    except ElementTree.ParseError as error:
        raise CalibrationError(f"it is no XML ({error})") from error


def cameras(root: ElementTree.Element) -> list[Calibration]:
    """The video cameras of a calibration; all cameras, if none is said to be one.

    Raises:
      CalibrationError: it is no such calibration, or something of a camera is missing.
    """
    every = root.findall("cameras/camera")
    if root.tag != "calibration" or not every:
        raise CalibrationError(f"it is XML of {root.tag!r}, expected opencv_storage, or calibration with cameras")
    videos = [camera for camera in every if "video" in camera.get("model", "").lower()]
    return [_camera(camera) for camera in videos or every]


def _camera(node: ElementTree.Element) -> Calibration:
    name = node.get("serial") or "without serial"

    def number(part: str, key: str, default: float | None = None) -> float:
        found = node.find(part)
        text = None if found is None else found.get(key)
        if text is None and default is not None:
            return default
        try:
            return float(text or "")
        except ValueError as error:
            raise CalibrationError(f"camera {name}: {key} of its {part} is {text!r}, expected a number") from error

    left, top = number("fov_video", "left", 0.0), number("fov_video", "top", 0.0)
    if node.find("fov_video") is None:
        size = [(number("intrinsic", f"sensorMax{axis}") + 1) / _SUBPIXELS for axis in "UV"]
    else:
        size = [number("fov_video", "right") - left + 1, number("fov_video", "bottom") - top + 1]
    focal = [number("intrinsic", f"focalLength{axis}") / _SUBPIXELS for axis in "UV"]
    centre = [number("intrinsic", f"centerPoint{axis}") / _SUBPIXELS for axis in "UV"]
    matrix = [[focal[0], 0.0, centre[0] - left], [0.0, focal[1], centre[1] - top], [0.0, 0.0, 1.0]]
    keys = (
        "radialDistortion1",
        "radialDistortion2",
        "tangentalDistortion1",
        "tangentalDistortion2",
        "radialDistortion3",
    )
    distortion = [number("intrinsic", key, 0.0) for key in keys]
    if node.find("transform") is None:
        return checked(name, size, matrix, distortion)
    place = np.array([number("transform", axis) for axis in "xyz"]) / _MILLIMETRES
    turn = np.array([[number("transform", f"r{row}{column}") for column in (1, 2, 3)] for row in (1, 2, 3)])
    rotation = _HALF_TURN @ turn
    return checked(name, size, matrix, distortion, rotation, -rotation @ place)
