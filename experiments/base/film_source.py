"""What FFmpeg is told so that a film's file is opened as that file, whatever it is called and whatever it says.

FFmpeg takes a name with a colon for an address (`http:host?q.mp4`, `concat:a|b.mp4`), and playlists for lists of further
files and addresses to read. Neither may happen to a film that came from somebody else.
"""

from __future__ import annotations

from pathlib import Path

# FFmpeg's names of the containers that hold their film themselves: no playlists (hls, dash, concat), no session descriptions
# (sdp, rtsp), no patterns of pictures (image2). References to other files within QuickTime are off unless asked for.
_CONTAINERS = (
    "mov", "matroska", "avi", "mpegts", "mpeg", "asf", "wtv", "flv", "live_flv", "ogg", "mxf", "dv", "nut", "ivf", "rm",
    "gif", "apng", "yuv4mpegpipe", "mpegvideo", "m4v", "h263", "h264", "hevc", "vvc", "av1", "obu", "vc1", "mjpeg",
)  # fmt: skip
ONLY_FILES = {"protocol_whitelist": "file"}
READING = {**ONLY_FILES, "format_whitelist": ",".join(_CONTAINERS)}


def url(path: str | Path) -> str:
    """The file's address for `av.open`; to be given with `READING` or `ONLY_FILES` as the container's options."""
    return f"file:{Path(path).absolute()}"
