"""Films, decoded by PyAV: frames as a viewer would show them, with the times at which they are shown.

A phone stores its film as the sensor lies and says in a matrix how to turn it. That matrix, and pixels that are not
square, are applied here, so that everything else sees upright pictures. Of a film that has lost its matrix somebody else
must say how to turn it: `turn`, degrees clockwise, a multiple of 90, on top of what the film says. Frames are numbered from
0 in the order in which they are shown; damaged ones are left out of the count.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Generator, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np

from experiments.base import film_source
from experiments.base.frame_rates import usable

Array = np.ndarray

_QUARTER = np.array([[0, -1], [1, 0]])  # clockwise, x right and y down
# A header may count frames that are hidden on purpose, before the first or after the last that is shown.
_MAY_BE_HIDDEN = 0.05
_FEW = 3
_DURATION_TAG = re.compile(r"(\d+):(\d+):(\d+(?:\.\d+)?)")


class VideoError(ValueError):
    """A film that cannot be read; the message says which and why."""


class CutShortError(VideoError):
    """A film of which a part is missing or damaged; what was decoded of it is good."""


@dataclasses.dataclass(frozen=True)
class VideoInfo:
    """What the header and the first frame say.

    width, height: pixels, as shown. fps: frames per second by the header, None where it tells none that films have.
    num_frames: by the header, None where it does not tell.
    """

    width: int
    height: int
    fps: float | None
    num_frames: int | None


@dataclasses.dataclass(frozen=True, eq=False)
class Frame:
    """One frame. index: its number. time: seconds, NaN where the film does not tell. turn: as that of the module."""

    index: int
    time: float
    decoded: av.VideoFrame
    pixel_aspect: Fraction
    turn: int = 0

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, pixels, as shown."""
        width, height = self._stored_size()
        return (width, height) if self._shown_axes()[0, 0] else (height, width)

    def picture(self) -> Array:
        """RGB uint8 (height, width, 3), as shown."""
        width, height = self._stored_size()
        return self._shown(self.decoded.reformat(width=width, height=height, format="rgb24").to_ndarray())

    def small(self, long_side: int) -> Array:
        """Grey uint8 (height, width), as shown, with a longer side of at most `long_side` pixels."""
        width, height = self._stored_size()
        scale = min(1.0, long_side / max(width, height))
        size = {"width": max(1, round(scale * width)), "height": max(1, round(scale * height))}
        return self._shown(self.decoded.reformat(**size, format="gray").to_ndarray())

    def _shown(self, stored: Array) -> Array:
        """A stored picture (height, width, ...) as it is to be shown."""
        axes = self._shown_axes()
        shown = stored if axes[0, 0] else stored.swapaxes(0, 1)
        # What is left of the matrix are the signs of the axes that became x and y: -1 runs one backwards.
        flip_x, flip_y = axes.sum(1)
        return np.ascontiguousarray(shown[::flip_y, ::flip_x])

    def _stored_size(self) -> tuple[int, int]:
        """Width and height before the turn, the width such that pixels are square."""
        return max(1, round(self.decoded.width * self.pixel_aspect)), self.decoded.height

    def _shown_axes(self) -> Array:
        """The matrix (2, 2) of -1, 0 and 1 that takes stored to shown directions, x right and y down."""
        return np.linalg.matrix_power(_QUARTER, self.turn // 90) @ self._displayed()

    def _displayed(self) -> Array:
        """The part of it that the film itself says."""
        side_data: Any = self.decoded.side_data
        for data in side_data:
            if data.type.name == "DISPLAYMATRIX":
                # Rows a b u, c d v, x y w of ISO 14496-12, 6.2.2: x' = a x + c y, y' = b x + d y.
                a, b, _, c, d = np.frombuffer(bytes(data), np.int32)[:5].astype(float)
                matrix = np.array([[a, c], [b, d]])
                # A film lies along the axes, or nearly so.
                matrix *= np.eye(2) if abs(a) + abs(d) >= abs(b) + abs(c) else 1 - np.eye(2)
                if np.linalg.det(matrix) != 0:
                    return np.sign(matrix).astype(int)
        return np.eye(2, dtype=int)


def probe(path: str | Path) -> VideoInfo:
    """Size and rate of a film, by its header and its first frame, as it says to be shown.

    Raises:
      VideoError: it cannot be read, or has no frame.
    """
    with _opened(path) as (container, stream):
        fps = _claimed_fps(container, stream)
        num_frames = (stream.frames - _cut_away(path, container) if stream.frames else 0) or None
        duration = _claimed_duration(container, stream)
        if num_frames is None and duration and fps:
            num_frames = max(1, round(duration * fps))
    with contextlib.closing(walk(path)) as frames:
        width, height = next(frames).size
    return VideoInfo(width, height, fps, num_frames)


def tags(path: str | Path) -> dict[str, str]:
    """What the film says of itself, by key, such as the lens of a phone. Raises VideoError."""
    with _opened(path) as (container, stream):
        return {**container.metadata, **stream.metadata}


def decode(path: str | Path, which: Sequence[int] | None = None, turn: int = 0) -> Iterator[Array]:
    """Pictures, RGB uint8 (height, width, 3), upright. A film that is cut short just ends.

    Args:
      path: the film.
      which: numbers of the frames wanted, increasing; None = all. Those that the film does not have are left out.
      turn: as that of the module.

    Raises:
      VideoError: it cannot be read, or has no frame.
    """
    wanted = None if which is None else set(which)
    if wanted is not None and not wanted:
        return
    last = None if wanted is None else max(wanted)
    with contextlib.suppress(CutShortError), contextlib.closing(walk(path, turn)) as frames:
        for frame in frames:
            if wanted is None or frame.index in wanted:
                yield frame.picture()
            if frame.index == last:
                return


def timestamps(path: str | Path) -> Array:
    """The times (F,) in seconds of all frames that can be decoded, NaN where the film does not tell. Makes no pictures.

    Raises:
      VideoError: it cannot be read, or has no frame.
    """
    times = []
    with contextlib.suppress(CutShortError):
        times.extend(frame.time for frame in walk(path))
    return np.array(times)


def walk(path: str | Path, turn: int = 0) -> Generator[Frame, None, None]:
    """The frames in the order in which they are shown; their pictures are made only where somebody asks.

    Raises:
      CutShortError: after the last good frame, where a part is missing or damaged.
      VideoError: it cannot be read, or has no frame.
    """
    times: list[float] = []
    damage: list[av.error.FFmpegError] = []
    with _opened(path) as (container, stream):
        stream.thread_type = "AUTO"
        pixel_aspect = stream.sample_aspect_ratio or Fraction(1)
        for frame in _good_frames(container, stream, damage):
            pts = frame.dts if frame.pts is None else frame.pts
            times.append(float("nan") if pts is None or frame.time_base is None else float(pts * frame.time_base))
            yield Frame(len(times) - 1, times[-1], frame, pixel_aspect, turn)
        count = len(times)
        claimed = _claimed_frames(container, stream, times) or 0
        if stream.frames and _too_few(count, claimed):
            claimed -= _cut_away(path, container)
    reason = f" ({_reason(damage[0])})" if damage else ""
    if not count:
        raise VideoError(f"{path} has no frame that can be decoded{reason}")
    if _too_few(count, claimed):
        raise CutShortError(f"{path} should have {claimed} frames, but only {count} can be decoded{reason}")
    if damage:
        raise CutShortError(f"{path} is damaged, but {count} frames can be decoded{reason}")


def _good_frames(container: Any, stream: Any, damage: list[av.error.FFmpegError]) -> Iterator[av.VideoFrame]:
    """The decoder's frames but the corrupt ones; errors on the way go to `damage`."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except av.error.FFmpegError as error:
            damage.append(error)
            return
        if packet is None:
            return
        try:
            frames = packet.decode()
        except av.error.FFmpegError as error:
            # Good packets may follow.
            damage.append(error)
            continue
        yield from (frame for frame in frames if not frame.is_corrupt)


@contextlib.contextmanager
def _opened(path: str | Path, **options: str) -> Iterator[tuple[Any, Any]]:
    """The container, opened with options of FFmpeg's, and its first video stream."""
    try:
        container = av.open(film_source.url(path), container_options={**film_source.READING, **options})
    except av.error.ArgumentError as error:
        raise VideoError(
            f"{path} cannot be read as a video (it is none of the kinds that hold their pictures themselves, such as MP4, "
            "MOV, MKV, WebM, AVI, MPEG and WMV)"
        ) from error
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise VideoError(f"{path} cannot be read as a video ({_reason(error)})") from error
    with container:
        if not container.streams.video:
            raise VideoError(f"{path} cannot be read as a video (it has no pictures)")
        yield container, container.streams.video[0]


def _claimed_fps(container: Any, stream: Any) -> float | None:
    rates = [stream.average_rate, stream.guessed_rate]
    if not stream.duration and not container.duration:
        # A bare stream of pictures: FFmpeg has made the average up, and guesses by what the pictures' codec says.
        rates.reverse()
    return next((float(rate) for rate in rates if rate and usable(float(rate))), None)


def _claimed_duration(container: Any, stream: Any) -> float | None:
    """Seconds of pictures, by the header."""
    if stream.duration:
        return float(stream.duration * stream.time_base)
    # Matroska.
    if tag := _DURATION_TAG.match(stream.metadata.get("DURATION", "")):
        hours, minutes, seconds = tag.groups()
        return 3600 * int(hours) + 60 * int(minutes) + float(seconds)
    # With sound, this may be the sound's.
    if container.duration and len(container.streams) == 1:
        return container.duration / av.time_base
    return None


def _claimed_frames(container: Any, stream: Any, times: list[float]) -> int | None:
    """How many frames the header promises; where it gives only a duration, at the mean rate of those decoded."""
    if stream.frames:
        return stream.frames
    duration = _claimed_duration(container, stream)
    if duration is None or len(times) < 2 or not times[-1] > times[0]:
        return None
    return round(duration * (len(times) - 1) / (times[-1] - times[0]))


def _too_few(count: int, claimed: int) -> bool:
    return claimed - count > max(_FEW, _MAY_BE_HIDDEN * claimed)


def _cut_away(path: str | Path, container: Any) -> int:
    """How many of the frames stored are not to be shown, by the edit list that trimming leaves (ISO 14496-12, 8.6.6)."""
    if "mov" not in container.format.name.split(","):
        return 0
    with _opened(path) as (_, trimmed), _opened(path, ignore_editlist="1") as (_, whole):
        shown = sum(not entry.is_discard for entry in trimmed.index_entries)
        return max(0, len(whole.index_entries) - shown)


def _reason(error: Exception) -> str:
    """What the system or FFmpeg says, in lower case, without the path."""
    text = getattr(error, "strerror", None) or str(error)
    return text[:1].lower() + text[1:]
