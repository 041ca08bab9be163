"""Penn Action: `labels/NNNN.mat`, and what is there of `frames/NNNN/*.jpg`, `openpose/NNNN` and `vibe_results/NNNN`.

`openpose/NNNN/*.json`: where a clip has them, its 2D keypoints are OpenPose's and not the annotators', as in the paper.
`vibe_results/NNNN/vibe_output.pkl`: its initial poses, those of the person nearest to the annotated joints.

Of the paper's five actions the paper's own clips are taken (`penn_ids`), a quarter or so of each; `ids` chooses others.

Source: Zhang, Zhu, Derpanis, From Actemes to Action, ICCV 2013. A label file holds `x`, `y` (F, 13) pixels,
`visibility` (F, 13), `dimensions` (height, width, F), `bbox` (F or fewer, 4), `action` and `pose`, the direction of the
camera. It has no frame rate (30 is taken), no focal length and no 3D.

What the annotators mean, measured on 228 videos of five actions:
- Their left is the person's right. Seen from behind a tennis player, the joints called left are on the right of the
  image in 95% of the frames, seen from the front on the left in all; and 95% of the pitchers would throw with the left
  hand.
- The head point lies at the height of the ears, between them and the nose: over the length of shoulder-hip-knee-ankle,
  upright people have it 0.148 above the shoulders (155 videos) and in profile 0.073 ahead of them (82 videos). On the
  open body the nose is at (0.135, 0.111), 5 cm away, joint `head_h36m` at (0.208, 0.024), 10 cm away, and the top of
  the head at (0.249, 0.027), so the nose stands for it. It is marked visible from behind too.
- `bbox` is the box of the joints with a margin of a twelfth of its height above and below.
- Handedness is not in the files. All pitchers of the set lift the left leg, that is, throw with the right hand. The
  speed of the wrists does not tell it (it calls 19 of 133 one-handed clips left-handed, wrongly where one looks), so
  nothing is mirrored here.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np

from body_models import joints as jn
from experiments.base import mat_files
from experiments.base.frame_rates import ASSUMED_FPS
from experiments.base.text import listed
from experiments.data import footage, ranges
from experiments.data.dataset import Dataset, DatasetError, Instance, pad, stack, visible_box_size
from experiments.data.footage import BrokenClipError, Footage
from experiments.data.ids import choose_ids, no_folder
from experiments.detection import tracking
from experiments.loaders import layouts, openpose, openpose_layouts, penn_ids

Array = np.ndarray

ALIASES = {"tennis_swing": "tennis_forehand"}
# BODY_25 index of Penn's 13 joints: head, then left and right shoulder, elbow, wrist, hip, knee, ankle, sides
# exchanged.
BODY_25_OF_PENN = (0, 2, 5, 3, 6, 4, 7, 9, 12, 10, 13, 11, 14)
# Points halfway between two joints, for drawing. They add nothing to what the two say, and the body's own neck and
# pelvis lie centimetres above them, so they have confidence 0.
MIDPOINTS = {1: (2, 5), 8: (9, 12)}
_ENDINGS = (".jpg",)  # of its pictures
_NUM_PENN_JOINTS = len(BODY_25_OF_PENN)


@dataclasses.dataclass(frozen=True)
class _Label:
    """One label file, as read and found sound."""

    name: str
    action: str
    view: str
    keypoints: Array  # (F, 25, 2)
    confidence: Array  # (F, 25)
    image_size: tuple[float, float]
    box_size: Array  # (F,)
    doubts: tuple[str, ...]  # sentences about what is odd in the file


class _BrokenLabelError(ValueError):
    """A label file that cannot be used; the message says why."""


class _InvisibleError(_BrokenLabelError):
    """A label file in which no joint is visible."""


def recognises(data_dir: str | Path) -> bool:
    """Whether the folder looks like Penn Action: label files in it or in its `labels`."""
    root = Path(data_dir)
    return any(_label_files(root / "labels")) or any(_label_files(root))


def actions(data_dir: str | Path) -> list[str]:
    """The actions that the label files name."""
    return sorted(_of_action(_label_folder(Path(data_dir)), "")[1])


def load(
    data_dir: str | Path,
    action: str,
    max_instances: int | None = None,
    *,
    person: str = tracking.LARGEST,
    ids: str | None = None,
    openpose_layout: str = openpose_layouts.AUTO,
) -> Dataset:
    """Reads the clips of one action.

    Args:
      data_dir: the folder that holds `labels`, or the label folder itself.
      action: as in the files, such as `baseball_pitch`; `tennis_swing` is the paper's name of `tennis_forehand`.
      max_instances: the first so many clips, by name; None = all.
      person: who is followed where OpenPose saw several, as `--person`.
      ids: names of clips, separated by commas; `all`; None = those of the paper if the folder has any of them, else all.
      openpose_layout: how the keypoints stand in OpenPose's files, see `openpose_layouts`.

    Raises:
      DatasetError: no such folder, no label files, none of the action, none that can be read. UserError: `person` fits
        nobody.
    """
    root = Path(data_dir)
    labels = _label_folder(root)
    home = labels.parent if labels == root else root
    wanted = ALIASES.get(action, action)
    paths, present, broken = _of_action(labels, wanted)
    paths, notes = _chosen(paths, labels, action, ids)
    tracking.check_names(person, [path.stem for path in paths])
    found, failed = layouts.usable(paths, _read, max_instances, _BrokenLabelError)
    invisible = [path.stem for path, reason in failed if isinstance(reason, _InvisibleError)]
    broken += [f"{path.name} ({reason})" for path, reason in failed if path.stem not in invisible]
    if not found:
        raise DatasetError(_why_nothing(labels, action, present, broken, invisible))

    shown, more = _pictures(found, home / "frames")
    notes += more
    if broken:
        notes.append(f"Left out, because unreadable: {listed(broken)}.")
    if invisible:
        notes.append(f"Left out, because no joint is visible in them: {listed(invisible)}.")
    notes += [doubt for label in found for doubt in label.doubts]
    instances, detected, more = _instances(found, shown, home, person, openpose_layout)
    notes += more
    clips = stack(instances)
    notes += layouts.only_clip(action, len(found))
    return Dataset(
        clips=clips,
        names=tuple(label.name for label in found),
        action=action,
        box_size=pad([label.box_size for label in found]),
        frame_paths=tuple(own.paths for own in shown),
        notes=tuple(notes),
        annotated=openpose.annotated(np.asarray(clips.confidence)) if detected else tuple(sorted(BODY_25_OF_PENN)),
        head_point="nose",
        reference_2d=(pad([label.keypoints for label in found]), pad([label.confidence for label in found]))
        if detected
        else None,
        view=tuple(label.view for label in found),
    )


def _of_action(labels: Path, wanted: str) -> tuple[list[Path], set[str], list[str]]:
    """Label files of the action by name, all actions that there are, and the files that do not say theirs."""
    own, present, broken = [], set(), []
    for path in sorted(_label_files(labels)):
        try:
            file_action = _action(path)
        except _BrokenLabelError as error:
            broken.append(f"{path.name} ({error})")
            continue
        present.add(file_action)
        if file_action == wanted:
            own.append(path)
    return own, present, broken


def _chosen(paths: list[Path], labels: Path, action: str, ids: str | None) -> tuple[list[Path], list[str]]:
    """The files that are asked for, and notes. Raises DatasetError: one is not there."""
    if ids is not None and paths:
        names = choose_ids([path.stem for path in paths], action, ids, labels)
        return [path for path in paths if path.stem in names], []
    known = penn_ids.of_paper(ALIASES.get(action, action))
    chosen = [path for path in paths if path.stem in known]
    if not chosen or len(chosen) == len(paths):
        return paths, []
    note = f"The {len(chosen)} clips of {action} in the paper's experiment are used; the folder has "
    return chosen, [note + f"{len(paths) - len(chosen)} more, which --ids=all takes too."]


def _instances(
    found: list[_Label], shown: list[Footage], home: Path, person: str, openpose_layout: str
) -> tuple[list[Instance], bool, list[str]]:
    """The clips, whether any of them has OpenPose's keypoints, and notes."""
    instances, notes, undetected, unposed = [], [], [], []
    has_json, has_poses = (home / "openpose").is_dir(), (home / "vibe_results").is_dir()
    for label, own in zip(found, shown, strict=True):
        keypoints, confidence, pose, mask = label.keypoints, label.confidence, None, None
        if has_json:
            try:
                folder = home / "openpose" / label.name
                keypoints, confidence, more = layouts.read_openpose(label.name, folder, own, person, openpose_layout)
                notes += more
            except BrokenClipError as error:
                undetected.append(f"{label.name} ({error})")
        if has_poses:
            place = home / "vibe_results" / label.name
            known = (label.keypoints, label.confidence, label.image_size)
            try:
                pose, mask, more = layouts.initial_poses(place, *known)
                notes += more
            except BrokenClipError as error:
                unposed.append(f"{label.name} ({error})")
        instances.append(Instance(keypoints, confidence, label.image_size, pose, mask, fps=ASSUMED_FPS))
    detected = len(found) - len(undetected) if has_json else 0
    if detected:
        notes.append(
            f"The 2D keypoints of {detected} of {len(found)} clips are OpenPose's; the annotators' score them."
        )
    if undetected:
        notes.append(f"The annotated joints stand for OpenPose's: {listed(undetected)}.")
    if unposed:
        notes.append(f"Without initial poses: {listed(unposed)}.")
    return instances, bool(detected), notes


def _label_files(folder: Path) -> list[Path]:
    return [path for path in folder.glob("*.mat") if re.fullmatch(r"\d+\.mat", path.name)]


def _label_folder(root: Path) -> Path:
    if not root.is_dir():
        raise DatasetError(no_folder(root, "the folder that holds labels/0001.mat and so on"))
    labels = root / "labels" if (root / "labels").is_dir() else root
    if not _label_files(labels):
        raise DatasetError(
            f"--data_dir={root} holds no label files; expected Penn Action's labels/0001.mat and so on in it"
        )
    return labels


def _why_nothing(labels: Path, action: str, present: set[str], broken: list[str], invisible: list[str]) -> str:
    if invisible:
        return f"no joint is visible in any clip of {action} in {labels} ({listed(invisible)}); nothing can be fitted"
    if not present:
        return f"none of the label files in {labels} can be read: {listed(broken)}"
    unreadable = f" (unreadable: {listed(broken)})" if broken else ""
    actions = ", ".join(sorted(present))
    return f"--action={action} has no usable clip in {labels}{unreadable}, which holds {actions}; name one of these"


def _load_mat(path: Path, names: tuple[str, ...]) -> dict[str, Array | str]:
    try:
        return mat_files.read(path, names)
    except mat_files.MatError as error:
        raise _BrokenLabelError(f"not a readable .mat file: {error}") from error


def _text(mat: dict[str, Array | str], name: str) -> str:
    value = mat.get(name, "")
    return value if isinstance(value, str) else str(value.ravel()[0]) if value.size else ""


def _action(path: Path) -> str:
    action = _text(_load_mat(path, ("action",)), "action")
    if not action:
        raise _BrokenLabelError("no action in it, perhaps cut short")
    return action


def _numbers(mat: dict[str, Array | str], name: str) -> Array:
    """A numeric field as float64: of unsigned whole numbers, differences would wrap around."""
    if name not in mat:
        raise _BrokenLabelError(f"no {name} in it, perhaps cut short")
    value = mat[name]
    if isinstance(value, str):
        raise _BrokenLabelError(f"{name} is not numeric")
    return value.astype(np.float64)


def _read(path: Path) -> _Label:
    mat = _load_mat(path, ("x", "y", "visibility", "dimensions", "bbox", "action", "pose"))
    x, y, visibility = (_numbers(mat, name) for name in ("x", "y", "visibility"))
    for name, value in (("x", x), ("y", y), ("visibility", visibility)):
        if value.shape != x.shape or value.ndim != 2 or value.shape[1] != _NUM_PENN_JOINTS or not len(value):
            raise _BrokenLabelError(
                f"x is {x.shape} and {name} {value.shape}, expected (frames, {_NUM_PENN_JOINTS}) for both"
            )
    ranges.choice("visibility", visibility, _BrokenLabelError)
    dimensions = _numbers(mat, "dimensions").ravel()
    if len(dimensions) < 2 or not np.all(np.isfinite(dimensions[:2]) & (dimensions[:2] > 0)):
        raise _BrokenLabelError(f"dimensions are {dimensions.tolist()}, expected height and width")
    ranges.SIDE.check("dimensions", dimensions[:2], _BrokenLabelError)

    points = np.stack([x, y], -1)
    marked = visibility > 0
    finite = np.isfinite(points).all(-1)
    seen = marked & finite
    if not seen.any():
        raise _InvisibleError("no joint is visible in it")
    keypoints = np.zeros((len(x), jn.NUM_KEYPOINTS, 2))
    confidence = np.zeros((len(x), jn.NUM_KEYPOINTS))
    keypoints[:, BODY_25_OF_PENN] = np.where(seen[..., None], points, 0.0)
    confidence[:, BODY_25_OF_PENN] = seen
    image_size = (float(dimensions[1]), float(dimensions[0]))
    inside = ((points[seen] >= 0) & (points[seen] <= image_size)).all(-1)
    if not inside.any():
        raise _BrokenLabelError(
            f"none of its visible joints lies in the image of width {image_size[0]:g} and height {image_size[1]:g} that its "
            "dimensions tell"
        )
    box_size, unfit = _box_size(mat, keypoints, confidence, image_size)
    for joint, (a, b) in MIDPOINTS.items():
        both = (confidence[:, a] > 0) & (confidence[:, b] > 0)
        keypoints[both, joint] = (keypoints[both, a] + keypoints[both, b]) / 2
    return _Label(
        name=path.stem,
        action=_text(mat, "action"),
        view=_text(mat, "pose"),
        keypoints=keypoints,
        confidence=confidence,
        image_size=image_size,
        box_size=box_size,
        doubts=_doubts(path, dimensions, len(x), int((marked & ~finite).sum()), int((~inside).sum()), unfit),
    )


def _doubts(path: Path, dimensions: Array, frames: int, nowhere: int, outside: int, unfit: int) -> tuple[str, ...]:
    """Sentences about what no sound file has.

    Args:
      path: of the file.
      dimensions: height, width and, in sound files, the number of frames.
      frames: how many there are.
      nowhere: visible joints without finite coordinates. outside: visible joints outside the image.
      unfit: frames whose box is none, or not of the person.
    """
    doubts = []
    if nowhere:
        doubts.append(f"{path.name} has {nowhere} visible joints without finite coordinates; they count as not seen.")
    if outside:
        height, width = dimensions[:2]
        doubts.append(
            f"{path.name} has {outside} visible joints outside the image of width {width:g} and height {height:g} that its "
            "dimensions tell; one of the two is wrong."
        )
    if len(dimensions) > 2 and dimensions[2] != frames:
        doubts.append(f"{path.name} has {frames} frames, but its dimensions tell {dimensions[2]:g}.")
    if unfit:
        doubts.append(
            f"{path.name} has {unfit} frames whose bbox is none of the person's; that of the visible joints is taken."
        )
    return tuple(doubts)


def _box_size(
    mat: dict[str, Array | str], keypoints: Array, confidence: Array, image_size: tuple[float, float]
) -> tuple[Array, int]:
    """Diagonal (F,) of the person's box, and how many boxes are wrong: inside out, far outside the image, or beside the
    person. Their frames, and those without a box, take the box of their visible joints.
    """
    size = visible_box_size(keypoints, confidence).astype(np.float64)
    box = _numbers(mat, "bbox") if "bbox" in mat else np.zeros((0, 4))
    if box.ndim != 2 or box.shape[1] != 4:
        return size, 0
    box = box[: len(size)]
    low, high = box[:, :2], box[:, 2:]
    seen = confidence[: len(box), :, None] > 0
    points = keypoints[: len(box)]
    beside = (np.where(seen, points, np.inf).min(1) > high) | (np.where(seen, points, -np.inf).max(1) < low)
    far = (low < -np.array(image_size)) | (high > 2 * np.array(image_size))
    # A frame without visible joints has a box of zeros or the like.
    given = np.isfinite(box).all(-1)
    with np.errstate(invalid="ignore"):
        wrong = given & ((high <= low) | far | beside).any(-1)
    sound = given & ~wrong
    size[: len(box)][sound] = np.linalg.norm((high - low)[sound], axis=-1)
    return size, int((wrong & seen[..., 0].any(-1)).sum())


def _pictures(found: list[_Label], frames: Path) -> tuple[list[Footage], list[str]]:
    """Pictures of each clip, and notes on those whose number of pictures is not their number of frames."""
    shown, notes = [], []
    for label in found:
        place, count = frames / label.name, len(label.keypoints)
        number = len([path for path in place.glob("*") if path.suffix.lower() in _ENDINGS])
        pictures = tuple(str(path) if path else None for path in footage.in_order(place, count, _ENDINGS))
        bare = pictures.count(None)
        if number and (bare or number != count):
            notes.append(
                f"{place} has {number} pictures for {count} annotated frames; they are paired by their numbers, and "
                f"{bare} of the frames have none."
            )
        width, height = label.image_size
        size = next((size for path in pictures if path and (size := footage.picture_size(path))), None)
        if size and size != (width, height):
            notes.append(
                f"The pictures in {place} have width {size[0]} and height {size[1]}, but the dimensions of {label.name}.mat "
                f"tell {width:g} and {height:g}."
            )
        shown.append(Footage(count, (int(width), int(height)), pictures if number else None))
    return shown, notes
