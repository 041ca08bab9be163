"""Films that are written in pieces and joined: the same pictures at the same times as one written at once."""

from concurrent.futures import Future

import av
import numpy as np
import pytest

from experiments.base import devices
from experiments.fitting.workers import Later
from experiments.show.render import mp4, pieces

SIZE = (64, 48)
COUNT = 100


def drawn(number: int) -> np.ndarray:
    """A grey that tells the number of the picture."""
    return np.full((SIZE[1], SIZE[0], 3), 20 + 2 * number, np.uint8)


def write(path, pictures, fps):
    with mp4.writing(path, SIZE, fps) as add:
        for number in pictures:
            add(drawn(number))
    return list(pictures)


def at_once(function, *args):
    done = Future()
    done.set_result(function(*args))
    return done


def read(path):
    with av.open(str(path)) as film:
        stream = film.streams.video[0]
        frames = list(film.decode(stream))
        seconds = np.array([float(frame.time) for frame in frames])
        return seconds, np.stack([frame.to_ndarray(format="rgb24") for frame in frames]), stream.average_rate


@pytest.mark.parametrize("fps", [30.0, 29.97, 23.976, 60.0])
def test_joined_is_as_written_at_once(tmp_path, monkeypatch, fps):
    monkeypatch.setattr(devices, "num_cores", lambda: 8)
    film = pieces.Film(tmp_path / "a.mp4", COUNT, 2, at_once, write, fps)
    assert len(list(tmp_path.iterdir())) == 4
    found = film.results()
    assert [number for piece in found for number in piece] == list(range(COUNT)) and len(found) == 4
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]
    write(tmp_path / "whole.mp4", range(COUNT), fps)
    (times, pictures, rate), (own_times, own_pictures, own_rate) = (
        read(tmp_path / "whole.mp4"),
        read(tmp_path / "a.mp4"),
    )
    assert rate == own_rate
    np.testing.assert_allclose(own_times, times, atol=1e-6)
    assert np.abs(own_pictures.astype(int) - pictures).max() <= 3


@pytest.mark.parametrize(
    ("count", "beside", "cores", "lengths"),
    [
        (100, 8, 2, [100]),
        (100, 1, 16, [25, 25, 25, 25]),
        (100, 8, 16, [50, 50]),
        (30, 1, 16, [30]),
        (73, 2, 6, [24, 25, 24]),
    ],
)
def test_how_many_pieces(tmp_path, monkeypatch, count, beside, cores, lengths):
    monkeypatch.setattr(devices, "num_cores", lambda: cores)
    film = pieces.Film(tmp_path / "a.mp4", count, beside, at_once, write, 30.0)
    assert [len(piece) for piece in film.results()] == lengths


def test_without_processes_a_film_is_one_piece(tmp_path, monkeypatch):
    monkeypatch.setattr(devices, "num_cores", lambda: 16)
    film = pieces.Film(tmp_path / "a.mp4", COUNT, 1, Later, write, 30.0)
    assert not list(tmp_path.iterdir())
    assert len(film.results()) == 1


def test_an_error_of_a_piece_passes(tmp_path, monkeypatch):
    monkeypatch.setattr(devices, "num_cores", lambda: 4)

    def fail(path, pictures):
        if pictures.start:
            raise OSError("no room")

    def submit(function, *args):
        return Later(function, *args)

    film = pieces.Film(tmp_path / "a.mp4", COUNT, 1, submit, fail)
    with pytest.raises(OSError, match="no room"):
        film.results()
    assert not (tmp_path / "a.mp4").exists()
