"""Writing films that browsers and QuickTime play."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import OutputContainer
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

from experiments.base import film_source
from experiments.base.files import replacing

_RATE_LIMIT = 1001  # largest denominator of a frame rate: 30000/1001 is television's 29.97
_BT709 = 1  # its number in the H.264 standard, for primaries, transfer and matrix alike


def exact_rate(fps: float) -> Fraction:
    """Frames per second as a fraction: 29.97 is 2997/100, 23.976024 is 24000/1001."""
    return Fraction(fps).limit_denominator(_RATE_LIMIT)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[OutputContainer]:
    """A film to write, which takes its name when the block ends without an error."""
    with (
        replacing(path) as temporary,
        # The index goes first, so that a browser can start before it has all of it.
        av.open(
            film_source.url(temporary), "w", format="mp4", options={"movflags": "faststart", **film_source.ONLY_FILES}
        ) as container,
    ):
        yield container


@contextlib.contextmanager
def writing(path: Path, size: tuple[int, int], fps: float, crf: int = 20) -> Iterator[Callable[[np.ndarray], None]]:
    """A function that adds a picture, RGB uint8 (H, W, 3), to the film at `path`, H.264 in MP4.

    The film takes its name when the block ends without an error.

    Args:
      path: ends in `.mp4`. size: width and height, even numbers. fps: pictures a second. crf: x264's
        constant rate factor; more is a smaller and worse film.

    Raises:
      ValueError: an odd width or height, which the format does not have.
    """
    if size[0] % 2 or size[1] % 2:
        raise ValueError(f"a film's width and height are even, not {size}")
    with _opened(path) as container:
        stream = container.add_stream("libx264", rate=exact_rate(fps))
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        # One thread: films are written side by side, and threads of one film cost more than they gain.
        stream.options = {"crf": str(crf), "preset": "veryfast", "threads": "1"}
        context = stream.codec_context
        # Said outright: players guess differently for small and large pictures.
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = ColorRange.MPEG
        # One for all pictures, which keeps the tables that it makes for the first.
        reformatter = VideoReformatter()

        def add(picture: np.ndarray) -> None:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            converted = reformatter.reformat(
                frame, format="yuv420p", dst_colorspace=Colorspace.ITU709, interpolation=Interpolation.AREA, threads=1
            )
            container.mux(stream.encode(converted))

        yield add
        container.mux(stream.encode())


def join(pieces: Sequence[Path], path: Path) -> None:
    """One film of several, written by `writing` with one size and rate, one after the other; nothing is encoded again."""
    with _opened(path) as container:
        stream, begin = None, 0
        for piece in pieces:
            with av.open(film_source.url(piece), options=film_source.READING) as film:
                source, length = film.streams.video[0], 0
                if stream is None:
                    stream = container.add_stream_from_template(source)
                for packet in film.demux(source):
                    # The last packet is empty and says that the film ends.
                    if packet.dts is None or packet.pts is None:
                        continue
                    length += packet.duration or 0
                    packet.pts, packet.dts = packet.pts + begin, packet.dts + begin
                    packet.stream = stream
                    container.mux(packet)
                # That of the stream is rounded to milliseconds.
                begin += length
