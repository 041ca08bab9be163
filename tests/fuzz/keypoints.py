"""Gives damaged JSON files of OpenPose to their readers: `python -m tests.fuzz.keypoints --count=300 --seed=0`.

Made are folders of a clip's files in any of the layouts, and single files of all frames, with one thing or several changed.
"""

import importlib
import json
import random
from pathlib import Path
from typing import Any

import numpy as np

from tests.fuzz import campaign, mutations, worker

_given: dict[str, Any] = {}
_POINTS = (25, 18, 17, 26, 135, 133, 25, 25)


def make(place: Path, scratch: Path, rng: random.Random) -> str:
    """A folder `clip` of JSON files, or one file."""
    folder = place / "clip"
    folder.mkdir()
    single = rng.random() < 0.2
    pattern = rng.choice(("clip_{:012d}_keypoints.json", "cam.{:04d}.json", "{:d}_keypoints.json"))
    points, people, frames = rng.choice(_POINTS), rng.choice((1, 1, 2, 5)), rng.choice((1, 4, 9))
    documents = [_document(points, people, frame, rng) for frame in range(frames)]
    if single:
        how, text = mutations.document(rng.choice([documents, {str(n): d for n, d in enumerate(documents)}]), rng)
        _write(folder / "all.json", text)
        return f"one file, {how}"
    for frame, document in enumerate(documents):
        _write(folder / pattern.format(frame), json.dumps(document))
    if rng.random() < 0.03:
        return "sound"
    if rng.random() < 0.2:
        return f"folder, {mutations.folder(folder, rng)}"
    how = ""
    for _ in range(rng.choice((1, 1, frames))):
        how, text = mutations.document(_document(points, people, 0, rng), rng)
        _write(folder / pattern.format(rng.randrange(frames)), text)
    return how


def _document(points: int, people: int, frame: int, rng: random.Random) -> dict:
    rows = [[rng.uniform(0, 600) + frame, rng.uniform(0, 400), rng.random()] for _ in range(points * people)]
    numbers = [[round(n, 2) for row in rows[p::people] for n in row] for p in range(people)]
    key = rng.choice(("pose_keypoints_2d", "pose_keypoints_2d", "pose_keypoints"))
    return {"version": 1.3, "people": [{"person_id": [-1], key: own, "face_keypoints_2d": []} for own in numbers]}


def _write(path: Path, text: str) -> None:
    path.write_bytes(text.encode("utf-8", errors="surrogatepass"))


def begin(scratch: Path) -> None:
    """Imports, and reads, what the first file is not to wait for."""
    from body_models import loaders

    importlib.import_module("experiments.loaders.registry")
    _given["body"] = loaders.load_body()


def answer(place: Path) -> str:
    """Read as a folder of one clip, and as data of its own."""
    from experiments.base.errors import UserError
    from experiments.data.dataset import DatasetError
    from experiments.loaders import openpose, registry

    said = []
    single = place / "clip" / "all.json"
    for read in (
        lambda: openpose.read_folder(single if single.exists() else place / "clip", image_size=(640, 480)),
        lambda: registry.load("walk", str(place), body=_given["body"], image_size=(640, 480)),
    ):
        try:
            found = read()
        except (UserError, DatasetError) as error:
            said.append(worker.sentence(error))
            continue
        arrays = found[:2] if isinstance(found, tuple) else (found.clips.keypoints, found.clips.confidence)
        sound = all(np.isfinite(array).all() for array in arrays) and (arrays[1] >= 0).all() and (arrays[1] <= 1).all()
        said.append("loaded" if sound else "loaded numbers that are none")
    return next((each for each in said if each not in campaign.SURVIVES), said[0])


if __name__ == "__main__":
    raise SystemExit(campaign.main("keypoints", make, __doc__))
