"""Jumps of a person from one frame to the next: found at cuts, and not in motion, noise, gaps or at low rates."""

import dataclasses

import numpy as np
import pytest

from experiments.data import jumps
from experiments.data.dataset import Dataset, Instance, stack, visible_box_size
from experiments.loaders import registry
from tests.experiments.openpose_trees import document, standing, write


def walk(frames=40, step=12.0, noise=3.0):
    """Somebody 180 pixels tall who goes to the right: step pixels a frame; with a detector's noise."""
    rng = np.random.default_rng(0)
    points = np.stack([standing(200 + step * t, 150)[:, :2] for t in range(frames)])
    return points + rng.normal(0, noise, points.shape), np.full((frames, 25), 0.9)


def test_motion_is_no_jump():
    points, confidence = walk()
    assert jumps.frames(points, confidence, 30.0) == []
    # A sprinter filmed ten times a second; missing frames; joints that come and go.
    assert jumps.frames(*walk(step=80.0), 10.0) == []
    confidence[10:25] = 0
    confidence[30, 5:] = 0
    confidence[31, 13:] = 0
    assert jumps.frames(points, confidence, 30.0) == []


@pytest.mark.parametrize("change", [lambda p: p + (200, 0), lambda p: p * 2, lambda p: p / 2, lambda p: p * 0 + 7])
def test_another_place_or_size_is_a_jump(change):
    points, confidence = walk(step=2.0)
    points[20:] = change(points[20:])
    assert jumps.frames(points, confidence, 30.0) == [20]
    assert jumps.frames(points, confidence, 240.0) == [20]
    confidence[20] = 0
    assert jumps.frames(points * 1.0, confidence, 30.0) in ([21], [])


def test_nothing_to_compare():
    for frames in (0, 1, 2):
        assert jumps.frames(np.zeros((frames, 25, 2)), np.ones((frames, 25)), 30.0) == []
        assert jumps.frames(np.full((frames, 25, 2), np.nan), np.zeros((frames, 25)), 30.0) == []


def test_the_note_names_clip_frame_and_time_once():
    points, confidence = walk(step=2.0)
    jumping = points.copy()
    jumping[15:30] += (400, 0)
    clips = stack([Instance(p, confidence, (1280, 720), fps=25.0) for p in (points, jumping)])
    data = Dataset(
        clips=clips, names=("a", "b"), action="walk", box_size=visible_box_size(clips.keypoints, clips.confidence)
    )
    (note,) = jumps.noted(data).notes
    assert "anybody moves: b at frame 15 (0.60 s), frame 30 (1.20 s). The film may be cut there" in note
    assert jumps.noted(jumps.noted(data)).notes == (note,)
    assert jumps.noted(dataclasses.replace(data, notes=("x",))).notes == ("x", note)


def test_every_loader_says_it(tmp_path):
    frames = [document(standing(200 + (0 if t < 6 else 70), 150)) for t in range(12)]
    write(tmp_path / "a", frames)
    notes = registry.load("walk", str(tmp_path), image_size=(640, 480)).notes
    assert any("a at frame 6 (0.20 s). The film" in note for note in notes)
    assert not any("jumps" in note for note in registry.load("baseball_pitch").notes)
