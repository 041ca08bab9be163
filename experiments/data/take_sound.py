"""When films of one performance start, by their sound: where the same onsets are heard in all of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from experiments.data.footage import Video

Array = np.ndarray

MOST_SECONDS = 30.0  # by which films may start apart
_LEAST_OVERLAP = 1.0  # seconds
_APART = 0.1  # seconds between two peaks
# The best place is taken where its correlation is at least the first and the second best at most the inverse second of it:
# of noise the two are about equal, and so they are of steady beats, which fit in several places.
_LEAST, _CLEARLY = 0.15, 1.4


class UnsureError(ValueError):
    """The sound does not tell; the message says why."""


def offsets(videos: Sequence[Video | None], names: Sequence[str]) -> Array:
    """When (N,), seconds, each clip starts after the first one, all being parts of films with sound.

    Raises:
      UnsureError: one is no film, has no sound or a silent one, or fits the first in no place or in several.
    """
    # Not before it is needed: most runs read no film.
    from experiments.base import films, sound

    heard, shown = [], []
    for video, name in zip(videos, names, strict=True):
        if video is None:
            raise UnsureError(f"{name} is no film")
        try:
            onsets, start = sound.onsets(str(video.path))
            picture = _time_of(video)
        except (sound.SoundError, films.VideoError) as error:
            raise UnsureError(f"{name} {error}") from error
        heard.append(onsets)
        shown.append(picture - start)
    found = np.zeros(len(heard))
    for n in range(1, len(heard)):
        lag = _lag(heard[0], heard[n], sound.RATE)
        if lag is None:
            raise UnsureError(
                f"the sound of {names[n]} fits that of {names[0]} in no place clearly better than in others"
            )
        found[n] = lag / sound.RATE + shown[n] - shown[0]
    return found


def _time_of(video: Video) -> float:
    """The time of the first picture of a clip in its film; of its first one where the film does not tell."""
    from experiments.base import films

    wanted = max(int(video.frames[0]), 0)
    for frame in films.walk(video.path):
        if frame.index == wanted:
            return frame.time if np.isfinite(frame.time) else 0.0
    return 0.0


def _lag(first: Array, other: Array, rate: int) -> int | None:
    """By how many steps `other` begins after `first`; None where no place is clearly the best.

    The correlation is normalised by the energy of what overlaps, and weighed by the root of its length, so that short
    overlaps, which agree by chance, count less.
    """
    # Not before: importing it takes half a second, and most runs hear no sound.
    from scipy.signal import correlate

    a, b = first - first.mean(), other - other.mean()
    ones = [np.ones(len(a)), np.ones(len(b))]
    lags = np.arange(-len(b) + 1, len(a))
    together = correlate(a, b, method="fft")
    energy = correlate(a**2, ones[1], method="fft") * correlate(ones[0], b**2, method="fft")
    overlap = np.round(correlate(ones[0], ones[1], method="fft"))
    score = together / np.sqrt(np.maximum(energy, 1e-6 * energy.max() + 1e-12))
    score *= np.sqrt(overlap / min(len(a), len(b)))
    score[(np.abs(lags) > MOST_SECONDS * rate) | (overlap < _LEAST_OVERLAP * rate)] = 0.0
    best = int(score.argmax())
    elsewhere = score[np.abs(lags - lags[best]) > _APART * rate]
    second = elsewhere.max() if len(elsewhere) else 0.0
    return int(lags[best]) if score[best] >= max(_LEAST, _CLEARLY * second) else None
