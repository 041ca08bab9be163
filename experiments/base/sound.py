"""The sound of films, decoded by PyAV: how strongly something begins to sound, over time."""

from __future__ import annotations

import av
import av.error
import numpy as np

from experiments.base import film_source

Array = np.ndarray

RATE = 200  # of onsets, per second
_DECODED = 8000  # samples per second
_HIGH_PASS = 200.0  # Hz: wind, hum and handling are below
_MOST_SECONDS = 600.0
_FLOOR = 1e-3  # of the mean energy, so that changes of near silence count little
_SILENCE = 1e-9  # mean square of what a microphone that is off leaves, where full scale is 1


class SoundError(ValueError):
    """A film without sound that can be used; the message says why, such as `has no sound`."""


def onsets(path: str) -> tuple[Array, float]:
    """By how much the log energy rises, 0 where it falls, at `RATE`, of the first ten minutes; and when that begins.

    Returns:
      onsets (S,), each of 5 ms, and the time of the first, seconds on the clock of the film's pictures.

    Raises:
      SoundError: the film has no sound, or it cannot be read, or is silent.
    """
    # Not before: importing it takes half a second, and most runs hear no sound.
    from scipy.signal import butter, sosfilt

    samples, start = _samples(path)
    size = _DECODED // RATE
    loud = sosfilt(butter(4, _HIGH_PASS, "high", fs=_DECODED, output="sos"), samples)
    energy = np.square(loud[: len(loud) // size * size]).reshape(-1, size).mean(1)
    if not len(energy) or energy.mean() < _SILENCE:
        raise SoundError("is silent")
    rise = np.diff(np.log(energy + _FLOOR * energy.mean()), prepend=np.log(energy[0] + _FLOOR * energy.mean()))
    return np.maximum(rise, 0.0), start


def _samples(path: str) -> tuple[Array, float]:
    """Sound, one channel, at `_DECODED`, and the time of its first sample. Raises SoundError."""
    resampler = av.AudioResampler(format="flt", layout="mono", rate=_DECODED)
    parts, start, count = [], None, 0
    try:
        with av.open(film_source.url(path), container_options=film_source.READING) as container:
            if not container.streams.audio:
                raise SoundError("has no sound")
            for frame in container.decode(container.streams.audio[0]):
                if start is None:
                    start = float(frame.time or 0.0)
                parts += [out.to_ndarray()[0] for out in resampler.resample(frame)]
                count += frame.samples / frame.sample_rate
                if count > _MOST_SECONDS:
                    break
            parts += [out.to_ndarray()[0] for out in resampler.resample(None)]
    except (av.error.FFmpegError, OSError) as error:
        raise SoundError("has sound that cannot be read") from error
    if start is None:
        raise SoundError("has no sound")
    return np.nan_to_num(np.concatenate(parts).astype(float)), start
