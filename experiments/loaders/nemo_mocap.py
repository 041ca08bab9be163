"""NeMo-MoCap in its published layout: five sports actions, eight instances each, filmed by a phone beside motion capture.

Under the folder `data` of the published code (or the folder that holds it):

- `exps/mymocap_<action>/<action>.<i>.mp4`: a folder of pictures `000001.png` and so on, or a film. Where the pictures
  have not been extracted yet, `videos/<action>.<i>.mp4`.
- `exps/mymocap_<action>/<action>.<i>.mp4_openpose` (or without `.mp4`): OpenPose's JSON files, the 2D input.
- `exps/mymocap_<action>/<action>.<i>/vibe_output.pkl`: VIBE's poses, the initial estimate.
- `exps/mymocap_<action>/<action>.<i>.mp4_gt_new`, else `_gt`: `000001_keypoints.pkl` and so on, written by joblib, each an
  array (1, 49, 2) of pixels whose first 25 joints are BODY_25: the motion capture seen by the camera.
- `mocap/<action>.<i>.pkl`: a dict with `fullpose` (F, 66 or more), whose first 66 numbers are root and 21 joints of the
  body, `trans` (F, 3) metres and `betas` (10 or more). Row t is frame t of the film.
- `opt_cam_IMG_6287.pt` for `tennis_serve`, `opt_cam_IMG_6289.pt` otherwise: a torch file of a camera and its focal length in
  pixels; the camera's 9 numbers are translation and 6D rotation, which take the world to the camera.

Source: Wang et al., CVPR 2023, and its published code, read for these facts. What neither says:

- Which axis of the motion capture is up. It is the axis along which the pelvis points, on average over the clips; the truth
  is turned so that it is y.
- The camera's principal point. The published renderer has it at x = height, y = width of the frames; the one of the
  published fits is at half of that; a camera's own is in the middle. The one of the three is taken with which the camera
  sees the motion capture nearest to where `_gt` has it, and the renderer's where there is no `_gt`.
- The frame rate: 30, as the published evaluation takes for every video.

The two hands, which `fullpose` has elsewhere, are zero, as in the published evaluation, and the truth's shape is the
file's first ten numbers on a body with SMPL's mesh, else the mean shape: other bodies have other shape directions. The
published evaluation takes the mean shape for all.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np

from body_models import joints as jn
from body_models import smpl
from experiments.base.text import listed
from experiments.data import ranges
from experiments.data.dataset import Dataset, DatasetError, pad
from experiments.data.footage import BrokenClipError
from experiments.data.ids import choose_ids, no_folder
from experiments.detection import tracking
from experiments.loaders import layouts, nemo_truth, openpose_layouts
from experiments.loaders.layouts import Recording
from experiments.loaders.nemo_truth import MoCap
from experiments.simulation import observations
from nemo_jax.clips import GroundTruth

PREFIX = "mymocap_"
_MOST_APART = 2  # frames by which film and motion capture may differ in length: decoders do


def recognises(data_dir: str | Path) -> bool:
    """Whether the folder, or the `data` in it, holds `exps/mymocap_*`."""
    return bool(_actions(_base(Path(data_dir))))


def actions(data_dir: str | Path) -> list[str]:
    """The actions that there are folders of."""
    return _actions(_base(Path(data_dir)))


def load(
    data_dir: str | Path,
    action: str,
    max_instances: int | None = None,
    *,
    body: smpl.SMPL,
    person: str = tracking.LARGEST,
    ids: str | None = None,
    fps: float | None = None,
    openpose_layout: str = openpose_layouts.AUTO,
) -> Dataset:
    """Reads the instances of one action.

    Args:
      data_dir: the folder `data`, or the one that holds it.
      action: such as `baseball_pitch`.
      max_instances: the first so many, by number; None = all.
      body: that the true joints are those of.
      person: who is followed where OpenPose saw several, as `--person`.
      ids: names or numbers of instances, separated by commas; None = all.
      fps: frames per second of pictures; None = 30.
      openpose_layout: how the keypoints stand in OpenPose's files, see `openpose_layouts`.

    Raises:
      DatasetError: no such folder or action, no instance that can be used. UserError: `person` fits nobody.
    """
    base = _base(Path(data_dir))
    folder = base / "exps" / f"{PREFIX}{action}"
    if not folder.is_dir():
        raise DatasetError(_no_action(Path(data_dir), base, action))
    names = choose_ids(_names(base, folder, action), action, ids, folder)
    tracking.check_names(person, names)
    has_truth = any(_truth_file(base, name).exists() for name in names)

    def read(name: str) -> tuple[Recording, Any]:
        mocap = nemo_truth.read_mocap(_truth_file(base, name)) if has_truth else None
        return _same_length(_read_clip(base, folder, name, person, fps, openpose_layout), mocap)

    pairs, failed = layouts.usable(names, read, max_instances)
    broken = [f"{name} ({reason})" for name, reason in failed]
    if not pairs:
        why = listed(broken) or "it is empty"
        raise DatasetError(f"--action={action} has no usable instance in {folder}: {why}")
    found, mocaps = (list(part) for part in zip(*pairs, strict=True))
    if not has_truth:
        note = f"There is no motion capture of {action} in {base / 'mocap'}, so nothing is scored in 3D."
        return layouts.assemble(found, action, broken, [note])
    notes, known = _truth(base, folder, action, found, mocaps, body)
    return layouts.assemble(found, action, broken, notes, **known)


def _truth(
    base: Path, folder: Path, action: str, clips: list[Recording], mocaps: list[MoCap], body: smpl.SMPL
) -> tuple[list[str], dict[str, Any]]:
    """Notes, and the fields `truth` and `cameras` of the dataset."""
    notes = []
    if body.num_vertices != jn.SMPL_NUM_VERTICES:
        mocaps = [dataclasses.replace(mocap, betas=np.zeros_like(mocap.betas)) for mocap in mocaps]
        notes.append(
            "The true shapes are SMPL's and say nothing of this body; the true joints are those of its mean shape."
        )
    for clip, mocap in zip(clips, mocaps, strict=True):
        if odd := ranges.too_fast(mocap.translation, clip.instance.fps):
            notes.append(f"{clip.name}: its motion capture {odd}.")
    to_y_up = nemo_truth.upright(np.concatenate([mocap.pose[:, 0] for mocap in mocaps]))
    mocaps = [nemo_truth.turn(mocap, to_y_up, body) for mocap in mocaps]
    joints = [observations.body_keypoints(body, m.pose, m.betas) + m.translation[:, None] for m in mocaps]
    fields: dict[str, Any] = {
        "pose": pad([m.pose for m in mocaps]),
        "translation": pad([m.translation for m in mocaps]),
        "betas": np.stack([m.betas for m in mocaps]).astype(np.float32),
        "joints": pad(joints),
    }
    seen = []
    for clip in clips:
        suffixes = (".mp4_gt_new", "_gt_new", ".mp4_gt", "_gt")
        place = _first(*(folder / f"{clip.name}{suffix}" for suffix in suffixes))
        keypoints, why = nemo_truth.true_keypoints(place, clip.num_frames)
        seen.append(keypoints)
        if why:
            notes.append(f"{clip.name}: some of its 2D truth is not used: {why}.")
    file = base / f"opt_cam_{'IMG_6287' if action == 'tennis_serve' else 'IMG_6289'}.pt"
    cameras = None
    try:
        camera, doubt = nemo_truth.read_camera(file, to_y_up, clips[0].footage.image_size, joints, seen)
        cameras = (camera,) * len(clips)
        notes += [doubt] if doubt else []
    except BrokenClipError as error:
        notes.append(f"The true camera is not known: {error}.")
    return notes, {"truth": GroundTruth(**fields), "cameras": cameras}


def _base(root: Path) -> Path:
    """The folder that the layout calls `data`."""
    return root / "data" if not _actions(root) and _actions(root / "data") else root


def _actions(base: Path) -> list[str]:
    folders = sorted((base / "exps").glob(f"{PREFIX}*"))
    return [folder.name.removeprefix(PREFIX) for folder in folders if folder.is_dir()]


def _no_action(root: Path, base: Path, action: str) -> str:
    if not root.is_dir():
        return no_folder(root, f"the one that holds exps/{PREFIX}{action}")
    if not _actions(base):
        return f"--data_dir={root} holds no exps/{PREFIX}{action}; give the folder `data` of NeMo-MoCap"
    return f"--action={action} is not in {base / 'exps'}, which holds {', '.join(_actions(base))}; name one of these"


def _names(base: Path, folder: Path, action: str) -> set[str]:
    """Instances of which there is anything but motion capture."""
    names = set()
    for path in (*folder.iterdir(), *(base / "videos").glob("*.mp4")):
        number = re.match(r"[^._]+", path.name.removeprefix(f"{action}."))
        if path.name.startswith(f"{action}.") and number:
            names.add(f"{action}.{number[0]}")
    return names


def _truth_file(base: Path, name: str) -> Path:
    return base / "mocap" / f"{name}.pkl"


def _first(*paths: Path) -> Path:
    """The first of these that exists; the first of all where none does."""
    return next((path for path in paths if path.exists()), paths[0])


def _read_clip(base: Path, folder: Path, name: str, person: str, fps: float | None, openpose_layout: str) -> Recording:
    frames = _first(folder / f"{name}.mp4", base / "videos" / f"{name}.mp4")
    json_folder = _first(folder / f"{name}.mp4_openpose", folder / f"{name}_openpose")
    return layouts.read_clip(name, frames, json_folder, folder / name, person, fps, openpose_layout)


def _same_length(clip: Recording, mocap: Any) -> tuple[Recording, Any]:
    """Clip and motion capture, cut to the shorter where they differ by a frame or two, as films and decoders do.

    Raises:
      BrokenClipError: they differ by more, so nobody knows which frames belong together.
    """
    if mocap is None or len(mocap.pose) == clip.num_frames:
        return clip, mocap
    shown, captured = clip.num_frames, len(mocap.pose)
    if abs(shown - captured) > _MOST_APART:
        raise BrokenClipError(
            f"it has {shown} pictures but {captured} frames of motion capture, one for each was expected"
        )
    count = min(shown, captured)
    note = f"{clip.name} has {shown} pictures and {captured} frames of motion capture; the first {count} are used."
    return clip.cut(count, note), mocap.cut(count)
