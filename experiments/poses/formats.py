"""Converts the output dictionaries of human mesh recovery methods, recognised by their keys, to `PoseTrack`s.

All methods predict SMPL's `global_orient` for a camera that looks along +z with x right and y down, as used for
projecting their meshes into the image, so it is used unchanged. They differ in the camera that the root orientation
refers to: - VIBE (and TCMR, MAED and others that write the same file), PARE, 4D-Humans / PHALP see a crop through a
  weak-perspective camera: their root is relative to the ray through the crop, which differs from the camera's axis by
  an angle of at most about half the field of view. This is not corrected, because the correction needs the focal
  length.
- TRAM, WHAM (`pose`, not `pose_world`) and GVHMR (`smpl_params_incam`, not `smpl_params_global`) take the whole image's
  camera into account: their root is in its axes.
GVHMR uses SMPL-X's body: 21 joints besides the root, which are SMPL's first 21, so the hands keep their rest pose.

Sources of keys and shapes: the demo programs of the methods' public repositories (mkocabas/VIBE `demo.py`, mkocabas/PARE
`pare/core/tester.py`, brjathu/PHALP `phalp/trackers/PHALP.py`, yohanshin/WHAM `demo.py`, zju3dv/GVHMR
`hmr4d/model/gvhmr/gvhmr_pl_demo.py`, yufu-wang/tram `lib/models/hmr_vimo.py`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from body_models import joints as jn
from body_models.wording import listed
from experiments.data.dataset import DatasetError
from experiments.poses import generic, pickles
from experiments.poses.pose_arrays import as_array, axis_angle, checked, described, joined
from experiments.poses.track import PoseTrack

Array = np.ndarray

# The files that the methods write into a folder of their own for each video.
OUTPUT_FILES = ("vibe_output.pkl", "pare_output.pkl", "wham_output.pkl", "hmr4d_results.pt")
TRAM_FILES = "hps_track_*.npy"
# SMPL's and SMPL-X's root joint at rest for the mean neutral shape, metres; `transl` does not include it.
_PELVIS_SMPL = np.array([-0.002, -0.223, 0.028])
_PELVIS_SMPLX = np.array([0.003, -0.351, 0.012])
# By any of which a dictionary within the file is a person's.
_PERSON_KEYS = ("frame_ids", "frame_id", "pose", "poses_root_cam")
# Of frames and people.
_LARGEST_NUMBER = 1e9
# Of all people together: an hour of one of them.
_MOST_POSES = 110_000
# Fragments of tracks too count as people.
_MOST_PEOPLE = 2000
_EXPECTED = "the output of VIBE, PARE, 4D-Humans, WHAM, GVHMR or TRAM, or an npz with poses (docs/data.md)"


def read(path: str | os.PathLike) -> list[PoseTrack]:
    """All people in the output of a method.

    Args:
      path: the file of one video; or the folder that the method made for it, such as VIBE's with `vibe_output.pkl` or
        TRAM's with `hps/hps_track_0.npy` and so on, one file per person.

    Raises:
      DatasetError: the file is missing, damaged, unsafe, of unknown format, or contains no person. One sentence.
    """
    path = Path(path)
    tracks = [track for file in _files(path) for track in _read_file(file)]
    tracks = [track for track in tracks if len(track.frames)]
    if not tracks:
        raise DatasetError(
            f"{path}: there is nobody in it, or no pose that is finite; run the method again on this video"
        )
    if len(tracks) > _MOST_PEOPLE:
        raise DatasetError(f"{path}: it has {len(tracks)} people, at most {_MOST_PEOPLE} are read; cut the video")
    return tracks


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        if not path.exists():
            raise DatasetError(f"{path}: there is no such file; check the path")
        return [path]
    outputs = [[file] for name in OUTPUT_FILES for file in path.glob(f"**/{name}")]
    outputs += [sorted(folder.glob(TRAM_FILES)) for folder in {file.parent for file in path.glob(f"**/{TRAM_FILES}")}]
    if len(outputs) != 1:
        raise DatasetError(
            f"{path}: this folder has {len(outputs)} outputs of a method in it ({', '.join(OUTPUT_FILES)}, {TRAM_FILES}), "
            "1 was expected; name the output of one video"
        )
    return outputs[0]


def _read_file(file: Path) -> list[PoseTrack]:
    try:
        contents = pickles.load(file)
    except pickles.OtherFormatError as error:
        raise DatasetError(f"{file}: this is {error.kind}; expected {_EXPECTED}") from error
    except pickles.BadPickleError as error:
        raise DatasetError(str(error)) from error
    try:
        return [checked(track) for track in tracks_of(contents, _tram_camera(file))]
    except ValueError as error:
        raise DatasetError(f"{file}: {error}") from error


def tracks_of(contents: object, camera: tuple[float, float, float] | None = None) -> list[PoseTrack]:
    """The people in the contents of a method's file; their arrays are not checked yet (see `checked`).

    Args:
      contents: the contents as read from the file.
      camera: focal length and principal point in pixels, if another file has them (TRAM).

    Raises:
      ValueError: the format is unknown, or the shapes of arrays are inconsistent.
    """
    if not isinstance(contents, Mapping):
        raise ValueError(f"it holds {described(contents)}; every known method writes a dictionary")
    if not contents:
        return []
    if "smpl_params_incam" in contents:
        return [_gvhmr(contents)]
    if "pred_rotmat" in contents:
        return [_tram(contents, camera)]
    if ("pose" in contents or "pred_pose" in contents) and {"frame_ids", "bboxes"} <= set(contents):
        return [_person("the person", contents)]
    if generic.recognises(contents):
        return [generic.track(contents)]
    inside = [value for value in contents.values() if isinstance(value, Mapping)]
    if any("tid" in value and "smpl" in value for value in inside):
        return _phalp(contents)
    if any(key in value for value in inside for key in _PERSON_KEYS):
        _check_count(sum(_length(value) for value in inside))
        return [_person(f"person {listed([_plain(key)])}", value) for key, value in contents.items()]
    raise ValueError(
        "it is no output of VIBE, PARE, 4D-Humans, WHAM, GVHMR or TRAM and has no poses of its own; found "
        f"{listed(contents)}; expected one of these, or an npz with poses (docs/data.md)"
    )


def _check_count(poses: int) -> None:
    if poses > _MOST_POSES:
        raise ValueError(f"it has {poses} poses, at most {_MOST_POSES} are read; cut the video")


def _length(person: Mapping[Any, Any]) -> int:
    """Poses of a person, where they are an array or list at all."""
    poses = next((person[key] for key in ("pose", "pred_pose", "poses_root_cam") if key in person), ())
    return len(poses) if isinstance(poses, list | tuple) or (isinstance(poses, np.ndarray) and poses.ndim) else 0


def _entry(holder: Any, key: str, whose: str) -> Any:
    """An entry of a dictionary. Raises ValueError: there is none."""
    if not isinstance(holder, Mapping):
        raise ValueError(f"{whose} is {described(holder)}, expected a dictionary with {key}")
    if key not in holder:
        raise ValueError(f"{whose} has no {key}; found {listed(holder)}")
    return holder[key]


def _whole(value: Any, name: str) -> int:
    """One whole number. Raises ValueError: it is something else."""
    number = as_array(value, name)
    if number.size != 1 or not np.abs(number.item()) <= _LARGEST_NUMBER or number.item() != round(number.item()):
        raise ValueError(f"its {name} is {described(value)}, expected a whole number")
    return int(number.item())


def _list(picture: Mapping[str, Any], key: str, whose: str) -> list[Any]:
    value = _entry(picture, key, whose)
    if not isinstance(value, list | tuple) and not (isinstance(value, np.ndarray) and value.ndim):
        raise ValueError(f"{key} of {whose} is {described(value)}, expected a list with an entry for each person")
    return list(value)


def _points(value: Any, name: str) -> Array:
    """Points (M, 3). Raises ValueError: another shape."""
    points = as_array(value, name)
    if points.ndim == 3 and points.shape[1] == 1:
        points = points[:, 0]
    if points.ndim != 2 or points.shape[1] != 3:
        raise ValueError(f"its {name} has shape {points.shape}; expected (frames, 3)")
    return points


def _stacked(values: Sequence[Any], name: str) -> Array:
    """One array of the arrays of all frames. Raises ValueError: they are of several shapes."""
    arrays = [as_array(value, name) for value in values]
    other = next((array for array in arrays if array.shape != arrays[0].shape), None)
    if other is not None:
        raise ValueError(f"its {name} has shape {arrays[0].shape} in one frame and {other.shape} in another")
    return np.stack(arrays)


def _person(name: str, person: Any) -> PoseTrack:
    """One entry of VIBE's, PARE's or WHAM's file: {person id: {...}}.

    pose (M, 72) or (M, 24, 3, 3), betas (M, 10), frame_ids (M,); VIBE and PARE: bboxes (M, 4), centre and size, and the
    projected joints (M, 49, 2), of which the first 25 are BODY_25: `joints2d_img_coord` of VIBE, `smpl_joints2d` of PARE.
    WHAM: trans (M, 3), pose_world and trans_world, which are not in the camera.
    """
    library = isinstance(person, Mapping) and "poses_root_cam" in person  # WHAM called as a library
    frames = _entry(person, "frame_id" if library else "frame_ids", name)
    betas = person.get("betas", person.get("pred_shape"))
    if library:
        pose = joined(person["poses_root_cam"], _entry(person, "poses_body", name), ("poses_root_cam", "poses_body"))
        return PoseTrack(name, frames, pose, "WHAM", betas=betas)
    key = "pred_pose" if "pose" not in person and "pred_pose" in person else "pose"
    pose = axis_angle(_entry(person, key, name), f"{key} of {name}")
    if "pose_world" in person or "trans_world" in person:
        pelvis = _points(person["trans"], "trans") + _PELVIS_SMPL if "trans" in person else None
        return PoseTrack(name, frames, pose, "WHAM", betas=betas, pelvis=pelvis)
    return PoseTrack(
        name,
        frames,
        pose,
        "PARE" if "smpl_joints2d" in person else "VIBE",
        joints_2d=_body_25(person),
        boxes=_centred_boxes(person.get("bboxes")),
        betas=betas,
    )


def _body_25(person: Mapping[str, Any]) -> Array | None:
    """(M, 25, 2). `joints2d` comes from the tracker and is None, or has 21 joints of another order; it is not used."""
    for key in ("smpl_joints2d", "joints2d_img_coord", "joints2d"):
        joints = person.get(key)
        if isinstance(joints, np.ndarray) and joints.ndim == 3 and joints.shape[1] == 49:
            return as_array(joints, key)[:, : jn.NUM_KEYPOINTS, :2]
    return None


def _centred_boxes(boxes: Any) -> Array | None:
    """x1 y1 x2 y2 of boxes given as centre, width and height; the size is of a square around the person."""
    if boxes is None:
        return None
    boxes = as_array(boxes, "bboxes")
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"its bboxes have shape {boxes.shape}; expected (frames, 4): centre, width and height")
    return np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], axis=1)


def _phalp(contents: Mapping[Any, Any]) -> list[PoseTrack]:
    """4D-Humans: {picture: {time, tid, smpl, bbox, tracked_time, ...}}, lists with an entry for each person in view.

    smpl is {global_orient (1, 3, 3), body_pose (23, 3, 3), betas (10,)}; bbox is corner, width and height, pixels; where
    tracked_time is above 0 the person was not detected and the entry repeats an older one or is a guess: left out.
    """
    people: dict[int, list[tuple[int, Any, Any]]] = {}
    for index, picture in enumerate(contents.values()):
        whose = f"picture {index}"
        persons, smpl, boxes = (_list(picture, key, whose) for key in ("tid", "smpl", "bbox"))
        unseen = [0] * len(persons) if picture.get("tracked_time") is None else _list(picture, "tracked_time", whose)
        for key, found in (("smpl", smpl), ("bbox", boxes), ("tracked_time", unseen or [0] * len(persons))):
            if len(found) != len(persons):
                raise ValueError(f"{whose} has {len(persons)} tid and {len(found)} {key}")
        time = _whole(picture.get("time", index), f"time of {whose}")
        for person, body, box, age in zip(persons, smpl, boxes, unseen or [0] * len(persons), strict=True):
            if not _whole(age, f"tracked_time of {whose}") > 0:
                people.setdefault(_whole(person, f"tid of {whose}"), []).append((time, body, box))
    _check_count(sum(map(len, people.values())))
    return [_phalp_person(person, seen) for person, seen in people.items()]


def _phalp_person(person: int, seen: list[tuple[int, Any, Any]]) -> PoseTrack:
    frames, smpl, boxes = zip(*seen, strict=True)
    whose = f"smpl of person {person}"
    parts = {
        key: _stacked([_entry(body, key, whose) for body in smpl], f"{key} of person {person}")
        for key in ("global_orient", "body_pose")
    }
    corner = _stacked(boxes, f"bbox of person {person}")
    if corner.shape[1:] != (4,):
        raise ValueError(f"its bbox of person {person} has shape {corner.shape[1:]}; expected (4,): corner and size")
    betas = [body["betas"] for body in smpl if "betas" in body]
    return PoseTrack(
        f"person {person}",
        np.array(frames),
        joined(parts["global_orient"], parts["body_pose"], ("global_orient", "body_pose")),
        "4D-Humans",
        boxes=np.concatenate([corner[:, :2], corner[:, :2] + corner[:, 2:]], axis=1),
        betas=_stacked(betas, f"betas of person {person}") if len(betas) == len(smpl) else None,
    )


def _gvhmr(contents: Mapping[str, Any]) -> PoseTrack:
    """GVHMR: {smpl_params_incam: {global_orient (F, 3), body_pose (F, 63), betas (F, 10), transl (F, 3)}, K_fullimg
    (F, 3, 3), ...}, one person, one row for each frame of the video.
    """
    incam = contents["smpl_params_incam"]
    root, body = (_entry(incam, key, "its smpl_params_incam") for key in ("global_orient", "body_pose"))
    pose = joined(root, body, ("global_orient", "body_pose"))
    camera = pelvis = None
    if "transl" in incam and "K_fullimg" in contents:
        pelvis = _points(incam["transl"], "transl") + _PELVIS_SMPLX
        camera = _intrinsics(contents["K_fullimg"])
    count = len(pose)
    return PoseTrack(
        "the person",
        np.arange(count),
        pose,
        "GVHMR",
        betas=incam.get("betas"),
        pelvis=pelvis,
        camera=camera,
        num_frames=count,
    )


def _plain(key: Any) -> Any:
    """A person's number as Python's own: WHAM's are NumPy's."""
    return key.item() if isinstance(key, np.generic) else key


def _intrinsics(matrices: Any) -> tuple[float, float, float]:
    """Focal length and principal point of the first matrix."""
    found = as_array(matrices, "K_fullimg")
    if found.shape[-2:] != (3, 3) or not found.size or not np.isfinite(found).all() or found.flat[0] <= 0:
        about = f"has shape {found.shape}" if found.shape[-2:] != (3, 3) or not found.size else "has no focal length"
        raise ValueError(f"its K_fullimg {about}; expected (frames, 3, 3), the camera's matrices in pixels")
    first = found.reshape(-1, 3, 3)[0]
    return float(first[0, 0]), float(first[0, 2]), float(first[1, 2])


def _tram(contents: Mapping[str, Any], camera: tuple[float, float, float] | None) -> PoseTrack:
    """TRAM: one person a file, {pred_rotmat (M, 24, 3, 3), pred_shape (M, 10), pred_trans (M, 1, 3), frame (M,)}."""
    if "frame" not in contents:
        raise ValueError("it has pred_rotmat but no frame, the numbers of its frames")
    pelvis = None
    if camera is not None and "pred_trans" in contents:
        pelvis = _points(contents["pred_trans"], "pred_trans") + _PELVIS_SMPL
    return PoseTrack(
        "the person",
        contents["frame"],
        axis_angle(contents["pred_rotmat"], "pred_rotmat"),
        "TRAM",
        betas=contents.get("pred_shape"),
        pelvis=pelvis,
        camera=camera,
    )


def _tram_camera(file: Path) -> tuple[float, float, float] | None:
    """Focal length and principal point in the `camera.npy` that TRAM writes beside its folder `hps`."""
    beside = file.parent.parent / "camera.npy"
    if not file.match(TRAM_FILES) or not beside.is_file():
        return None
    contents = pickles.load(beside)
    if not isinstance(contents, Mapping) or not {"img_focal", "img_center"} <= set(contents):
        raise ValueError(f"{beside} beside it has no img_focal and img_center")
    numbers = np.concatenate([np.ravel(as_array(contents[key], key)) for key in ("img_focal", "img_center")])
    if numbers.size != 3 or not np.isfinite(numbers).all():
        raise ValueError(
            f"{beside} beside it has {numbers.size} numbers for img_focal and img_center; expected 1 and 2"
        )
    return float(numbers[0]), float(numbers[1]), float(numbers[2])
