"""Poses in the shapes that files have them in, as 24 axis-angle rotations; and what belongs to them, checked."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from body_models import joints as jn
from body_models.wording import shown
from experiments.data import ranges
from experiments.poses.track import PoseTrack

Array = np.ndarray

# SMPL, the body without hands, SMPL-H and SMPL-X: all have the same first 22 joints.
_NUM_BODY = 22
_JOINT_COUNTS = (jn.NUM_JOINTS, _NUM_BODY, 52, 55)
# Networks' matrices are rotations to 1e-5, smoothed ones to 1e-2.
_MATRIX_TOLERANCE = 0.1
# Radians; a network may go round once or twice, degrees go far beyond.
_LARGEST_ANGLE = 4 * np.pi
# Numbers of one entry, as float64 64 MB: matrices of 20 minutes at 30 frames per second, axis-angles of an hour.
_MAX_NUMBERS = 1 << 23
# Frames whose matrices are made rotations at a time; what that takes is ten times the matrices.
_FRAMES = 2048
# Lists within lists.
_MAX_NESTING = 5
# Frame numbers: four days of film.
_LARGEST_FRAME = 10_000_000
_RANGES = {
    "joints_2d": ranges.PIXELS,
    "boxes": ranges.PIXELS,
    "betas": ranges.BETAS,
    "pelvis": ranges.POSITION,
}


def as_array(value: Any, name: str) -> Array:
    """The value as float64 numbers: an array of numbers, a number, or lists of these.

    Raises:
      ValueError: it is something else, or more numbers than poses have.
    """
    count = _numbers(value, 0)
    if count is None:
        raise ValueError(f"its {name} is {described(value)}, not an array of numbers")
    if count > _MAX_NUMBERS:
        raise ValueError(f"its {name} has {count} numbers, at most {_MAX_NUMBERS} are read; split the film")
    try:
        return np.asarray(value, np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"its {name} is {described(value)} whose parts do not fit, not an array of numbers") from error


def as_plain(value: Any) -> Array:
    """The value as an array of its own type where it is an array, a number or lists of numbers; else of one object."""
    if isinstance(value, np.ndarray):
        return value
    count = _numbers(value, 0)
    if count is not None and count <= _MAX_NUMBERS:
        try:
            return np.asarray(value)
        except ValueError:
            count = None  # lists of several lengths
    held = np.empty((), object)
    held[()] = value
    return held


def _numbers(value: Any, depth: int) -> int | None:
    """How many numbers it holds; None where it holds anything else."""
    if isinstance(value, np.ndarray | np.generic):
        if value.dtype.kind in "biuf":
            return value.size
        return _numbers(value.tolist(), depth) if value.dtype.hasobject else None
    if isinstance(value, int | float):
        return 1
    if not isinstance(value, list | tuple) or depth > _MAX_NESTING:
        return None
    if set(map(type, value)) <= {int, float}:
        return len(value)
    counts = [_numbers(item, depth + 1) for item in value]
    return None if None in counts else sum(count for count in counts if count is not None)


def described(value: Any) -> str:
    """What an entry of a file is, in a few words."""
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype} of shape {value.shape}"
    return shown(value)


def axis_angle(pose: Any, name: str) -> Array:
    """Axis-angle rotations (M, 24, 3) of a whole body, root first, in SMPL's order.

    Args:
      pose: (M, J * 3), (M, J, 3) axis-angle or (M, J, 3, 3) matrices; J = 24 (SMPL), 22 (without hands), 52 (SMPL-H) or
        55 (SMPL-X). Of all but the first the first 22 joints are used and the hands stay as they rest.
      name: what errors call it.

    Raises:
      ValueError: of another shape, in degrees, or matrices that are no rotations. Rows that are not finite pass.
    """
    pose = as_array(pose, name)
    if pose.ndim == 2 and pose.shape[1] in [3 * count for count in _JOINT_COUNTS]:
        pose = pose.reshape(len(pose), -1, 3)
    if pose.ndim not in (3, 4) or pose.shape[1] not in _JOINT_COUNTS or set(pose.shape[2:]) != {3}:
        raise ValueError(
            f"its {name} has shape {pose.shape}; expected (frames, joints * 3), (frames, joints, 3) or "
            "(frames, joints, 3, 3) with 24, 22, 52 or 55 joints"
        )
    if pose.shape[1] != jn.NUM_JOINTS:
        pose = pose[:, :_NUM_BODY]
    if pose.ndim == 4:
        parts = [_rotation_vectors(pose[at : at + _FRAMES], name) for at in range(0, max(len(pose), 1), _FRAMES)]
        pose = np.concatenate(parts)
    # By components first, whose squares may be beyond all numbers.
    largest = np.abs(np.where(np.isfinite(pose), pose, 0.0)).max(initial=0.0)
    if largest <= _LARGEST_ANGLE:
        largest = np.nan_to_num(np.linalg.norm(pose, axis=-1), posinf=0.0).max(initial=0.0)
    if largest > _LARGEST_ANGLE:
        raise ValueError(f"its {name} has a rotation by {largest:.6g} radians; are these degrees?")
    hands = np.zeros((len(pose), jn.NUM_JOINTS - pose.shape[1], 3))
    return np.concatenate([pose, hands], axis=1)


def joined(root: Any, body: Any, names: tuple[str, str]) -> Array:
    """Axis-angle rotations (M, 24, 3) of a root and a body that a file keeps apart.

    Args:
      root: (M, 3) or (M, 1, 3) axis-angle, (M, 3, 3) or (M, 1, 3, 3) matrices.
      body: (M, B * 3), (M, B, 3) or (M, B, 3, 3), B = 23 or 21 joints.
      names: what errors call the two.

    Raises:
      ValueError: as in `axis_angle`, or the two do not fit each other.
    """
    root, body = as_array(root, names[0]), as_array(body, names[1])
    found = f"its {names[0]} has shape {root.shape} and its {names[1]} {body.shape}"
    if body.ndim == 2 and body.shape[1] % 3 == 0:
        body = body.reshape(len(body), -1, 3)
    if body.ndim in (3, 4) and root.size == body[:, :1].size and len(root) == len(body):
        return axis_angle(np.concatenate([root.reshape(body[:, :1].shape), body], axis=1), " with ".join(names))
    raise ValueError(
        f"{found}; expected (frames, 3) and (frames, 69 or 63), or matrices (frames, 1, 3, 3) and "
        "(frames, 23 or 21, 3, 3)"
    )


def _rotation_vectors(matrices: Array, name: str) -> Array:
    """Axis-angle (..., 3) of the rotations nearest to the matrices (..., 3, 3); NaN where they are not finite."""
    finite = np.all(np.isfinite(matrices), axis=(-1, -2), keepdims=True)
    matrices = np.where(finite, matrices, np.eye(3))
    error = np.abs(np.swapaxes(matrices, -1, -2) @ matrices - np.eye(3)).max(initial=0.0)
    determinants = np.linalg.det(matrices)
    if error > _MATRIX_TOLERANCE or determinants.min(initial=1.0) < 0:
        found = f"R^T R is off the identity by up to {error:.2g}, determinants go down to {determinants.min():.2g}"
        raise ValueError(f"its {name} has matrices that are no rotations ({found})")
    u, _, vt = np.linalg.svd(matrices)
    vectors = Rotation.from_matrix((u @ vt).reshape(-1, 3, 3)).as_rotvec().reshape(*matrices.shape[:-1])
    return np.where(finite[..., 0], vectors, np.nan)


def checked(track: PoseTrack) -> PoseTrack:
    """The track with its arrays checked, its frames in order, without those whose pose is not finite; arrays of float64.

    Raises:
      ValueError: arrays of different lengths or wrong shapes, a frame twice, numbers that no person and no camera has.
    """
    frames = as_array(track.frames, "frame numbers")
    count = len(track.pose)
    if frames.shape != (count,):
        raise ValueError(
            f"{track.name} has {count} poses and frame numbers of shape {frames.shape}; expected one for each"
        )
    odd = frames[~(np.abs(frames) <= _LARGEST_FRAME)]
    if odd.size:
        raise ValueError(
            f"{track.name} has the frame number {odd[0]:g}; expected whole numbers from 0, at most {_LARGEST_FRAME}"
        )
    if not np.all(frames == np.round(frames)):
        raise ValueError(f"{track.name} has frame numbers that are not whole")
    shapes = {"joints_2d": (jn.NUM_KEYPOINTS, 2), "boxes": (4,), "betas": (None,), "pelvis": (3,)}
    fields: dict[str, Array] = {}
    for field, shape in shapes.items():
        value = getattr(track, field)
        if value is None:
            continue
        value = as_array(value, field)
        fits = value.ndim == len(shape) + 1 and all(n in (None, m) for n, m in zip(shape, value.shape[1:], strict=True))
        if not fits or len(value) != count:
            raise ValueError(
                f"{track.name} has {count} poses and {field} of shape {value.shape}; expected one for each"
            )
        fields[field] = value
    kept = np.flatnonzero(np.isfinite(track.pose).all((1, 2)))
    kept = kept[np.argsort(frames[kept], kind="stable")]
    frames = frames[kept].astype(np.int64)
    if np.any(np.diff(frames) == 0):
        raise ValueError(f"{track.name} has frame {frames[1:][np.diff(frames) == 0][0]} twice")
    kept_fields: dict[str, Any] = {field: value[kept] for field, value in fields.items()}
    for field, limits in _RANGES.items():
        limits.check(f"{field} of {track.name}", kept_fields.get(field, ()), ValueError)
    if track.camera is not None:
        ranges.FOCAL.check(f"the focal length beside {track.name}", track.camera[0], ValueError)
    return dataclasses.replace(track, frames=frames, pose=track.pose[kept], **kept_fields)
