"""MediaPipe's 33 landmarks as BODY_25 keypoints with confidences.

Visibility times presence is the confidence, as it is, and the threshold of 0.5 at which fits use detections divides them
where it should. Measured in diagonals of the person's box:
- On 240 rendered frames of a pitch, with known truth, arms and legs of visibility above 0.95 are off by 0.013 in the median
  and 99% of them by less than 0.05; between 0.5 and 0.7 by 0.015, 91%; below 0.3 by 0.02 to 0.04, 69%.
- On 400 real frames of a pitch, looked at from three different regions, those above 0.5 agree to 0.01 in the median, those
  below to 0.03: they are guesses behind the body.
- On 400 real frames with triangulated truth (docs/data.md) the error grows as confidence falls, for both shipped models;
  presence alone is above 0.5 everywhere and tells nothing, visibility alone as much as the product.
"""

from __future__ import annotations

import numpy as np

from body_models import joints as jn
from experiments.detection.landmarks import LANDMARKS as LANDMARK_NAMES

Array = np.ndarray

# Keypoints and their landmarks, which mostly have the same names. Of small toes MediaPipe knows nothing.
_OTHERWISE_NAMED = {"left_big_toe": "left_foot_index", "right_big_toe": "right_foot_index"}
_PAIRS = [
    (keypoint, LANDMARK_NAMES.index(_OTHERWISE_NAMED.get(name, name)))
    for keypoint, name in enumerate(jn.BODY_25_NAMES)
    if _OTHERWISE_NAMED.get(name, name) in LANDMARK_NAMES
]
KEYPOINTS, LANDMARKS = np.array(_PAIRS).T
# Halfway between two joints, for drawing: they add nothing to what the two say, and the body's own neck and pelvis lie
# elsewhere, so they have confidence 0.
MIDPOINTS = {"neck": ("right_shoulder", "left_shoulder"), "mid_hip": ("right_hip", "left_hip")}

_SPIKE = 0.15  # jump out of line, in diagonals of the person's box


def body_25(landmarks: Array, image_size: tuple[float, float]) -> tuple[Array, Array]:
    """Keypoints (..., 25, 2) in pixels and confidences (..., 25) of landmarks (..., 33, 4): x, y, visibility, presence.

    What lies outside the image, width and height in pixels, is guessed and has confidence 0.
    """
    shape = (*landmarks.shape[:-2], jn.NUM_KEYPOINTS)
    keypoints, confidence = np.zeros((*shape, 2)), np.zeros(shape)
    points = landmarks[..., LANDMARKS, :].astype(float)
    keypoints[..., KEYPOINTS, :] = points[..., :2]
    inside = ((points[..., :2] >= 0) & (points[..., :2] <= np.asarray(image_size, float))).all(-1)
    confidence[..., KEYPOINTS] = inside * np.clip(points[..., 2] * points[..., 3], 0.0, 1.0)
    for name, pair in MIDPOINTS.items():
        ends = [jn.BODY_25_NAMES.index(end) for end in pair]
        keypoints[..., jn.BODY_25_NAMES.index(name), :] = keypoints[..., ends, :].mean(-2)
    return keypoints, confidence


def spikes(keypoints: Array, seen: Array) -> Array:
    """Where (F, K) a keypoint leaves its place for a single frame, as when left and right are exchanged.

    It is then farther from the middle of its neighbours in time than these are from each other, and than 0.15 of the
    diagonal of the person's box: 30 cm in one frame and back.

    Args:
      keypoints (F, K, 2): of one person, pixels.
      seen (F,): frames in which the person is seen.
    """
    jump = np.zeros(keypoints.shape[:2], bool)
    if len(keypoints) < 3:
        return jump
    before, now, after = keypoints[:-2], keypoints[1:-1], keypoints[2:]
    off = np.linalg.norm(now - (before + after) / 2, axis=-1)
    apart = np.linalg.norm(after - before, axis=-1)
    known = keypoints[:, KEYPOINTS]
    size = np.linalg.norm(known.max(1) - known.min(1), axis=-1)
    # The neighbours' box, as a frame of spikes may have any.
    size = (size[:-2] + size[2:])[:, None] / 2
    jump[1:-1] = (off > np.maximum(apart, _SPIKE * size)) & (seen[:-2] & seen[1:-1] & seen[2:])[:, None]
    return jump
