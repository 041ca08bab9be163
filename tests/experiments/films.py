"""Little films for tests, written by PyAV."""

import struct
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

CODECS = {".mp4": "libx264", ".mov": "libx264", ".mkv": "libx264", ".avi": "mpeg4", ".webm": "libvpx"}
# Levels by which a picture may differ after compression.
TOLERANCE = 12
IDENTITY = (1, 0, 0, 1)


def numbered(count: int, width: int = 64, height: int = 48) -> list[np.ndarray]:
    """Pictures that tell their number, by their grey level, and their way up, by a red square at the top left."""
    pictures = []
    for index in range(count):
        picture = np.full((height, width, 3), level(index), np.uint8)
        picture[: height // 3, : width // 3] = (220, 20, 20)
        pictures.append(picture)
    return pictures


def level(index: int) -> int:
    """The grey level of a numbered picture, every seventh the same."""
    return 40 + 30 * (index % 7)


def number(picture: np.ndarray) -> int:
    """The number, modulo 7, of a numbered picture, from its middle."""
    height, width = picture.shape[:2]
    return round((float(picture[height // 2 :, width // 2 :].mean()) - 40) / 30)


def write(
    path: Path,
    pictures: Sequence[np.ndarray],
    fps: float = 25,
    times: Sequence[float] | None = None,
    pixel_aspect: Fraction | None = None,
    pixel_format: str = "yuv420p",
    in_order: bool = False,
    **options: str,
) -> Path:
    """A film of the pictures, at a steady rate or at these times in seconds, which are rounded to milliseconds.

    in_order: they are stored as they are shown, none made from a later one.
    """
    rate = Fraction(fps).limit_denominator(1001)
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(CODECS[path.suffix], rate=rate)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = pixel_format
        stream.bit_rate = 4_000_000
        if in_order:
            stream.codec_context.max_b_frames = 0
        if pixel_aspect:
            stream.codec_context.sample_aspect_ratio = pixel_aspect
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for index, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = round(1000 * times[index]), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def retime(source: Path, path: Path, ticks: Callable[[int], int] | None = None) -> Path:
    """The pictures of a film as they are stored, in another container; the i-th at ticks(i) of its time base."""
    with av.open(str(source)) as read, av.open(str(path), "w") as written:
        stream = written.add_stream_from_template(read.streams.video[0])
        packets = [packet for packet in read.demux(video=0) if packet.dts is not None]
        for index, packet in enumerate(packets):
            packet.stream = stream
            if ticks is not None:
                packet.pts = packet.dts = ticks(index)
            written.mux(packet)
    return path


def read(path: Path) -> tuple[np.ndarray, av.VideoStream]:
    """Pictures (F, H, W, 3) of a film, and its stream."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(stream)])
        return frames, stream


def turn(path: Path, matrix: Sequence[int]) -> None:
    """Writes a display matrix, a b c d of x' = a x + c y and y' = b x + d y, into an mp4 or mov (ISO 14496-12, 8.3.2)."""
    data = bytearray(path.read_bytes())
    # Behind the name: version and flags (4 bytes), five times and ids (20), 8 reserved, layer to volume (8).
    start = data.index(b"tkhd") + 4 + 4 + 20 + 8 + 8
    one = 1 << 16
    assert struct.unpack(">9i", data[start : start + 36]) == (one, 0, 0, 0, one, 0, 0, 0, 1 << 30)
    a, b, c, d = (one * value for value in matrix)
    data[start : start + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)


def trim(path: Path, first: int, count: int, fps: float) -> None:
    """Makes an mp4 or mov show `count` of its frames from `first` on, by its edit list (ISO 14496-12, 8.6.6)."""
    data = bytearray(path.read_bytes())

    def number(box: bytes, offset: int) -> int:
        return struct.unpack_from(">I", data, data.index(box) + 4 + offset)[0]

    # Behind version, flags and two dates: units a second, of the film and of its pictures.
    film_scale, picture_scale = number(b"mvhd", 12), number(b"mdhd", 12)
    start = data.index(b"elst") + 4
    assert struct.unpack_from(">II", data, start) == (0, 1)
    begin = number(b"elst", 12) + round(first / fps * picture_scale)
    struct.pack_into(">II", data, start + 8, round(count / fps * film_scale), begin)
    path.write_bytes(data)
