"""BlazePose's detector: where in a picture are people.

Sources: Bazarevsky et al., BlazePose (2020), and the numbers of MediaPipe's pose_detector_graph.cc (Apache-2.0). For each
anchor the network gives a score, a box and points, of which the middle of the hips and one on the circle around the body
are used. Boxes that overlap are averaged, each as much as its score.
"""

from __future__ import annotations

import numpy as np

from experiments.detection.crops import square
from experiments.detection.networks import Network
from experiments.detection.people import Region

Array = np.ndarray

# Cells of the grids of anchors, and anchors in each cell.
_GRIDS = ((28, 2), (14, 2), (7, 6))
_NUM_ANCHORS = sum(cells * cells * each for cells, each in _GRIDS)
_OUTPUTS = ((_NUM_ANCHORS, 12), (_NUM_ANCHORS, 1))
_SCORE = 0.5
_SAME = 0.5  # overlap (intersection over union) above which boxes are one person's
_MARGIN = 1.25  # of a region, around the circle


class Finder:
    """The network, and what its numbers mean."""

    def __init__(self, content: bytes):
        """Loads a TensorFlow Lite file. Raises ValueError: it is no such detector. UserError: no runtime."""
        self._network = Network(content, _OUTPUTS)
        self._anchors = _anchors()

    def regions(self, picture: Array) -> list[Region]:
        """Regions around the people in a picture, RGB uint8 (H, W, 3), the surest first."""
        height, width = picture.shape[:2]
        centre, side = np.array([width / 2, height / 2]), float(max(width, height))
        levels = square(picture, centre, np.array([side, side]), 0.0, self._network.side, black=True)
        raw, logits = self._network(levels / 127.5 - 1)
        likely = logits[:, 0] >= np.log(_SCORE / (1 - _SCORE))
        scores = 1 / (1 + np.exp(-logits[likely, 0]))
        raw, anchors = raw[likely] / self._network.side, self._anchors[likely]
        middles, sizes = raw[:, :2] + anchors, raw[:, 2:4]
        # Left, top, right, bottom; then middle of the hips and a point on the circle around the body.
        boxes = np.concatenate([middles - sizes / 2, middles + sizes / 2], 1)
        points = raw[:, 4:8] + np.tile(anchors, 2)
        sound = (sizes >= 0).all(1)
        found = _merged(boxes[sound], points[sound], scores[sound])
        return [circle_region((pair.reshape(2, 2) - 0.5) * side + centre, (width, height)) for pair in found]


def circle_region(points: Array, size: tuple[int, int]) -> Region:
    """The square around a circle, with a margin, turned so that its second point is above its middle.

    Args:
      points (2, 2): pixels, the circle's middle and a point on it.
      size: width and height of the picture, pixels.
    """
    (x, y), (dx, dy) = points[0], points[1] - points[0]
    side = 2 * _MARGIN * float(np.hypot(dx, dy))
    rotation = np.pi / 2 - np.arctan2(-dy, dx)
    rotation -= 2 * np.pi * np.floor((rotation + np.pi) / (2 * np.pi))
    return Region(float(x / size[0]), float(y / size[1]), side / size[0], side / size[1], float(rotation))


def _anchors() -> Array:
    """(A, 2): x, y of the anchors in shares of the picture, row by row of each grid."""
    grids = []
    for cells, each in _GRIDS:
        y, x = np.divmod(np.arange(cells * cells), cells)
        grids.append(np.repeat((np.stack([x, y], 1) + 0.5) / cells, each, axis=0))
    return np.concatenate(grids).astype(np.float32)


def _merged(boxes: Array, points: Array, scores: Array) -> list[Array]:
    """The points (4,) of each person: of the box with the highest score and all that overlap it, averaged by score."""
    order = np.argsort(-scores, kind="stable")
    found = []
    while len(order):
        together = _overlap(boxes[order], boxes[order[0]]) > _SAME
        together[0] = True
        group = order[together]
        found.append(np.average(points[group], axis=0, weights=scores[group]))
        order = order[~together]
    return found


def _overlap(boxes: Array, box: Array) -> Array:
    """Intersection over union of boxes (B, 4) with one."""
    shared = np.prod(np.maximum(np.minimum(boxes[:, 2:], box[2:]) - np.maximum(boxes[:, :2], box[:2]), 0), axis=1)
    either = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) + np.prod(box[2:] - box[:2]) - shared
    return shared / np.maximum(either, np.finfo(np.float32).tiny)
