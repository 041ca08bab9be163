"""BlazePose, the pose landmarker of MediaPipe: people in a picture, and the person in a region of it.

The two networks are run here without MediaPipe. Its newer packages can no longer be asked about a region: there each search
begins with the whole picture, which misses people who are small or partly hidden. By their own notice they also send
metrics to Google.

Sources: Bazarevsky et al., BlazePose (2020), and the numbers of MediaPipe's pose_landmarks_detector_graph.cc (Apache-2.0).
"""

from __future__ import annotations

import re
import typing

import numpy as np

from experiments.base.errors import UserError
from experiments.detection import quiet
from experiments.detection.crops import square
from experiments.detection.finder import Finder, circle_region
from experiments.detection.models import Model
from experiments.detection.networks import Network
from experiments.detection.people import Person, Region

if typing.TYPE_CHECKING:
    from types import TracebackType

Array = np.ndarray

_MOST_FOUND = 4
_PRESENCE = 0.5
_SHOWN = 33  # landmarks, of 39; of the others two tell where to look next
_NEXT = (33, 34)
# Landmarks (x, y, depth, visibility, presence), whether there is somebody, heat maps, world landmarks.
_OUTPUTS = ((39 * 5,), (1,), (64, 64, 39), (39 * 3,))
_REACH = 3  # cells of a heat map around a landmark that refine it
_HOT = 0.5  # least heat there
# LiteRT's greeting. Errors and all else pass.
_CHATTER = re.compile(r"INFO: ")


class BlazePose:
    """A `people.Landmarker`; a context."""

    def __init__(self, model: Model):
        """Loads the model. Raises UserError: it, or the runtime, cannot be loaded."""
        with quiet.without(_CHATTER):
            try:
                self._finder = Finder(model.detector)
                self._network = Network(model.landmarks, _OUTPUTS)
                # The first picture sets up the threads, which talk too.
                blank = np.zeros((64, 64, 3), np.uint8)
                self._finder.regions(blank)
                self.look(blank, Region(0.5, 0.5, 1.0, 1.0, 0.0))
            except UserError:
                raise
            except Exception as error:  # a damaged model makes the runtime raise anything at all
                reason = str(error).splitlines()[0] if str(error) else type(error).__name__
                raise UserError(
                    f"the pose model cannot be loaded ({reason}); check --pose_model or leave it out"
                ) from error

    def __enter__(self) -> BlazePose:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        del self._finder, self._network

    def regions(self, picture: Array) -> list[Region]:
        """See `people.Landmarker`."""
        return self._finder.regions(picture)[:_MOST_FOUND]

    def look(self, picture: Array, region: Region) -> Person | None:
        """See `people.Landmarker`."""
        height, width = picture.shape[:2]
        size = np.array([width, height])
        centre = np.array([region.x_center, region.y_center]) * size
        sides = np.array([region.width, region.height]) * size
        levels = square(picture, centre, sides, region.rotation, self._network.side)
        raw, there, heat, world = self._network(levels / 255)
        # NaN is nobody, too.
        if not there[0] > _PRESENCE:
            return None
        raw = raw.reshape(39, 5)
        places = _refined(raw[:, :2] / self._network.side, heat)
        cos, sin = np.cos(region.rotation), np.sin(region.rotation)
        turn = np.array([[cos, sin], [-sin, cos]])
        places = ((places - 0.5) * sides) @ turn + centre
        world = world.reshape(39, 3)[:_SHOWN]
        world = np.concatenate([world[:, :2] @ turn, world[:, 2:]], 1)
        landmarks = np.concatenate([places[:_SHOWN], _sigmoid(raw[:_SHOWN, 3:])], 1)
        following = circle_region(places[list(_NEXT)], (width, height))
        return Person(landmarks.astype(np.float32), world.astype(np.float32), following)


def _refined(places: Array, heat: Array) -> Array:
    """Landmarks (L, 2), shares of the region, each moved to the middle of the heat around it, if there is enough."""
    cells = heat.shape[0]
    home = np.trunc(places * cells).astype(int)
    near = np.arange(-_REACH, _REACH + 1)
    x, y = home[:, :1] + near, home[:, 1:] + near
    inside = ((y >= 0) & (y < cells))[:, :, None] & ((x >= 0) & (x < cells))[:, None]
    rows, columns = np.clip(y, 0, cells - 1)[:, :, None], np.clip(x, 0, cells - 1)[:, None]
    warmth = np.where(inside, _sigmoid(heat[rows, columns, np.arange(len(places))[:, None, None]]), 0.0)
    total = warmth.sum((1, 2))
    hot = (warmth.max((1, 2)) >= _HOT) & ((home >= 0) & (home < cells)).all(1)
    middle = (
        np.stack([(warmth.sum(1) * x).sum(1), (warmth.sum(2) * y).sum(1)], 1) / np.maximum(total, 1e-9)[:, None] / cells
    )
    return np.where(hot[:, None], middle, places)


def _sigmoid(values: Array) -> Array:
    return 1 / (1 + np.exp(-np.clip(values, -80, 80)))
