"""A film's file is opened as that file: its name is no address, and what it says leads to no other file."""

import socket
from pathlib import Path

import av
import films
import pytest

from experiments.base import films as frames
from experiments.show.render import mp4

SECRET = "secret.mp4"
NAMES = [f"concat:{SECRET}|{SECRET}", f"subfile,,start,0,end,99999999,,:{SECRET}", f"file:{SECRET}", f"cache:{SECRET}"]
HLS = "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nsecret.ts\n#EXT-X-ENDLIST\n"
PLAYLISTS = {
    "a.m3u8": HLS,
    "a.mp4": f"ffconcat version 1.0\nfile {SECRET}\n",
    "b.ffconcat": f"ffconcat version 1.0\nfile {SECRET}\n",
}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The current folder, with films that no other name may lead to."""
    films.write(tmp_path / SECRET, films.numbered(5))
    with av.open(str(tmp_path / SECRET)) as source, av.open(str(tmp_path / "secret.ts"), "w") as target:
        copy = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = copy
                target.mux(packet)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_no_address(folder, name):
    (folder / name).write_bytes(b"no film")
    with av.open(name) as container:
        assert container.streams.video  # FFmpeg by itself goes where the name says
    for read in (frames.probe, frames.timestamps):
        with pytest.raises(frames.VideoError, match=r"cannot be read as a video \(invalid data"):
            read(name)


def test_no_connection_is_made(folder):
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        for protocol in ("tcp", "http"):
            name = f"{protocol}:127.0.0.1:{server.getsockname()[1]}?q.mp4"
            (folder / name).write_bytes(b"no film")
            with pytest.raises(frames.VideoError):
                frames.probe(name)
        with pytest.raises(TimeoutError):
            server.accept()


@pytest.mark.parametrize("name", [*NAMES, "http:127.0.0.1:1?q.mp4", "-", "a%03d.mp4"])
def test_films_of_such_names_are_written_and_read(folder, name):
    with mp4.writing(Path(name), (64, 48), 25) as add:
        for picture in films.numbered(7):
            add(picture)
    assert (folder / name).is_file()
    assert [films.number(picture) for picture in frames.decode(name)] == list(range(7))


@pytest.mark.parametrize("name", PLAYLISTS)
def test_a_playlist_is_no_film(folder, name):
    (folder / name).write_text(PLAYLISTS[name])
    with av.open(name) as container:
        assert container.streams.video  # FFmpeg by itself reads what it lists
    with pytest.raises(frames.VideoError, match=rf"{name} cannot be read as a video \(it is none of the kinds "):
        frames.probe(name)


def test_a_pattern_of_pictures_is_no_film(folder):
    for index, picture in enumerate(films.numbered(3)):
        with av.open(str(folder / f"p{index:03}.png"), "w", format="image2", options={"update": "1"}) as container:
            stream = container.add_stream("png", rate=25)
            stream.height, stream.width = picture.shape[:2]
            stream.pix_fmt = "rgb24"
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode())
    (folder / "p%03d.png").write_bytes((folder / "p000.png").read_bytes())
    with av.open("p%03d.png") as container:
        assert len(list(container.decode(video=0))) == 3
    with pytest.raises(frames.VideoError, match="cannot be read as a video"):
        frames.probe("p%03d.png")
