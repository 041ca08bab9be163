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
from experiments.detection import detections, keypoints, models, networks
from experiments.detection.landmarker import BlazePose
from experiments.detection.people import Region
from tests.fuzz import bombs

ROOT = Path(__file__).parents[3]
CLIPS = Path(os.environ.get("NEMO_DATA_DIR", "")) / "pitch_clips"
needs_runtime = pytest.mark.skipif(
    not models.installed(), reason="ai-edge-litert is not installed (requirements-video.txt)"
)
needs_clips = pytest.mark.skipif(
    "NEMO_DATA_DIR" not in os.environ, reason="NEMO_DATA_DIR is not set: no real films to look at"
)


@pytest.fixture(scope="module")
def landmarker():
    with BlazePose(models.load(models.FULL)) as started:
        yield started


@pytest.fixture(scope="module")
def heavy():
    with BlazePose(models.load(models.HEAVY)) as started:
        yield started


def test_missing_package_is_one_sentence(monkeypatch):
    monkeypatch.setattr(models, "installed", lambda: False)
    with pytest.raises(
        UserError, match=r"needs the package ai-edge-litert, .*`python -m pip install -r requirements-video.txt`$"
    ):
        models.load()


def test_a_package_that_cannot_be_imported_is_one_sentence(monkeypatch):
    def fail(name):
        raise ImportError("libstdc++.so.6: cannot open shared object file")

    monkeypatch.setattr(networks.importlib, "import_module", fail)
    with pytest.raises(
        UserError, match=r"^the package ai-edge-litert .* cannot be imported \(libstdc.* file\); .*requirements-video"
    ):
        BlazePose(models.Model(b"", b""))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "cannot be read \\(no such file or directory\\)"),
        (b"no zip", "is not a pose landmarker"),
        ({}, "is not a pose"),
    ],
)
def test_bad_model_is_one_sentence(tmp_path, monkeypatch, content, reason):
    monkeypatch.setattr(models, "installed", lambda: True)
    path = tmp_path / "x.task"
    if isinstance(content, dict):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("hand_detector.tflite", b"")
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(
        UserError, match=rf"^--pose_model={path} {reason}.*; give heavy, full, rtmpose or a pose landmarker .task "
    ):
        models.load(str(path))


def test_a_task_file_that_is_a_bomb_is_one_sentence_before_it_unpacks(tmp_path, monkeypatch):
    monkeypatch.setattr(models, "installed", lambda: True)
    path = tmp_path / "x.task"
    path.write_bytes(bombs.packed(models.DETECTOR.encode(), models.LANDMARKS.encode()))
    with pytest.raises(
        UserError, match=rf"^--pose_model={path} is not a pose .* \(it unpacks to 300000000 bytes, .*give "
    ):
        models.load(str(path))


def test_a_task_file_is_the_model_that_it_holds(tmp_path, monkeypatch):
    monkeypatch.setattr(models, "installed", lambda: True)
    model = models.Model(b"detector", b"landmarks")
    path = tmp_path / "x.task"
    path.write_bytes(model.bundle())
    assert models.load(str(path)) == model
    assert models.load(str(path)).digest == model.digest != models.Model(b"detectorl", b"andmarks").digest


def test_the_shipped_models_are_chosen_by_name(monkeypatch):
    """And are told apart by what is kept of a search; the heavy one is taken when nothing is said."""
    monkeypatch.setattr(models, "installed", lambda: True)
    heavy, full = models.load("heavy"), models.load("full")
    assert models.load() == heavy and len(heavy.landmarks) > 4 * len(full.landmarks)
    assert heavy.detector == full.detector and heavy.digest != full.digest


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


@needs_runtime
def test_the_runtime_is_not_imported_for_the_model():
    code = (
        "import sys; from experiments.detection import search, models\n"
        "print(models.load().digest, 'ai_edge_litert' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert re.fullmatch(r"[0-9a-f]{64} False\n", result.stdout)


@needs_runtime
def test_a_damaged_model_is_one_sentence():
    good = models.load()
    exchanged = models.Model(good.landmarks, good.detector)
    cut = models.Model(good.detector, good.landmarks[:100_000])
    for broken in (models.Model(b"junk", good.landmarks), models.Model(good.detector, b"junk"), exchanged, cut):
        with pytest.raises(
            UserError, match=r"^the pose model cannot be loaded \(.+\); check --pose_model or leave it out$"
        ):
            BlazePose(broken)


@needs_runtime
def test_nobody_in_noise(landmarker):
    noise = np.random.default_rng(0).integers(0, 256, (120, 160, 3)).astype(np.uint8)
    assert [person for place in landmarker.regions(noise) if (person := landmarker.look(noise, place))] == []


@needs_runtime
def test_it_says_nothing():
    """LiteRT greets otherwise."""
    code = (
        "import numpy as np\n"
        "from experiments.detection import landmarker, models\n"
        "with landmarker.BlazePose(models.load()) as m: m.regions(np.zeros((48, 64, 3), np.uint8))\n"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert (result.stdout, result.stderr) == ("", "")


@needs_runtime
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


@needs_runtime
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


# Of frame 50 of clip 1: shoulders, elbows, wrists, hips, knees and ankles, left before right, as MediaPipe 0.10.14 finds
# them in this region, pixels, and how visible; three of them in metres; the region for the next frame; and the pixels that
# it finds in the whole picture.
BODY = [*range(11, 17), *range(23, 29)]
SEEN_IN = Region(0.399, 0.572, 0.553, 0.553 * 320 / 568, 0.2)
LOOKED = [
    (128.0, 284.5), (116.3, 290.5), (111.1, 292.7), (103.7, 299.8), (92.3, 296.0), (88.9, 301.2),
    (128.6, 323.6), (120.7, 325.9), (123.0, 345.0), (122.2, 354.7), (128.0, 370.4), (122.7, 387.3),
]  # fmt: skip
VISIBLE = [1.0, 0.999, 0.979, 0.417, 0.942, 0.65, 0.998, 0.998, 0.96, 0.661, 0.936, 0.838]
METRES = {11: (0.071, -0.482, -0.122), 16: (-0.458, -0.285, 0.046), 28: (0.006, 0.82, 0.071)}
NEXT = (0.3902, 0.5721, 0.5640, 0.3177, -0.0034)
FOUND = [
    (129.4, 284.5), (114.4, 290.6), (112.7, 296.0), (103.4, 300.6), (92.4, 297.3), (89.9, 303.6),
    (133.6, 323.6), (122.0, 325.9), (128.9, 342.1), (120.7, 355.2), (129.7, 368.4), (121.5, 387.2),
]  # fmt: skip


@needs_runtime
@needs_clips
def test_it_finds_what_mediapipe_finds(landmarker):
    (picture,) = frames.decode(CLIPS / "baseball_pitch.1.mp4", [50])
    person = landmarker.look(picture, SEEN_IN)
    off = np.linalg.norm(person.landmarks[BODY, :2] - LOOKED, axis=1)
    # Of a body of 120 pixels. A landmark may jump by a cell of its heat map, 0.7 pixels.
    assert np.median(off) < 0.1 and off.max() < 1.5
    np.testing.assert_allclose(person.landmarks[BODY, 2], VISIBLE, atol=0.01)
    np.testing.assert_allclose(person.world[list(METRES)], list(METRES.values()), atol=0.005)
    np.testing.assert_allclose(list(vars(person.region).values()), NEXT, atol=1e-3)
    (region,) = landmarker.regions(picture)
    off = np.linalg.norm(landmarker.look(picture, region).landmarks[BODY, :2] - FOUND, axis=1)
    assert np.median(off) < 0.5 and off.max() < 3


# The same pixels by its heavy network, of frame 20 of clip 0, who faces the camera.
HEAVY_FOUND = [
    (155.4, 286.6), (127.4, 288.6), (162.2, 305.6), (122.9, 309.7), (165.8, 323.8), (127.4, 327.9),
    (151.4, 327.5), (135.1, 328.7), (154.4, 356.3), (135.9, 357.0), (158.9, 384.9), (135.7, 388.5),
]  # fmt: skip


@needs_runtime
@needs_clips
def test_the_heavy_network_finds_what_mediapipe_finds(heavy):
    (picture,) = frames.decode(CLIPS / "baseball_pitch.0.mp4", [20])
    (region,) = heavy.regions(picture)
    off = np.linalg.norm(heavy.look(picture, region).landmarks[BODY, :2] - HEAVY_FOUND, axis=1)
    assert np.median(off) < 0.3 and off.max() < 1.5


@needs_runtime
@needs_clips
def test_nobody_in_an_empty_corner(landmarker):
    (picture,) = frames.decode(CLIPS / "baseball_pitch.1.mp4", [50])
    assert landmarker.look(picture, Region(0.95, 0.05, 0.1, 0.1 * 320 / 568, 0.0)) is None
