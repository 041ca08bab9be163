"""MediaPipe's 33 landmarks as BODY_25 keypoints with confidences.

Visibility times presence is the confidence, as it is. Measured on four real clips of a pitch, 400 frames: looked at from
three different regions, landmarks of visibility 0.5 to 0.8 agree to 0.014 of the person's box diagonal in the median and
those above to 0.009, those below 0.5 only to 0.030, and where it is below 0.5 the point is a guess behind the body. So the
threshold of 0.5 on confidences, at which fits use detections, divides them where it should. Presence, near 1 in the
picture, falls outside of it.
"""

from __future__ import annotations

import numpy as np

from body_models import joints as jn

Array = np.ndarray

# Landmark of each keypoint that has one. The toe is the tip of the foot; of small toes MediaPipe knows nothing.
LANDMARK_OF = {
    "nose": 0,
    "right_shoulder": 12,
    "right_elbow": 14,
    "right_wrist": 16,
    "left_shoulder": 11,
    "left_elbow": 13,
    "left_wrist": 15,
    "right_hip": 24,
    "right_knee": 26,
    "right_ankle": 28,
    "left_hip": 23,
    "left_knee": 25,
    "left_ankle": 27,
    "right_eye": 5,
    "left_eye": 2,
    "right_ear": 8,
    "left_ear": 7,
    "left_big_toe": 31,
    "left_heel": 29,
    "right_big_toe": 32,
    "right_heel": 30,
}
KEYPOINTS = np.array([jn.BODY_25_NAMES.index(name) for name in LANDMARK_OF])
LANDMARKS = np.array(list(LANDMARK_OF.values()))
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
