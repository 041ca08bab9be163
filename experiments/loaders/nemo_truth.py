"""The truth of NeMo-MoCap: the motion capture of an instance, and the camera that saw it (see `nemo_mocap`)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from scipy.spatial.transform import Rotation

from body_models import joints as jn
from body_models import smpl
from body_models.wording import listed
from experiments.data import ranges, select
from experiments.data.camera import Camera
from experiments.data.footage import BrokenClipError
from experiments.poses import pickles
from experiments.poses.pose_arrays import as_plain
from experiments.simulation import amass
from nemo_jax import rotations
from nemo_jax.clips import GroundTruth

Array = np.ndarray
NUM_KEYPOINTS = 15  # of BODY_25, from the first, that the published evaluation compares
_NUM_POSE = 66  # numbers of root and 21 joints at the front of `fullpose`
_NUM_BETAS = 10
_SAMPLES = 20  # frames of a clip whose `_gt` is read
_SEEN_APART = 0.05  # share of the image's height by which camera and `_gt` may differ
# About which axis, and by how many degrees, a world is turned so that this axis of it becomes y.
_TURNS = {
    (0, 1): ("z", 90),
    (0, -1): ("z", -90),
    (1, 1): ("y", 0),
    (1, -1): ("x", 180),
    (2, 1): ("x", -90),
    (2, -1): ("x", 90),
}


@dataclasses.dataclass(frozen=True)
class MoCap:
    """Truth of an instance: pose (F, 24, 3) axis-angle, translation (F, 3) metres, betas (10,) of SMPL."""

    pose: Array
    translation: Array
    betas: Array

    def cut(self, count: int) -> MoCap:
        """The first `count` frames."""
        return select.first(self, count, GroundTruth)


def read_mocap(file: Path) -> MoCap:
    """The motion capture of an instance, in its own world.

    Raises:
      BrokenClipError: there is none, or it cannot be used.
    """
    if not file.exists():
        raise BrokenClipError(f"its motion capture {file} is missing")
    held = _load(file)
    if not isinstance(held, dict):
        raise BrokenClipError(f"{file} holds a {type(held).__name__}, expected a dict with fullpose, trans and betas")
    pose, translation, betas = (_numbers(file, held, key) for key in ("fullpose", "trans", "betas"))
    frames = len(pose) if pose.ndim else 0
    if pose.ndim != 2 or not frames or pose.shape[1] < _NUM_POSE:
        raise BrokenClipError(f"fullpose of {file} has shape {pose.shape}, expected (frames, {_NUM_POSE} or more)")
    if translation.shape != (frames, 3):
        raise BrokenClipError(f"trans of {file} has shape {translation.shape}, expected {(frames, 3)}")
    if betas.size < _NUM_BETAS:
        raise BrokenClipError(f"betas of {file} are {betas.size} numbers, expected {_NUM_BETAS} or more")
    for key, values, known in (
        ("fullpose", pose[:, :_NUM_POSE], ranges.ANGLE),
        ("trans", translation, ranges.POSITION),
        ("betas", betas.ravel()[:_NUM_BETAS], ranges.BETAS),
    ):
        known.check(f"{key} of {file}", values, BrokenClipError)
    full = np.zeros((frames, 3 * jn.NUM_JOINTS))
    full[:, :_NUM_POSE] = pose[:, :_NUM_POSE]
    return MoCap(full.reshape(frames, jn.NUM_JOINTS, 3), translation, betas.ravel()[:_NUM_BETAS])


def upright(roots: Array) -> Array:
    """The rotation (3, 3) from the world of these root orientations (F, 3) to one with y up.

    Up is the axis, either way along it, nearest to where the y axis of the pelvis points on average.
    """
    mean = Rotation.from_rotvec(roots).as_matrix()[:, :, 1].mean(0)
    axis = int(np.abs(mean).argmax())
    about, degrees = _TURNS[axis, 1 if mean[axis] > 0 else -1]
    return np.round(Rotation.from_euler(about, degrees, degrees=True).as_matrix())


def turn(mocap: MoCap, rotation: Array, body: smpl.SMPL) -> MoCap:
    """The motion in a world turned by `rotation`. A body turns about its resting pelvis, wherever that is."""
    pelvis = amass.rest_pelvis(body, mocap.betas[: body.num_betas])
    pose, translation = amass.turn(mocap.pose, mocap.translation, pelvis, Rotation.from_matrix(rotation))
    return dataclasses.replace(mocap, pose=pose, translation=translation)


def true_keypoints(folder: Path, frames: int) -> tuple[Array, str | None]:
    """The first 15 joints of `000001_keypoints.pkl` and so on, (F, 15, 2) pixels, of some frames; the others are NaN.

    Also why files were not used, or None.
    """
    keypoints, why = np.full((frames, NUM_KEYPOINTS, 2), np.nan), None
    for frame in np.unique(np.linspace(0, frames - 1, _SAMPLES).round().astype(int)):
        file = folder / f"{frame + 1:06d}_keypoints.pkl"
        try:
            if file.exists():
                keypoints[frame] = _read_keypoints(file)
        except BrokenClipError as error:
            why = str(error)
    return keypoints, why


def read_camera(
    file: Path, to_y_up: Array, image_size: tuple[int, int], joints: Sequence[Array], seen: Sequence[Array]
) -> tuple[Camera, str | None]:
    """The camera of an `opt_cam_*.pt`.

    Args:
      file: its path.
      to_y_up: rotation from the file's world to that of the joints.
      image_size: width and height of the frames, pixels.
      joints: of each clip (F, 25, 3), metres.
      seen: of each clip (F, 15, 2), where `_gt` has them, pixels; NaN where nothing does.

    Returns:
      The camera, and a doubt about it or None. The middle of its `image_size` is its principal point.

    Raises:
      BrokenClipError: there is no such file, or no such camera in it.
    """
    rotation, translation, focal = _read_extrinsics(file)
    rotation = rotation @ to_y_up.T
    camera = Camera(rotation.T, -rotation.T @ translation, focal, (0, 0))
    if np.median(np.concatenate([camera.to_camera(own)[..., 2].ravel() for own in joints])) <= 0:
        raise BrokenClipError(f"{file} has the person behind the camera")

    # Projected with the principal point at the corner, so that what is missing is the principal point.
    projected = np.concatenate([camera.project(own[:, :NUM_KEYPOINTS]).reshape(-1, 2) for own in joints])
    needed = np.concatenate([own.reshape(-1, 2) for own in seen]) - projected
    needed = needed[np.isfinite(needed).all(-1)]
    width, height = image_size
    choices = np.array([(height, width), (height // 2, width // 2), (width // 2, height // 2)])
    best, doubt = 0, None
    if len(needed):
        apart = np.linalg.norm(choices - np.median(needed, 0), axis=-1)
        best = int(apart.argmin())
        if apart[best] > _SEEN_APART * height:
            doubt = (
                f"The camera of {file} sees the motion capture {apart[best]:.0f} pixels from where the 2D truth has it."
            )
    across, down = (2 * choices[best]).tolist()
    return dataclasses.replace(camera, image_size=(across, down)), doubt


def _read_extrinsics(file: Path) -> tuple[Array, Array, float]:
    """Rotation (3, 3) and translation (3,) from the world to the camera, and focal length."""
    if not file.exists():
        raise BrokenClipError(f"{file} is missing")
    held = _load(file)
    if not isinstance(held, list | tuple) or len(held) != 2:
        raise BrokenClipError(
            f"{file} holds a {type(held).__name__}, expected the pair of a camera and its focal length"
        )
    camera, focal = (as_plain(value).ravel() for value in held)
    if camera.shape != (9,) or focal.shape != (1,) or any(value.dtype.kind not in "fiu" for value in (camera, focal)):
        raise BrokenClipError(
            f"{file} holds {camera.size} and {focal.size} values, expected 9 numbers and a focal length"
        )
    if not (np.isfinite(camera).all() and 0 < focal[0] < math.inf):
        raise BrokenClipError(
            f"{file} holds the focal length {focal[0]} and the camera {camera}, expected finite numbers"
        )
    ranges.FOCAL.check(f"the focal length of {file}", focal, BrokenClipError)
    ranges.POSITION.check(f"the translation of {file}", camera[:3], BrokenClipError)
    # As columns; a degenerate pair has no rotation.
    if np.linalg.matrix_rank(camera[3:].reshape(3, 2)) < 2:
        raise BrokenClipError(f"{file} holds a camera without a rotation")
    rotation = np.asarray(rotations.rotation_6d_to_matrix(jnp.asarray(camera[3:], jnp.float32)), float)
    return rotation, camera[:3].astype(float), float(focal[0])


def _read_keypoints(file: Path) -> Array:
    value = as_plain(_load(file))
    if (
        value.dtype.kind not in "fiu"
        or value.ndim < 2
        or not value.size
        or value.shape[-1] != 2
        or value.shape[-2] < NUM_KEYPOINTS
    ):
        raise BrokenClipError(f"{file} holds an array of shape {value.shape}, expected (1, 49, 2) pixels")
    keypoints = value.reshape(-1, *value.shape[-2:])[0, :NUM_KEYPOINTS]
    ranges.PIXELS.check(str(file), keypoints, BrokenClipError)
    return keypoints


def _load(file: Path) -> Any:
    try:
        return pickles.load(file)
    except ValueError as error:
        raise BrokenClipError(str(error)) from error


def _numbers(file: Path, held: dict, key: str) -> Array:
    if key not in held:
        raise BrokenClipError(f"{file} has no {key}, but {listed(held)}")
    value = as_plain(held[key])
    if value.dtype.kind not in "fiu":
        raise BrokenClipError(f"{key} of {file} is not numeric")
    if not np.isfinite(value).all():
        raise BrokenClipError(f"{key} of {file} has numbers that are not finite")
    return value.astype(float)
