"""People for tests without a detector: coloured boxes in pictures, and a stand-in that sees a body in each."""

import contextlib

import numpy as np

from experiments.detection.models import Model
from experiments.detection.people import Person, Region, region_of

RED, GREEN, BLUE = 0, 1, 2
MODEL = Model(detector=b"boxes", landmarks=b"sticks")
# Where each of the 33 landmarks lies in its person's box, 0 to 1: a body that faces the camera, arms hanging.
LAYOUT = np.array(
    [(0.5, 0.06)]
    + [(0.53, 0.0), (0.54, 0.0), (0.55, 0.0), (0.47, 0.0), (0.46, 0.0), (0.45, 0.0)]  # eyes
    + [(0.6, 0.06), (0.4, 0.06), (0.53, 0.09), (0.47, 0.09)]  # ears, mouth
    + [(0.8, 0.2), (0.2, 0.2), (0.9, 0.36), (0.1, 0.36), (1.0, 0.5), (0.0, 0.5)]  # shoulders, elbows, wrists
    + [(0.98, 0.52), (0.02, 0.52)] * 3  # hands
    + [(0.65, 0.52), (0.35, 0.52), (0.66, 0.75), (0.34, 0.75), (0.66, 0.95), (0.34, 0.95)]  # hips, knees, ankles
    + [(0.64, 0.98), (0.36, 0.98), (0.7, 1.0), (0.3, 1.0)]  # heels, tips of the feet
)


def picture(width: int, height: int, boxes: dict[int, tuple[int, int, int, int]]) -> np.ndarray:
    """Black, with a box (left, top, width, height) of each colour, the later ones in front."""
    image = np.zeros((height, width, 3), np.uint8)
    for colour, (x, y, w, h) in boxes.items():
        image[max(y, 0) : y + h, max(x, 0) : x + w] = 0
        image[max(y, 0) : y + h, max(x, 0) : x + w, colour] = 255
    return image


class StickLandmarker:
    """Sees somebody in each box; counts what it is asked for. It finds nobody who is lower than
    `least_height` percent of the picture."""

    def __init__(self, least_height: int = 0):
        self.least_height = least_height
        self.finds, self.looks = 0, 0

    def regions(self, image: np.ndarray) -> list[Region]:
        self.finds += 1
        found = [landmarks for landmarks, _ in _bodies(image)]
        return [
            region_of(landmarks, image)
            for landmarks in found
            if np.ptp(landmarks[:, 1]) >= self.least_height * image.shape[0] / 100
        ]

    def look(self, image: np.ndarray, region) -> Person | None:
        self.looks += 1
        centre = np.array([region.x_center * image.shape[1], region.y_center * image.shape[0]])
        reach = np.array([region.width * image.shape[1], region.height * image.shape[0]]) / 2
        inside = []
        for landmarks, world in _bodies(image):
            off = np.abs(landmarks[[23, 24], :2].mean(0) - centre)
            if (off < reach).all():
                inside.append((np.linalg.norm(off), landmarks, world))
        if not inside:
            return None
        _, landmarks, world = min(inside, key=lambda body: body[0])
        return Person(landmarks, world, region_of(landmarks, image))


def _bodies(image: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    bodies = []
    for colour in (RED, GREEN, BLUE):
        rows, columns = np.nonzero(image[..., colour] > 128)
        if len(rows) < 20:
            continue
        low = np.array([columns.min(), rows.min()])
        size = np.array([np.ptp(columns), np.ptp(rows)])
        landmarks = np.ones((33, 4), np.float32)
        landmarks[:, :2] = low + LAYOUT * size
        world = np.zeros((33, 3), np.float32)
        world[:, :2] = (LAYOUT - LAYOUT[[23, 24]].mean(0)) * (0.6, 1.7)
        bodies.append((landmarks, world))
    return bodies


class Starter:
    """What starts the stand-in: counts how often."""

    def __init__(self, model: Model = MODEL):
        self.model, self.starts = model, 0

    @contextlib.contextmanager
    def __call__(self, model: Model):
        assert model is self.model
        self.starts += 1
        yield StickLandmarker()
