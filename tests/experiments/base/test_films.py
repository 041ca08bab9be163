"""Films are decoded in order, upright, with their times; broken ones say so."""

from fractions import Fraction

import films
import numpy as np
import pytest

from experiments.base import films as frames
from experiments.detection import timing


@pytest.mark.parametrize("suffix", films.CODECS)
@pytest.mark.parametrize("fps", [24, 240])
def test_containers_and_rates(tmp_path, suffix, fps):
    pictures = films.numbered(12)
    path = films.write(tmp_path / f"a{suffix}", pictures, fps)
    info = frames.probe(path)
    assert (info.width, info.height, info.num_frames) == (64, 48, 12)
    assert info.fps == pytest.approx(fps, rel=0.02)
    decoded = list(frames.decode(path))
    assert len(decoded) == 12
    for picture, original in zip(decoded, pictures, strict=True):
        assert picture.dtype == np.uint8 and picture.shape == (48, 64, 3)
        # Not where colours meet: they are stored at half the resolution.
        assert np.abs(picture[20:, 26:].astype(int) - original[20:, 26:]).max() <= films.TOLERANCE
    # A webm rounds times to milliseconds.
    np.testing.assert_allclose(frames.timestamps(path), np.arange(12) / fps, atol=6e-4)
    assert timing.uniform(frames.timestamps(path)).fps == pytest.approx(fps, rel=0.02)


def test_chosen_frames(tmp_path):
    path = films.write(tmp_path / "a.mp4", films.numbered(12))
    assert [films.number(picture) for picture in frames.decode(path, [2, 3, 6, 11])] == [2, 3, 6, 4]
    assert [films.number(picture) for picture in frames.decode(path, [5, 40])] == [5]
    assert list(frames.decode(path, [])) == []


# How a viewer shows each matrix, by hand: where the stored top left corner comes to lie.
@pytest.mark.parametrize(
    ("matrix", "shown"),
    [
        (films.IDENTITY, lambda p: p),
        ((0, 1, -1, 0), lambda p: np.rot90(p, -1)),  # a phone held upright: a quarter turn clockwise
        ((-1, 0, 0, -1), lambda p: np.rot90(p, 2)),
        ((0, -1, 1, 0), lambda p: np.rot90(p)),
        ((-1, 0, 0, 1), np.fliplr),  # a mirrored selfie
        ((1, 0, 0, -1), np.flipud),
        ((0, 1, 1, 0), lambda p: p.transpose(1, 0, 2)),
        ((0, -1, -1, 0), lambda p: np.rot90(p, 2).transpose(1, 0, 2)),
    ],
)
@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_rotation_metadata(tmp_path, suffix, matrix, shown):
    pictures = films.numbered(3)
    path = films.write(tmp_path / f"a{suffix}", pictures)
    films.turn(path, matrix)
    expected = [shown(picture) for picture in pictures]
    info = frames.probe(path)
    assert (info.height, info.width) == expected[0].shape[:2]
    for picture, original in zip(frames.decode(path), expected, strict=True):
        assert picture.shape == original.shape
        away = np.abs(picture.astype(int) - original).max(-1)
        assert np.mean(away > films.TOLERANCE) < 0.05  # the border of the red square


@pytest.mark.parametrize("matrix", [films.IDENTITY, (0, 1, -1, 0), (-1, 0, 0, 1)])
@pytest.mark.parametrize("turn", [90, 180, 270])
def test_a_turn_comes_on_top_of_what_the_film_says(tmp_path, matrix, turn):
    path = films.write(tmp_path / "a.mp4", films.numbered(3), pixel_aspect=Fraction(3, 2))
    films.turn(path, matrix)
    expected = [np.rot90(picture, -turn // 90) for picture in frames.decode(path)]
    width, height = next(frames.walk(path, turn)).size
    assert (height, width) == expected[0].shape[:2]
    np.testing.assert_array_equal(list(frames.decode(path, turn=turn)), expected)
    np.testing.assert_array_equal(list(frames.decode(path, [1], turn)), expected[1:2])
    for frame, picture in zip(frames.walk(path, turn), expected, strict=True):
        assert frame.size == picture.shape[1::-1]
        assert frame.small(48).shape == tuple(side // 2 for side in picture.shape[:2])


def test_odd_sizes(tmp_path):
    pictures = films.numbered(3, width=63, height=47)
    path = films.write(tmp_path / "a.mp4", pictures, pixel_format="yuv444p")
    films.turn(path, (0, 1, -1, 0))
    info = frames.probe(path)
    assert (info.width, info.height) == (47, 63)
    for picture, original in zip(frames.decode(path), pictures, strict=True):
        assert np.mean(np.abs(picture.astype(int) - np.rot90(original, -1)) > films.TOLERANCE) < 0.05


def test_pixels_that_are_not_square(tmp_path):
    path = films.write(tmp_path / "a.mp4", films.numbered(3), pixel_aspect=Fraction(3, 2))
    info = frames.probe(path)
    assert (info.width, info.height) == (96, 48)
    assert next(frames.decode(path)).shape == (48, 96, 3)


def test_variable_rate(tmp_path):
    """A tick shows the frame that is nearest in time."""
    times = [0.0, 0.04, 0.08, 0.2, 0.24, 0.28, 0.32, 0.36]
    path = films.write(tmp_path / "a.mkv", films.numbered(8), times=times)
    np.testing.assert_allclose(frames.timestamps(path), times, atol=1e-6)
    clock = timing.uniform(frames.timestamps(path))
    assert clock.fps == pytest.approx(25) and clock.note == ""
    assert clock.frames.tolist() == [0, 1, 2, 2, 3, 3, 4, 5, 6, 7]


def test_steady_times_give_every_frame_once():
    rounded = np.round(np.arange(300) / 29.97, 3)
    clock = timing.uniform(rounded)
    assert clock.frames.tolist() == list(range(300))
    assert clock.fps == pytest.approx(29.97, rel=1e-4)


def test_a_rate_that_changes_keeps_the_right_phase():
    """Half at 30, half at 15 frames a second: ticks are even in time, and the motion's phase follows the clock."""
    times = np.concatenate([np.arange(30) / 30, 1 + np.arange(16) / 15])
    clock = timing.uniform(times)
    ticks = np.arange(len(clock.frames)) / clock.fps
    assert clock.fps == pytest.approx(30, rel=1e-6) and len(ticks) == 61
    assert np.abs(times[clock.frames] - ticks).max() <= 1 / 30 + 1e-9
    assert (np.diff(clock.frames) >= 0).all()


@pytest.mark.parametrize("times", [[0.0, np.nan, 0.2], [0.0, 0.0, 0.1], [0.2, 0.1, 0.3]])
def test_useless_times_are_reported(times):
    clock = timing.uniform(np.array(times), claimed_fps=50)
    assert clock.frames.tolist() == [0, 1, 2] and clock.fps == 50
    assert clock.note == "it has no usable times, so its frames are taken as 50 in a second"


def test_a_jump_in_time_makes_no_endless_clip():
    clock = timing.uniform(np.array([0.0, 0.1, 0.2, 5000.0]))
    assert clock.frames.tolist() == [0, 1, 2, 3] and clock.fps == pytest.approx(10)
    assert "jump" in clock.note


def test_single_frame(tmp_path):
    path = films.write(tmp_path / "a.mp4", films.numbered(1))
    assert len(list(frames.decode(path))) == 1
    assert timing.uniform(frames.timestamps(path), 25).frames.tolist() == [0]


@pytest.mark.parametrize("suffix", [".mkv", ".avi", ".webm", ".mp4"])
def test_cut_short(tmp_path, suffix):
    options = {"movflags": "faststart"} if suffix == ".mp4" else {}
    noise = np.random.default_rng(0)
    pictures = [noise.integers(0, 256, (48, 64, 3)).astype(np.uint8) for _ in range(60)]
    path = films.write(tmp_path / f"a{suffix}", pictures, **options)
    whole = list(frames.decode(path))
    assert len(whole) == 60
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    part = list(frames.decode(path))
    assert 5 <= len(part) < 55
    # What is there is as it was.
    np.testing.assert_array_equal(part[3], whole[3])
    assert len(frames.timestamps(path)) == len(part)
    with pytest.raises(frames.CutShortError, match=rf"a{suffix} .*{len(part)}.* can be decoded"):
        list(frames.walk(path))


@pytest.mark.parametrize(("first", "count"), [(10, 60), (13, 87), (0, 40), (50, 50)])
@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_a_trimmed_film_is_whole(tmp_path, suffix, first, count):
    """A phone trims by a list of what to show; all that it does not is still stored."""
    path = films.write(tmp_path / f"a{suffix}", films.numbered(100))
    films.trim(path, first, count, 25)
    shown = list(frames.walk(path))  # and no CutShortError behind the last
    assert [films.number(frame.picture()) for frame in shown] == [(first + index) % 7 for index in range(count)]
    np.testing.assert_allclose([frame.time for frame in shown], np.arange(count) / 25, atol=1e-4)
    assert frames.probe(path).num_frames == count


def test_a_trimmed_film_that_is_cut_short(tmp_path):
    noise = np.random.default_rng(0)
    pictures = [noise.integers(0, 256, (48, 64, 3)).astype(np.uint8) for _ in range(60)]
    path = films.write(tmp_path / "a.mp4", pictures, movflags="faststart")
    films.trim(path, 10, 45, 25)
    assert len(list(frames.walk(path))) == 45
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(frames.CutShortError, match=r"a\.mp4 should have 45 frames, but only 1\d can be decoded"):
        list(frames.walk(path))


@pytest.mark.parametrize(
    ("content", "reason"), [(b"", "invalid data"), (b"not a film " * 100, "invalid data"), (None, "no such file")]
)
def test_unreadable(tmp_path, content, reason):
    path = tmp_path / "ä b.mp4"
    if content is not None:
        path.write_bytes(content)
    for read in (frames.probe, frames.timestamps, lambda p: list(frames.decode(p))):
        with pytest.raises(frames.VideoError, match=rf"ä b\.mp4 cannot be read as a video \({reason}.*\)$"):
            read(path)


def test_no_frames(tmp_path):
    """The header is there, the pictures are not."""
    path = films.write(tmp_path / "a.mp4", films.numbered(30), movflags="faststart")
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"mdat") + 4])
    with pytest.raises(frames.VideoError, match=r"a\.mp4 has no frame that can be decoded"):
        frames.probe(path)
