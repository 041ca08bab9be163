"""The published layout of one's own videos.

A clip is `<action>.<i>.frames` (pictures), `<action>.<i>.op` (OpenPose's JSON files), `<action>.<i>.vibe` (a folder with
`vibe_output.pkl`, or that file) and, if there is one, `<action>.<i>.cam.pickle`, all in one folder. That folder is
given, or one that holds it as `exps`, `data/exps` or a folder in these. A name without a dot is a clip of any action.

`.cam.pickle`: the published code loads it with joblib and does nothing with it, so what it holds is not documented. It was
made for recordings of OpenCap, whose camera files are dicts with `intrinsicMat` (3, 3), `rotation` (3, 3) from the world
to the camera, `translation` (3,) in millimetres and `imageSize`; such a dict is read, others are named in a note. Its focal
length is one that the fit may use. The published code doubles OpenPose's coordinates in one place, for a set whose JSON
files were made from half-size pictures; coordinates are taken as they are here.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from body_models import wording
from experiments.base.text import listed
from experiments.data import ranges
from experiments.data.camera import Camera, is_rotation
from experiments.data.dataset import Dataset, DatasetError
from experiments.data.ids import choose_ids, no_folder
from experiments.detection import tracking
from experiments.loaders import layouts, openpose_layouts
from experiments.loaders.layouts import Recording
from experiments.poses import pickles
from experiments.poses.pose_arrays import as_array, as_plain

_FRAMES = ".frames"
_CAMERA_KEYS = {"intrinsicMat": (3, 3), "rotation": (3, 3), "translation": (3,)}


def recognises(data_dir: str | Path) -> bool:
    """Whether the folder, or one where the layout puts its clips, holds `*.frames`."""
    return any(_clip_names(folder) for folder in _places(Path(data_dir)))


def actions(data_dir: str | Path) -> list[str]:
    """The actions that the clips' names have before the last dot."""
    names = [name for folder in _places(Path(data_dir)) for name in _clip_names(folder)]
    return sorted({name.rpartition(".")[0] for name in names if "." in name})


def load(
    data_dir: str | Path,
    action: str,
    max_instances: int | None = None,
    *,
    person: str = tracking.LARGEST,
    ids: str | None = None,
    fps: float | None = None,
    openpose_layout: str = openpose_layouts.AUTO,
) -> Dataset:
    """Reads the clips of one action.

    Args:
      data_dir: the folder of the clips, or one above it.
      action: the part of the names before the dot.
      max_instances: the first so many, by name; None = all.
      person: who is followed where OpenPose saw several, as `--person`.
      ids: names of clips, or what stands behind the action's dot, separated by commas; None = all.
      fps: frames per second; None = 30. Pictures do not tell.
      openpose_layout: how the keypoints stand in OpenPose's files, see `openpose_layouts`.

    Raises:
      DatasetError: no such clips, none that can be used. UserError: `person` fits nobody.
    """
    root = Path(data_dir)
    folder, names = _find(root, action)
    names = choose_ids(names, action, ids, folder)
    tracking.check_names(person, names)
    found, failed = layouts.usable(names, lambda name: _read(folder, name, person, fps, openpose_layout), max_instances)
    broken = [f"{name} ({reason})" for name, reason in failed]
    if not found:
        raise DatasetError(f"--action={action} has no usable clip in {folder}: {listed(broken)}")
    clips, cameras = zip(*found, strict=True)
    return layouts.assemble(clips, action, broken, cameras=cameras if all(cameras) else None)


def _read(
    folder: Path, name: str, person: str, fps: float | None, openpose_layout: str
) -> tuple[Recording, Camera | None]:
    frames, json_folder, vibe = (folder / f"{name}{suffix}" for suffix in (_FRAMES, ".op", ".vibe"))
    clip = layouts.read_clip(name, frames, json_folder, vibe, person, fps, openpose_layout)
    file = folder / f"{name}.cam.pickle"
    if not file.exists():
        return clip, None
    try:
        camera = _camera(file, clip.footage.image_size)
    except ValueError as error:
        return dataclasses.replace(clip, notes=(*clip.notes, f"{name}: its camera is not used: {error}.")), None
    return dataclasses.replace(clip, instance=dataclasses.replace(clip.instance, focal_length=camera.focal)), camera


def _camera(file: Path, image_size: tuple[int, int]) -> Camera:
    """The camera of a calibration of OpenCap. Raises ValueError: it is none."""
    held = pickles.load(file)
    if not isinstance(held, dict) or not all(key in held for key in _CAMERA_KEYS):
        found = wording.listed(held) if isinstance(held, dict) else type(held).__name__
        raise ValueError(f"{file} holds {found}, expected a dict with {', '.join(_CAMERA_KEYS)}")
    numbers = {}
    for key, shape in _CAMERA_KEYS.items():
        value = as_plain(held[key])
        if value.size != np.prod(shape) or value.dtype.kind not in "fiu" or not np.isfinite(value).all():
            raise ValueError(f"{key} of {file} has shape {value.shape}, expected {shape} finite numbers")
        numbers[key] = value.reshape(shape).astype(float)
    matrix, rotation = numbers["intrinsicMat"], numbers["rotation"]
    if not is_rotation(rotation):
        raise ValueError(f"rotation of {file} is no rotation")
    if min(matrix[0, 0], matrix[1, 1]) <= 0:
        raise ValueError(f"intrinsicMat of {file} has the focal lengths {matrix[0, 0]:g} and {matrix[1, 1]:g}")
    ranges.FOCAL.check(f"intrinsicMat of {file}", matrix[[0, 1], [0, 1]], ValueError)
    ranges.PIXELS.check(f"intrinsicMat of {file}", matrix[:2, 2], ValueError)
    ranges.POSITION.check(f"translation of {file}", numbers["translation"] / 1000, ValueError)
    scale = _scale(held.get("imageSize"), image_size)
    return Camera(
        world_from_camera=rotation.T,
        position=-rotation.T @ numbers["translation"] / 1000,
        focal=float(scale * (matrix[0, 0] + matrix[1, 1]) / 2),
        # Of an image whose middle is the principal point.
        image_size=(round(2 * scale * matrix[0, 2]), round(2 * scale * matrix[1, 2])),
    )


def _scale(calibrated: object, image_size: tuple[int, int]) -> float:
    """Size of the frames over that of the calibration, whose image size is (width, height) or the other way round."""
    size = np.ravel(as_array(calibrated, "imageSize")) if calibrated is not None else np.array([])
    if size.size != 2 or not np.isfinite(size).all() or size.min() <= 0:
        return 1.0
    return max(image_size) / float(size.max())


def _places(root: Path) -> list[Path]:
    """Folders that may hold the clips, nearest first."""
    homes = [folder for folder in (root, root / "exps", root / "data" / "exps") if folder.is_dir()]
    return homes + [folder for home in homes for folder in sorted(home.iterdir()) if folder.is_dir()]


def _clip_names(folder: Path) -> list[str]:
    return [
        path.name.removesuffix(_FRAMES) for path in folder.iterdir() if path.name.endswith(_FRAMES) and path.is_dir()
    ]


def _find(root: Path, action: str) -> tuple[Path, list[str]]:
    """The folder that holds clips of the action, and their names. Raises DatasetError: there is none."""
    if not root.is_dir():
        raise DatasetError(no_folder(root, f"the folder that holds {action}.0.frames"))
    others = set()
    for folder in _places(root):
        names = _clip_names(folder)
        # An action may have dots; the number of a clip has none.
        own = [name for name in names if "." not in name or name.rpartition(".")[0] == action]
        if own:
            return folder, own
        others |= {name.rpartition(".")[0] for name in names}
    if others:
        raise DatasetError(
            f"--action={action} is not in {root}, which holds {', '.join(sorted(others))}; name one of these"
        )
    raise DatasetError(f"--data_dir={root} holds no clips; expected folders such as {action}.0{_FRAMES} in it")
