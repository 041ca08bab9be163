"""A uniform time base: which frame a film shows at each tick of a steady clock.

A motion is fitted at evenly spaced times, but phones film as fast as the light allows. The times of the frames are the
truth, the rate that a header claims is not.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from experiments.base.frame_rates import ASSUMED_FPS, LEAST_FPS, MOST_FPS, usable

Array = np.ndarray

# Intervals so close to the median one, relative to it, tell the rate; the others are pauses and doubled frames.
_REGULAR = 0.2
# More ticks than so many times the frames: the times are not to be believed.
_MOST_TICKS = 4


@dataclasses.dataclass(frozen=True, eq=False)
class Clock:
    """frames (F,): the number of the frame shown at each tick, never falling. fps: ticks per second.

    note: why the times of the film were not used, as the end of a sentence; empty where they were.
    """

    frames: Array
    fps: float
    note: str = ""


class RateError(ValueError):
    """A film whose frames are too many or too few in a second; the message says how many, to stand behind its name."""


def uniform(times: Array, claimed_fps: float | None = None) -> Clock:
    """The steady clock of a film: every frame once where it is steady itself, else the nearest to each tick.

    Args:
      times (F,): seconds at which the frames are shown, as the film has them.
      claimed_fps: the rate that the film claims, used where its times say nothing; not where it is no `usable` one.

    Raises:
      RateError: neither its times nor what it claims are a rate that films have.
    """
    times = np.asarray(times, float)
    count = len(times)
    every = np.arange(count)
    claimed = float(claimed_fps) if claimed_fps is not None and usable(claimed_fps) else None
    fps = claimed or ASSUMED_FPS
    if count < 2:
        return Clock(every, fps)
    intervals = np.diff(times)
    if not (np.isfinite(times).all() and (intervals > 0).all()):
        nothing = "no usable times" if claimed else "neither usable times nor a usable rate"
        return Clock(every, fps, f"it has {nothing}, so its frames are taken as {fps:g} in a second")
    median = np.median(intervals)
    interval = intervals[np.abs(intervals - median) <= _REGULAR * median].mean()
    elapsed = times - times[0]
    mean = elapsed[-1] / (count - 1)
    steady = np.abs(elapsed - mean * every).max() <= mean / 2
    rate = 1 / mean if steady else 1 / interval
    if not usable(rate):
        said = f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"
        if claimed is None:
            raise RateError(f"has {said} frames in a second by its times, expected {LEAST_FPS:g} to {MOST_FPS:,g}")
        return Clock(every, fps, f"they say {said} frames in a second, so its frames are taken as {fps:g} in a second")
    if steady:
        return Clock(every, 1 / mean)
    ticks = np.arange(round(elapsed[-1] / interval) + 1) * interval
    if len(ticks) > _MOST_TICKS * count:
        return Clock(
            every,
            1 / interval,
            f"its times jump, so its frames are taken as {1 / interval:.4g} in a second without a pause",
        )
    # Each tick lies between two frames; the later one is shown where it is nearer.
    later = np.clip(np.searchsorted(elapsed, ticks), 1, count - 1)
    nearest = np.where(elapsed[later] - ticks < ticks - elapsed[later - 1], later, later - 1)
    return Clock(nearest, 1 / interval)
