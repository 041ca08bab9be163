"""Little films of stick people who do something."""

import films
import numpy as np
import stick_people as sticks
from stick_people import BLUE, GREEN, RED

SIZE = (240, 120)


def moving(frame: int) -> dict:
    return {RED: (20 + 2 * frame, 20, 32, 80)}


def crossing(frame: int) -> dict:
    """The larger walks to the right in front of the other."""
    return {GREEN: (190 - 6 * frame, 40, 28, 66), RED: (10 + 6 * frame, 20, 36, 90)}


def film(path, scene=moving, count=12, **options):
    return films.write(path, [sticks.picture(*SIZE, scene(frame)) for frame in range(count)], **options)


def crowd(frame: int) -> dict:
    """Two squat in turn; somebody between them stands by."""
    low = [round(30 * np.sin(np.pi * min(max(frame - start, 0), 40) / 40) ** 2) for start in (2, 16)]
    return {
        RED: (20, 20 + low[0], 36, 90 - low[0]),
        GREEN: (100, 20, 36, 90),
        BLUE: (190, 20 + low[1], 36, 90 - low[1]),
    }
