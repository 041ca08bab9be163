"""Colours of clothes: where they are taken from, and how unlike they are."""

import films
import numpy as np
import pytest
import stick_people as sticks

from experiments.base import films as frames
from experiments.detection import appearance

SHIRT, TROUSERS, OTHER = (200, 40, 40), (30, 30, 40), (40, 70, 190)


def dressed(x, y=20, width=28, height=70, shirt=SHIRT, trousers=TROUSERS, size=(160, 120)):
    """A picture of grey noise with somebody in it, and the landmarks."""
    picture = np.random.default_rng(x).integers(100, 140, (size[1], size[0], 1)).astype(np.uint8).repeat(3, 2)
    hips = y + round(0.52 * height)
    picture[y + height // 8 : hips, max(x, 0) : x + width] = shirt
    picture[hips : y + height, max(x, 0) : x + width] = trousers
    landmarks = np.ones((33, 4), np.float32)
    landmarks[:, :2] = (x, y) + sticks.LAYOUT * (width, height)
    return picture, landmarks


def test_lab():
    np.testing.assert_allclose(appearance.lab(np.array([255, 255, 255])), [100, 0, 0], atol=0.01)
    np.testing.assert_allclose(appearance.lab(np.array([[255, 0, 0]])), [[53.24, 80.09, 67.20]], atol=0.02)
    np.testing.assert_allclose(appearance.lab(np.array([0, 0, 255])), [32.30, 79.19, -107.86], atol=0.02)
    np.testing.assert_allclose(appearance.lab(np.array([0, 0, 0])), 0, atol=1e-9)


def test_somebody_is_known_by_the_clothes_in_a_film(tmp_path):
    """Two walk through a film in opposite directions, and its compression changes little."""
    pictures, where = [], []
    for t in range(12):
        one, marks = dressed(5 + 4 * t)
        two, others = dressed(120 - 4 * t, shirt=OTHER)
        in_front = (two != np.random.default_rng(120 - 4 * t).integers(100, 140, (120, 160, 1))).any(-1)
        pictures.append(np.where(in_front[..., None], two, one))
        where.append((marks, others))
    path = films.write(tmp_path / "a.mp4", pictures)
    worn = [[appearance.clothes(p, m) for m in marks] for p, marks in zip(frames.decode(path), where, strict=True)]
    first, second = worn[0]
    for t in (0, 1, 2, 3, 10, 11):
        own, other = worn[t]
        assert appearance.unlikeness(first, own) < 0.25 and appearance.unlikeness(second, other) < 0.25
        # The trousers are the same.
        assert 0.35 < appearance.unlikeness(first, other) < 0.7


def test_light_changes_less_than_clothes():
    picture, landmarks = dressed(50)
    bright = appearance.clothes(picture, landmarks)
    dark = appearance.clothes((0.8 * picture).astype(np.uint8), landmarks)
    other = appearance.clothes(*dressed(50, shirt=OTHER, trousers=(200, 200, 190)))
    assert appearance.unlikeness(bright, dark) < 0.4 < 0.8 < appearance.unlikeness(bright, other)


def test_what_cannot_be_told_is_zero():
    picture, landmarks = dressed(50)
    hidden = landmarks.copy()
    hidden[[11, 25, 26], 2] = 0.1  # a shoulder and both knees
    assert not appearance.clothes(picture, hidden).any()
    legless = landmarks.copy()
    legless[[25, 26], 2] = 0.1
    worn = appearance.clothes(picture, legless)
    assert worn[0].any() and not worn[1].any()
    whole = appearance.clothes(picture, landmarks)
    assert appearance.unlikeness(worn, whole) == pytest.approx(0, abs=1e-6)
    assert np.isnan(appearance.unlikeness(worn, whole * np.array([[0], [1]])))
    outside = landmarks + np.array([500, 0, 0, 0], np.float32)
    assert not appearance.clothes(picture, outside).any()
    tiny = landmarks * np.array([0.05, 0.05, 1, 1], np.float32)
    assert not appearance.clothes(picture, tiny).any()


def test_what_somebody_wears_is_what_most_frames_show():
    own, other = appearance.clothes(*dressed(50)), appearance.clothes(*dressed(50, shirt=OTHER))
    each = np.stack([own] * 6 + [other] * 2 + [np.zeros_like(own)] * 3)
    assert appearance.unlikeness(appearance.model(each), own) == pytest.approx(0, abs=1e-6)
    assert not appearance.model(np.zeros_like(each)).any()
