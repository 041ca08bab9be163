"""Where films cut: made-up scenes with blobs that move, and what is no cut; and real films."""

import os
from pathlib import Path

import numpy as np
import pytest

from experiments.base import films as frames
from experiments.detection import cuts

DATA = Path(os.environ.get("NEMO_DATA_DIR", ""))
needs_films = pytest.mark.skipif("NEMO_DATA_DIR" not in os.environ, reason="NEMO_DATA_DIR is not set: no real films")
HEIGHT, WIDTH = 90, 160


def scene(seed: int, width: int = WIDTH) -> np.ndarray:
    """Patches of colour."""
    patches = np.random.default_rng(seed).integers(30, 200, (9, width // 10, 3)).astype(np.uint8)
    return patches.repeat(10, 0).repeat(10, 1)


def shot(seed: int, count: int) -> list[np.ndarray]:
    """A still scene, and somebody who runs across it."""
    pictures = []
    for frame in range(count):
        picture = scene(seed)
        picture[20:80, 4 * frame + 10 : 4 * frame + 30] = (250, 220, 180)
        pictures.append(picture)
    return pictures


def view(seed: int, left: np.ndarray) -> list[np.ndarray]:
    """A camera that pans over a scene: where its left edge is, pixels, in each picture."""
    wide = scene(seed, 1600)
    return [wide[:, int(x) : int(x) + WIDTH] for x in left]


def starts(pictures: list[np.ndarray]) -> list[int]:
    return [index for index, _, begins in cuts.marked(enumerate(pictures)) if begins]


def lit(pictures: list[np.ndarray], light: dict[int, tuple[float, float]]) -> list[np.ndarray]:
    """Pictures times one number plus another, those that are named."""
    scaled = [picture * light.get(k, (1, 0))[0] + light.get(k, (1, 0))[1] for k, picture in enumerate(pictures)]
    return [np.clip(picture, 0, 255).astype(np.uint8) for picture in scaled]


def test_cuts_are_found():
    assert starts([*shot(1, 20), *shot(2, 9), *shot(3, 20), *shot(1, 12)]) == [0, 20, 29, 49]


def test_a_last_shot_of_two_pictures():
    assert starts([*shot(1, 20), *shot(2, 2)]) == [0, 20]
    assert starts([*shot(1, 2), *shot(2, 20)]) == [0, 2]


def test_a_cut_between_moving_cameras():
    assert starts([*view(1, 20 + 6 * np.arange(20)), *view(2, 900 - 9 * np.arange(20))]) == [0, 20]


@pytest.mark.parametrize("times", [1, 2, 3])
def test_pictures_that_are_shown_again_count_once(times):
    """As where 12 frames a second became 24 or 36: nothing stands alone that stands between two repeats."""
    follow = np.array([*[20] * 10, *[70] * 6, *[20] * 10])  # slowly, then faster than pictures tell
    pan, other = ([p for p in view(seed, 20 + np.cumsum(follow)) for _ in range(times)] for seed in (1, 2))
    assert starts(pan) == [0]
    assert starts([*pan, *other]) == [0, len(pan)]
    assert starts([*pan, *other[:2]]) == [0, len(pan)]


def test_a_cut_between_scenes_that_stand():
    assert starts([*[scene(1)] * 12, *[scene(2)] * 5, *[scene(3)] * 2]) == [0, 12, 17]


def test_a_cut_to_almost_the_same_view():
    """As between two throws, by the camera of the stadium; but no change as large while somebody runs past it."""
    nearly = scene(1)
    nearly[60:80, 100:150] = scene(2)[60:80, 100:150]
    change = cuts.difference(cuts.small(scene(1)), cuts.small(nearly))
    assert 0.045 < change < 0.07
    assert starts([scene(1)] * 20 + [nearly] * 20) == [0, 20]
    runner = shot(1, 40)
    for picture in runner[20:]:
        picture[60:80, 100:150] = np.where(picture[60:80, 100:150] == (250, 220, 180), 250, nearly[60:80, 100:150])
    assert starts(runner) == [0]


def test_a_cut_to_a_closer_view():
    near = [picture[15:60, 40:120].repeat(2, 0).repeat(2, 1) for picture in shot(1, 15)]
    assert starts([*shot(1, 20), *near]) == [0, 20]


@pytest.mark.parametrize("share", [0.3, 0.5, 0.7])
def test_a_mixture_belongs_to_the_shot_before(share):
    before, after = shot(1, 20), shot(2, 20)
    mixture = (share * before[-1] + (1 - share) * after[0]).astype(np.uint8)
    assert starts([*before, mixture, *after]) == [0, 21]


def test_a_cut_from_black():
    assert starts([*np.zeros((10, HEIGHT, WIDTH, 3), np.uint8), *shot(1, 20)]) == [0, 10]


STEPS = np.zeros(30)
RNG = np.random.default_rng(0)
NO_CUTS = {
    "somebody runs": shot(1, 30),
    "light": lit(shot(1, 30), dict.fromkeys(range(15, 30), (0.4, 0.0))),
    "flashes": lit(shot(1, 30), {12: (1.5, 90.0), 20: (1.3, 60.0), 21: (1.2, 40.0), 25: (0.0, 255.0)}),
    "two black pictures": lit(shot(1, 30), {12: (0.0, 0.0), 13: (0.0, 0.0)}),
    "a fade from black": lit(shot(1, 30), {k: (k / 15, 0.0) for k in range(15)}),
    "noise": [np.clip(p + RNG.normal(0, 25, p.shape), 0, 255).astype(np.uint8) for p in shot(1, 20)],
    "a picture stands": [*shot(1, 30)[:10], *[shot(1, 30)[10]] * 8, *shot(1, 30)[11:]],
    "a pan": view(1, 20 + 8 * np.arange(30)),
    "a fast pan": view(1, 200 + np.cumsum([*STEPS[:12], *[90] * 6, *STEPS[:12]])),
    "a fast pan from and to a stand": view(1, 200 + np.cumsum([*STEPS[:12], 40, 90, 120, 90, 40, *STEPS[:12]])),
    "a jolt": view(1, 200 + np.cumsum([*STEPS[:12], 25, *STEPS[:12]])),
    "a shaking hand": view(1, 200 + RNG.normal(0, 10, 30)),
    "one colour": [np.full((HEIGHT, WIDTH, 3), 90 + k % 3, np.uint8) for k in range(20)],
    "one picture": shot(1, 1),
    "nothing": [],
}


@pytest.mark.parametrize("name", NO_CUTS)
def test_no_cut(name):
    assert starts(NO_CUTS[name]) == [0][: len(NO_CUTS[name])]


def test_somebody_passes_the_lens():
    pictures = shot(1, 40)
    for frame, picture in enumerate(pictures):
        left = 30 * (frame - 15) - 60
        picture[:, max(left, 0) : max(left + 90, 0)] = (60, 40, 30)
    assert starts(pictures) == [0]


def test_pictures_are_passed_on_as_they_are_and_not_far_behind():
    pictures = [*shot(1, 12), *shot(2, 12)]
    read = []

    def source():
        for index, picture in enumerate(pictures):
            read.append(index)
            yield str(index), picture

    for index, (name, picture, _) in enumerate(cuts.marked(source())):
        assert name == str(index) and picture is pictures[index]
        assert len(read) <= index + 9
    assert index == 23


@pytest.mark.parametrize("shape", [(1, 1), (3, 500), (191, 193)])
def test_pictures_of_any_shape(shape):
    pictures = np.random.default_rng(0).integers(0, 256, (2, *shape, 3)).astype(np.uint8)
    assert cuts.small(pictures[0]).shape == (48, 48, 3)
    assert cuts.difference(*map(cuts.small, pictures)) >= 0


def test_small_pictures_are_means():
    picture = np.random.default_rng(0).integers(0, 256, (192, 384, 3)).astype(np.uint8)
    # Of every other column.
    expected = picture[:, 1::2].reshape(48, 4, 48, 4, 3).mean((1, 3))
    np.testing.assert_allclose(cuts.small(picture), expected, rtol=1e-6)


@needs_films
@pytest.mark.parametrize(
    ("film", "expected"),
    [
        ("faults/films/ends_on_another_person_after_a_cut.mp4", [0, 20]),
        ("faults/films/squats_several_in_each/squat2.mp4", [0]),
        ("pitch_clips/baseball_pitch.3.mp4", [0]),
    ],
)
def test_real_films(film, expected):
    if not (DATA / film).is_file():
        pytest.skip(f"there is no {DATA / film}")
    assert starts(list(frames.decode(DATA / film))) == expected
