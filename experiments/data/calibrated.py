"""Clips whose cameras are known: `--calibration`, a file in the folder of a take, and the neutral format."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.base.errors import UserError
from experiments.base.text import listed
from experiments.data import calibration_files
from experiments.data.calibration import Calibration, CalibrationError
from experiments.data.dataset import Dataset
from nemo_jax.clips import Clips

Array = np.ndarray
OFF = "off"  # of `--calibration`
_FLAG = "--calibration"
_MOST_NAMED = 8
_IN_FOLDER = re.compile(r"calib.*\.(toml|ya?ml|xml|json)|.*\.qca\.txt", re.IGNORECASE)


def with_calibration(dataset: Dataset, said: str | None) -> Dataset:
    """The dataset with the cameras that `--calibration` says, or a file of calibrated cameras in the folder of a take.

    Args:
      said: paths separated by commas, of one calibration; `off`, none; None = what the folders of takes hold.

    Raises:
      UserError: a file that cannot be used, or does not say which camera filmed a clip.
    """
    if said is None:
        return _of_folders(dataset)
    if said.strip() == OFF:
        return dataset
    paths = [Path(part.strip()).expanduser() for part in said.split(",") if part.strip()]
    every = range(len(dataset.names))
    return _with_cameras(dataset, list(every), _read(paths), listed([str(path) for path in paths], 2))


def _of_folders(dataset: Dataset) -> Dataset:
    take, videos = dataset.clips.take, dataset.videos
    if take is None or videos is None:
        return dataset
    for number in np.unique(np.asarray(take)):
        own = [int(n) for n in np.flatnonzero(np.asarray(take) == number)]
        folders = {Path(video.path).absolute().parent for n in own if (video := videos[n]) is not None}
        if len(own) < 2 or len(folders) != 1:
            continue
        files = sorted(path for path in folders.pop().iterdir() if _IN_FOLDER.fullmatch(path.name))
        if len(files) > 1:
            raise UserError(
                f"{files[0].parent} holds several calibrations ({listed([path.name for path in files])}); leave one, or "
                f"name them by {_FLAG}"
            )
        if files:
            dataset = _with_cameras(dataset, own, _read(files), str(files[0]))
    return dataset


def _read(paths: Sequence[Path]) -> list[Calibration]:
    found: dict[str, Calibration] = {}
    for path in paths:
        for camera in calibration_files.read(path):
            if camera.name in found:
                raise UserError(
                    f"{_FLAG}: {path} has a camera {camera.name} that there is already; give each camera once"
                )
            found[camera.name] = camera
    if not found:
        raise UserError(f"{_FLAG} is empty; give a file of calibrated cameras such as Calib.toml")
    return list(found.values())


def _with_cameras(dataset: Dataset, own: Sequence[int], cameras: Sequence[Calibration], source: str) -> Dataset:
    """The dataset in which the clips `own` have the cameras of a calibration, and keypoints without distortion."""
    chosen, notes = _chosen(dataset, own, cameras, source)
    clips = dataset.clips
    n = clips.num_instances
    keypoints, confidence = np.array(clips.keypoints, np.float32), np.array(clips.confidence, np.float32)
    focal = np.array(clips.focal_length, np.float32)
    principal, known = _known(clips.principal, (n, 2)), _known(clips.camera_known, (n, 9))
    reference = None if dataset.reference_2d is None else tuple(np.array(part) for part in dataset.reference_2d)
    lenses, lost = list(dataset.picture_lenses or [None] * n), 0
    for clip, camera in chosen.items():
        try:
            width, height = np.asarray(clips.image_size, float)[clip].tolist()
            camera = camera.of_size((width, height))
        except CalibrationError as error:
            raise UserError(f"{_FLAG}: {source} cannot be used for {dataset.names[clip]}: {error}") from error
        lost += _straighten(camera, keypoints[clip], confidence[clip])
        if reference is not None:
            _straighten(camera, reference[0][clip], reference[1][clip])
        focal[clip], principal[clip], lenses[clip] = camera.focal, camera.principal, camera.picture_lens
        if camera.rotation is not None and camera.translation is not None:
            known[clip] = np.concatenate([camera.translation, camera.rotation[:, :2].reshape(-1)])
    if lost:
        notes.append(f"{lost} keypoints lie where the lens of their calibration sees nothing; they count as not seen.")
    placed = not np.isnan(known).all()
    if not placed:
        notes.append(f"{source} says lenses and not where cameras stand, which is found.")
    elif clips.take is None:
        notes.append(
            f"{source} says where cameras stand, which is used of clips of one performance only (--same_take); of "
            "others their lenses are."
        )
    clips = dataclasses.replace(
        clips, keypoints=keypoints, confidence=confidence, focal_length=focal, principal=principal,
        camera_known=known if placed and clips.take is not None else clips.camera_known,
    )  # fmt: skip
    return dataclasses.replace(
        dataset, clips=clips, reference_2d=reference, notes=(*dataset.notes, *notes),
        picture_lenses=tuple(lenses) if any(lenses) else None,
    )  # fmt: skip


def _straighten(camera: Calibration, pixels: Array, confidence: Array) -> int:
    """Takes the distortion out of pixels (T, K, 2) in place; what has no place without it is not seen, and counted."""
    straight, found = camera.straight(pixels)
    seen = confidence > 0
    pixels[found & seen] = straight[found & seen]
    confidence[~found] = 0.0
    return int((seen & ~found).sum())


def _known(given: Any, shape: tuple[int, ...]) -> Array:
    return np.full(shape, np.nan, np.float32) if given is None else np.array(given, np.float32)


# --- which camera filmed which clip ---


def _chosen(
    dataset: Dataset, own: Sequence[int], cameras: Sequence[Calibration], source: str
) -> tuple[dict[int, Calibration], list[str]]:
    """The camera of each clip, by its name, else, in each take, by their order; and sentences about that."""
    names, take = dataset.names, dataset.clips.take
    groups: dict[float, list[int]] = {}
    for n in own:
        groups.setdefault(0.0 if take is None else float(take[n]), []).append(n)
    chosen, notes = {}, []
    there = listed([camera.name for camera in cameras], _MOST_NAMED)
    for clips in groups.values():
        by_name = {n: _named(_names_of(dataset, n), cameras) for n in clips}
        found = {n: camera for n, camera in by_name.items() if camera is not None}
        if take is not None and len({camera.name for camera in found.values()}) < len(found):
            found = {}
        if len(found) < len(clips) and not found and len(clips) == len(cameras) and len(clips) > 1:
            found = dict(zip(clips, cameras, strict=True))
            said = listed([f"{names[n]} is {camera.name}" for n, camera in found.items()], _MOST_NAMED)
            notes.append(
                f"No names say which camera of {source} filmed which clip, so they are taken in order: {said}."
            )
        for n in clips:
            if n in found:
                continue
            if len(clips) > 1 or len(groups) == 1:
                raise UserError(
                    f"{_FLAG}: {source} has no camera for the clip {names[n]}, only {there}; name clips as their "
                    "cameras, or give as many clips as cameras, in their order"
                )
            notes.append(f"{names[n]} has no camera in {source}, so its camera is found.")
        chosen |= found
    return chosen, notes


def _names_of(dataset: Dataset, n: int) -> list[str]:
    """The name of a clip, and that of its film, which knows nothing of folders and takes."""
    video = dataset.videos[n] if dataset.videos else None
    return [dataset.names[n]] if video is None else [dataset.names[n], Path(video.path).stem]


def _named(names: Sequence[str], cameras: Sequence[Calibration]) -> Calibration | None:
    """The only camera that one of a clip's names names, or is in the name of, or has in it; None = none, or several."""
    for name in names:
        same = [camera for camera in cameras if camera.name.casefold() == name.casefold()]
        if len(same) == 1:
            return same[0]
    for own in map(_words, names):
        within = [c for c in cameras if _contains(own, _words(c.name)) or _contains(_words(c.name), own)]
        if len(within) == 1:
            return within[0]
    return None


def _words(name: str) -> list[str | int]:
    """Letters and numbers of a name, such as int, cam, 1, img of int_cam01_img."""
    return [int(part) if part.isdecimal() else part for part in re.findall(r"[^\W\d_]+|\d+", name.casefold())]


def _contains(longer: Sequence[str | int], shorter: Sequence[str | int]) -> bool:
    size = len(shorter)
    return size > 0 and any(longer[at : at + size] == shorter for at in range(len(longer) - size + 1))


# --- the neutral format ---


def entries(dataset: Dataset, n: int) -> dict[str, Any]:
    """What the neutral format says of the camera of instance `n`."""
    clips, found = dataset.clips, dict[str, Any]()
    if dataset.picture_lenses is not None and (lens := dataset.picture_lenses[n]) is not None:
        found |= {"picture_matrix": lens.matrix, "picture_distortion": lens.distortion}
    if clips.principal is not None and not np.isnan(clips.principal[n]).any():
        found["principal"] = np.asarray(clips.principal[n])
    if clips.camera_known is not None and not np.isnan(clips.camera_known[n]).any():
        known = np.asarray(clips.camera_known[n])
        columns = known[3:].reshape(3, 2)
        third = np.cross(columns[:, 0], columns[:, 1])
        found["known_rotation"] = np.concatenate([columns, third[:, None]], 1).astype(np.float32)
        found["known_translation"] = known[:3]
    return found


def of_entries(rows: Sequence[Mapping[str, Array]], clips: Clips) -> Clips:
    """The clips with the cameras that rows of the neutral format say."""
    principal, known = _known(None, (len(rows), 2)), _known(None, (len(rows), 9))
    for n, row in enumerate(rows):
        if "principal" in row:
            principal[n] = row["principal"]
        if "known_rotation" in row:
            known[n] = np.concatenate([row["known_translation"], row["known_rotation"][:, :2].reshape(-1)])
    some = lambda values: None if np.isnan(values).all() else values
    return dataclasses.replace(clips, principal=some(principal), camera_known=some(known))


def picture_lenses(rows: Sequence[Mapping[str, Array]]) -> tuple[Calibration | None, ...] | None:
    """The lenses of pictures that rows of the neutral format say; None where no row does."""
    found = []
    for row in rows:
        width, height = np.asarray(row["image_size"], float).tolist()
        known = "picture_matrix" in row
        lens = Calibration("", (width, height), row["picture_matrix"], row["picture_distortion"]) if known else None
        found.append(lens)
    return tuple(found) if any(found) else None
