"""JSON files as OpenPose writes them, films, and a dataset to lay them over, for the tests."""

import json

import numpy as np
import pytest

from experiments.data.dataset import Dataset, Instance, stack, visible_box_size

OTHERS = ("face_keypoints_2d", "hand_left_keypoints_2d", "hand_right_keypoints_2d", "pose_keypoints_3d")


def somebody(x=100.0, y=50.0, keypoints=25, size=100.0, confidence=0.9):
    """Keypoints (K, 3) on a zigzag of two columns, the lowest last."""
    rows = np.arange(keypoints)
    return np.stack([x + 20.0 * (rows % 2), y + size * rows / keypoints, np.full(keypoints, confidence)], 1)


# A person who faces the camera, in centimetres from the middle of the hips, down, in BODY_25's order.
STANDING = np.array(
    [(0, -75), (0, -52), (-18, -50), (-26, -24), (-31, 0), (18, -50), (26, -24), (31, 0), (0, 0)]
    + [(-10, 0), (-12, 42), (-12, 82), (10, 0), (12, 42), (12, 82), (-3, -79), (3, -79), (-7, -77), (7, -77)]
    + [(17, 92), (20, 91), (12, 88), (-17, 92), (-20, 91), (-12, 88)]
)


def standing(x, y, confidence=0.9):
    """Keypoints (25, 3) of somebody whose middle of the hips is here, a pixel a centimetre."""
    return np.concatenate([STANDING + (x, y), np.full((25, 1), confidence)], 1)


def document(*people, key="pose_keypoints_2d"):
    entries = [
        {"person_id": [-1], key: np.asarray(p).ravel().tolist(), **{other: [] for other in OTHERS}} for p in people
    ]
    return {"version": 1.3, "people": entries}


def write(folder, frames, name="clip", start=0, digits=12):
    """Frames: a document, None for no file, or the text of a file."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, frame in enumerate(frames, start):
        if frame is not None:
            text = frame if isinstance(frame, str) else json.dumps(frame)
            (folder / f"{name}_{number:0{digits}d}_keypoints.json").write_text(text, encoding="utf-8")
    return folder


def walk(frames, **kind):
    return [document(somebody(100.0 + t, **kind)) for t in range(frames)]


def film(path, frames, size=(64, 48), fps=25):
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=fps)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for n in range(frames):
            picture = np.full((size[1], size[0], 3), 5 * n, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


def dataset(lengths, names=None, **fields):
    rng = np.random.default_rng(0)
    instances = [
        Instance(rng.uniform(0, 400, (n, 25, 2)), np.ones((n, 25)), (640, 480), rng.normal(size=(n, 24, 3)))
        for n in lengths
    ]
    clips = stack(instances)
    return Dataset(
        clips=clips,
        names=tuple(names or (f"clip {n}" for n in range(len(lengths)))),
        action="kick",
        box_size=visible_box_size(np.asarray(clips.keypoints), np.asarray(clips.confidence)),
        annotated=(0, 2),
        head_point="head_centre",
        notes=("Before.",),
        **fields,
    )
