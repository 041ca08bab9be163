"""What every dataset format becomes: `Dataset`, clips with what is known about them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Literal

import numpy as np

from experiments.data import select as selecting
from experiments.data.bystanders import Bystanders
from experiments.data.calibration import Calibration
from experiments.data.camera import Camera
from experiments.data.footage import Video
from experiments.data.select import PARTS, PER_FRAME, PER_INSTANCE, PER_OWN_FRAME, SHARED
from nemo_jax.clips import Clips, GroundTruth
from nemo_jax.instances import Instance, pad

__all__ = ["Dataset", "DatasetError", "HeadPoint", "Instance", "Video", "pad", "stack", "visible_box_size"]

Array = np.ndarray
stack = Clips.from_instances
HeadPoint = Literal["nose", "top_of_head", "head_centre"]


class DatasetError(ValueError):
    """The data cannot be used; the message is one sentence for the user."""


@dataclasses.dataclass(frozen=True)
class Dataset:
    """One action, as read. N instances, T frames (the longest), K = 25 keypoints; arrays are NumPy float32.

    clips: what a fit may see.
    names: one per instance, unique, usable as file names.
    action: what they all do.
    truth: what is true of them, or None.
    cameras: the true camera of each instance, or None.
    frame_paths: per instance None, or the picture of each frame (None where it is missing).
    videos: per instance None, or the film that its frames are from, where they are not single pictures.
    bystanders: per instance None, or the other people in its frames. For pictures only.
    notes: sentences for the user: what was left out, what is synthetic.
    annotated: keypoints that somebody or something measured; the others are derived or absent and are not to be scored.
    head_point: what keypoint 0 is, so that the fit can hold the right point of the body against it.
    box_size (N, T): diagonal of the person's box, pixels; 0 in the padding and where nothing is visible.
    view: direction from which the camera looks, as the annotators put it, or None. For reports only.
    synthetic: made by a program, not seen by a camera.
    other_poses: by name, what other methods say, to be scored beside the fit: poses (N, T, 24, 3) like `clips.init_pose`,
      axis-angle with the root in the camera frame, and masks (N, T), 1 where there is one. Not `init`, not `fit`.
    reference_2d: keypoints (N, T, K, 2) and confidence (N, T, K) that 2D errors are measured against where these are not the
      clips' own, as people's annotations of clips whose keypoints a detector found; or None.
    picture_lenses: per instance None, or the lens whose distortion is in its pictures, but no more in its keypoints.
    source_frames (N,): frames of each clip before resampling; None = as they were filmed.
    """

    clips: Clips = field(metadata=PARTS)
    names: tuple[str, ...] = field(metadata=PER_INSTANCE)
    action: str = field(metadata=SHARED)
    box_size: Array = field(metadata=PER_FRAME)
    truth: GroundTruth | None = field(default=None, metadata=PARTS)
    cameras: tuple[Camera, ...] | None = field(default=None, metadata=PER_INSTANCE)
    frame_paths: tuple[tuple[str | None, ...] | None, ...] | None = field(default=None, metadata=PER_OWN_FRAME)
    videos: tuple[Video | None, ...] | None = field(default=None, metadata=PER_OWN_FRAME)
    bystanders: tuple[Bystanders | None, ...] | None = field(default=None, metadata=PER_OWN_FRAME)
    notes: tuple[str, ...] = field(default=(), metadata=SHARED)
    annotated: tuple[int, ...] = field(default=tuple(range(25)), metadata=SHARED)
    head_point: HeadPoint = field(default="nose", metadata=SHARED)
    view: tuple[str, ...] | None = field(default=None, metadata=PER_INSTANCE)
    synthetic: bool = field(default=False, metadata=SHARED)
    other_poses: Mapping[str, tuple[Array, Array]] = field(default_factory=dict, metadata=PER_FRAME)
    reference_2d: tuple[Array, Array] | None = field(default=None, metadata=PER_FRAME)
    source_frames: Array | None = field(default=None, metadata=PER_INSTANCE)
    picture_lenses: tuple[Calibration | None, ...] | None = field(default=None, metadata=PER_INSTANCE)

    def __post_init__(self) -> None:
        shape = np.shape(self.clips.init_pose)
        for name, (pose, mask) in self.other_poses.items():
            if name in ("init", "fit"):
                raise DatasetError(f"other_poses has a method called {name}, which names a row of its own; rename it")
            if np.shape(pose) != shape or np.shape(mask) != shape[:2]:
                raise DatasetError(
                    f"other_poses of {name} have shape {np.shape(pose)} and their mask {np.shape(mask)}, expected {shape} "
                    f"and {shape[:2]}, those of the clips"
                )

    def select(self, instances: Sequence[int] | Array | None = None, frames: selecting.Frames = None) -> Dataset:
        """The dataset of some instances and some of their frames, padded to the longest of them.

        Args:
          instances: numbers in [0, N), in any order and as often as wanted; None = all.
          frames: None = all; a number = the first so many of each instance; a slice = those of each instance; or, for each
            instance taken, the numbers of its frames, rows of any lengths or an array (M, F), where -1 is an empty slot.

        Frame rates stay as they are: who leaves out frames between others says the new rate.

        Raises:
          ValueError: an instance would be left without a frame, or with an empty slot before one; or `frames` has another
            number of rows than instances are taken.
        """
        return selecting.take(self, selecting.choose(self.clips.frame_mask, instances, frames))


def visible_box_size(keypoints: Array, confidence: Array) -> Array:
    """Diagonal (..., T) in pixels of the box around the visible keypoints (..., T, K, 2); 0 where none is."""
    seen = (confidence > 0)[..., None]
    low = np.where(seen, keypoints, np.inf).min(-2)
    high = np.where(seen, keypoints, -np.inf).max(-2)
    extent = np.where(np.isfinite(low), high, 0.0) - np.where(np.isfinite(low), low, 0.0)
    return np.linalg.norm(extent, axis=-1).astype(np.float32)
