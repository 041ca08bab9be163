"""MediaPipe's pose landmarker: people in a picture, and the person in a region of it.

The region's half is the part of MediaPipe's graph that its video mode uses from frame to frame. The video mode itself
will not do: for one person it smooths, so that fast hands lag behind, and for several it goes by the search in the whole
picture, which misses people who are small.
"""

from __future__ import annotations

import importlib
import re
import typing
import warnings
from typing import Any

import numpy as np

from experiments.base.errors import UserError
from experiments.detection import quiet
from experiments.detection.models import INSTALL, Model
from experiments.detection.people import Person, Region

if typing.TYPE_CHECKING:
    from types import TracebackType

Array = np.ndarray

_MOST_FOUND = 4
_PRESENCE = 0.5
_GRAPH = "mediapipe.tasks.vision.pose_landmarker.SinglePoseLandmarksDetectorGraph"
_INPUTS = ["IMAGE:image", "NORM_RECT:rect"]
_OUTPUTS = ["LANDMARKS:landmarks", "WORLD_LANDMARKS:world", "POSE_RECT_NEXT_FRAME:next"]
# Information and warnings of absl's log, and TensorFlow Lite's greeting. Errors (E...) and all else pass.
_CHATTER = re.compile(r"[IW]\d{4} |WARNING: All log messages before absl|INFO: Created TensorFlow Lite")


class MediaPipe:
    """A `people.Landmarker`; a context, as it holds native resources."""

    def __init__(self, model: Model):
        """Loads the model. Raises UserError: it, or MediaPipe, cannot be loaded."""
        with quiet.without(_CHATTER):
            # Of MediaPipe's own use of protobuf.
            warnings.filterwarnings("ignore", r"SymbolDatabase\.GetPrototype\(\)", UserWarning)
            self._bindings = _part("python._framework_bindings")
            self._landmarks, self._rects = _part("framework.formats.landmark_pb2"), _part("framework.formats.rect_pb2")
            self._create, self._get = _part("python.packet_creator"), _part("python.packet_getter")
            try:
                model = _normalising(model)
                self._finder = _finder(model)
                self._looker = _looker(model)
            except UserError:
                raise
            except Exception as error:  # a damaged model makes the libraries raise anything at all
                reason = str(error).splitlines()[0] if str(error) else type(error).__name__
                raise UserError(
                    f"MediaPipe cannot load the pose model ({reason}); check --pose_model or leave it out"
                ) from error
            # The first pictures set up the threads, which talk too.
            blank = np.zeros((64, 64, 3), np.uint8)
            self.find(blank)
            self.look(blank, Region(0.5, 0.5, 1.0, 1.0, 0.0))

    def __enter__(self) -> MediaPipe:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with quiet.without(_CHATTER):
            self._finder.close()
            self._looker.close()

    def find(self, picture: Array) -> list[tuple[Array, Array]]:
        """See `people.Landmarker`."""
        found = self._finder.detect(self._image(picture))
        height, width = picture.shape[:2]
        return [
            (_landmarks(landmarks, width, height), _world(world))
            for landmarks, world in zip(found.pose_landmarks, found.pose_world_landmarks, strict=True)
        ]

    def look(self, picture: Array, region: Region) -> Person | None:
        """See `people.Landmarker`."""
        rectangle = self._rects.NormalizedRect(**vars(region))
        packets = self._looker.process(
            {
                "image": self._create.create_image(self._image(picture)),
                "rect": self._create.create_proto(rectangle),
            }
        )
        if any(packets[name].is_empty() for name in ("landmarks", "world", "next")):
            return None

        def read(name: str, kind: Any) -> Any:
            message = kind()
            message.MergeFrom(self._get.get_proto(packets[name]))
            return message

        seen = read("landmarks", self._landmarks.NormalizedLandmarkList).landmark
        world = read("world", self._landmarks.LandmarkList).landmark
        following = read("next", self._rects.NormalizedRect)
        fields = {name: getattr(following, name) for name in vars(region)}
        height, width = picture.shape[:2]
        return Person(_landmarks(seen, width, height), _world(world), Region(**fields))

    def _image(self, picture: Array) -> Any:
        form = self._bindings.image_frame.ImageFormat.SRGB
        return self._bindings.image.Image(image_format=form, data=np.ascontiguousarray(picture))


def _part(name: str) -> Any:
    """A module of MediaPipe, which is no more than optional, and not typed.

    Raises:
      UserError: it cannot be imported, as where a system library of OpenCV's is missing.
    """
    try:
        return importlib.import_module(f"mediapipe.{name}")
    except (ImportError, OSError) as error:
        raise UserError(
            f"the package mediapipe is installed but cannot be imported ({error}); install what it misses, or {INSTALL}"
        ) from error


def _landmarks(points: Any, width: int, height: int) -> Array:
    shares = np.array([(p.x, p.y, p.visibility, p.presence) for p in points], np.float32)
    return shares * np.array([width, height, 1, 1], np.float32)


def _world(points: Any) -> Array:
    return np.array([(p.x, p.y, p.z) for p in points], np.float32)


def _normalising(model: Model) -> Model:
    """The model with the note on how to scale pixels, 0 to 1, in its landmark network, which the package's lacks."""
    metadata = _part("tasks.python.metadata.metadata")
    metadata_writer = _part("tasks.python.metadata.metadata_writers.metadata_writer")
    try:
        metadata.MetadataDisplayer.with_model_buffer(model.landmarks)
        return model
    except ValueError:  # it has no metadata
        writer = metadata_writer.MetadataWriter.create(bytearray(model.landmarks))
        writer.add_image_input([0.0], [255.0])
        noted, _ = writer.populate()
        return Model(model.detector, bytes(noted))


def _finder(model: Model) -> Any:
    tasks, vision = _part("tasks.python"), _part("tasks.python.vision")
    options = vision.PoseLandmarkerOptions(
        base_options=tasks.BaseOptions(model_asset_buffer=model.bundle()), num_poses=_MOST_FOUND
    )
    return vision.PoseLandmarker.create_from_options(options)


def _looker(model: Model) -> Any:
    calculators, runner = _part("framework.calculator_pb2"), _part("python._framework_bindings.task_runner")
    options_pb2 = _part("tasks.cc.vision.pose_landmarker.proto.pose_landmarks_detector_graph_options_pb2")
    options = options_pb2.PoseLandmarksDetectorGraphOptions(min_detection_confidence=_PRESENCE)
    options.base_options.model_asset.file_content = model.landmarks
    config = calculators.CalculatorGraphConfig
    node = config.Node(calculator=_GRAPH, input_stream=_INPUTS, output_stream=_OUTPUTS)
    node.options.Extensions[options.ext].CopyFrom(options)
    graph = config(node=[node], input_stream=_INPUTS, output_stream=_OUTPUTS)
    return runner.TaskRunner.create(graph)
