"""One video's arrays, of its own length, before several of them are padded into `Clips`."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from body_models import joints as jn

Array = np.ndarray
ROTATION_SLACK = 1e-3  # how far a rotation's entries may be off, as of numbers that were rounded


@dataclasses.dataclass(frozen=True)
class Instance:
    """One video of an action: the fields of `Clips` without the leading N, F frames long.

    keypoints (F, K, 2): pixels, K = 25 in BODY_25 order; values where the confidence is 0 are not used and may be NaN.
    confidence (F, K): of each detection, 0 = not seen.
    image_size: width and height, pixels.
    init_pose (F, 24, 3): initial 3D estimate, axis-angle, SMPL order, the root seen from the camera; None = there is none.
    init_mask (F,): 1 where that estimate exists; None = in all frames.
    focal_length: pixels; NaN = unknown.
    fps: frames per second.
    height: of the person, metres; NaN = unknown.
    camera_turn (F, 3, 3): rotation of each frame's camera from that of the first frame; None = it does not turn.
    zoom (F,): focal length of each frame over that of the first frame, which `focal_length` is; None = it stays.
    turn_focal: pixels, with which the turns were found in the pictures; NaN = they are measured angles.
    """

    keypoints: Array
    confidence: Array
    image_size: tuple[float, float]
    init_pose: Array | None = None
    init_mask: Array | None = None
    focal_length: float = float("nan")
    fps: float = 30.0
    height: float = float("nan")
    camera_turn: Array | None = None
    zoom: Array | None = None
    turn_focal: float = float("nan")

    @property
    def num_frames(self) -> int:
        return len(self.keypoints)

    @property
    def turns(self) -> Array:
        """The turns (F, 3, 3), those of a still camera where none are given."""
        still = np.broadcast_to(np.eye(3), (self.num_frames, 3, 3))
        return still if self.camera_turn is None else np.asarray(self.camera_turn)

    @property
    def zooms(self) -> Array:
        """The zoom (F,), 1 where none is given."""
        return np.ones(self.num_frames) if self.zoom is None else np.asarray(self.zoom)


def check(instance: Instance, name: str) -> None:
    """Raises ValueError if the shape of an array is inconsistent, or if a number is out of its range.

    `name` is the name of the instance in the message.
    """
    shape = np.shape(instance.keypoints)
    k = jn.NUM_KEYPOINTS
    if len(shape) != 3 or shape[1:] != (k, 2) or shape[0] < 1:
        raise ValueError(
            f"{name}: keypoints have shape {shape}, expected (F, {k}, 2), pixels of F >= 1 frames in BODY_25 order"
        )
    num_frames = shape[0]
    _check_shape(name, "confidence", instance.confidence, (num_frames, k))
    confidence = np.asarray(instance.confidence)
    if not np.isfinite(confidence).all():
        raise ValueError(f"{name}: confidence holds NaN or infinite numbers; give 0 where nothing was seen")
    if not np.isfinite(np.asarray(instance.keypoints)[confidence > 0]).all():
        raise ValueError(f"{name}: a keypoint whose confidence is above 0 is NaN or infinite; give it the confidence 0")
    mask = np.ones(num_frames) if instance.init_mask is None else np.asarray(instance.init_mask)
    _check_shape(name, "init_mask", mask, (num_frames,))
    if instance.init_pose is not None:
        _check_shape(name, "init_pose", instance.init_pose, (num_frames, jn.NUM_JOINTS, 3))
        if not np.isfinite(np.asarray(instance.init_pose)[mask > 0]).all():
            raise ValueError(f"{name}: init_pose holds NaN or infinite numbers; mark those frames with 0 in init_mask")
    elif instance.init_mask is not None and mask.any():
        raise ValueError(
            f"{name}: init_mask marks frames as posed, but there is no init_pose; give it or leave both out"
        )
    if np.shape(instance.image_size) != (2,) or not all(0 < side < math.inf for side in instance.image_size):
        raise ValueError(f"{name}: image_size is {instance.image_size}, expected (width, height) in pixels")
    if not 0 < instance.fps < math.inf:
        raise ValueError(f"{name}: fps is {instance.fps}, expected frames per second above 0")
    if not (math.isnan(instance.focal_length) or 0 < instance.focal_length < math.inf):
        raise ValueError(f"{name}: focal_length is {instance.focal_length}, expected pixels above 0, or NaN if unknown")
    if not (math.isnan(instance.height) or 0 < instance.height < math.inf):
        raise ValueError(f"{name}: height is {instance.height}, expected metres above 0, or NaN if unknown")
    _check_camera(instance, name)


def are_rotations(matrices: Array) -> np.ndarray:
    """Whether (...) the columns of matrices (..., 3, 3) are right-handed, of length 1 and perpendicular, up to 0.001."""
    matrices = np.asarray(matrices, float)
    with np.errstate(invalid="ignore"):
        apart = np.abs(matrices @ np.swapaxes(matrices, -1, -2) - np.eye(3)).max((-2, -1))
        return (apart <= ROTATION_SLACK) & (np.linalg.det(np.nan_to_num(matrices)) > 0)


def _check_camera(instance: Instance, name: str) -> None:
    """As `check`, of how the camera moves."""
    _check_shape(name, "camera_turn", instance.turns, (instance.num_frames, 3, 3))
    _check_shape(name, "zoom", instance.zooms, (instance.num_frames,))
    wrong = np.flatnonzero(~are_rotations(instance.turns))
    if wrong.size:
        raise ValueError(
            f"{name}: camera_turn of frame {wrong[0]} is no rotation, expected one from the first frame's camera"
        )
    if not ((instance.zooms > 0) & np.isfinite(instance.zooms)).all():
        raise ValueError(
            f"{name}: zoom holds numbers that are not above 0, expected focal lengths over that of the first frame"
        )
    if not (math.isnan(instance.turn_focal) or 0 < instance.turn_focal < math.inf):
        raise ValueError(f"{name}: turn_focal is {instance.turn_focal}, expected pixels above 0, or NaN if measured")


def _check_shape(name: str, field: str, value: Array, expected: tuple[int, ...]) -> None:
    if np.shape(value) != expected:
        raise ValueError(
            f"{name}: {field} has shape {np.shape(value)}, expected {expected}, as the keypoints have {expected[0]} frames"
        )


def pad(arrays: Sequence[Array], length: int | None = None) -> Array:
    """Stacks arrays (F_n, ...) of different lengths into float32 (N, T, ...), padded with zeros at the end; T is
    `length` or else the longest length.
    """
    longest = max(len(array) for array in arrays) if length is None else length
    out = np.zeros((len(arrays), longest, *arrays[0].shape[1:]), np.float32)
    for row, array in zip(out, arrays, strict=True):
        row[: len(array)] = array
    return out
