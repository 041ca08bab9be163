"""Who is followed is shown: a frame that tells it, and boxes in it."""

import base64
import dataclasses
import io

import films
import numpy as np
from PIL import Image

from experiments.data.bystanders import Bystanders, of_landmarks
from experiments.data.dataset import Dataset, Instance, Video, stack
from experiments.show.report import followed
from experiments.show.report.markup import Html

SIZE, COUNT = (320, 180), 21


def dataset(path, person=(40, 30, 80, 150), others=()):
    """A clip whose person is seen from frame 2 on; others: frame -> boxes."""
    keypoints = np.zeros((COUNT, 25, 2))
    keypoints[:] = np.linspace(person[:2], person[2:], 25)
    confidence = np.ones((COUNT, 25))
    confidence[:2] = 0
    boxes = np.zeros((COUNT, 2, 4), np.float32)
    for frame, each in others:
        boxes[frame, : len(each)] = each
    return Dataset(
        clips=stack([Instance(keypoints, confidence, SIZE, fps=25.0)]),
        names=("a",),
        action="kick",
        box_size=np.ones((1, COUNT), np.float32),
        videos=(Video(str(path), np.arange(COUNT)),),
        bystanders=(Bystanders(boxes),) if others else None,
    )


def test_the_frame_that_tells_most():
    assert followed.telling_frame(dataset("x"), 0) == COUNT // 2
    box = (100, 20, 150, 160)
    assert followed.telling_frame(dataset("x", others=[(0, [box, box]), (4, [box]), (18, [box])]), 0) == 4
    # Two others in one frame of 21 may be, in one of 40 not.
    often = dataset("x", others=[(4, [box, box]), *((t, [box]) for t in range(6, 16))])
    assert followed.telling_frame(often, 0) == 4
    frames = [*range(2, COUNT)] * 2
    assert followed.telling_frame(often.select(frames=[[4, *(t for t in frames if t != 4)]]), 0) == 22
    nobody = dataset("x")
    clips = dataclasses.replace(nobody.clips, confidence=np.zeros_like(nobody.clips.confidence))
    assert followed.telling_frame(dataclasses.replace(nobody, clips=clips), 0) is None


def test_a_thumbnail_has_the_boxes(tmp_path, make_run, tiny_fitted):
    grey = [np.full((SIZE[1], SIZE[0], 3), 60, np.uint8)] * COUNT
    path = films.write(tmp_path / "a.mp4", grey)
    data = dataset(path, others=[(5, [(200, 20, 260, 160)])])
    (shown,) = followed.thumbnails(make_run(data, tiny_fitted))
    assert isinstance(shown, Html) and len(shown) < 12_000
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(shown.split("base64,")[1].split('"')[0]))))
    assert picture.shape == (107, 190, 3)
    scale = 190 / 320
    blue = picture[..., 2].astype(int) - picture[..., 0] > 60
    rows, columns = np.nonzero(blue)
    np.testing.assert_allclose(
        np.array([columns.min(), rows.min(), columns.max(), rows.max()]), np.array([33, 23, 87, 157]) * scale, atol=3
    )
    # The other's box is grey, and thin.
    other = round(230 * scale)
    assert picture[:, other].max() > 110 and not blue[:, other].any()


def test_a_film_that_is_gone_has_none(make_run, tiny_fitted, tiny_dataset):
    assert followed.thumbnails(make_run(dataset("gone.mp4"), tiny_fitted)) == [None]
    assert set(followed.thumbnails(make_run(tiny_dataset, tiny_fitted))) == {None}


def test_boxes_of_others():
    landmarks = np.zeros((2, 3, 33, 2))
    landmarks[..., 0, :], landmarks[..., 1:, :] = (-20, 10), (50, 90)
    there = np.array([[False, True, False], [False, False, False]])
    found = of_landmarks(landmarks, there, (40, 200))
    np.testing.assert_array_equal(found.boxes, [[[0, 10, 40, 90]], [[0, 0, 0, 0]]])
    assert len(found.at(0)) == 1 and len(found.at(1)) == 0
    assert of_landmarks(landmarks, there & False, (40, 200)) is None
    assert of_landmarks(landmarks[:, :0], there[:, :0], (40, 200)) is None
