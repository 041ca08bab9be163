"""RTMPose by a stand-in for rtmlib: its keypoints get their places, and people are followed by them."""

import importlib.metadata
import importlib.util
import sys
import types

import numpy as np
import pytest

from body_models import joints as jn
from experiments.base.errors import UserError
from experiments.detection import keypoints, landmarks, rtmpose, search
from experiments.detection.people import Watcher

SIZE = (240, 120)
# Where Halpe's keypoints lie in a box around somebody, 0 to 1.
LAYOUT = np.stack([np.linspace(0.1, 0.9, 26) ** (1 + k % 2) for k in range(2)], 1)[
    np.random.default_rng(0).permutation(26)
]


class BodyWithFeet:
    """Sees somebody in each box of pure red, in pictures as OpenCV has them."""

    score = 0.9

    def __init__(self, mode: str):
        print("load weights")
        self.mode, self.boxes = mode, []

    def det_model(self, picture):
        rows, columns = np.nonzero((picture == (0, 0, 255)).all(-1))
        if not len(rows):
            return np.array([])  # as rtmlib's
        return np.array([[columns.min(), rows.min(), columns.max(), rows.max()]], float)

    def pose_model(self, picture, bboxes):
        self.boxes.append(np.array(bboxes[0]))
        found = self.det_model(picture)
        low, high = (found[0, :2], found[0, 2:]) if len(found) else (np.zeros(2), np.ones(2))
        scores = np.full((1, 26), self.score if len(found) else 0.05)
        return (low + LAYOUT * (high - low))[None], scores


@pytest.fixture
def rtmlib(monkeypatch):
    module = types.SimpleNamespace(BodyWithFeet=BodyWithFeet, __spec__=object())
    monkeypatch.setitem(sys.modules, "rtmlib", module)
    monkeypatch.setattr(importlib.metadata, "version", lambda name: {"rtmlib": "1.2"}[name])
    return module


def picture(left: int) -> np.ndarray:
    image = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    image[20:100, left : left + 40] = (255, 0, 0)
    return image


def test_each_keypoint_gets_the_place_of_its_name():
    points = np.random.default_rng(0).uniform(0, 100, (26, 2))
    marks = rtmpose.as_landmarks(points, np.full(26, 0.9))
    found, confidence = keypoints.body_25(marks, (100, 100))
    for name in ("nose", "left_eye", "right_ear", "left_wrist", "right_hip", "left_big_toe", "right_heel"):
        np.testing.assert_allclose(found[jn.BODY_25_NAMES.index(name)], points[rtmpose.HALPE_26.index(name)], rtol=1e-5)
    assert {jn.BODY_25_NAMES[k] for k in np.flatnonzero(confidence == 0)} == {
        "neck", "mid_hip", "left_small_toe", "right_small_toe"
    }  # fmt: skip
    seen = {landmarks.LANDMARKS[k] for k in np.flatnonzero(marks[:, 2])}
    assert len(seen) == 21 and not any("thumb" in name or "mouth" in name or "inner" in name for name in seen)


@pytest.mark.parametrize(("score", "expected"), [(0.0, 0.0), (0.15, 0.25), (0.3, 0.5), (0.6, 1.0), (1.1, 1.0)])
def test_scores_become_confidences(score, expected):
    assert rtmpose.as_landmarks(np.zeros((26, 2)), np.full(26, score))[0, 2] == pytest.approx(expected)


def test_people_are_found_and_followed(rtmlib, capsys):
    chosen = search.detector("rtmpose")
    with chosen.start(chosen.model) as landmarker:
        watcher = Watcher(landmarker)
        for left in range(20, 60, 4):
            (person,) = watcher.people(picture(left))
            np.testing.assert_allclose(person.landmarks[0, :2], [left, 20] + LAYOUT[0] * [39, 79], atol=1e-3)
            assert np.isnan(person.world).all()
        assert watcher.people(picture(20) * 0) == []
        # What it looks at is the person's box, which rtmlib makes larger itself.
        seen = person.landmarks[person.landmarks[:, 2] > 0, :2]
        box = landmarker._networks.boxes[-3]
        assert box[0] < seen[:, 0].mean() < box[2] and box[3] - box[1] < 100
    assert capsys.readouterr().out == ""


def test_somebody_hardly_seen_is_nobody(rtmlib, monkeypatch):
    monkeypatch.setattr(BodyWithFeet, "score", 0.25)
    landmarker = rtmpose.RtmPose(rtmpose.load())
    (region,) = landmarker.regions(picture(20))
    assert landmarker.look(picture(20), region) is None


def test_what_is_kept_of_a_search_tells_the_version(rtmlib):
    assert rtmpose.load().digest == rtmpose.RtmModel("1.2").digest != rtmpose.RtmModel("1.3").digest


def test_without_rtmlib_it_is_one_sentence(monkeypatch):
    whole = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "rtmlib" else whole(name))
    with pytest.raises(
        UserError, match=r"^--pose_model=rtmpose needs the package rtmlib, .*; install it with `python -m pip "
    ):
        search.detector("rtmpose")


def test_weights_that_cannot_be_fetched_are_one_sentence(rtmlib):
    def fail(mode):
        raise OSError("no route to host\nand more")

    rtmlib.BodyWithFeet = fail
    with pytest.raises(
        UserError, match=r"^--pose_model=rtmpose cannot be started \(no route to host\); rtmlib fetches .*"
    ):
        rtmpose.RtmPose(rtmpose.load())
