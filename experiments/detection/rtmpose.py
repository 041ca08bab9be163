"""RTMPose by the optional package rtmlib, a landmarker that sees the picture's two dimensions only.

rtmlib brings a detector of people (YOLOX) and RTMPose for 26 keypoints of Halpe, and fetches the weights of both when they
are first used. Its keypoints take the places of MediaPipe's landmarks of the same names, so that people are followed as
ever; landmarks that it does not have lie on their neighbours, not visible. There is no depth: first poses are lifted.

Sources: Jiang et al., RTMPose (2023); rtmlib (Apache-2.0), whose order of keypoints this is. Its small toes, neck, middle of
the hips and top of the head are not used.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib
import importlib.metadata
import importlib.util
import io
import typing
from typing import Any

import numpy as np

from experiments.base.errors import UserError
from experiments.detection.landmarks import LANDMARKS
from experiments.detection.people import Person, Region

if typing.TYPE_CHECKING:
    from types import TracebackType

Array = np.ndarray

NAME = "rtmpose"
HALPE_26 = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear",
    "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist",
    "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle", "head", "neck", "hip",
    "left_big_toe", "right_big_toe", "left_small_toe", "right_small_toe", "left_heel", "right_heel",
)  # fmt: skip
# Of landmarks that Halpe does not have, or by another name: whose place they take, and whether that is the same thing.
_ELSEWHERE = {
    "eye_inner": ("eye", False), "eye_outer": ("eye", False), "pinky": ("wrist", False), "index": ("wrist", False),
    "thumb": ("wrist", False), "foot_index": ("big_toe", True),
}  # fmt: skip
_INSTALL = "install it with `python -m pip install rtmlib onnxruntime`"
# RTMPose's scores are heights of peaks, not probabilities: 0.3 is where its users take keypoints for seen (the default of
# Pose2Sim), which fits do from a confidence of 0.5 on.
_SEEN_SCORE = 0.3
_BODY = (*range(5, 17),)
_PADDING = 1.25  # by which rtmlib makes boxes larger


@dataclasses.dataclass(frozen=True)
class RtmModel:
    """Weights of rtmlib's, by its version and its name for them."""

    version: str
    mode: str = "performance"

    @property
    def digest(self) -> str:
        """A name for what the model is, hexadecimal."""
        return hashlib.sha256(f"rtmlib {self.version} BodyWithFeet {self.mode}".encode()).hexdigest()


def load() -> RtmModel:
    """The model of the rtmlib that is installed. Raises UserError: none is."""
    if importlib.util.find_spec("rtmlib") is None:
        raise UserError(f"--pose_model={NAME} needs the package rtmlib, which is not installed; {_INSTALL}")
    return RtmModel(importlib.metadata.version("rtmlib"))


class RtmPose:
    """A `people.Landmarker`; a context."""

    def __init__(self, model: RtmModel):
        """Loads the networks, which rtmlib fetches before. Raises UserError: it cannot."""
        try:
            # It says on the standard output what it loads.
            with contextlib.redirect_stdout(io.StringIO()):
                self._networks: Any = importlib.import_module("rtmlib").BodyWithFeet(mode=model.mode)
        except Exception as error:  # rtmlib and what it stands on raise anything at all
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UserError(
                f"--pose_model={NAME} cannot be started ({reason}); rtmlib fetches its weights when it is first used, so "
                "try again with a connection, or leave the flag out"
            ) from error

    def __enter__(self) -> RtmPose:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        del self._networks

    def regions(self, picture: Array) -> list[Region]:
        """See `people.Landmarker`."""
        boxes = np.reshape(self._networks.det_model(_bgr(picture)), (-1, 4))
        return [_region(box[:2], box[2:], picture) for box in boxes]

    def look(self, picture: Array, region: Region) -> Person | None:
        """See `people.Landmarker`. A region's turn does not matter."""
        size = np.array([picture.shape[1], picture.shape[0]])
        centre = np.array([region.x_center, region.y_center]) * size
        half = np.array([region.width, region.height]) * size / 2 / _PADDING
        return self._person(picture, np.concatenate([centre - half, centre + half]))

    def _person(self, picture: Array, box: Array) -> Person | None:
        """The person in a box (4,): left, top, right, bottom."""
        keypoints, scores = self._networks.pose_model(_bgr(picture), bboxes=[box])
        keypoints, scores = np.asarray(keypoints[0], float), np.asarray(scores[0], float)
        if not (np.isfinite(keypoints).all() and scores[list(_BODY)].mean() >= _SEEN_SCORE):
            return None
        landmarks = as_landmarks(keypoints, scores)
        points = keypoints[scores >= _SEEN_SCORE]
        low, high = points.min(0), points.max(0)
        world = np.full((len(LANDMARKS), 3), np.nan, np.float32)
        return Person(landmarks, world, _region(low, high, picture))


def _region(low: Array, high: Array, picture: Array) -> Region:
    """Around a box from `low` (2,) to `high`, pixels."""
    size = np.array([picture.shape[1], picture.shape[0]])
    x, y, width, height = np.concatenate([(low + high) / 2 / size, np.maximum(high - low, 1) * _PADDING / size])
    return Region(float(x), float(y), float(width), float(height), 0.0)


def as_landmarks(keypoints: Array, scores: Array) -> Array:
    """MediaPipe's landmarks (33, 4): x, y, visibility, presence, of Halpe's keypoints (26, 2) and scores (26,)."""
    confidence = np.clip(scores * (0.5 / _SEEN_SCORE), 0.0, 1.0)
    return np.concatenate(
        [keypoints[_PLACES], (confidence[_PLACES] * _SAME)[:, None], np.ones((len(_PLACES), 1))], 1
    ).astype(np.float32)


def _place(landmark: str) -> tuple[int, bool]:
    """Which keypoint of Halpe's is where a landmark is, and whether it is the same thing."""
    if landmark.startswith("mouth"):
        return HALPE_26.index("nose"), False
    side, _, part = landmark.partition("_")
    other, same = _ELSEWHERE.get(part, (part, True))
    return HALPE_26.index(f"{side}_{other}" if other else side), same


_PLACES, _SAME = (np.array(column) for column in zip(*map(_place, LANDMARKS), strict=True))


def _bgr(picture: Array) -> Array:
    """rtmlib takes OpenCV's order of colours."""
    return np.ascontiguousarray(picture[..., ::-1])
