"""The rate of films whose times or headers say nothing, or what no film can have."""

import av
import films
import numpy as np
import pytest

from experiments.base import films as frames
from experiments.data.dataset import DatasetError
from experiments.detection import timing
from experiments.loaders import videos

ALIKE = "The times in {} are not used: it has no usable times, so its frames are taken as {} in a second."


@pytest.fixture
def load(tmp_path, tiny_body):
    return lambda path: videos.load(str(path), "kick", cache_dir=tmp_path / "out", body=tiny_body, detect=False)


@pytest.fixture
def steady(tmp_path):
    """97 frames, 30 in a second, each of its own."""
    return films.write(tmp_path / "steady.mp4", films.numbered(97), 30, in_order=True)


@pytest.mark.parametrize("suffix", [".mov", ".mkv", ".ts", ".flv"])
def test_times_that_are_all_the_same(tmp_path, load, steady, suffix):
    path = films.retime(steady, tmp_path / f"a{suffix}", lambda index: 0)
    assert not frames.timestamps(path).any()
    if suffix == ".mov":
        with av.open(str(path)) as container:
            assert container.streams.video[0].average_rate == 2910  # what its header comes to
    dataset = load(path)
    assert dataset.clips.fps[0] == 30 and dataset.clips.frame_mask.sum() == 97
    assert dataset.notes[0] == ALIKE.format(path, 30)


def test_a_bare_stream_has_the_rate_that_its_codec_says(tmp_path, load, steady):
    path = films.retime(steady, tmp_path / "a.h264")
    assert np.isnan(frames.timestamps(path)).all()
    dataset = load(path)
    assert dataset.clips.fps[0] == 30 and dataset.notes[0] == ALIKE.format(path, 30)


def test_times_that_no_film_has(tmp_path, load, steady):
    """A tick of a 15,360th of a second apart; the codec says 30."""
    path = films.retime(steady, tmp_path / "a.mp4", lambda index: index)
    dataset = load(path)
    assert dataset.clips.fps[0] == 30 and dataset.clips.frame_mask.sum() == 97
    assert dataset.notes[0] == (
        f"The times in {path} are not used: they say 15,360 frames in a second, so its frames are taken as 30 in a second."
    )


def test_a_film_of_no_usable_rate_is_left_out(tmp_path, load):
    """A picture every five seconds, and a header that says the same."""
    path = films.write(tmp_path / "a.avi", films.numbered(12), 0.2)
    assert frames.probe(path).fps is None
    with pytest.raises(
        DatasetError,
        match=r"a\.avi has 0\.2 frames in a second by its times, expected 1 to 1,000; convert it to a film ",
    ):
        load(path)


def test_pictures_without_frames_between(tmp_path, load):
    path = tmp_path / "a.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=48)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuvj420p"
        for picture in films.numbered(10):
            container.mux(
                stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuvj420p"))
            )
        container.mux(stream.encode())
    dataset = load(path)
    assert dataset.clips.fps[0] == pytest.approx(48) and len(dataset.notes) == 1  # that there is one clip alone


@pytest.mark.parametrize(
    ("claimed", "taken"), [(50, 50), (1000, 1000), (1, 1), (2910, 30), (0.5, 30), (np.nan, 30), (None, 30)]
)
def test_the_rate_claimed_counts_if_films_have_it(claimed, taken):
    clock = timing.uniform(np.zeros(5), claimed)
    nothing = "no usable times" if taken == claimed else "neither usable times nor a usable rate"
    assert clock.fps == taken
    assert clock.note == f"it has {nothing}, so its frames are taken as {taken} in a second"
    assert timing.uniform(np.zeros(1), claimed).fps == taken


@pytest.mark.parametrize("fps", [1, 7.5, 240, 1000])
def test_rates_that_films_have(fps):
    clock = timing.uniform(np.round(np.arange(40) / fps, 6), claimed_fps=30)
    assert clock.fps == pytest.approx(fps) and clock.note == ""


@pytest.mark.parametrize(("fps", "said"), [(0.9, "0.9"), (1010, "1,010"), (15360, "15,360")])
def test_rates_that_films_do_not_have(fps, said):
    times = np.arange(40) / fps
    clock = timing.uniform(times, claimed_fps=25)
    assert clock.fps == 25 and clock.frames.tolist() == list(range(40))
    assert clock.note == f"they say {said} frames in a second, so its frames are taken as 25 in a second"
    for claimed in (None, 2910):
        with pytest.raises(timing.RateError, match=rf"^has {said} frames in a second .* expected 1 to 1,000$"):
            timing.uniform(times, claimed)
