"""Which loader reads a folder: the formats by name, and how a folder's format is recognised."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from body_models import loaders, smpl
from experiments.data import jumps, lens_of_files, moving_cameras, neutral
from experiments.data.dataset import Dataset, DatasetError
from experiments.loaders import (
    custom_video,
    film_paths,
    nemo_mocap,
    openpose_folders,
    openpose_layouts,
    penn_action,
    synthetic,
)

__all__ = ["FORMATS", "Dataset", "DatasetError", "actions", "guess", "load"]

# Formats on disk, in the order in which a folder is tried: each has `recognises(root)`, `actions(data_dir)` and
# `load(data_dir, action, max_instances, ...)`, whose further arguments say which of the options of `load` it takes.
FORMATS = {
    "nemo_mocap": nemo_mocap,
    "custom_video": custom_video,
    "penn_action": penn_action,
    "openpose": openpose_folders,
    "neutral": neutral,
}
# Options that a format may take or not, by their flags.
_FLAGS = (
    "person",
    "shots",
    "split",
    "turn",
    "takes",
    "ids",
    "image_size",
    "fps",
    "pose_model",
    "openpose_layout",
    "camera_motion",
)
_OF_JSON = ("person", "openpose_layout")  # those that speak of the JSON files, where --openpose names some


def load(
    action: str,
    data_dir: str | None = None,
    dataset: str | None = None,
    max_instances: int | None = None,
    seed: int = 0,
    body: smpl.SMPL | None = None,
    *,
    videos: str | None = None,
    openpose: str | None = None,
    openpose_layout: str = "auto",
    init: Sequence[str] = (),
    person: str | None = None,
    shots: str | None = None,
    split: str | None = None,
    turn: str | None = None,
    takes: str | None = None,
    pose_model: str | None = None,
    camera_motion: str = "auto",
    ids: str | None = None,
    image_size: tuple[int, int] | None = None,
    fps: float | None = None,
    focal_length: float | None = None,
    cache_dir: str | Path | None = None,
    console: Any = None,
) -> Dataset:
    """Reads an action from films or a folder, or makes the synthetic one.

    Args:
      action: what the clips show.
      data_dir: folder of the data; None = the synthetic action, where no videos are given either.
      dataset: a name in `FORMATS`, or `synthetic`; None = guessed from the folder.
      max_instances: at most so many clips; None = all.
      seed: of the synthetic action.
      body: body of the synthetic action, of true joints and of inverse kinematics; None = the open body.
      videos: pattern, folder or list of films, in which the person's keypoints are detected.
      openpose: folder of OpenPose's JSON files, which replace the clips' 2D keypoints.
      openpose_layout: how the keypoints stand in OpenPose's files, see `openpose_layouts`.
      init: files or folders of 3D poses; the first starts the fit, the others are scored beside it.
      person: who is followed where several are seen, see `experiments.detection.tracking`; None = `auto`.
      shots: which shot of films with cuts, see `experiments.detection.shot_choice`; None = chosen in each film.
      split: whether films come apart into takes, see `experiments.detection.take_choice`; None = where they do.
      turn: how films are turned, see `experiments.data.turns`; None = not at all.
      takes: a table of the takes of films, see `experiments.detection.takes_table`.
      pose_model: see `experiments.detection.search.detector`; None = the heavy one.
      camera_motion: whether moving cameras of films are followed: auto, or off.
      ids: names of the clips of a folder, or `all`; None = what the format takes by itself.
      image_size: width and height in pixels, where nothing tells.
      fps: frames per second, where nothing tells.
      focal_length: pixels, of the clips that do not tell; None = what films and pictures tell of their lenses.
      cache_dir: where what was detected in films is kept; None = nowhere.
      console: where progress is shown; None = nowhere.

    Raises:
      DatasetError, UserError: with one sentence for the user.
    """
    if max_instances is not None and max_instances < 1:
        raise DatasetError(f"--max_instances={max_instances} leaves no clip; give 1 or more")
    body = body or loaders.load_body()
    options = {
        "person": person,
        "shots": shots,
        "split": split,
        "turn": turn,
        "takes": takes,
        "ids": ids,
        "image_size": image_size,
        "fps": fps,
        "pose_model": pose_model,
    }
    options["camera_motion"] = None if camera_motion == "auto" else camera_motion
    options["openpose_layout"] = None if openpose_layout == openpose_layouts.AUTO else openpose_layout
    if videos is not None:
        options |= {"detect": openpose is None, "cache_dir": cache_dir, "console": console}
        options["focal_length"] = focal_length
        read = _videos(videos, action, dataset, max_instances, {**options, "body": body}, openpose is not None)
    elif (name := dataset or guess(data_dir)) == "synthetic":
        _refuse(name, options, ())
        read = _synthetic(action, data_dir, max_instances, seed, body)
    else:
        read = _folder(name, action, data_dir, max_instances, {**options, "body": body}, openpose is not None)
    if openpose is not None:
        from experiments.loaders import openpose as json_files

        read = json_files.apply(read, openpose, person or "largest", openpose_layout)
    # Before the initial poses, whose own lens counts where nothing else tells.
    read = lens_of_files.with_lenses(_with_focal_length(read, focal_length))
    if init:
        from experiments import poses

        read = poses.apply(read, init)
    return moving_cameras.noted(jumps.noted(read))


def actions(data_dir: str | None = None, dataset: str | None = None) -> list[str]:
    """All actions of a folder, sorted; without a folder, the synthetic one.

    Raises:
      DatasetError: as `guess`, or the folder has no action that its format can name.
    """
    name = dataset or guess(data_dir)
    if name == "synthetic":
        return [synthetic.ACTION]
    module = _format(name, data_dir)
    if not Path(str(data_dir)).is_dir():
        guess(data_dir)
    found = module.actions(data_dir)
    if not found:
        raise DatasetError(f"--data_dir={data_dir} of format {name} does not say what its clips show; name the action")
    return found


def guess(data_dir: str | None) -> str:
    """The format of a folder.

    Raises:
      DatasetError: there is no such folder, it is empty, or it looks like none of the formats.
    """
    if data_dir is None:
        return "synthetic"
    root = Path(data_dir)
    if not root.exists():
        raise DatasetError(f"--data_dir={data_dir}: there is no such folder; check the path")
    if not root.is_dir():
        raise DatasetError(f"--data_dir={data_dir} is a file; give the folder that holds the data")
    if not any(root.iterdir()):
        raise DatasetError(f"--data_dir={data_dir} is an empty folder; give the folder that holds the data")
    for name, module in FORMATS.items():
        if module.recognises(root):
            return name
    if any(path.suffix.lower() in film_paths.SUFFIXES for path in root.iterdir()):
        raise DatasetError(f"--data_dir={data_dir} holds films; give them with --videos={data_dir}")
    raise DatasetError(
        f"--data_dir={data_dir} looks like none of the known formats ({', '.join(FORMATS)}); see docs/data.md for what each "
        "expects, name one with --dataset, or give films with --videos"
    )


def _videos(
    pattern: str, action: str, dataset: str | None, max_instances: int | None, options: dict, has_openpose: bool
) -> Dataset:
    # Not before it is needed: most runs read no film.
    from experiments.loaders import videos

    if dataset is not None:
        raise DatasetError(
            f"--dataset={dataset} is the format of a folder, but --videos={pattern} is given; leave it out"
        )
    return videos.load(pattern, action, max_instances, **_accepted("videos", videos.load, options, has_openpose))


def _synthetic(action: str, data_dir: str | None, max_instances: int | None, seed: int, body: smpl.SMPL) -> Dataset:
    if data_dir is not None:
        raise DatasetError(
            f"--dataset=synthetic reads no folder, but --data_dir={data_dir} is given; leave one of them out"
        )
    if action != synthetic.ACTION:
        raise DatasetError(
            f"--action={action} needs --videos or --data_dir: without data only the synthetic {synthetic.ACTION} can be made"
        )
    return synthetic.load(body, seed, min(max_instances or 8, 8))


def _folder(
    name: str, action: str, data_dir: str | None, max_instances: int | None, options: dict, has_openpose: bool
) -> Dataset:
    read = _format(name, data_dir).load
    return read(data_dir, action, max_instances, **_accepted(name, read, options, has_openpose))


def _format(name: str, data_dir: str | None) -> Any:
    if name not in FORMATS:
        raise DatasetError(f"--dataset={name} is not a known format; choose one of synthetic, {', '.join(FORMATS)}")
    if data_dir is None:
        raise DatasetError(f"--dataset={name} needs --data_dir, the folder to read")
    return FORMATS[name]


def _accepted(name: str, read: Any, options: dict[str, Any], has_openpose: bool) -> dict[str, Any]:
    """The options that a format takes. Raises DatasetError: one is given that neither it nor the JSON files of `--openpose`
    take."""
    known = inspect.signature(read).parameters
    spoken_for = _OF_JSON if has_openpose else ()
    rest = {option: value for option, value in options.items() if option not in known and option not in spoken_for}
    _refuse(name, rest, tuple(known))
    return {option: value for option, value in options.items() if option in known and value is not None}


def _refuse(name: str, options: dict[str, Any], known: Sequence[str]) -> None:
    for option, value in options.items():
        if value is not None and option in _FLAGS:
            taken = [flag for flag in _FLAGS if flag in known]
            hint = f"; of such flags they take {', '.join('--' + o for o in taken)}" if taken else ""
            raise DatasetError(f"--{option}={value} says nothing to clips of format {name}{hint}; leave it out")


def _with_focal_length(dataset: Dataset, focal_length: float | None) -> Dataset:
    if focal_length is None:
        return dataset
    known = np.asarray(dataset.clips.focal_length)
    filled = np.where(np.isnan(known), np.float32(focal_length), known)
    clips = dataclasses.replace(dataset.clips, focal_length=filled)
    return dataclasses.replace(dataset, clips=clips)
