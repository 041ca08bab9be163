"""Raw videos: the people in them are found, one is followed, and its landmarks become keypoints and first poses."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console

from body_models import joints as jn
from body_models import smpl
from experiments.base import films
from experiments.base.errors import UserError
from experiments.base.text import listed
from experiments.data import bystanders, lens_of_files, turns
from experiments.data.bystanders import Bystanders
from experiments.data.dataset import Dataset, DatasetError, Instance, stack, visible_box_size
from experiments.data.footage import Video
from experiments.detection import (
    keypoints,
    landmarks,
    search,
    shot_cameras,
    shot_choice,
    sides,
    take_choice,
    takes_table,
    timing,
    tracking,
)
from experiments.detection.detections import Detections
from experiments.detection.shot_cameras import Shot, ShotCamera
from experiments.loaders import film_parts, film_paths, layouts
from experiments.loaders.film_parts import Choices
from experiments.loaders.film_people import LeftOutError
from experiments.loaders.film_stretches import Part

Array = np.ndarray

_MOST_NAMED = 5  # films named one by one in an error
_SELDOM = 0.5  # share of frames with the person, below which a note says so


Follow = Callable[[Path, Sequence[Shot], int], list[ShotCamera]]
"""How the camera moves in parts of a film that is turned so many degrees."""


@dataclasses.dataclass(frozen=True, eq=False)
class _Clip:
    """A film, or a part of one, that can be used; its frames are on a steady clock. person: as that of `Part`."""

    name: str
    video: Video
    instance: Instance
    notes: tuple[str, ...]
    person: int = 0
    bystanders: Bystanders | None = None


def load(
    pattern: str,
    action: str,
    max_instances: int | None = None,
    *,
    cache_dir: Path,
    body: smpl.SMPL,
    person: str = tracking.AUTO,
    shots: str | None = None,
    split: str | None = None,
    turn: str | None = None,
    takes: str | Path | None = None,
    pose_model: str | None = None,
    camera_motion: str = shot_cameras.AUTO,
    focal_length: float | None = None,
    detect: bool = True,
    console: Console | None = None,
    detector: search.Detector | None = None,
) -> Dataset:
    """Reads films of one action.

    Args:
      pattern: which, as `--videos=` has it: a pattern, a folder, a file, or several of these separated by commas.
      action: what they show.
      max_instances: the first so many that can be used, in natural order; None = all.
      cache_dir: folder in which the people found are kept, by the films' content.
      body: the body of which first poses are.
      person: whom to follow, as `--person=` has it (see `tracking.PERSON`).
      shots: which shot of films with cuts, as `--shots=` has it (see `shot_choice.SHOTS`); None = chosen in each film.
      split: whether films come apart into takes, as `--split=` has it (see `take_choice.SPLIT`); None = where they do.
      turn: how films are turned, as `--turn=` has it (see `turns.TURN`); None = not at all.
      takes: a table of takes, as `takes_table.read` has it; None = none.
      pose_model: `heavy`, `full`, `rtmpose` or a pose landmarker's `.task` file; None = the heavy one.
      camera_motion: `auto`, cameras that move are followed; `off`, all are taken as standing still.
      focal_length: pixels, of films that do not tell.
      detect: False = nobody is looked for, and all confidences are 0; keypoints come from elsewhere.
      console: where to report each film; None = nowhere.
      detector: another one in tests.

    Raises:
      UserError: the pattern matches nothing, person, shot or model are not understood, or what runs it is not installed.
      DatasetError: none of the films can be used.
    """
    paths = film_paths.files(pattern)
    names = film_paths.names(paths)
    tracking.check_names(person, names, films=detect)
    choices = choices_of(names, person, shots, split, turn, takes, detect)
    with contextlib.ExitStack() as opened:
        searcher = None
        if detect:
            chosen = detector or search.detector(pose_model)
            searcher = opened.enter_context(search.Searcher(chosen, cache_dir, console))
        follow = functools.partial(_followed, cache_dir=cache_dir if detect else None, focal_length=focal_length)
        found, left_out = _films(
            paths,
            names,
            searcher,
            choices,
            body,
            max_instances,
            _still if camera_motion == shot_cameras.OFF else follow,
        )
    if not found:
        more = len(left_out) - _MOST_NAMED
        reasons = "; ".join(left_out[:_MOST_NAMED]) + (f"; and {more} more" if more > 0 else "")
        raise DatasetError(f"no video of --videos={pattern} can be used: {reasons}")

    take, said = _takes(found, paths)
    clips = dataclasses.replace(stack([film.instance for film in found]), take=take)
    notes = [f"Left out: {reason}." for reason in left_out]
    notes += [*(searcher.notes if searcher else ()), *(note for film in found for note in film.notes), *said]
    notes += layouts.only_clip(action, len(found))
    return Dataset(
        clips=clips,
        names=tuple(film.name for film in found),
        action=action,
        box_size=visible_box_size(np.asarray(clips.keypoints), np.asarray(clips.confidence)),
        videos=tuple(film.video for film in found),
        bystanders=tuple(film.bystanders for film in found) if any(film.bystanders for film in found) else None,
        notes=tuple(notes),
        annotated=tuple(sorted(int(k) for k in keypoints.KEYPOINTS)),
        head_point="nose",
    )


def _films(
    paths: list[Path],
    names: list[str],
    searcher: search.Searcher | None,
    choices: Choices,
    body: smpl.SMPL,
    most: int | None,
    follow: Follow,
) -> tuple[list[_Clip], list[str]]:
    """Those that can be used, at most so many, and why others cannot."""
    found: list[_Clip] = []
    left_out: list[str] = []
    people = film_parts.People(searcher, choices.turned(paths, names)) if searcher else None
    if people:
        choices = people.agreeing(paths, names, choices, most)
    for path, name in zip(paths, names, strict=True):
        if most is not None and len(found) >= most:
            break
        try:
            found += (
                _searched(path, name, people.of(path), choices, body, follow)
                if people
                else [_plain(path, name, follow)]
            )
        except (LeftOutError, films.VideoError) as error:
            left_out.append(str(error))
    return found[:most], left_out


def _takes(found: list[_Clip], paths: list[Path]) -> tuple[Array | None, list[str]]:
    """Numbers (N,) of the performances that folders of takes say, None without any, and notes.

    Where films of a folder come apart, it is their first parts that are one performance, their second ones, and so on; but
    where everybody in them is fitted, none.
    """
    folders = {str(path): folder for path, folder in zip(paths, film_paths.take_folders(paths), strict=True) if folder}
    groups: dict[Path, dict[str, list[int]]] = {}
    for n, clip in enumerate(found):
        if (folder := folders.get(str(clip.video.path))) is not None:
            groups.setdefault(folder, {}).setdefault(str(clip.video.path), []).append(n)
    take, notes = np.arange(len(found), dtype=np.float32), []
    for folder, films_of in groups.items():
        counts = {len(parts) for parts in films_of.values()}
        if len(films_of) < 2:
            continue
        if any(found[n].person for own in films_of.values() for n in own):
            notes.append(
                f"The films of {folder.name} are not taken for one performance, since everybody in them is fitted and who "
                "is who is not told from film to film; --same_take says which clips are one."
            )
            continue
        if len(counts) > 1:
            notes.append(
                f"The films of {folder.name} are not taken for one performance, since they come apart into different "
                "numbers of clips; --split=off leaves them whole."
            )
            continue
        for together in zip(*films_of.values(), strict=True):
            take[list(together)] = together[0]
            said = listed([found[n].name for n in together], _MOST_NAMED)
            notes.append(
                f"{said} are taken for one performance, since their folder is {folder.name}; --same_take=off takes each "
                "for one of its own."
            )
    return (take if len(set(take.tolist())) < len(take) else None), notes


def choices_of(
    names: list[str],
    person: str,
    shots: str | None,
    split: str | None,
    turn: str | None,
    takes: str | Path | None,
    detect: bool,
) -> Choices:
    """What the flags say. Raises UserError: one is not understood, names no film, or says nothing."""
    for flag, value in (("shots", shots), ("split", split), ("takes", takes)):
        if value is not None and not detect:
            raise UserError(
                f"--{flag}={value} says nothing where --openpose has the keypoints, of whole films; leave it out"
            )
    if turn is not None and not detect:
        raise UserError(
            f"--turn={turn} does not go with --openpose, whose keypoints are of the pictures as they are stored; leave it "
            "out, or turn the films before OpenPose sees them"
        )
    if split is not None and takes is not None:
        raise UserError(f"--split={split} and --takes={takes} are both given; leave one out")
    shots, split, turn = shots or shot_choice.AUTO, split or take_choice.AUTO, turn or turns.TURN.default
    shot_choice.SHOTS.check_names(shots, names)
    take_choice.SPLIT.check_names(split, names)
    turns.TURN.check_names(turn, names)
    return Choices(person, shots, split, turn, None if takes is None else takes_table.read(Path(takes), names))


def _plain(path: Path, name: str, follow: Follow) -> _Clip:
    """A film in which nobody is looked for. Raises VideoError: it cannot be read. LeftOutError: no rate."""
    info = films.probe(path)
    clock = _clock(path, films.timestamps(path), info.fps)
    count = len(clock.frames)
    instance = Instance(
        np.zeros((count, jn.NUM_KEYPOINTS, 2)),
        np.zeros((count, jn.NUM_KEYPOINTS)),
        (float(info.width), float(info.height)),
        fps=clock.fps,
    )
    (camera,) = follow(path, [Shot(range(int(clock.frames.max()) + 1), None, max(info.width, info.height))], 0)
    camera = camera.frames(clock.frames)
    instance = _with_camera(instance, camera)
    notes = (*_clock_notes(path, clock), *_camera_notes(name, camera))
    return _Clip(name, Video(str(path), clock.frames), instance, notes)


def _searched(
    path: Path, name: str, found: Detections, choices: Choices, body: smpl.SMPL, follow: Follow
) -> list[_Clip]:
    """The clips of a film with its person. Raises VideoError: it cannot be read. LeftOutError: nobody to follow in it, or
    no rate."""
    parts = film_parts.parts(path, name, found, choices)
    turn = choices.turn_of(name)
    shots = [Shot(part.frames, part.found, float(max(part.found.image_size))) for part in parts]
    cameras = follow(path, shots, turn)
    clips = [_clip(path, turn, part, body, camera) for part, camera in zip(parts, cameras, strict=True)]
    damage = (f"{found.damage}; these are used.",) if found.damage else ()
    clips[0] = dataclasses.replace(clips[0], notes=clips[0].notes + damage)
    return clips


def _clip(path: Path, turn: int, part: Part, body: smpl.SMPL, camera: ShotCamera) -> _Clip:
    """The clip of a part of a film. Raises LeftOutError: no rate."""
    found, who = part.found, part.who
    size = (float(found.image_size[0]), float(found.image_size[1]))
    seen, every = who >= 0, np.arange(len(who))
    marks = np.where(seen[:, None, None], found.landmarks[every, who], 0.0)
    world = np.where(seen[:, None, None], found.world[every, who], 0.0)
    wrong = sides.exchanged(marks[..., :2], seen)
    marks = np.where(wrong[..., None], marks[:, sides.MIRROR], marks)
    points, confidence = keypoints.body_25(marks, size)
    confidence[keypoints.spikes(points, seen)] = 0.0
    # First poses go by no landmark that the keypoints do not, nor by depths that were guessed for the wrong side.
    visibility = marks[..., 2] * marks[..., 3]
    visibility[:, keypoints.LANDMARKS] = confidence[:, keypoints.KEYPOINTS]
    visibility[wrong] = 0.0

    clock = _clock(path, found.times, found.claimed_fps)
    at = clock.frames
    flat = np.isnan(world[seen]).all()
    pose, mask = (None, None) if flat else landmarks.initial_pose(body, world[at], visibility[at], clock.fps)
    notes = part.notes + _clock_notes(path, clock)
    if seen.mean() < _SELDOM:
        where = "" if part.name == Path(path).stem else f", {part.name},"
        notes += (f"In {path}{where} the person followed is seen in only {seen.sum()} of {len(seen)} frames.",)
    camera = camera.frames(at)
    notes += _camera_notes(part.name, camera)
    instance = _with_camera(Instance(points[at], confidence[at], size, pose, mask, fps=clock.fps), camera)
    video = Video(str(path), part.frames.start + at, turn)
    others = found.seen & (np.arange(found.seen.shape[1]) != who[:, None])
    around = bystanders.of_landmarks(found.landmarks[at, :, :, :2], others[at], size)
    return _Clip(part.name, video, instance, notes, part.person, around)


def _still(path: Path, shots: Sequence[Shot], turn: int) -> list[ShotCamera]:
    """That nothing is known of how cameras move."""
    del path, turn
    return [shot_cameras.NONE] * len(shots)


def _followed(
    path: Path, shots: Sequence[Shot], turn: int, *, cache_dir: Path | None, focal_length: float | None
) -> list[ShotCamera]:
    """How the camera moves in parts of a film, with the focal length given or that the film names, if any does."""
    told = focal_length
    if (equivalent := lens_of_files.of_tags(films.tags(path))) is not None:
        info = films.probe(path)
        told = equivalent / lens_of_files.FULL_FRAME * float(np.hypot(info.width, info.height))
    return shot_cameras.cameras_of(path, shots, told, cache_dir, turn)


def _with_camera(instance: Instance, camera: ShotCamera) -> Instance:
    if not camera.moves:
        return instance
    focal = camera.focal if camera.tells_focal else instance.focal_length
    return dataclasses.replace(
        instance, camera_turn=camera.turn, zoom=camera.zoom, turn_focal=camera.focal, focal_length=focal
    )


def _camera_notes(name: str, camera: ShotCamera) -> tuple[str, ...]:
    if camera.failure:
        return (
            f"The camera of {name} moves, but is not followed: {camera.failure}. It is taken as standing still, so that "
            "what the camera does is in the path of the motion.",
        )
    if camera.tells_focal:
        return (f"The pan of {name} tells its focal length: {camera.focal:.0f} pixels.",)
    return ()


def _clock(path: Path, times: Array, claimed_fps: float | None) -> timing.Clock:
    """Raises LeftOutError: the film has no rate that films have."""
    try:
        return timing.uniform(times, claimed_fps)
    except timing.RateError as error:
        raise LeftOutError(f"{path} {error}; convert it to a film that plays at the speed of the motion") from error


def _clock_notes(path: Path, clock: timing.Clock) -> tuple[str, ...]:
    return (f"The times in {path} are not used: {clock.note}.",) if clock.note else ()
