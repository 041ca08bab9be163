"""Adds the poses of other methods to a dataset: the flag `--init`."""

from __future__ import annotations

import dataclasses
import os
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from experiments.base.text import listed
from experiments.data.dataset import Dataset, DatasetError, pad
from experiments.poses import formats
from experiments.poses.match import lay

Array = np.ndarray

GIVEN = "given"
_MOST_NAMED = 6
_SUFFIXES = (".pkl", ".p", ".pickle", ".joblib", ".npz", ".npy", ".pt", ".pth", ".gz", ".z", ".bz2", ".xz")


def apply(dataset: Dataset, paths: Sequence[str]) -> Dataset:
    """The dataset with the poses of other methods: the first path gives the initial estimate, the others are for
    comparison.

    A path is the output for one instance (a file, or the folder that the method made), or a folder of such outputs. In
    a folder the output of an instance is found by name: the file name without suffix, `demo_<name>`, or the name of a
    parent folder. An instance without a usable output gets no pose from this path, and a note says why.

    The poses that the dataset had as initial estimate become the method `given` of `Dataset.other_poses`. Those of
    further paths are named after the path's last part and the method, such as `out_wham`. Where nothing else tells a clip's
    focal length, it is the one with which the first path's poses were found, if that file names it.

    Raises:
      DatasetError: a path does not exist, or has no usable output for any instance; the message says why.
    """
    if not paths:
        return dataset
    clips = dataset.clips
    others = dict(dataset.other_poses)
    if np.any(np.asarray(clips.init_mask) > 0):
        others[_unique(GIVEN, others)] = np.asarray(clips.init_pose), np.asarray(clips.init_mask)
    notes, laid = list(dataset.notes), []
    for path in paths:
        pose, mask, focal, method, found = _lay_all(dataset, Path(path))
        notes += found
        laid.append((path, method, pose, mask, focal))
    for path, method, pose, mask, _ in laid[1:]:
        others[_unique(_name(path, method), others)] = pose, mask
    path, method, pose, mask, focal = laid[0]
    known = np.asarray(clips.focal_length, np.float32)
    taken = np.isnan(known) & ~np.isnan(focal)
    if taken.any():
        said = listed([f"{dataset.names[n]} {focal[n]:.0f} pixels" for n in np.flatnonzero(taken)], _MOST_NAMED)
        notes.append(f"The focal length is that of {method}'s poses in --init={path}: {said}.")
    focal = np.where(taken, focal, known).astype(np.float32)
    clips = dataclasses.replace(clips, init_pose=pose, init_mask=mask, focal_length=focal)
    return dataclasses.replace(dataset, clips=clips, other_poses=others, notes=tuple(notes))


def _lay_all(dataset: Dataset, path: Path) -> tuple[Array, Array, Array, str, list[str]]:
    """Poses (N, T, 24, 3), masks (N, T) and focal lengths (N,) in pixels, NaN where the file names none, of one path; the
    method that made them, and notes."""
    outputs = find(path, dataset.names)
    clips = dataset.clips
    lengths = (np.asarray(clips.frame_mask) > 0).sum(-1)
    poses, masks, methods, notes, failed = [], [], [], [], []
    focal = np.full(len(dataset.names), np.nan)
    for index, (name, length) in enumerate(zip(dataset.names, lengths, strict=True)):
        pose, mask = np.zeros((length, *clips.init_pose.shape[2:])), np.zeros(length)
        try:
            output = _only(outputs[name], path, name)
            tracks = formats.read(output)
            keypoints, confidence = (np.asarray(a)[index, :length] for a in (clips.keypoints, clips.confidence))
            width, height = np.asarray(clips.image_size)[index]
            pose, mask, found = lay(tracks, keypoints, confidence, (float(width), float(height)), str(output))
            notes += found
            methods += [track.method for track in tracks]
            focal[index] = next((track.camera[0] for track in tracks if track.camera), np.nan)
        except DatasetError as error:
            failed.append(str(error))
        poses.append(pose)
        masks.append(mask)
    if not methods:
        more = f" (and {len(failed) - 1} more like this)" if len(failed) > 1 else ""
        raise DatasetError(f"--init={path} has no pose for any instance: {failed[0]}{more}")
    notes += [f"No pose from --init={path}: {why}." for why in failed]
    length = clips.init_pose.shape[1]
    return pad(poses, length), pad(masks, length), focal, methods[0], notes


def _only(outputs: list[Path], path: Path, name: str) -> Path:
    if len(outputs) == 1:
        return outputs[0]
    if not outputs:
        raise DatasetError(
            f"{path} has no file or folder for {name}; expected {name}.npz, {name}/wham_output.pkl or alike"
        )
    shown = ", ".join(str(output) for output in outputs[:3])
    raise DatasetError(
        f"{path} has {len(outputs)} outputs for {name} ({shown}), 1 was expected; name the method's folder"
    )


def find(path: str | os.PathLike, names: Sequence[str]) -> dict[str, list[Path]]:
    """For each instance, the files and folders under `path` that `formats.read` can read for it.

    Raises:
      DatasetError: the file or folder does not exist.
    """
    path = Path(path)
    if not path.exists():
        raise DatasetError(f"--init={path}: there is no such file or folder; check the path")
    if not path.is_dir():
        matched = [name for name in names if _is_named(path.name, name)]
        return {name: [path] if len(names) == 1 or name in matched else [] for name in names}
    files = sorted(file for file in path.rglob("*") if file.is_file() and file.suffix.lower() in _SUFFIXES)
    found = {}
    for name in names:
        mine = [file for file in files if _belongs(file, path, name)]
        found[name] = _outputs(mine, name) or (_outputs(files, name) if len(names) == 1 else [])
    return found


def _belongs(file: Path, root: Path, name: str) -> bool:
    folders = (root.name, *file.relative_to(root).parts[:-1])
    return _is_named(file.name, name) or _normal(name) in map(_normal, folders)


def _is_named(file_name: str, name: str) -> bool:
    """Whether a file is named after the instance, ignoring suffixes of formats and the prefix `demo_` of 4D-Humans."""
    parts = _normal(file_name).split(".")
    while len(parts) > 1 and f".{parts[-1].lower()}" in _SUFFIXES:
        parts.pop()
    return ".".join(parts) in (_normal(name), f"demo_{_normal(name)}")


def _normal(name: str) -> str:
    """Normalises names with accents, which file systems encode in two ways."""
    return unicodedata.normalize("NFC", name)


def _outputs(files: list[Path], name: str) -> list[Path]:
    """Selects the outputs among an instance's files: those named as the methods name them, or else after the instance,
    or else any file."""
    tram = sorted({file.parent for file in files if file.match(formats.TRAM_FILES)})
    known = [file for file in files if file.name in formats.OUTPUT_FILES]
    named = [file for file in files if _is_named(file.name, name)]
    return [*known, *tram] or named or files


def _name(path: str, method: str) -> str:
    """A name for the evaluation: the last part of the path, and the method unless that part already contains it."""
    stem = Path(path).stem if Path(path).is_file() else Path(path).resolve().name
    method = method.lower()
    parts = [stem] if re.sub(r"\W", "", method) in re.sub(r"\W", "", stem.lower()) else [stem, method]
    return re.sub(r"[^\w.-]+", "_", "_".join(part for part in parts if part))


def _unique(name: str, taken: dict[str, tuple[Array, Array]]) -> str:
    names = [name, *(f"{name}_{number}" for number in range(2, len(taken) + 3))]
    return next(n for n in names if n not in taken and n not in ("init", "fit"))
