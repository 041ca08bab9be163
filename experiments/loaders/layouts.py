"""What the published layouts share: frames, OpenPose's JSON files and VIBE's poses, in a file or folder each per clip."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from experiments import poses
from experiments.base.frame_rates import ASSUMED_FPS
from experiments.base.text import listed
from experiments.data import footage, select
from experiments.data.dataset import Dataset, DatasetError, Instance, pad, stack, visible_box_size
from experiments.data.footage import BrokenClipError, Footage
from experiments.detection import tracking
from experiments.loaders import openpose, openpose_layouts
from nemo_jax.clips import Clips

Array = np.ndarray
Item = TypeVar("Item")
Read = TypeVar("Read")
_ENOUGH = 0.8  # share of frames with an initial pose from which on nothing is said


@dataclasses.dataclass(frozen=True)
class Recording:
    """One instance, as read and found sound. notes: what is odd about it."""

    name: str
    instance: Instance
    footage: Footage
    notes: tuple[str, ...] = ()

    @property
    def num_frames(self) -> int:
        return self.instance.num_frames

    def cut(self, count: int, note: str) -> Recording:
        """The first `count` frames, and one more note."""
        instance = select.first(self.instance, count, Clips)
        return Recording(self.name, instance, self.footage.cut(count), (*self.notes, note))


def usable(
    items: Iterable[Item], read: Callable[[Item], Read], most: int | None, error: type[ValueError] = BrokenClipError
) -> tuple[list[Read], list[tuple[Item, ValueError]]]:
    """What `read` makes of the first `most` items that can be used, and those before the last of them that cannot, and why.

    Args:
      items: names or files of clips, in order.
      read: reads one; raises `error` where it cannot be used.
      most: how many to use; None = all.
      error: whose message says why.
    """
    found, broken = [], []
    for item in items:
        if most is not None and len(found) >= most:
            break
        try:
            found.append(read(item))
        except error as reason:
            broken.append((item, reason))
    return found, broken


def only_clip(action: str, count: int) -> list[str]:
    """The note that is due where a single clip is used."""
    note = (
        f"Only one clip of {action}: its motion is fitted from a single view, with nothing to share, so that depths "
        "and which way is up are unsure."
    )
    return [note] if count == 1 else []


def read_clip(
    name: str,
    frames: Path,
    json_folder: Path,
    vibe: Path,
    person: str = tracking.LARGEST,
    fps: float | None = None,
    openpose_layout: str = openpose_layouts.AUTO,
) -> Recording:
    """One clip: as many frames as it has pictures.

    Args:
      name: of the clip.
      frames: folder of pictures, or film.
      json_folder: of OpenPose's files.
      vibe: VIBE's file or folder; where it is missing, cannot be read or saw nobody, the clip has no initial poses, and a
        note.
      person: `--person`, who is followed where OpenPose saw several.
      fps: where nothing tells; None = 30, which the published evaluation takes for every video.
      openpose_layout: how the keypoints stand in OpenPose's files, see `openpose_layouts`.

    Raises:
      BrokenClipError: no frames, no JSON files, nobody in them. UserError: `person` fits nobody.
    """
    shown = footage.read(frames)
    keypoints, confidence, notes = read_openpose(name, json_folder, shown, person, openpose_layout)
    pose, mask = None, None
    try:
        pose, mask, more = initial_poses(vibe, keypoints, confidence, shown.image_size)
        notes += more
    except BrokenClipError as error:
        notes.append(f"{name} has no initial poses: {error}.")
    instance = Instance(
        keypoints=keypoints,
        confidence=confidence,
        image_size=shown.image_size,
        init_pose=pose,
        init_mask=mask,
        fps=shown.fps or fps or ASSUMED_FPS,
    )
    return Recording(name, instance, shown, tuple(notes))


def read_openpose(
    name: str, folder: Path, shown: Footage, person: str, layout: str = openpose_layouts.AUTO
) -> tuple[Array, Array, list[str]]:
    """Keypoints (F, 25, 2) in pixels, confidence (F, 25) and notes of a clip.

    Raises:
      BrokenClipError: no folder, no files, nobody in them. UserError: `person` fits nobody.
    """
    if not folder.is_dir():
        raise BrokenClipError(f"there is no folder {folder} of OpenPose's JSON files")
    names = footage.stems(shown.paths)
    choice = tracking.PERSON.of(person, name)
    try:
        return openpose.read_folder(
            folder, shown.num_frames, choice, image_size=shown.image_size, frame_names=names, layout=layout
        )
    except DatasetError as error:
        raise BrokenClipError(str(error)) from error


def initial_poses(
    place: Path, keypoints: Array, confidence: Array, image_size: tuple[float, float]
) -> tuple[Array, Array, list[str]]:
    """Poses (F, 24, 3) and mask (F,) of the person of a clip, and notes.

    Args:
      place: VIBE's file, or its folder of one video.
      keypoints, confidence: (F, 25, 2) and (F, 25), of the person.
      image_size: width and height, pixels.

    Raises:
      BrokenClipError: nothing is there, it cannot be read, or it is not of this person.
    """
    try:
        pose, mask, notes = poses.lay(poses.read(place), keypoints, confidence, image_size, str(place))
    except DatasetError as error:
        raise BrokenClipError(str(error)) from error
    # A frame or two without a pose are nothing unusual, and a set has dozens of clips.
    return pose, mask, notes if np.mean(mask) < _ENOUGH else []


def assemble(
    clips: Sequence[Recording], action: str, broken: Sequence[str], notes: Sequence[str] = (), **known: Any
) -> Dataset:
    """The dataset of these clips; `known` are further fields of it."""
    notes = [*notes, *(note for clip in clips for note in clip.notes)]
    if broken:
        notes.append(f"Left out, because unusable: {listed(broken)}.")
    notes += only_clip(action, len(clips))
    stacked = stack([clip.instance for clip in clips])
    paths = tuple(clip.footage.paths for clip in clips)
    films = tuple(clip.footage.video for clip in clips)
    return Dataset(
        clips=stacked,
        names=tuple(clip.name for clip in clips),
        action=action,
        box_size=pad([visible_box_size(clip.instance.keypoints, clip.instance.confidence) for clip in clips]),
        frame_paths=paths if any(paths) else None,
        videos=films if any(films) else None,
        notes=tuple(notes),
        annotated=openpose.annotated(np.asarray(stacked.confidence)),
        **known,
    )
