"""OpenPose's JSON files as they lie on disk: the frames of a folder, or of a single file, and the people in each.

Source: OpenPose 1.x, `--write_json` (doc/02_output.md): `<name>_<number>_keypoints.json` holds `people`, each with
`pose_keypoints_2d`, x, y and confidence of every keypoint in turn. Versions before 1.2 call it `pose_keypoints`. 75 numbers
are BODY_25, 54 are COCO with 18 keypoints, which lacks the mid hip and the feet; they stay unseen. Hands and face are not
read. A single JSON file of all frames is read too: a list of such frames, or a dict of them by number or picture.
"""

from __future__ import annotations

import collections
import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from body_models import joints as jn
from experiments.base.text import listed
from experiments.data.dataset import DatasetError

Array = np.ndarray

# BODY_25 index of COCO's 18 keypoints: those of BODY_25 in its order, without the mid hip and the feet.
BODY_25_OF_COCO = (0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18)
# No detector finds more in a picture; who is who among them takes the cube of their number.
_MOST_PEOPLE = 200
_KEYS = ("pose_keypoints_2d", "pose_keypoints")
_JOINTS = {3 * jn.NUM_KEYPOINTS: tuple(range(jn.NUM_KEYPOINTS)), 3 * len(BODY_25_OF_COCO): BODY_25_OF_COCO}
_FILE = re.compile(r"((?:.*?[^0-9])?)(\d+)_keypoints\.json", re.DOTALL)
NOBODY = np.zeros((0, jn.NUM_KEYPOINTS, 3))


class _BrokenFrameError(ValueError):
    """A frame that cannot be read; the message says why."""


@dataclasses.dataclass(frozen=True)
class PeopleInFrame:
    """What was found of a frame. source: file or entry. stem: without `_keypoints.json`. people (P, 25, 3), or None where
    it is broken, and why."""

    source: str
    stem: str
    number: int
    people: Array | None
    problem: str = ""


def holds_frames(folder: Path) -> bool:
    """Whether there are OpenPose's JSON files in a folder."""
    return any(_FILE.fullmatch(path.name) for path in folder.glob("*_keypoints.json"))


def prefixes(folder: Path) -> list[str]:
    """What stands before the numbers in the names of a folder's JSON files, each once, in order."""
    return sorted({match[1] for path in folder.glob("*_keypoints.json") if (match := _FILE.fullmatch(path.name))})


def of_folder(folder: Path, prefix: str | None) -> list[PeopleInFrame]:
    """The frames of a folder, by number."""
    found = [(path, match) for path in folder.glob("*.json") if (match := _FILE.fullmatch(path.name))]
    found = [(path, match) for path, match in found if prefix in (None, match[1])]
    if not found:
        raise DatasetError(
            f"{folder} holds no JSON files of OpenPose; expected clip_000000000000_keypoints.json and so on in it"
        )
    names = sorted({match[1] for _, match in found})
    if len(names) > 1:
        raise DatasetError(
            f"{folder} holds the JSON files of {len(names)} clips ({listed([f'{name}...' for name in names])}), expected "
            "those of one; give each clip a folder"
        )
    frames = [
        _frame(path.name, path.name.removesuffix("_keypoints.json"), int(match[2]), path) for path, match in found
    ]
    return _without_doubles(frames, folder)


def of_file(path: Path) -> list[PeopleInFrame]:
    """The frames of a single JSON file, by number."""
    try:
        document = _parse(path)
    except _BrokenFrameError as error:
        raise DatasetError(f"{path} cannot be read: {error}; write it again") from error
    if isinstance(document, dict) and "people" in document:
        document = [document]
    if isinstance(document, list):
        entries = [(f"frame {number}", str(number), number, entry) for number, entry in enumerate(document)]
    elif isinstance(document, dict):
        entries = []
        for key, entry in document.items():
            stem = Path(key).stem.removesuffix("_keypoints")
            number = re.search(r"(\d+)\D*$", stem)
            if number is None:
                raise DatasetError(
                    f"{path} has an entry {key!r} without a number; expected frames by number or picture"
                )
            entries.append((f"frame {key}", stem, int(number[1]), entry))
    else:
        entries = []
    if not entries:
        raise DatasetError(f"{path} holds no frames; expected a list or a dict of frames with people, as OpenPose's")
    return _without_doubles([_frame(*entry) for entry in entries], path)


def _frame(source: str, stem: str, number: int, content: Any) -> PeopleInFrame:
    try:
        return PeopleInFrame(source, stem, number, _people(_parse(content) if isinstance(content, Path) else content))
    except _BrokenFrameError as error:
        return PeopleInFrame(source, stem, number, None, str(error))


def _without_doubles(frames: list[PeopleInFrame], place: Path) -> list[PeopleInFrame]:
    number, times = collections.Counter(frame.number for frame in frames).most_common(1)[0]
    if times > 1:
        names = listed(sorted(frame.source for frame in frames if frame.number == number))
        raise DatasetError(f"{place} holds frame {number} {times} times ({names}); give each clip a folder of its own")
    return sorted(frames, key=lambda frame: frame.number)


def _parse(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, OSError):
            raise _BrokenFrameError(error.strerror or str(error)) from error
        raise _BrokenFrameError("empty" if path.stat().st_size == 0 else "not JSON, perhaps cut short") from error


def _people(document: Any) -> Array:
    """People (P, 25, 3) of a frame, as the file has them."""
    people = document.get("people") if isinstance(document, dict) else None
    if not isinstance(people, list):
        raise _BrokenFrameError("no list of people in it")
    if len(people) > _MOST_PEOPLE:
        raise _BrokenFrameError(f"{len(people)} people in it, at most {_MOST_PEOPLE} are read")
    found = [keypoints for person in people if (keypoints := _person(person)) is not None]
    return np.stack(found) if found else NOBODY


def _person(person: Any) -> Array | None:
    """Keypoints (25, 3); None for somebody of whom only hands or face were looked for."""
    key = next((key for key in _KEYS if isinstance(person, dict) and key in person), None)
    if key is None:
        raise _BrokenFrameError(f"a person without {_KEYS[0]}")
    numbers = person[key]
    if not isinstance(numbers, list) or not all(type(number) in (int, float, type(None)) for number in numbers):
        raise _BrokenFrameError(f"{key} is not a list of numbers")
    if not numbers:
        return None
    if len(numbers) not in _JOINTS:
        raise _BrokenFrameError(f"{key} has {len(numbers)} numbers, expected 75 (BODY_25) or 54 (COCO)")
    keypoints = np.zeros((jn.NUM_KEYPOINTS, 3))
    keypoints[list(_JOINTS[len(numbers)])] = np.array([_number(n) for n in numbers]).reshape(-1, 3)
    return keypoints


def _number(value: float | None) -> float:
    """Writers that know no NaN put null, and a whole number may be too long for a float."""
    try:
        return np.nan if value is None else float(value)
    except OverflowError:
        return np.inf
