"""The pose model: one of those that are shipped here, or a pose landmarker's `.task` file."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import io
import zipfile
from pathlib import Path

from body_models import safe_zip
from body_models.budget import TooMuchError
from experiments.base.errors import UserError

DETECTOR, LANDMARKS = "pose_detector.tflite", "pose_landmarks_detector.tflite"
_MOST_BYTES = 1 << 30  # of a .task file and what is in it; the heavy one has 31 MB
HEAVY, FULL = "heavy", "full"
# The networks for the landmarks that are shipped. On real film with truth (docs/data.md) the heavy one exchanges no left and
# right, errs less, and takes twice as long.
SHIPPED = {HEAVY: "pose_landmark_heavy.tflite", FULL: "pose_landmark_full.tflite"}
DEFAULT = HEAVY
_FOLDER = Path(__file__).parent / "blazepose"  # its README says where the files are from
_CHOICES = f"{', '.join(SHIPPED)}, rtmpose or a pose landmarker .task file"
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


def load(choice: str | None = None) -> Model:
    """Reads a model.

    Args:
      choice: the name of one that is shipped, or the path of a `.task` file; None = `DEFAULT`.

    Raises:
      UserError: it is no pose landmarker, or LiteRT, which runs it, is not installed.
    """
    if not installed():
        raise UserError(f"finding people in videos needs the package ai-edge-litert, which is not installed; {INSTALL}")
    choice = DEFAULT if choice is None else choice
    return _shipped(SHIPPED[choice]) if choice in SHIPPED else _of_task(Path(choice))


def installed() -> bool:
    """Whether LiteRT can be imported. It is not imported for it."""
    return importlib.util.find_spec("ai_edge_litert") is not None


def _shipped(landmarks: str) -> Model:
    files = [_FOLDER / "pose_detection.tflite", _FOLDER / landmarks]
    for file in files:
        if not file.is_file():
            raise UserError(f"the pose model {file} is missing; get a whole copy of this program, or give --pose_model")
    return Model(*(file.read_bytes() for file in files))


def _of_task(path: Path) -> Model:
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UserError(f"--pose_model={path} cannot be read ({reason}); give {_CHOICES}") from error
    try:
        with safe_zip.opened(path, _MOST_BYTES) as archive:
            return Model(bytes(archive.read(DETECTOR)), bytes(archive.read(LANDMARKS)))
    except KeyError as error:
        why, cause = f"no {error.args[0]}", error
    except (safe_zip.ZipError, TooMuchError, EOFError) as error:
        why, cause = str(error), error
    raise UserError(
        f"--pose_model={path} is not a pose landmarker, a .task file with {DETECTOR} and {LANDMARKS} in it ({why}); give "
        f"{_CHOICES}"
    ) from cause
