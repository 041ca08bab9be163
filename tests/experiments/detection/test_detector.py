"""The real detector: its model, its silence, and what it finds in real films."""

import os
import re
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from experiments.base import films as frames
from experiments.base.errors import UserError
from experiments.detection import detections, keypoints, models

# MediaPipe's own use of protobuf; pytest takes back the filter that the landmarker sets.
pytestmark = pytest.mark.filterwarnings("ignore:SymbolDatabase.GetPrototype")
ROOT = Path(__file__).parents[3]
CLIPS = Path(os.environ.get("NEMO_DATA_DIR", "")) / "pitch_clips"
needs_mediapipe = pytest.mark.skipif(
    not models.installed(), reason="mediapipe is not installed (requirements-video.txt)"
)
needs_clips = pytest.mark.skipif(
    "NEMO_DATA_DIR" not in os.environ, reason="NEMO_DATA_DIR is not set: no real films to look at"
)


@pytest.fixture(scope="module")
def landmarker():
    from experiments.detection.landmarker import MediaPipe

    with MediaPipe(models.load()) as started:
        yield started


def test_missing_package_is_one_sentence(monkeypatch):
    monkeypatch.setattr(models, "_package", lambda: None)
    with pytest.raises(
        UserError, match=r"needs the package mediapipe, .*`python -m pip install -r requirements-video.txt`$"
    ):
        models.load()


def test_a_package_that_cannot_be_imported_is_one_sentence(monkeypatch):
    from experiments.detection import landmarker

    def fail(name):
        raise ImportError("libGL.so.1: cannot open shared object file")

    monkeypatch.setattr(landmarker.importlib, "import_module", fail)
    with pytest.raises(
        UserError, match=r"^the package mediapipe .* cannot be imported \(libGL.* file\); .*requirements-video"
    ):
        landmarker.MediaPipe(models.Model(b"", b""))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "cannot be read \\(no such file or directory\\)"),
        (b"no zip", "is not a pose landmarker"),
        ({}, "is not a pose"),
    ],
)
def test_bad_model_is_one_sentence(tmp_path, content, reason):
    path = tmp_path / "x.task"
    if isinstance(content, dict):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("hand_detector.tflite", b"")
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=rf"^--pose_model={path} {reason}.*give "):
        models.load(str(path))


def test_a_task_file_is_the_model_that_it_holds(tmp_path):
    model = models.Model(b"detector", b"landmarks")
    path = tmp_path / "x.task"
    path.write_bytes(model.bundle())
    assert models.load(str(path)) == model
    assert models.load(str(path)).digest == model.digest != models.Model(b"detectorl", b"andmarks").digest


QUIET = r"""
import os, re, sys
from experiments.detection import quiet
with quiet.without(re.compile("I0")):
    os.write(2, b"I0001 hello\nE0001 trouble\n")
    print("I0 from Python\nand this", file=sys.stderr)
os.write(2, b"I0 after\n")
with quiet.without(re.compile("I0")):
    os.write(2, b"W0 last words\nI0 bye\n")
    raise SystemExit(3)
"""


def test_quiet_drops_small_talk_and_keeps_errors():
    result = subprocess.run([sys.executable, "-c", QUIET], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 3
    assert result.stderr == "E0001 trouble\nand this\nI0 after\nW0 last words\n"


@needs_mediapipe
def test_the_package_carries_the_model_and_is_not_imported_for_it():
    code = (
        "import sys; from experiments.detection import models; print(models.load().digest, 'mediapipe' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert re.fullmatch(r"[0-9a-f]{64} False\n", result.stdout)


@needs_mediapipe
def test_a_damaged_model_is_one_sentence():
    from experiments.detection.landmarker import MediaPipe

    good = models.load()
    for broken in (models.Model(b"junk", good.landmarks), models.Model(good.detector, b"junk")):
        with pytest.raises(
            UserError, match=r"^MediaPipe cannot load the pose model \(.+\); check --pose_model or leave it out$"
        ):
            MediaPipe(broken)


@needs_mediapipe
def test_nobody_in_noise(landmarker):
    noise = np.random.default_rng(0).integers(0, 256, (120, 160, 3)).astype(np.uint8)
    assert landmarker.find(noise) == []


@needs_mediapipe
def test_it_says_nothing():
    """MediaPipe's start and end print a dozen lines otherwise."""
    code = (
        "import numpy as np\n"
        "from experiments.detection import landmarker, models\n"
        "with landmarker.MediaPipe(models.load()) as m: m.find(np.zeros((48, 64, 3), np.uint8))\n"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert (result.stdout, result.stderr) == ("", "")


@needs_mediapipe
@needs_clips
@pytest.mark.parametrize("clip", range(4))
def test_real_films(landmarker, clip):
    """The person is found in every frame of a stretch, as high in pixels and as large in metres as is plausible."""
    watcher = detections.Watcher(landmarker)
    begun = time.perf_counter()
    people = [watcher.people(picture) for picture in frames.decode(CLIPS / f"baseball_pitch.{clip}.mp4", range(40, 60))]
    seconds = (time.perf_counter() - begun) / len(people)
    largest = [max(present, key=lambda person: person.size, default=None) for present in people]
    assert np.mean([person is not None for person in largest]) >= 0.95
    marks = np.stack([person.landmarks for person in largest if person])
    points, confidence = keypoints.body_25(marks, (320, 568))
    height = np.ptp(points[:, keypoints.KEYPOINTS, 1], axis=1)
    assert ((height > 90) & (height < 170)).all()
    assert np.median(confidence[:, [2, 5, 9, 12]]) > 0.95
    # Shoulders to hips, metres.
    world = np.stack([person.world for person in largest if person])
    trunk = np.linalg.norm(world[:, [11, 12]].mean(1) - world[:, [23, 24]].mean(1), axis=-1)
    assert ((trunk > 0.3) & (trunk < 0.7)).all()
    assert seconds < 1.0  # 30 ms on two cores that are free


@needs_mediapipe
@needs_clips
def test_two_real_people_side_by_side(landmarker):
    """Two films in one picture: both people are found in most frames."""
    films = [frames.decode(CLIPS / f"baseball_pitch.{clip}.mp4", range(30, 50)) for clip in (0, 3)]
    watcher = detections.Watcher(landmarker)
    both = []
    for left, right in zip(*films, strict=True):
        people = watcher.people(np.concatenate([left, right], 1))
        sides = {bool(person.landmarks[[23, 24], 0].mean() > 320) for person in people}
        both.append(len(sides) == 2)
    assert np.mean(both) >= 0.8
