"""`PoseTrack`, the common format of other methods' results: the poses of one person through a video."""

from __future__ import annotations

import dataclasses

import numpy as np

Array = np.ndarray


@dataclasses.dataclass(frozen=True)
class PoseTrack:
    """The poses of one person in the M frames in which the method detected the person.

    name: the name of the person in the file, for messages.
    frames (M,): their indices in the video, counted from 0, increasing.
    pose (M, 24, 3): axis-angle in SMPL's order, the root in the camera frame (x right, y down, z forward), radians.
    method: name of the method, such as "VIBE".
    joints_2d (M, 25, 2): the method's own projection in BODY_25 order, pixels of the whole image, NaN = unknown; or None.
    boxes (M, 4): box of the person, x1 y1 x2 y2 pixels; or None.
    betas (M, 10): shape coefficients, or None.
    pelvis (M, 3): SMPL's root joint in the camera frame, metres, to about a decimetre; or None.
    camera: focal length and principal point (f, x, y) in pixels that project `pelvis`; None = the focal length is the
      diagonal of the image, and the principal point is its centre.
    num_frames: number of frames of the video, if the file contains it; None = unknown.
    """

    name: str
    frames: Array
    pose: Array
    method: str
    joints_2d: Array | None = None
    boxes: Array | None = None
    betas: Array | None = None
    pelvis: Array | None = None
    camera: tuple[float, float, float] | None = None
    num_frames: int | None = None
