"""The neutral format: any dataset as one `.npz` per instance, so that anyone can bring anything.

`<data_dir>/<action>/<instance>.npz` or `<data_dir>/<instance>.npz`; docs/data.md lists the keys. What `write` writes, `load`
reads back, bit for bit.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np

from experiments.base.files import replacing
from experiments.base.frame_rates import ASSUMED_FPS
from experiments.base.text import listed, natural
from experiments.data import bystanders, calibrated, moving_cameras, neutral_file, takes
from experiments.data.camera import Camera
from experiments.data.dataset import Dataset, DatasetError, HeadPoint, Instance, Video, pad, stack, visible_box_size
from experiments.data.ids import choose_ids, no_folder
from experiments.data.neutral_file import FileError
from nemo_jax.clips import GroundTruth

Array = np.ndarray
Arrays = Mapping[str, Array]
NUM_BETAS = 10  # of files whose truth has no shape
_OF_TRUTH = ("pose", "translation", "joints", "betas")


def recognises(data_dir: str | Path) -> bool:
    """Whether the folder looks like the format: `.npz` files in it or in its subfolders."""
    root = Path(data_dir)
    return bool(neutral_file.files(root)) or any(
        neutral_file.files(folder) for folder in root.iterdir() if folder.is_dir()
    )


def actions(data_dir: str | Path) -> list[str]:
    """The actions that there are: those that the files say, else the names of their folders."""
    root = Path(data_dir)
    found = set()
    for folder in (root, *sorted(p for p in root.iterdir() if p.is_dir())):
        for path in neutral_file.files(folder):
            # Files that cannot be read are named when their action is.
            with contextlib.suppress(FileError):
                found.add(neutral_file.text(neutral_file.read(path, ("action",)), "action", folder.name))
    return sorted(found)


def write(dataset: Dataset, folder: str | Path, replace: bool = False) -> list[Path]:
    """Writes every instance to `<folder>/<action>/<name>.npz` and returns these paths; files of the same names are replaced.

    Args:
      dataset: what to write.
      folder: where, made if it is not there.
      replace: delete other instances in the action's folder, which would be read as part of this dataset.

    Raises:
      DatasetError: a name that cannot be a file's, a folder that cannot be written, or, without `replace`, one that holds
        other instances.
    """
    for name in (dataset.action, *dataset.names):
        if not _is_file_name(name):
            raise DatasetError(f"{name!r} cannot name a file; rename the action or the instance")
    home = Path(folder) / dataset.action
    paths = [home / f"{name}.npz" for name in dataset.names]
    strangers = [path for path in neutral_file.files(home) if path not in paths]
    if strangers and not replace:
        found = listed([path.name for path in strangers])
        raise DatasetError(
            f"{home} already holds other instances ({found}), which would be read along with the new ones; delete them or "
            "choose another folder"
        )
    try:
        for number, path in enumerate(paths):
            with replacing(path) as temporary, temporary.open("wb") as file:
                np.savez_compressed(file, **_arrays(dataset, number, path))
        for path in strangers:
            path.unlink()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DatasetError(f"{error.filename or home} cannot be written ({reason}); choose another folder") from error
    return paths


def _arrays(dataset: Dataset, n: int, path: Path) -> dict[str, Any]:
    """What is known of instance `n`, without padding, by the keys of the format."""
    alone = dataset.select([n])
    clips = alone.clips
    arrays: dict[str, Any] = {
        "name": np.array(alone.names[0]),
        "action": np.array(alone.action),
        "order": n,
        "keypoints": clips.keypoints[0],
        "confidence": clips.confidence[0],
        "image_size": clips.image_size[0],
        "fps": clips.fps[0],
        "focal_length": clips.focal_length[0],
        "box_size": alone.box_size[0],
        "annotated": np.array(alone.annotated, int),
        "head_point": np.array(alone.head_point),
        "synthetic": np.array(alone.synthetic),
        "notes": np.array(alone.notes, str),
    }
    if clips.height is not None:
        arrays["height"] = clips.height[0]
    arrays |= moving_cameras.entries(clips, 0)
    if np.any(clips.init_mask) or np.any(clips.init_pose):
        arrays |= {"init_pose": clips.init_pose[0], "init_mask": clips.init_mask[0]}
    if alone.reference_2d is not None:
        keypoints, confidence = alone.reference_2d
        arrays |= {"reference_keypoints": keypoints[0], "reference_confidence": confidence[0]}
    if alone.view is not None:
        arrays["view"] = np.array(alone.view[0])
    if alone.source_frames is not None:
        arrays["source_frames"] = alone.source_frames[0]
    if alone.other_poses:
        arrays["other_names"] = np.array(tuple(alone.other_poses), str)
        arrays["other_poses"] = np.stack([pose[0] for pose, _ in alone.other_poses.values()])
        arrays["other_masks"] = np.stack([mask[0] for _, mask in alone.other_poses.values()])
    return (
        arrays
        | bystanders.entries(alone.bystanders, 0)
        | takes.entries(clips, 0)
        | calibrated.entries(alone, 0)
        | _pictures_of(alone, path)
        | _truth_of(alone)
    )


def _truth_of(alone: Dataset) -> dict[str, Any]:
    """What is true of the only instance of a dataset."""
    arrays: dict[str, Any] = {}
    if alone.truth is not None:
        arrays |= {f"truth_{name}": getattr(alone.truth, name)[0] for name in _OF_TRUTH}
    if alone.cameras is not None:
        arrays |= alone.cameras[0].entries()
    return arrays


def _pictures_of(alone: Dataset, path: Path) -> dict[str, Any]:
    """Where the pictures of the only instance of a dataset are.

    Paths are relative to the file, so that a folder of files and pictures can be moved; "" and no paths stand for None.
    """
    arrays: dict[str, Any] = {}
    if alone.frame_paths is not None:
        pictures = alone.frame_paths[0] or ()
        arrays["frame_paths"] = np.array([_relative(p, path.parent) if p else "" for p in pictures], str)
    if alone.videos is not None:
        video = alone.videos[0]
        arrays["video_path"] = np.array(_relative(video.path, path.parent) if video else "")
        if video:
            arrays["video_frames"] = np.asarray(video.frames)
        if video and video.turn:
            arrays["video_turn"] = video.turn
    return arrays


def load(data_dir: str | Path, action: str, max_instances: int | None = None, *, ids: str | None = None) -> Dataset:
    """Reads the instances of one action.

    Args:
      data_dir: the folder of the files, or the one that holds a folder of them named like the action.
      action: of files that say theirs, these are taken; those that do not are of every action, or of their folder's.
      max_instances: the first so many, by `order` and then by name; None = all.
      ids: names of instances, or what stands in them behind the action's dot, separated by commas; None = all.

    Raises:
      DatasetError: no such folder, no files, none of the action, none that can be used.
    """
    root = Path(data_dir)
    folder = root / action if neutral_file.files(root / action) else root
    found: list[tuple[Path, dict[str, Array]]] = []
    broken: dict[str, list[str]] = {}  # reason -> files
    others = set()
    for path in neutral_file.files(folder):
        try:
            arrays = neutral_file.read(path)
            files_action = neutral_file.text(arrays, "action", action)
            if files_action != action:
                others.add(files_action)
                continue
            found.append((path, _named(path, neutral_file.check(arrays), found)))
        except FileError as error:
            broken.setdefault(str(error), []).append(str(path))
    if not found:
        raise DatasetError(_why_nothing(root, action, _reasons(broken), others))
    found.sort(key=lambda item: (float(item[1].get("order", np.inf)), natural(str(item[1]["name"]))))
    chosen = choose_ids([str(arrays["name"]) for _, arrays in found], action, ids, folder)
    found, odd = _agreeing([item for item in found if str(item[1]["name"]) in chosen][:max_instances])
    return _dataset(found, action, _reasons(broken) + odd)


def _dataset(found: list[tuple[Path, dict[str, Array]]], action: str, broken: list[str]) -> Dataset:
    paths, rows = [path for path, _ in found], [arrays for _, arrays in found]
    clips = takes.of_entries(rows, stack([_instance(row) for row in rows]))
    clips = calibrated.of_entries(rows, clips)
    annotated = [tuple(row["annotated"].tolist()) if "annotated" in row else tuple(range(25)) for row in rows]
    common = tuple(k for k in annotated[0] if all(k in each for each in annotated))
    notes = list(dict.fromkeys(str(note) for row in rows for note in row.get("notes", ())))
    if broken:
        notes.append(f"Left out, because unusable: {listed(broken)}.")
    for path, row in found:
        notes += [f"{path}: {doubt}" for doubt in _doubts(row)]
    if any(each != common for each in annotated):
        notes.append("The files name different keypoints as annotated; only those that all of them name are scored.")

    def everywhere(key: str, what: str) -> bool:
        """Whether all have the key; says so if only some do."""
        having = sum(key in row for row in rows)
        if 0 < having < len(rows):
            notes.append(f"Only {having} of {len(rows)} files have {what} ({key}), so it is not used.")
        return having == len(rows)

    return Dataset(
        clips=clips,
        names=tuple(str(row["name"]) for row in rows),
        action=action,
        box_size=pad([_box_size(row) for row in rows]),
        truth=_truth(rows) if everywhere("truth_pose", "ground truth") else None,
        cameras=tuple(Camera.of_entries(row) for row in rows)
        if everywhere("world_from_camera", "the true camera")
        else None,
        frame_paths=_frame_paths(paths, rows),
        videos=_videos(paths, rows),
        bystanders=bystanders.of_entries(rows),
        annotated=common,
        head_point=cast(HeadPoint, str(rows[0].get("head_point", "nose"))),
        view=tuple(str(row.get("view", "")) for row in rows) if any("view" in row for row in rows) else None,
        synthetic=any(bool(row.get("synthetic", False)) for row in rows),
        other_poses=_other_poses(rows),
        reference_2d=(
            pad([row["reference_keypoints"] for row in rows]),
            pad([row["reference_confidence"] for row in rows]),
        )
        if everywhere("reference_keypoints", "keypoints to be scored on")
        else None,
        source_frames=np.array([row["source_frames"] for row in rows])
        if everywhere("source_frames", "its length before resampling")
        else None,
        picture_lenses=calibrated.picture_lenses(rows),
        notes=tuple(notes),
    )


def _instance(row: Arrays) -> Instance:
    width, height = row["image_size"].tolist()
    return Instance(
        keypoints=row["keypoints"],
        confidence=row["confidence"],
        image_size=(width, height),
        init_pose=row.get("init_pose"),
        init_mask=row.get("init_mask"),
        focal_length=float(row.get("focal_length", np.nan)),
        fps=float(row.get("fps", ASSUMED_FPS)),
        height=float(row.get("height", np.nan)),
        camera_turn=row.get("camera_turn"),
        zoom=row.get("zoom"),
        turn_focal=float(row.get("turn_focal", np.nan)),
    )


def _box_size(row: Arrays) -> Array:
    return row["box_size"] if "box_size" in row else visible_box_size(row["keypoints"], row["confidence"])


def _truth(rows: list[dict[str, Array]]) -> GroundTruth:
    none = {"truth_betas": np.zeros(NUM_BETAS)}
    fields: dict[str, Any] = {name: pad([(none | row)[f"truth_{name}"] for row in rows]) for name in _OF_TRUTH}
    return GroundTruth(**fields)


def _frame_paths(paths: list[Path], rows: list[dict[str, Array]]) -> tuple[tuple[str | None, ...] | None, ...] | None:
    if not any("frame_paths" in row for row in rows):
        return None
    pictures = [row.get("frame_paths", ()) for row in rows]
    return tuple(
        tuple(_absolute(str(own), path.parent) if own else None for own in names) if len(names) else None
        for path, names in zip(paths, pictures, strict=True)
    )


def _videos(paths: list[Path], rows: list[dict[str, Array]]) -> tuple[Video | None, ...] | None:
    if not any("video_path" in row for row in rows):
        return None
    videos = []
    for path, row in zip(paths, rows, strict=True):
        film = str(row.get("video_path", ""))
        frames = row.get("video_frames", np.arange(len(row["keypoints"])))
        turn = int(row.get("video_turn", 0))
        videos.append(Video(_absolute(film, path.parent), frames, turn) if film else None)
    return tuple(videos)


def _other_poses(rows: list[dict[str, Array]]) -> dict[str, tuple[Array, Array]]:
    """By name of the method, padded; instances that it does not know have mask 0."""
    methods = dict.fromkeys(str(name) for row in rows for name in row.get("other_names", ()))
    out = {}
    for method in methods:
        poses, masks = [], []
        for row in rows:
            names = [str(name) for name in row.get("other_names", ())]
            frames = len(row["keypoints"])
            if method in names:
                at = names.index(method)
                poses.append(row["other_poses"][at])
                masks.append(row["other_masks"][at] if "other_masks" in row else np.ones(frames))
            else:
                poses.append(np.zeros((frames, 24, 3)))
                masks.append(np.zeros(frames))
        out[method] = (pad(poses), pad(masks))
    return out


def _named(path: Path, arrays: dict[str, Array], found: list[tuple[Path, dict[str, Array]]]) -> dict[str, Array]:
    """The arrays with a `name`. Raises FileError: it cannot be a file's, or an earlier file has it."""
    name = neutral_file.text(arrays, "name", path.stem)
    if not _is_file_name(name):
        raise FileError(f"name is {name!r}, expected one that can name a file")
    for earlier, other in found:
        if str(other["name"]) == name:
            raise FileError(f"its name {name} is that of {earlier.name} too")
    return {**arrays, "name": np.array(name)}


def _agreeing(
    found: list[tuple[Path, dict[str, Array]]],
) -> tuple[list[tuple[Path, dict[str, Array]]], list[str]]:
    """The files whose keypoint 0 is what it is in the first, and why the others are not used."""
    first_path, first = found[0]
    expected = str(first.get("head_point", "nose"))
    kept, odd = [], []
    for path, arrays in found:
        own = str(arrays.get("head_point", "nose"))
        if own == expected:
            kept.append((path, arrays))
        else:
            odd.append(f"{path} (its head_point is {own}, that of {first_path.name} {expected})")
    return kept, odd


def _doubts(row: Arrays) -> list[str]:
    """What looks like keypoints in other units or an image size the wrong way round."""
    width, height = row["image_size"]
    doubts = []
    for kind in ("", "reference_"):
        seen = row[f"{kind}keypoints"][row[f"{kind}confidence"] > 0] if f"{kind}keypoints" in row else np.zeros((0, 2))
        if not len(seen):
            continue
        what = f"{kind.replace('_', ' ')}keypoints"
        outside = float(np.mean(np.any((seen < 0) | (seen > row["image_size"]), axis=-1)))
        if np.abs(seen).max() <= 2 < min(width, height):
            doubts.append(
                f"its {what} all lie within 2 pixels of the corner; are they shares of the image? Pixels are expected."
            )
        elif outside > 0.5:
            doubts.append(
                f"{outside:.0%} of its seen {what} lie outside the image of width {width:g} and height {height:g}."
            )
    return doubts


def _why_nothing(root: Path, action: str, broken: list[str], others: set[str]) -> str:
    if not root.is_dir():
        return no_folder(root, "the folder that holds the instances")
    others |= {folder.name for folder in root.iterdir() if folder.is_dir() and neutral_file.files(folder)}
    if broken:
        return f"--action={action} has no usable instance: {listed(broken)}"
    if others:
        return f"--action={action} is not in {root}, which holds {', '.join(sorted(others))}; name one of these"
    return f"--data_dir={root} holds no .npz files; expected {action}/<instance>.npz or <instance>.npz in it"


def _reasons(broken: dict[str, list[str]]) -> list[str]:
    return [f"{listed(files)} ({reason})" for reason, files in broken.items()]


def _is_file_name(name: str) -> bool:
    return bool(name) and not name.startswith(".") and not re.search(r"[/\\\0]", name)


def _relative(target: str, folder: Path) -> str:
    try:
        return os.path.relpath(target, folder)
    except ValueError:  # another drive
        return os.path.abspath(target)


def _absolute(target: str, folder: Path) -> str:
    return os.path.normpath(folder / target)
