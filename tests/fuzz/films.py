"""Gives damaged films, and other files, to the reader of films: `python -m tests.fuzz.films --count=100 --seed=0`."""

import random
from pathlib import Path

from tests.fuzz import campaign, mutations, worker

_KINDS = (".mp4", ".mov", ".mkv", ".avi", ".webm")
_TEXTS = (
    b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/x.ts\n", b"ffconcat version 1.0\nfile /etc/passwd\n", b"<svg></svg>", b"RIFF",
    b"v=0\no=- 0 0 IN IP4 127.0.0.1\nm=video 9 RTP/AVP 96\n", b"\0" * 5000, b"GIF89a", b"\x1aE\xdf\xa3" + b"\xff" * 100,
)  # fmt: skip


def make(place: Path, scratch: Path, rng: random.Random) -> str:
    """One file `film.*`, or with a name that looks like an address."""
    suffix = rng.choice(_KINDS)
    if rng.random() < 0.1:
        (place / f"film{suffix}").write_bytes(rng.choice(_TEXTS))
        return "another file"
    content = (scratch / f"film{suffix}").read_bytes()
    if rng.random() < 0.03:
        (place / f"film{suffix}").write_bytes(content)
        return "sound"
    name = rng.choice(("film", "film", "film", "concat:a|b", "http:127.0.0.1:9?q", "file%3a"))
    if rng.random() < 0.1:
        suffix = rng.choice(_KINDS)
    how, content = mutations.bytes_of(content, rng)
    for _ in range(rng.choice((0, 0, 1, 4))):
        content = mutations.bytes_of(content, rng)[1] or content
    (place / f"{name}{suffix}").write_bytes(content)
    return f"{how}: {suffix}"


def begin(scratch: Path) -> None:
    from tests.experiments import films

    for suffix in _KINDS:
        if not (scratch / f"film{suffix}").exists():
            films.write(scratch / f"film{suffix}", films.numbered(20))


def answer(place: Path) -> str:
    """Its header, its times and all its pictures."""
    from experiments.base import films

    (path,) = place.iterdir()
    try:
        films.probe(path)
        films.timestamps(path)
        for frame in films.walk(path):
            if frame.picture().shape[:2] != frame.size[::-1]:
                return f"a picture of {frame.picture().shape} that says {frame.size}"
    except films.VideoError as error:
        return worker.sentence(error)
    return "loaded"


if __name__ == "__main__":
    raise SystemExit(campaign.main("films", make, __doc__))
