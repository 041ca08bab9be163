"""The 2D keypoints of one person, from OpenPose's JSON files.

What counts as not seen, with confidence 0 and coordinates 0: confidence 0 or below, or not finite; coordinates that are
not finite, are negative or lie outside the image. Confidence above 1 counts as 1.

Which frame a file is of: the frame whose picture has its name, where the pictures are known. Else its number tells:
- Of a clip of known length F, numbers start at 0; at 1 where there is a file F and none 0; at the least number where they
  span exactly F frames.
- Of a clip of unknown length they start at the least number: OpenPose writes a file for every frame, with or without
  people.

A frame without a file, without people, or whose file is broken is a missing frame.
"""

from __future__ import annotations

import dataclasses
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from body_models import joints as jn
from experiments.base.errors import UserError
from experiments.base.text import listed
from experiments.data import footage
from experiments.data.dataset import Dataset, DatasetError, Video, visible_box_size
from experiments.detection import tracking
from experiments.loaders import openpose_files as files
from experiments.loaders import openpose_layouts
from experiments.loaders.openpose_files import PeopleInFrame

Array = np.ndarray

# What is put behind a clip's name to name the folder, or file, of its JSON.
_SUFFIXES = ("", ".mp4_openpose", "_openpose", ".op", "_op", "_json", "_keypoints", ".json")
# Numbers so many times farther apart than there are files are dates or the like.
_SPARSEST = 100


def read_folder(
    folder: str | Path,
    num_frames: int | None = None,
    person: str = tracking.LARGEST,
    *,
    image_size: tuple[float, float] | None = None,
    frame_names: Sequence[str | None] | None = None,
    prefix: str | None = None,
    layout: str = openpose_layouts.AUTO,
) -> tuple[Array, Array, list[str]]:
    """The keypoints of one person in the F frames of one clip.

    Args:
      folder: that holds the clip's JSON files, or a single JSON file.
      num_frames: F; None = from the first file to the last.
      person: who is followed where several are seen, as `tracking.follow` takes it.
      image_size: width and height in pixels; keypoints outside count as not seen. None = only negative ones.
      frame_names: names (F,) of the pictures without their endings, None where one is missing.
      prefix: what stands before the numbers in the names, where the folder holds several clips; None = it holds one.
      layout: `--openpose_layout`, see `openpose_layouts`.

    Returns:
      Keypoints (F, 25, 2) in pixels, confidence (F, 25), and sentences about what is missing or broken.

    Raises:
      DatasetError: no files, all broken, files of several clips, more frames than the clip has, coordinates that are no
        pixels, nobody in any frame.
      UserError: `person` fits nobody.
    """
    place = Path(folder)
    frames = files.of_file(place, layout) if place.is_file() else files.of_folder(place, prefix, layout)
    broken = [f"{frame.source} ({frame.problem})" for frame in frames if frame.people is None]
    if len(broken) == len(frames):
        same = len({frame.problem for frame in frames}) == 1
        why = f"{broken[0]}, and so are all others" if same and broken[1:] else listed(broken)
        raise DatasetError(f"none of the {len(frames)} frames in {place} can be read: {why}; write them again")
    count, places = _placed(frames, num_frames, frame_names, place)
    people = [files.NOBODY] * count
    in_body_25, taken = files.in_body_25(frames, layout)
    for index, several in zip(places, in_body_25, strict=True):
        people[index] = several
    _check_pixels(people, place)

    seen = [_only_seen(several, image_size) for several in people]
    try:
        which = tracking.follow(seen, person)
    except UserError as error:
        raise UserError(f"in {place}: {error}") from error
    if (which < 0).all():
        raise DatasetError(f"nobody is seen in any of the {len(frames)} frames in {place}; leave this clip out")
    own = np.zeros((count, jn.NUM_KEYPOINTS, 3))
    outside = 0
    for frame, index in enumerate(which):
        if index >= 0:
            own[frame] = seen[frame][index]
            outside += int(_outside(people[frame][index], image_size).sum())
    notes = _notes(place, which, len(frames), broken)
    if "body_25b" in taken and layout == openpose_layouts.AUTO:
        notes.append(
            f"The 25 keypoints in {place} are read in the order of BODY_25B, in which they are a body's; "
            "--openpose_layout=body_25 reads them in the other."
        )
    if outside:
        size = f"{image_size[0]:g}x{image_size[1]:g} " if image_size else ""
        notes.append(
            f"{place} has {outside} keypoints outside the {size}image; they count as not seen. If they are many, the JSON "
            "may be of the video in another size."
        )
    return own[..., :2], own[..., 2], notes


def annotated(confidence: Array) -> tuple[int, ...]:
    """The keypoints (of confidence (..., 25)) that the detector knows: those of the smallest layout that has all that
    are ever seen."""
    sure = np.asarray(confidence)
    seen = set(np.flatnonzero((sure > 0).reshape(-1, sure.shape[-1]).any(0)).tolist())
    known = sorted((one.body_25 for one in openpose_layouts.LAYOUTS.values()), key=len)
    return next(joints for joints in known if seen <= set(joints))


def apply(
    dataset: Dataset, folder: str | Path, person: str = tracking.LARGEST, layout: str = openpose_layouts.AUTO
) -> Dataset:
    """The dataset with the keypoints that OpenPose saw in place of its own.

    Args:
      dataset: its frames are those that OpenPose was run on. Its initial poses, truth and pictures stay.
      folder: `--openpose`: holds a folder for each clip, named like the clip, also with `_openpose`, `.op` or `_json`
        behind; or the files of all clips, `<clip>_<number>_keypoints.json`; or those of the only clip.
      person: `--person`, see `tracking.PERSON`.
      layout: `--openpose_layout`, see `openpose_layouts`.

    Clips without files, or whose files cannot be used, are left out with a note.

    Raises:
      DatasetError: no such folder, or no clip is left. UserError: `person` is nonsense or fits nobody.
    """
    root = Path(folder)
    if not root.exists():
        raise DatasetError(f"--openpose={folder}: there is nothing; give the folder of the JSON files")
    if root.is_file() and len(dataset.names) > 1:
        raise DatasetError(
            f"--openpose={folder} is a file, but there are {len(dataset.names)} clips; give a folder with a folder for each"
        )
    tracking.check_names(person, dataset.names)
    shape = np.shape(dataset.clips.confidence)
    keypoints, confidence = np.zeros((*shape, 2), np.float32), np.zeros(shape, np.float32)
    used, lacking, unusable, notes = [], [], [], list(dataset.notes)
    for n, name in enumerate(dataset.names):
        place, prefix = _find(root, _names(dataset, n), only=len(dataset.names) == 1)
        if place is None:
            lacking.append(name)
            continue
        try:
            points, sure, own_notes = _of_instance(dataset, n, place, prefix, tracking.PERSON.of(person, name), layout)
        except DatasetError as error:
            unusable.append(f"{name} ({error})")
            continue
        keypoints[n, : len(points)], confidence[n, : len(sure)] = points, sure
        used.append(n)
        notes += own_notes
    if lacking:
        expected = f"expected a folder such as {root / lacking[0]}"
        notes.append(
            f"Left out, because --openpose={folder} has no JSON files of them ({expected}): {listed(lacking)}."
        )
    if unusable:
        notes.append(f"Left out, because the JSON files cannot be used: {listed(unusable)}.")
    if not used:
        left_out = "; ".join(note.removesuffix(".") for note in notes[len(dataset.notes) :])
        raise DatasetError(f"--openpose={folder} leaves no clip: {left_out[0].lower()}{left_out[1:]}")
    fields: dict[str, Any] = {"keypoints": keypoints, "confidence": confidence}
    dataset = dataclasses.replace(
        dataset,
        clips=dataclasses.replace(dataset.clips, **fields),
        box_size=visible_box_size(keypoints, confidence),
        annotated=annotated(confidence),
        head_point="nose",
        notes=tuple(notes),
    )
    return dataset if len(used) == len(dataset.names) else dataset.select(used)


def clip_name(name: str) -> str:
    """The name of a clip from that of its folder of JSON files."""
    return next(
        (name.removesuffix(suffix) for suffix in _SUFFIXES if suffix and name.removesuffix(suffix) not in ("", name)),
        name,
    )


def _find(root: Path, names: Sequence[str], only: bool) -> tuple[Path | None, str | None]:
    """Where the JSON of a clip of these names is: folder or file, and the prefix in a folder of several clips."""
    if root.is_file():
        return root, None
    # Composed letters, as systems differ in how they write them in the names of files.
    entries = {_composed(path.name): path for path in sorted(root.iterdir())}
    for suffix in _SUFFIXES:
        for name in names:
            place = entries.get(_composed(f"{name}{suffix}"))
            if place and (place.is_file() if suffix == ".json" else files.holds_frames(place)):
                return place, None
    here = files.prefixes(root)
    for prefix in here:
        if any(files.is_prefix(_composed(prefix), _composed(name)) for name in names):
            return root, prefix
    return (root, None) if only and here else (None, None)


def _names(dataset: Dataset, n: int) -> list[str]:
    """What the JSON of instance n may be called: its name, or its film's."""
    video = dataset.videos[n] if dataset.videos else None
    return [dataset.names[n], *([Path(video.path).stem, Path(video.path).name] if video else [])]


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _of_instance(
    dataset: Dataset, n: int, place: Path, prefix: str | None, person: str, layout: str
) -> tuple[Array, Array, list[str]]:
    """As `read_folder`, for the F frames of instance n."""
    width, height = (float(side) for side in dataset.clips.image_size[n])
    count = int(np.asarray(dataset.clips.frame_mask[n]).sum())
    video = dataset.videos[n] if dataset.videos else None
    paths = dataset.frame_paths[n] if dataset.frame_paths else None
    names = footage.stems(paths)
    shown = np.arange(count) if video is None else video.frames
    if video is not None and not np.array_equal(shown, np.arange(count)):
        # The clip's frames are some of the film's, and OpenPose saw the film.
        count = max(_film_length(video), int(shown.max()) + 1)
    keypoints, confidence, notes = read_folder(
        place, count, person, image_size=(width, height), frame_names=names, prefix=prefix, layout=layout
    )
    exists = shown >= 0
    return keypoints[shown] * exists[:, None, None], confidence[shown] * exists[:, None], notes


def _film_length(video: Video) -> int:
    # Not before it is needed: most runs read no film.
    from experiments.base import films

    try:
        return len(films.timestamps(video.path))
    except films.VideoError:
        return 0


def _placed(
    frames: list[PeopleInFrame], num_frames: int | None, names: Sequence[str | None] | None, place: Path
) -> tuple[int, list[int]]:
    """F and the index of every frame, by the rule of the module's head."""
    numbers = [frame.number for frame in frames]
    least, most = min(numbers), max(numbers)
    if num_frames is None:
        if most - least >= _SPARSEST * len(frames):
            raise DatasetError(
                f"{place} has JSON for {len(frames)} frames, numbered {least} to {most}, which cannot be those of one clip; "
                "expected one for each frame"
            )
        return most - least + 1, [number - least for number in numbers]
    if names is not None:
        index_of = {name: index for index, name in enumerate(names) if name is not None}
        if all(frame.stem in index_of for frame in frames):
            return num_frames, [index_of[frame.stem] for frame in frames]
    start = 0
    if most - least + 1 == num_frames:
        start = least
    elif most == num_frames and least > 0:
        start = 1
    if most - start >= num_frames:
        raise DatasetError(
            f"{place} has JSON for {len(frames)} frames, numbered {least} to {most}, where the clip has {num_frames}; "
            "expected one for each frame, so run OpenPose on this very clip"
        )
    return num_frames, [number - start for number in numbers]


def _check_pixels(people: Iterable[Array], place: Path) -> None:
    """Raises DatasetError: all coordinates are in [-1, 1], as OpenPose's `--keypoint_scale` 3 and 4 write them."""
    keypoints = np.concatenate(list(people))
    seen = keypoints[np.isfinite(keypoints).all(-1) & (keypoints[..., 2] > 0)]
    if len(seen) and np.abs(seen[:, :2]).max() <= 1:
        raise DatasetError(
            f"the coordinates in {place} go from {seen[:, :2].min():g} to {seen[:, :2].max():g}, expected pixels; run "
            "OpenPose without --keypoint_scale"
        )


def _outside(keypoints: Array, image_size: tuple[float, float] | None) -> Array:
    """Whether (..., K) keypoints (..., K, 3) that were detected lie outside the image."""
    limit = np.array(image_size if image_size else (np.inf, np.inf))
    points = keypoints[..., :2]
    detected = np.isfinite(keypoints).all(-1) & (keypoints[..., 2] > 0)
    return detected & ~((points >= 0) & (points <= limit)).all(-1)


def _only_seen(people: Array, image_size: tuple[float, float] | None) -> Array:
    """People (P, K, 3) with zeros for what counts as not seen and confidence in [0, 1]."""
    seen = np.isfinite(people).all(-1) & (people[..., 2] > 0) & ~_outside(people, image_size)
    kept = np.where(seen[..., None], people, 0.0)
    kept[..., 2] = np.minimum(kept[..., 2], 1.0)
    return kept


def _notes(place: Path, which: Array, num_files: int, broken: list[str]) -> list[str]:
    missing = int((which < 0).sum())
    if not missing:
        return []
    reasons = []
    if absent := len(which) - num_files:
        reasons.append(f"{absent} without JSON")
    if broken:
        reasons.append(f"{len(broken)} whose JSON is broken: {listed(broken)}")
    if unseen := missing - absent - len(broken):
        reasons.append(f"{unseen} where the person is not seen")
    return [f"{place} says nothing of {missing} of {len(which)} frames ({'; '.join(reasons)}); they count as missing."]
