"""One instance in the neutral format: a `.npz` of plain arrays, its keys and what each may hold. See docs/data.md."""

from __future__ import annotations

import collections
import dataclasses
import difflib
import typing
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Literal

import numpy as np

from body_models import joints as jn
from body_models import safe_npz
from experiments.base.text import listed
from experiments.data import ranges, turns
from experiments.data.camera import is_rotation
from experiments.data.dataset import HeadPoint

Array = np.ndarray
Kind = Literal["numbers", "whole numbers", "text", "true or false"]


@dataclasses.dataclass(frozen=True)
class Entry:
    """What a key holds. shape: lengths, "F" = frames of the instance, "M" = other methods, None = any."""

    kind: Kind
    shape: tuple[int | str | None, ...] = ()


_POSE = ("F", jn.NUM_JOINTS, 3)
KEYS = {
    "keypoints": Entry("numbers", ("F", jn.NUM_KEYPOINTS, 2)),
    "confidence": Entry("numbers", ("F", jn.NUM_KEYPOINTS)),
    "image_size": Entry("numbers", (2,)),
    # Said of the instance.
    "name": Entry("text"),
    "action": Entry("text"),
    "order": Entry("whole numbers"),
    "fps": Entry("numbers"),
    "focal_length": Entry("numbers"),
    "height": Entry("numbers"),
    "camera_turn": Entry("numbers", ("F", 3, 3)),
    "zoom": Entry("numbers", ("F",)),
    "turn_focal": Entry("numbers"),
    "take": Entry("whole numbers"),
    "offset_seconds": Entry("numbers"),
    "principal": Entry("numbers", (2,)),
    "known_rotation": Entry("numbers", (3, 3)),
    "known_translation": Entry("numbers", (3,)),
    "annotated": Entry("whole numbers", (None,)),
    "head_point": Entry("text"),
    "box_size": Entry("numbers", ("F",)),
    "reference_keypoints": Entry("numbers", ("F", jn.NUM_KEYPOINTS, 2)),
    "reference_confidence": Entry("numbers", ("F", jn.NUM_KEYPOINTS)),
    "view": Entry("text"),
    "synthetic": Entry("true or false"),
    "source_frames": Entry("whole numbers"),
    "notes": Entry("text", (None,)),
    # Its pictures.
    "frame_paths": Entry("text", (None,)),
    "video_path": Entry("text"),
    "video_frames": Entry("whole numbers", ("F",)),
    "video_turn": Entry("whole numbers"),
    "bystanders": Entry("numbers", ("F", None, 4)),
    "picture_matrix": Entry("numbers", (3, 3)),
    "picture_distortion": Entry("numbers", (8,)),
    # Poses that methods found.
    "init_pose": Entry("numbers", _POSE),
    "init_mask": Entry("numbers", ("F",)),
    "other_names": Entry("text", ("M",)),
    "other_poses": Entry("numbers", ("M", *_POSE)),
    "other_masks": Entry("numbers", ("M", "F")),
    # What is true.
    "truth_pose": Entry("numbers", _POSE),
    "truth_translation": Entry("numbers", ("F", 3)),
    "truth_betas": Entry("numbers", (None,)),
    "truth_joints": Entry("numbers", ("F", jn.NUM_KEYPOINTS, 3)),
    "world_from_camera": Entry("numbers", (3, 3)),
    "camera_position": Entry("numbers", (3,)),
    "camera_focal": Entry("numbers"),
    "camera_image_size": Entry("whole numbers", (2,)),
}
_RANGES = {
    "image_size": ranges.SIDE,
    "camera_image_size": ranges.LENGTH,
    "fps": ranges.RATE,
    "focal_length": ranges.FOCAL,
    "height": ranges.HEIGHT,
    "principal": ranges.PIXELS,
    "known_translation": ranges.POSITION,
    "zoom": ranges.ZOOM,
    "turn_focal": ranges.FOCAL,
    "camera_focal": ranges.FOCAL,
    "camera_position": ranges.POSITION,
    "box_size": ranges.LENGTH,
    "source_frames": ranges.FRAMES,
    "video_frames": ranges.FRAMES,
    "bystanders": ranges.LENGTH,
    "init_pose": ranges.ANGLE,
    "other_poses": ranges.ANGLE,
    "truth_pose": ranges.ANGLE,
    "truth_translation": ranges.POSITION,
    "truth_joints": ranges.POSITION,
    "truth_betas": ranges.BETAS,
}
REQUIRED = ("keypoints", "confidence", "image_size")
# Keys that say something only together; those in the second list may be left out even so.
_TOGETHER = (
    (("truth_pose", "truth_translation", "truth_joints"), ("truth_betas",)),
    (("world_from_camera", "camera_position", "camera_focal"), ("camera_image_size",)),
    (("known_rotation", "known_translation"), ()),
    (("video_path",), ("video_frames", "video_turn")),
    (("picture_matrix", "picture_distortion"), ()),
    (("init_pose",), ("init_mask",)),
    (("reference_keypoints", "reference_confidence"), ()),
    (("other_names", "other_poses"), ("other_masks",)),
)
# Of a name and the like: messages show it.
_MOST_CHARACTERS = 1000
# Two hours of film at 30 frames per second; more is a file made to take memory.
MOST_FRAMES = 200_000
_DTYPES: dict[Kind, str] = {"numbers": "fiub", "whole numbers": "iu", "text": "U", "true or false": "b"}


class FileError(ValueError):
    """A file that cannot be used; the message says why and does not name the file."""


def files(folder: Path) -> list[Path]:
    """The `.npz` files of a folder, by name; not hidden ones, such as one that was being written when a run was killed."""
    return sorted(path for path in folder.glob("*.npz") if path.is_file() and not path.name.startswith("."))


def read(path: Path, wanted: Collection[str] | None = None) -> dict[str, Array]:
    """The arrays of a file, as stored, unchecked; only those wanted, where that is said.

    Raises:
      FileError: it is not a `.npz` file, or one of the arrays is none of plain values.
    """
    try:
        with safe_npz.opened(path) as archive:
            for key in archive.others:
                if wanted is None or key in wanted:
                    raise FileError(f"{ascii(key[:80])[1:-1]} in it is not an array")
            return {key: archive[key] for key in archive if wanted is None or key in wanted}
    except safe_npz.NpzError as error:
        raise FileError(f"not a .npz file of plain arrays, or cut short: {error}") from error


def text(arrays: Mapping[str, Array], key: str, default: str = "") -> str:
    """One string of a file. Raises FileError: it is something else."""
    if key not in arrays:
        return default
    _check_kind(key, arrays[key])
    _check_shape(key, arrays[key], {})
    return str(arrays[key])


def check(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """The arrays of one instance, found sound: known keys, kinds, shapes, values. Masked NaNs have become zeros.

    Raises:
      FileError: naming the key, what was found and what was expected.
    """
    _check_names(arrays)
    sizes: dict[str, int] = {}
    for key, array in arrays.items():
        _check_kind(key, array)
    for key in (*REQUIRED, *arrays):
        _check_shape(key, arrays[key], sizes)
    if not sizes["F"]:
        raise FileError("keypoints have 0 frames, expected at least 1")
    if sizes["F"] > MOST_FRAMES:
        raise FileError(f"keypoints have {sizes['F']} frames, expected {MOST_FRAMES} at most; split the film")
    checked = dict(arrays)
    _clear(checked, "keypoints", arrays["confidence"] == 0)
    if "reference_keypoints" in arrays:
        _clear(checked, "reference_keypoints", arrays["reference_confidence"] == 0)
    for poses, mask in (("init_pose", "init_mask"), ("other_poses", "other_masks")):
        if mask in arrays:
            ranges.choice(mask, arrays[mask], FileError)
            _clear(checked, poses, arrays[mask] == 0)
    for key, array in checked.items():
        if KEYS[key].kind == "numbers":
            _check_finite(key, array)
    _check_values(checked, sizes["F"])
    _check_camera(checked)
    return checked


def _check_names(arrays: Mapping[str, Array]) -> None:
    missing = [key for key in REQUIRED if key not in arrays]
    if missing and {"poses", "trans"} <= set(arrays):
        raise FileError(
            "it holds a motion (poses, trans) and no keypoints; `python run.py simulate --motion=` makes keypoints of it"
        )
    for key in arrays:
        if key not in KEYS:
            near = difflib.get_close_matches(key[:80], KEYS, 1)
            hint = f"did you mean {near[0]}" if near else "docs/data.md lists all of them"
            raise FileError(f"{ascii(key[:80])[1:-1]} is not a key of the neutral format; {hint}")
    if missing:
        raise FileError(f"it has no {' and no '.join(missing)}; found {listed(list(arrays)) or 'nothing'}")
    for needed, optional in _TOGETHER:
        given = [key for key in (*needed, *optional) if key in arrays]
        absent = [key for key in needed if key not in arrays]
        if given and absent:
            together = f"; give {' and '.join(needed)} together" if len(needed) > 1 else ""
            raise FileError(f"it has {given[0]} but no {absent[0]}{together}")


def _check_kind(key: str, array: Array) -> None:
    kind = KEYS[key].kind
    if array.dtype.kind not in _DTYPES[kind]:
        raise FileError(f"{key} is an array of {array.dtype}, expected {kind}")
    if not KEYS[key].shape and array.dtype.kind == "U" and array.dtype.itemsize > 4 * _MOST_CHARACTERS:
        raise FileError(f"{key} is text of {array.dtype.itemsize // 4} characters, expected {_MOST_CHARACTERS} at most")


def _check_shape(key: str, array: Array, sizes: dict[str, int]) -> None:
    """Checks against KEYS; letters take their length from the first array that has them."""
    expected = KEYS[key].shape
    fits = len(expected) == array.ndim
    for length, found in zip(expected, array.shape, strict=False):
        if isinstance(length, str):
            fits = fits and sizes.get(length, found) == found
        else:
            fits = fits and length in (None, found)
    if not fits:
        lengths = [str(sizes.get(n, n) if isinstance(n, str) else n or "any") for n in expected]
        wanted = f"({', '.join(lengths)}{',' if len(lengths) == 1 else ''})"
        what = f" where keypoints have {sizes['F']} frames" if "F" in expected and "F" in sizes else ""
        raise FileError(f"{key} has shape {array.shape}, expected {wanted}{what}")
    for length, found in zip(expected, array.shape, strict=True):
        if isinstance(length, str):
            sizes.setdefault(length, found)


def _clear(arrays: dict[str, Array], key: str, where: Array) -> None:
    """Zeros for what is not finite where `where` (one entry per leading index) says that nothing is."""
    array = arrays[key]
    where = where.reshape(where.shape + (1,) * (array.ndim - where.ndim))
    arrays[key] = np.where(where & ~np.isfinite(array), np.zeros((), array.dtype), array)


def _check_finite(key: str, array: Array) -> None:
    with np.errstate(over="ignore"):
        bad = ~np.isfinite(array.astype(np.float32))
    if key in ("focal_length", "height", "turn_focal"):
        bad &= ~np.isnan(array)  # NaN = unknown
    if bad.any():
        where = np.argwhere(bad)[0].tolist()
        at = f", the first at {where}" if where else ""
        masked = {"keypoints": "confidence 0", "init_pose": "init_mask 0", "other_poses": "other_masks 0"}.get(key)
        instead = f"; mark what is missing by {masked}" if masked else ""
        raise FileError(f"{key} has {int(bad.sum())} values that are NaN or too large{at}, expected numbers{instead}")


def _check_values(arrays: Mapping[str, Array], frames: int) -> None:
    def least(key: str, low: float, above: bool = False) -> None:
        if key in arrays:
            wrong = arrays[key][arrays[key] <= low if above else arrays[key] < low]
            if wrong.size:
                expected = f"more than {low}" if above else f"{low} or more"
                raise FileError(f"{key} holds {wrong.ravel()[0]}, expected {expected}")

    for key in ("confidence", "reference_confidence"):
        least(key, 0)
        over = arrays.get(key, np.zeros(0))
        over = over[over > 1]
        if over.size:
            raise FileError(f"{key} holds {over.ravel()[0]}, expected numbers from 0 to 1")
    if not arrays["confidence"].any():
        raise FileError("confidence is 0 everywhere, so nothing of the person is seen")
    for key in ("image_size", "fps", "focal_length", "turn_focal", "zoom", "camera_focal", "camera_image_size"):
        least(key, 0, above=True)
    least("box_size", 0)
    least("source_frames", 1)
    least("take", 0)
    least("video_frames", -1)
    for key, known in _RANGES.items():
        if key in arrays:
            known.check(key, arrays[key], FileError)
    turn = int(arrays.get("video_turn", 0))
    if turn not in turns.DEGREES:
        raise FileError(f"video_turn is {turn}, expected one of {listed([str(known) for known in turns.DEGREES])}")
    shown = arrays.get("video_frames", np.zeros(0, int))
    shown = shown[shown >= 0]
    if np.any(shown[1:] < shown[:-1]):
        raise FileError("video_frames go back in the film, expected indices that never fall (-1 = none)")
    least("annotated", 0)
    if np.any(arrays.get("annotated", np.zeros(0)) >= jn.NUM_KEYPOINTS):
        raise FileError(f"annotated holds {arrays['annotated'].max()}, expected keypoints from 0 to 24")
    choices = typing.get_args(HeadPoint)
    if "head_point" in arrays and str(arrays["head_point"]) not in choices:
        raise FileError(f"head_point is {str(arrays['head_point'])!r}, expected one of {', '.join(choices)}")
    if "frame_paths" in arrays and len(arrays["frame_paths"]) not in (0, frames):
        raise FileError(
            f"frame_paths names {len(arrays['frame_paths'])} pictures for {frames} frames, expected as many"
        )
    methods = [str(name) for name in arrays.get("other_names", ())]
    times = collections.Counter(methods)
    for name in methods:
        if name in ("", "init", "fit") or times[name] > 1:
            raise FileError(f"other_names holds {name!r}, expected distinct names other than init and fit")


def _check_camera(arrays: Mapping[str, Array]) -> None:
    for key in ("world_from_camera", "known_rotation"):
        rotation = arrays.get(key)
        if rotation is not None and not is_rotation(rotation):
            raise FileError(f"{key} is not a rotation: its columns must be right-handed, of length 1, perpendicular")
    for frame, turn in enumerate(arrays.get("camera_turn", ())):
        if not is_rotation(turn):
            raise FileError(
                f"camera_turn of frame {frame} is not a rotation: its columns must be right-handed, of length 1, "
                "perpendicular"
            )
