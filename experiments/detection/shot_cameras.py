"""The moving cameras of the parts of a film, found or remembered."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from body_models import safe_npz
from experiments.base import films
from experiments.base.errors import UserError
from experiments.base.files import replacing
from experiments.detection import background, camera_motion, direct_alignment
from experiments.detection.camera_motion import Motion
from experiments.detection.detections import Detections, content_of

Array = np.ndarray

AUTO, OFF = "auto", "off"  # of `--camera_motion`
CHOICES = (AUTO, OFF)
_TALL = 1.5  # metres of a person that landmarks span, from the eyes to the feet
_FARTHEST = 30.0  # metres that a panned camera may follow somebody: fits lose those who go farther
_FOLDER = "cameras"  # beside the people found
VERSION = 4  # higher with every change of what is found: older files are then found again


@dataclasses.dataclass(frozen=True, eq=False)
class Shot:
    """A part of a film. frames: its frames, which follow one another. found: the people in these alone, who are not
    background; None = not known. long_side: of the film's pictures, pixels."""

    frames: range
    found: Detections | None
    long_side: float


@dataclasses.dataclass(frozen=True, eq=False)
class ShotCamera:
    """How the camera of F frames moves. turn (F, 3, 3), zoom (F,): against the first frame, as in `nemo_jax.moving`;
    (0, ...) where it stands still or nothing was found. focal: pixels, with which turns were found. tells_focal: whether
    the pictures themselves told it. failure: why nothing was found though it moves, a clause; empty = nothing failed."""

    turn: Array
    zoom: Array
    focal: float
    tells_focal: bool
    failure: str

    @property
    def moves(self) -> bool:
        return len(self.turn) > 0

    def frames(self, which: Array) -> ShotCamera:
        """The same of some of the frames, against the first of them."""
        if not self.moves:
            return self
        turn, zoom = self.turn[which], self.zoom[which]
        return dataclasses.replace(self, turn=turn @ turn[0].T, zoom=zoom / zoom[0], focal=float(self.focal * zoom[0]))


NONE = ShotCamera(np.zeros((0, 3, 3)), np.zeros(0), float("nan"), False, "")
"""Of a camera that stands still, or is taken to."""


def cameras_of(
    path: Path, shots: Sequence[Shot], focal: float | None, folder: Path | None, turn: int = 0
) -> list[ShotCamera]:
    """How the camera moves in parts of a film.

    Args:
      path: the film. shots: its parts. focal: pixels; None = not known. folder: where what is found is kept; None =
        nowhere. turn: degrees clockwise by which the film is turned, as in `films`.

    Raises:
      VideoError: the film cannot be read.
      UserError: what is found cannot be kept.
    """
    content = content_of(path, turn)
    kept = [None if folder is None else _cache_file(folder, content, shot, focal) for shot in shots]
    cameras = [file and _load(file, len(shot.frames)) for file, shot in zip(kept, shots, strict=True)]
    unknown = [number for number, camera in enumerate(cameras) if camera is None]
    # All of them in one reading of the film: most cameras stand still, and are known then.
    looks = {number: _looks(shots[number].frames) for number in unknown}
    seen = dict(_pictures(path, turn, sorted({frame for frames in looks.values() for frame in frames})))
    for number in unknown:
        cameras[number] = camera = _find(path, turn, shots[number], focal, looks[number], seen)
        if (where := kept[number]) is None:
            continue
        try:
            with replacing(where) as temporary, temporary.open("wb") as file:
                np.savez_compressed(file, **dataclasses.asdict(camera))
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise UserError(f"{folder} cannot be written ({reason}); choose another --output_dir") from error
    return [camera for camera in cameras if camera is not None]


def _cache_file(folder: Path, content: str, shot: Shot, focal: float | None) -> Path:
    people = "none" if shot.found is None else hashlib.sha256(shot.found.landmarks.tobytes()).hexdigest()
    named = f"{content} {shot.frames.start} {shot.frames.stop} {people} {focal} camera {VERSION}"
    return folder / _FOLDER / f"{hashlib.sha256(named.encode()).hexdigest()[:32]}.npz"


def _looks(frames: range) -> list[int]:
    """The frames of a part that are compared with its first, which is one of them."""
    return [frames[i] for i in np.unique(np.linspace(0, len(frames) - 1, camera_motion.LOOKS + 1).round().astype(int))]


def _find(
    path: Path, turn: int, shot: Shot, focal: float | None, wanted: list[int], seen: dict[int, Array]
) -> ShotCamera:
    looked = [frame for frame in wanted if frame in seen]
    if not looked:
        return NONE
    scale = max(seen[looked[0]].shape) / shot.long_side

    def boxes(frame: int) -> Array:
        if shot.found is None:
            return np.zeros((0, 4))
        return background.boxes_of(shot.found.landmarks[frame], shot.found.seen[frame], scale)

    first = shot.frames.start
    looks = [seen[frame] for frame in looked]
    if camera_motion.stands_still(looks, boxes, [frame - first for frame in looked]):
        return NONE
    try:
        pictures = lambda: (picture for _, picture in _pictures(path, turn, shot.frames))
        emblems = direct_alignment.fixed(np.stack(looks))
        motion = camera_motion.find(pictures, boxes, None if focal is None else focal * scale, emblems)
    except camera_motion.UnsolvedError as error:
        return dataclasses.replace(NONE, failure=str(error))
    if motion is None or len(motion.turn) != len(shot.frames):
        return NONE
    gone = _gone(shot, motion, scale)
    if gone > _FARTHEST:
        return dataclasses.replace(
            NONE, failure=f"somebody goes some {gone:.0f} m before it, and fits follow over {_FARTHEST:.0f} m at most"
        )
    return ShotCamera(motion.turn, motion.zoom, motion.focal / scale, motion.tells_focal, "")


def _gone(shot: Shot, motion: Motion, scale: float) -> float:
    """How far apart the camera looks in the frames in which people are, metres, as far away as they usually are."""
    if shot.found is None:
        return 0.0
    heights = np.ptp(shot.found.landmarks[..., 1] * scale, axis=-1)
    tall = np.where(shot.found.seen, heights, 0.0).max(1)
    there = tall > 0
    if not there.any():
        return 0.0
    # The median, since people bend, and a frame may show somebody else alone.
    away = np.median(motion.focal * motion.zoom[there] * _TALL / tall[there])
    axes = motion.turn[there][:, 2]
    return float(away * np.linalg.norm(axes - axes[0], axis=-1).max())


def _pictures(path: Path, turn: int, which: range | list[int]) -> Iterator[tuple[int, Array]]:
    """Numbers and small grey pictures of frames, whose numbers increase. A film that is cut short just ends."""
    if not which:
        return
    wanted, last = set(which), max(which)
    with contextlib.suppress(films.CutShortError), contextlib.closing(films.walk(path, turn)) as walked:
        for frame in walked:
            if frame.index in wanted:
                yield frame.index, frame.small(camera_motion.LONG_SIDE)
            if frame.index >= last:
                return


def _load(path: Path, count: int) -> ShotCamera | None:
    """What an earlier run found; None where there is nothing, or something else."""
    if not path.is_file():
        return None
    try:
        with safe_npz.opened(path) as file:
            turn, zoom = np.asarray(file["turn"], float), np.asarray(file["zoom"], float)
            camera = ShotCamera(turn, zoom, float(file["focal"]), bool(file["tells_focal"]), str(file["failure"]))
    except (safe_npz.NpzError, KeyError, ValueError, TypeError):
        # It is found anew, as where an earlier run was interrupted.
        return None
    fits = turn.shape == (len(zoom), 3, 3) and len(zoom) in (0, count) and np.isfinite(turn).all() and (zoom > 0).all()
    return camera if fits else None
