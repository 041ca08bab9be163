"""Penn Action annotations: `labels/NNNN.mat`, and `frames/NNNN/*.jpg` where the pictures are there too.

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
import scipy.io

from body_models import joints as jn
from experiments.datasets.base import Dataset, DatasetError, Instance, pad, stack, visible_box_size

Array = np.ndarray

ALIASES = {"tennis_swing": "tennis_forehand"}
# BODY_25 index of Penn's 13 joints: head, then left and right shoulder, elbow, wrist, hip, knee, ankle, sides
# exchanged.
BODY_25_OF_PENN = (0, 2, 5, 3, 6, 4, 7, 9, 12, 10, 13, 11, 14)
# Points halfway between two joints, for drawing. They add nothing to what the two say, and the body's own neck and
# pelvis lie centimetres above them, so they have confidence 0.
MIDPOINTS = {1: (2, 5), 8: (9, 12)}
FPS = 30.0
_NUM_PENN_JOINTS = len(BODY_25_OF_PENN)
_MOST_NAMED = 5  # files named one by one in a note


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
    bad_coordinates: int  # visible joints without finite coordinates


class _BrokenLabelError(ValueError):
    """A label file that cannot be used; the message says why."""


def recognises(data_dir: str | Path) -> bool:
    """Whether the folder looks like Penn Action: label files in it or in its `labels`."""
    root = Path(data_dir)
    return any(_label_files(root / "labels")) or any(_label_files(root))


def load(data_dir: str | Path, action: str, max_instances: int | None = None) -> Dataset:
    """Reads the clips of one action.

    Args:
      data_dir: the folder that holds `labels`, or the label folder itself.
      action: as in the files, such as `baseball_pitch`; `tennis_swing` is the paper's name of `tennis_forehand`.
      max_instances: the first so many clips, by name; None = all.

    Raises:
      DatasetError: no such folder, no label files, none of the action, none that can be read.
    """
    labels, frames = _folders(Path(data_dir))
    wanted = ALIASES.get(action, action)
    found, present, broken, invisible = [], set(), [], []
    for path in sorted(_label_files(labels)):
        if max_instances is not None and len(found) >= max_instances:
            break
        try:
            file_action = _action(path)
            present.add(file_action)
            if file_action != wanted:
                continue
            label = _read(path)
        except _BrokenLabelError as error:
            broken.append(f"{path.name} ({error})")
            continue
        (found if label.confidence.any() else invisible).append(label)
    if not found:
        raise DatasetError(_why_nothing(labels, action, present, broken, invisible))

    clips = stack([Instance(f.keypoints, f.confidence, f.image_size, fps=FPS) for f in found])
    frame_paths, notes = _pictures(found, frames)
    if broken:
        notes.append(f"Left out, because unreadable: {_list(broken)}.")
    if invisible:
        notes.append(f"Left out, because no joint is visible in them: {_list([f.name for f in invisible])}.")
    for label in found:
        if label.bad_coordinates:
            notes.append(
                f"{label.name}.mat has {label.bad_coordinates} visible joints without finite coordinates; "
                "they count as not seen."
            )
    if len(found) == 1:
        notes.append(f"Only one clip of {action}: its motion is fitted from a single view, with nothing to share.")
    return Dataset(
        clips=clips,
        names=tuple(f.name for f in found),
        action=action,
        box_size=pad([f.box_size for f in found]),
        frame_paths=frame_paths,
        notes=tuple(notes),
        annotated=tuple(sorted(BODY_25_OF_PENN)),
        head_point="nose",
        view=tuple(f.view for f in found),
    )


def _label_files(folder: Path) -> list[Path]:
    return [path for path in folder.glob("*.mat") if re.fullmatch(r"\d+\.mat", path.name)]


def _folders(root: Path) -> tuple[Path, Path]:
    """The folders of the labels and of the frames."""
    if not root.is_dir():
        found = "a file" if root.exists() else "nothing"
        raise DatasetError(
            f"--data_dir={root} is {found}, not a folder; give the folder that holds labels/0001.mat and so on"
        )
    labels = root / "labels" if (root / "labels").is_dir() else root
    if not _label_files(labels):
        raise DatasetError(
            f"--data_dir={root} holds no label files; expected Penn Action's labels/0001.mat and so on in it"
        )
    return labels, (root if labels != root else root.parent) / "frames"


def _why_nothing(labels: Path, action: str, present: set[str], broken: list[str], invisible: list[_Label]) -> str:
    if invisible:
        names = _list([label.name for label in invisible])
        return f"no joint is visible in any clip of {action} in {labels} ({names}); nothing can be fitted"
    if not present:
        return f"none of the label files in {labels} can be read: {_list(broken)}"
    unreadable = f" (unreadable: {_list(broken)})" if broken else ""
    actions = ", ".join(sorted(present))
    return f"--action={action} has no usable clip in {labels}{unreadable}, which holds {actions}; name one of these"


def _list(items: list[str]) -> str:
    more = len(items) - _MOST_NAMED
    return ", ".join(items[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _load_mat(path: Path, names: tuple[str, ...]) -> dict[str, Array]:
    try:
        return scipy.io.loadmat(str(path), variable_names=names)
    except Exception as error:  # a damaged file makes the reader raise anything at all
        raise _BrokenLabelError(f"not a readable .mat file: {type(error).__name__}") from error


def _text(mat: dict[str, Array], name: str) -> str:
    value = np.ravel(mat.get(name, np.array([])))
    return str(value[0]) if value.size else ""


def _action(path: Path) -> str:
    action = _text(_load_mat(path, ("action",)), "action")
    if not action:
        raise _BrokenLabelError("no action in it, perhaps cut short")
    return action


def _numbers(mat: dict[str, Array], name: str) -> Array:
    """A numeric field as float64: some files store pixels as 8- or 16-bit unsigned integers, which would wrap
    around.
    """
    if name not in mat:
        raise _BrokenLabelError(f"no {name} in it, perhaps cut short")
    value = np.asarray(mat[name])
    if value.dtype.kind not in "fiub":
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
    dimensions = _numbers(mat, "dimensions").ravel()
    if len(dimensions) < 2 or not np.all(np.isfinite(dimensions[:2]) & (dimensions[:2] > 0)):
        raise _BrokenLabelError(f"dimensions are {dimensions.tolist()}, expected height and width")

    points = np.stack([x, y], -1)
    marked = visibility > 0
    finite = np.isfinite(points).all(-1)
    seen = marked & finite
    keypoints = np.zeros((len(x), jn.NUM_KEYPOINTS, 2))
    confidence = np.zeros((len(x), jn.NUM_KEYPOINTS))
    keypoints[:, BODY_25_OF_PENN] = np.where(seen[..., None], points, 0.0)
    confidence[:, BODY_25_OF_PENN] = seen
    box_size = _box_size(mat, keypoints, confidence)
    for joint, (a, b) in MIDPOINTS.items():
        both = (confidence[:, a] > 0) & (confidence[:, b] > 0)
        keypoints[both, joint] = (keypoints[both, a] + keypoints[both, b]) / 2
    return _Label(
        name=path.stem,
        action=_text(mat, "action"),
        view=_text(mat, "pose"),
        keypoints=keypoints,
        confidence=confidence,
        image_size=(float(dimensions[1]), float(dimensions[0])),
        box_size=box_size,
        bad_coordinates=int((marked & ~finite).sum()),
    )


def _box_size(mat: dict[str, Array], keypoints: Array, confidence: Array) -> Array:
    """Diagonal (F,) of the person's box. Frames without one take the box of their visible joints."""
    size = visible_box_size(keypoints, confidence).astype(np.float64)
    if "bbox" in mat:
        box = _numbers(mat, "bbox")
        if box.ndim == 2 and box.shape[1] == 4:
            box = box[: len(size)]
            extent = box[:, 2:] - box[:, :2]
            sound = np.isfinite(extent).all(-1) & (extent > 0).all(-1)
            size[: len(box)][sound] = np.linalg.norm(extent[sound], axis=-1)
    return size


def _pictures(found: list[_Label], frames: Path) -> tuple[tuple[tuple[str | None, ...] | None, ...], list[str]]:
    """Picture paths per instance, and notes on those whose number of pictures is not their number of frames."""
    paths, notes = [], []
    for label in found:
        pictures = sorted(str(path) for path in (frames / label.name).glob("*.jpg"))
        count = len(label.keypoints)
        if pictures and len(pictures) != count:
            notes.append(
                f"{frames / label.name} has {len(pictures)} pictures for {count} annotated frames; they are paired in order."
            )
        row = (*pictures, *[None] * count)[:count]
        paths.append(row if pictures else None)
    return tuple(paths), notes
