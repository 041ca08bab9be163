"""Converts poses of the array shapes found in files to 24 axis-angle rotations, and checks the arrays of a track."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from body_models import joints as jn
from experiments.poses.track import PoseTrack

Array = np.ndarray

# SMPL, the body without hands, SMPL-H and SMPL-X: all have the same first 22 joints.
_NUM_BODY = 22
_JOINT_COUNTS = (jn.NUM_JOINTS, _NUM_BODY, 52, 55)
# Matrices from networks are rotations up to errors of 1e-5, smoothed matrices up to 1e-2.
_MATRIX_TOLERANCE = 0.1
# Radians; angles of a network may exceed a full turn once or twice, angles in degrees are far larger.
_LARGEST_ANGLE = 4 * np.pi


def as_array(value: Any, name: str) -> Array:
    """The value as float64 numbers.

    Raises:
      ValueError: the value is not an array of numbers.
    """
    try:
        return np.asarray(value, np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"its {name} is a {type(value).__name__}, not an array of numbers") from error


def axis_angle(pose: Any, name: str) -> Array:
    """Axis-angle rotations (M, 24, 3) of a whole body, root first, in SMPL's order.

    Args:
      pose: (M, J * 3), (M, J, 3) axis-angle or (M, J, 3, 3) matrices; J = 24 (SMPL), 22 (without hands), 52 (SMPL-H) or
        55 (SMPL-X). For J other than 24 the first 22 joints are used and the hands keep their rest pose.
      name: the name of the array in error messages.

    Raises:
      ValueError: the shape is another one, the angles are in degrees, or the matrices are not rotations. Rows that are
        not finite are accepted.
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
        pose = _rotation_vectors(pose, name)
    largest = np.nan_to_num(np.linalg.norm(pose, axis=-1), posinf=0.0).max(initial=0.0)
    if largest > _LARGEST_ANGLE:
        raise ValueError(f"its {name} has a rotation by {largest:.0f} radians; are these degrees?")
    hands = np.zeros((len(pose), jn.NUM_JOINTS - pose.shape[1], 3))
    return np.concatenate([pose, hands], axis=1)


def joined(root: Any, body: Any, names: tuple[str, str]) -> Array:
    """Axis-angle rotations (M, 24, 3) from the separate arrays of a root and a body.

    Args:
      root: (M, 3) or (M, 1, 3) axis-angle, (M, 3, 3) or (M, 1, 3, 3) matrices.
      body: (M, B * 3), (M, B, 3) or (M, B, 3, 3), B = 23 or 21 joints.
      names: the names of the two arrays in error messages.

    Raises:
      ValueError: as in `axis_angle`, or the two arrays have different numbers of rows.
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
    """The track with checked float64 arrays and sorted frames, without the frames whose pose is not finite.

    Raises:
      ValueError: arrays have different lengths or wrong shapes, or a frame occurs twice.
    """
    frames = as_array(track.frames, "frame numbers")
    count = len(track.pose)
    if frames.shape != (count,):
        raise ValueError(
            f"{track.name} has {count} poses and frame numbers of shape {frames.shape}; expected one for each"
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
    return dataclasses.replace(track, frames=frames, pose=track.pose[kept], **kept_fields)
