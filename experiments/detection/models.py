"""The pose model: MediaPipe's own, which its package carries, or a newer `.task` file."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import io
import zipfile
from pathlib import Path

from experiments.base.errors import UserError

DETECTOR, LANDMARKS = "pose_detector.tflite", "pose_landmarks_detector.tflite"
_IN_THE_PACKAGE = {
    DETECTOR: "modules/pose_detection/pose_detection.tflite",
    LANDMARKS: "modules/pose_landmark/pose_landmark_full.tflite",
}
INSTALL = "install it with `python -m pip install -r requirements-video.txt`"


@dataclasses.dataclass(frozen=True)
class Model:
    """The two networks of a pose landmarker, as TensorFlow Lite files.

    detector: finds people in a picture. landmarks: finds the landmarks of the person in a region of it.
    """

    detector: bytes
    landmarks: bytes

    @property
    def digest(self) -> str:
        """A name for what the model is, hexadecimal."""
        return hashlib.sha256(
            hashlib.sha256(self.detector).digest() + hashlib.sha256(self.landmarks).digest()
        ).hexdigest()

    def bundle(self) -> bytes:
        """Both as a `.task` file, which is a zip archive."""
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr(DETECTOR, self.detector)
            archive.writestr(LANDMARKS, self.landmarks)
        return buffer.getvalue()


def load(path: str | None = None) -> Model:
    """Reads a `.task` file; None = the model in MediaPipe's package, which is not imported for it.

    Raises:
      UserError: it is no pose landmarker, or MediaPipe is not installed.
    """
    package = _package()
    if package is None:
        raise UserError(f"finding people in videos needs the package mediapipe, which is not installed; {INSTALL}")
    return _of_package(package) if path is None else _of_task(Path(path))


def installed() -> bool:
    """Whether MediaPipe can be imported."""
    return _package() is not None


def _package() -> Path | None:
    # Finding the package does not run it: importing MediaPipe takes seconds.
    found = importlib.util.find_spec("mediapipe")
    places = found.submodule_search_locations if found else None
    return Path(places[0]) if places else None


def _of_package(package: Path) -> Model:
    parts = {}
    for name, place in _IN_THE_PACKAGE.items():
        file = package / place
        if not file.is_file():
            raise UserError(f"the installed mediapipe carries no pose model ({file} is missing); {INSTALL}")
        parts[name] = file.read_bytes()
    return Model(parts[DETECTOR], parts[LANDMARKS])


def _of_task(path: Path) -> Model:
    try:
        with zipfile.ZipFile(path) as archive:
            return Model(archive.read(DETECTOR), archive.read(LANDMARKS))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UserError(f"--pose_model={path} cannot be read ({reason}); give a pose landmarker .task file") from error
    except (zipfile.BadZipFile, KeyError, NotImplementedError, RuntimeError) as error:
        raise UserError(
            f"--pose_model={path} is not a pose landmarker, a .task file with {DETECTOR} and {LANDMARKS} in it; give one "
            "such as pose_landmarker_heavy.task, or leave the flag out"
        ) from error
