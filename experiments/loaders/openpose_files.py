"""OpenPose's JSON files as they lie on disk: the frames of a folder, or of a single file, and the people in each.

Source: OpenPose 1.x, `--write_json` (doc/02_output.md): `<name>_<number>_keypoints.json` holds `people`, each with
`pose_keypoints_2d`, x, y and confidence of every keypoint in turn. Versions before 1.2 call it `pose_keypoints`.
`openpose_layouts.py` says which keypoints these can be. Hands and face are not read. Pose2Sim leaves `_keypoints` away:
`cam01.0000.json`. A single JSON file of all frames is read too: a list of such frames, or a dict of them by number or
picture.
"""

from __future__ import annotations

import collections
import dataclasses
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from body_models import joints as jn
from experiments.base.text import listed
from experiments.data.dataset import DatasetError
from experiments.loaders import openpose_layouts

Array = np.ndarray

# No detector finds more in a picture; who is who among them takes the cube of their number.
_MOST_PEOPLE = 200
_LARGEST_FRAME = 64 * 2**20  # bytes
_KEYS = ("pose_keypoints_2d", "pose_keypoints")
_FILE = re.compile(r"((?:.*?[^0-9])?)(\d+)(_keypoints)?\.json", re.DOTALL)
NOBODY = np.zeros((0, jn.NUM_KEYPOINTS, 3))


class _BrokenFrameError(ValueError):
    """A frame that cannot be read; the message says why."""


@dataclasses.dataclass(frozen=True)
class PeopleInFrame:
    """What was found of a frame. source: file or entry. stem: without `_keypoints.json`. people: each (points, 3) as in the
    file, or None where it is broken, and why."""

    source: str
    stem: str
    number: int
    people: tuple[Array, ...] | None
    problem: str = ""


def holds_frames(folder: Path) -> bool:
    """Whether there are OpenPose's JSON files in a folder."""
    return bool(_files(folder))


def prefixes(folder: Path) -> list[str]:
    """What stands before the numbers in the names of a folder's JSON files, each once, in order."""
    return sorted({match[1] for _, match in _files(folder)})


def is_prefix(prefix: str, name: str) -> bool:
    """Whether a prefix is that of the clip of this name."""
    return len(prefix) == len(name) + 1 and prefix.startswith(name) and prefix[-1] in "_-. "


def _files(folder: Path) -> list[tuple[Path, re.Match[str]]]:
    """The JSON files of frames, with the match of `_FILE`. Those without `_keypoints` in their names may be of anything:
    they count where there are no others and the first of them holds a frame."""
    numbered = [(path, match) for path in folder.glob("*.json") if (match := _FILE.fullmatch(path.name))]
    if named := [(path, match) for path, match in numbered if match[3]]:
        return named
    return numbered if numbered and _is_frame(min(path for path, _ in numbered)) else []


def _is_frame(path: Path) -> bool:
    try:
        return path.stat().st_size <= _LARGEST_FRAME and isinstance(_parse(path).get("people"), list)
    except (_BrokenFrameError, AttributeError, OSError):
        return False


def of_folder(folder: Path, prefix: str | None, layout: str = openpose_layouts.AUTO) -> list[PeopleInFrame]:
    """The frames of a folder, by number."""
    found = [(path, match) for path, match in _files(folder) if prefix in (None, match[1])]
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
    frames = [_frame(path.name, f"{match[1]}{match[2]}", int(match[2]), path, layout) for path, match in found]
    return _without_doubles(frames, folder)


def of_file(path: Path, layout: str = openpose_layouts.AUTO) -> list[PeopleInFrame]:
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
    return _without_doubles([_frame(*entry, layout) for entry in entries], path)


def _frame(source: str, stem: str, number: int, content: Any, layout: str) -> PeopleInFrame:
    try:
        document = _parse(content) if isinstance(content, Path) else content
        return PeopleInFrame(source, stem, number, _people(document, layout))
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


def _people(document: Any, layout: str) -> tuple[Array, ...]:
    """People of a frame, each (points, 3), as the file has them."""
    people = document.get("people") if isinstance(document, dict) else None
    if not isinstance(people, list):
        raise _BrokenFrameError("no list of people in it")
    if len(people) > _MOST_PEOPLE:
        raise _BrokenFrameError(f"{len(people)} people in it, at most {_MOST_PEOPLE} are read")
    return tuple(keypoints for person in people if (keypoints := _person(person, layout)) is not None)


def _person(person: Any, layout: str) -> Array | None:
    """Keypoints (points, 3); None for somebody of whom only hands or face were looked for."""
    key = next((key for key in _KEYS if isinstance(person, dict) and key in person), None)
    if key is None:
        raise _BrokenFrameError(f"a person without {_KEYS[0]}")
    numbers = person[key]
    if not isinstance(numbers, list) or not all(type(number) in (int, float, type(None)) for number in numbers):
        raise _BrokenFrameError(f"{key} is not a list of numbers")
    if not numbers:
        return None
    points, rest = divmod(len(numbers), 3)
    if rest or not openpose_layouts.of_length(points, layout):
        raise _BrokenFrameError(
            f"{key} has {openpose_layouts.found(len(numbers))}, expected {openpose_layouts.expected(layout)}"
        )
    return np.array([_number(n) for n in numbers]).reshape(-1, 3)


def _number(value: float | None) -> float:
    """Writers that know no NaN put null, and a whole number may be too long for a float."""
    try:
        return np.nan if value is None else float(value)
    except OverflowError:
        return np.inf


def in_body_25(frames: Sequence[PeopleInFrame], layout: str = openpose_layouts.AUTO) -> tuple[list[Array], set[str]]:
    """The people (P, 25, 3) of every frame of a clip, none of a broken one, and the layouts that they were in.

    Args:
      frames: read with the same `layout`, `--openpose_layout`.
    """
    everybody: dict[int, list[Array]] = {}
    for frame in frames:
        for person in frame.people or ():
            everybody.setdefault(len(person), []).append(person)
    found = {
        points: openpose_layouts.told_apart(people, openpose_layouts.of_length(points, layout))
        for points, people in everybody.items()
    }
    placed = [
        [openpose_layouts.LAYOUTS[found[len(person)]].to_body_25(person) for person in frame.people or ()]
        for frame in frames
    ]
    return [np.stack(people) if people else NOBODY for people in placed], set(found.values())
