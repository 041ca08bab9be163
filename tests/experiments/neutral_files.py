"""Files of the neutral format as tests write them, one array at a time."""

import numpy as np


def minimal(frames=4, **changes):
    rng = np.random.default_rng(frames)
    arrays = {
        "keypoints": rng.uniform([0, 0], [640, 480], (frames, 25, 2)),
        "confidence": rng.uniform(0.1, 1, (frames, 25)),
        "image_size": np.array([640, 480]),
    }
    return {**arrays, **changes}


def save(path, **arrays):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)
    return path
