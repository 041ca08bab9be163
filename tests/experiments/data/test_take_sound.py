"""Films of one performance that start when their sound agrees, and those whose sound does not tell."""

import dataclasses

import av
import numpy as np
import pytest

from experiments.base import sound
from experiments.data import take_sound, takes
from experiments.data.footage import Video
from tests.experiments.data.test_takes import dataset

RATE = 16000


def scene(seconds=9.0, seed=0):
    """Sound of blows at irregular times, each a decaying burst."""
    rng = np.random.default_rng(seed)
    samples = np.zeros(int(seconds * RATE))
    for at in np.sort(rng.uniform(0.3, seconds - 0.3, 14)):
        start = int(at * RATE)
        burst = rng.normal(size=1600) * np.exp(-np.arange(1600) / 250) * rng.uniform(0.1, 0.3)
        samples[start : start + 1600] += burst[: len(samples) - start]
    return samples


def film(path, samples, seconds=6.0, pictures=25):
    """A film of grey pictures with this sound, None for none."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=pictures)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio = None if samples is None else container.add_stream("aac", rate=RATE, layout="mono")
        for index in range(int(seconds * pictures)):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 90, np.uint8), format="rgb24")
            frame.pts = index
            container.mux(video.encode(frame))
        container.mux(video.encode())
        if audio is not None:
            for start in range(0, len(samples), 1024):
                part = np.float32(samples[start : start + 1024])[None]
                frame = av.AudioFrame.from_ndarray(part, format="fltp", layout="mono")
                frame.sample_rate, frame.pts = RATE, start
                container.mux(audio.encode(frame))
            container.mux(audio.encode())
    return path


def cut(samples, start, seed, seconds=6.0, noise=0.01):
    own = samples[int(start * RATE) :][: int(seconds * RATE)] * (1 + seed)
    return own + np.random.default_rng(seed).normal(scale=noise, size=len(own))


def of_films(paths, first=(0, 0, 0)):
    given = dataset()
    clips = given.clips
    counts = clips.frame_mask.sum(1).astype(int)
    videos = tuple(
        Video(str(path), np.arange(start, start + count))
        for path, start, count in zip(paths, first, counts, strict=True)
    )
    return dataclasses.replace(given, videos=videos)


def test_films_start_when_their_sound_agrees(tmp_path):
    heard, starts = scene(), (1.0, 0.37, 2.6)
    paths = [film(tmp_path / f"{n}.mp4", cut(heard, start, n)) for n, start in enumerate(starts)]
    found = takes.with_same_take(of_films(paths), "all")
    np.testing.assert_allclose(found.clips.offset, np.subtract(starts, 1.0), atol=0.011)
    assert "by the sound" in found.notes[-1]
    # A clip that begins later in its film starts later.
    later = takes.with_same_take(of_films(paths, first=(0, 25, 0)), "cam0,cam1")
    np.testing.assert_allclose(later.clips.offset, [0.0, 0.37, 0.0], atol=0.011)


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (None, "cam1 has no sound"),
        (np.zeros(6 * RATE), "cam1 is silent"),
        (np.random.default_rng(5).normal(scale=0.05, size=6 * RATE), "the sound of cam1 fits that of cam0 in no place"),
        (scene(seed=9)[: 6 * RATE], "the sound of cam1 fits that of cam0 in no place"),
    ],
)
def test_sound_that_does_not_tell_leaves_it_to_the_motion(tmp_path, other, why):
    heard = scene()
    sounds = [cut(heard, 1.0, 0), other, cut(heard, 2.0, 2)]
    paths = [film(tmp_path / f"{n}.mp4", samples) for n, samples in enumerate(sounds)]
    found = takes.with_same_take(of_films(paths), "all")
    np.testing.assert_allclose(found.clips.offset, [0.0, 0.2, -0.31], atol=1 / 60 + 1e-6)
    assert f"by the motion, not the sound ({why}" in found.notes[-1]


def test_a_steady_beat_fits_in_several_places():
    beat = np.zeros(1600)
    beat[::100] = 1.0
    assert take_sound._lag(beat, beat[200:1400], sound.RATE) is None
    assert take_sound._lag(np.random.default_rng(0).uniform(size=1600), beat, sound.RATE) is None


def test_clips_that_are_no_films():
    with pytest.raises(take_sound.UnsureError, match="cam0 is no film"):
        take_sound.offsets([None], ["cam0"])
