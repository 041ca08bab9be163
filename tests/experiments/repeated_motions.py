"""Actions done again and again, as keypoints in the picture of a camera that stands to one side."""

import numpy as np

from body_models import joints as jn
from body_models import loaders
from experiments.simulation import observations, pitch

FPS = 25.0
_BODY = None


def body():
    global _BODY
    if _BODY is None:
        _BODY = loaders.load_body()
    return _BODY


def squats(rng, count, pause=0.0, lead=1.5, tail=1.8):
    """Pose (F, 24, 3) of squats of different depths and speeds, and the first frame of each and that behind its last."""
    depth, bounds = [0.0] * round(lead * FPS), []
    for _ in range(count):
        frames = round(rng.uniform(1.6, 2.6) * FPS)
        warped = (np.arange(frames) / frames) ** rng.uniform(0.85, 1.15)
        bounds.append((len(depth), len(depth) + frames))
        depth += list(rng.uniform(0.85, 1.0) * np.sin(np.pi * warped) ** 2)
        depth += [0.0] * round(pause * FPS * rng.uniform(0.6, 1.4))
    depth = np.array(depth + [0.0] * round(tail * FPS))
    pose = np.zeros((len(depth), jn.NUM_JOINTS, 3))
    for joints, turn in (((1, 2), -1.75), ((4, 5), 2.1), ((7, 8), -0.45), ((0,), 0.35)):
        pose[:, joints, 0] = turn * depth[:, None]
    pose[:, 16, 2], pose[:, 17, 2] = -1.2 * (1 - depth), 1.2 * (1 - depth)
    pose[:, 16, 1], pose[:, 17, 1] = -1.3 * depth, 1.3 * depth
    return pose, bounds


def pitches(rng, count, pause=2.0):
    """As `squats`, of pitches with rests between."""
    phases, bounds = [], []
    for number in range(count):
        if number:
            # Back to the start, slowly.
            phases += [1.0] * round(0.4 * pause * FPS)
            phases += list(np.linspace(1.0, 0.0, round(0.3 * pause * FPS))) + [0.0] * round(0.3 * pause * FPS)
        frames = round(rng.uniform(2.6, 3.4) * FPS)
        bounds.append((len(phases), len(phases) + frames))
        phases += list(np.linspace(0, 1, frames) ** rng.uniform(0.9, 1.1))
    turns = pitch.sample(np.array(phases)).as_rotvec().reshape(-1, jn.NUM_JOINTS, 3)
    return turns, bounds


def steps(rng, seconds):
    """Pose of somebody who walks."""
    at = 2 * np.pi * np.cumsum(rng.uniform(0.9, 1.1, round(seconds * FPS))) / FPS
    pose = np.zeros((len(at), jn.NUM_JOINTS, 3))
    for side, sign in ((0, 1), (1, -1)):
        pose[:, 1 + side, 0] = -0.5 * sign * np.sin(at)
        pose[:, 4 + side, 0] = 0.5 * (1 + np.sin(at * 1.0 + sign * np.pi / 2))
        pose[:, 16 + side, 2] = -1.3 * sign
        pose[:, 16 + side, 0] = 0.4 * sign * np.sin(at)
    return pose


def seen(pose, rng, side=30.0, size=150.0, noise=0.006, grounded=True):
    """Keypoints (F, 25, 2) in pixels and confidence (F, 25).

    side: degrees that the camera stands to the side. size: pixels a metre. noise: of a keypoint, metres.
    """
    points = observations.body_keypoints(body(), pose, np.zeros(body().num_betas))
    if grounded:
        points = points - points[:, [21, 24]].mean(1, keepdims=True)
    angle = np.radians(side)
    across = np.cos(angle) * points[..., 0] + np.sin(angle) * points[..., 2]
    keypoints = np.stack([across, -points[..., 1]], -1) + noise * rng.standard_normal((*points.shape[:2], 2))
    confidence = rng.uniform(0.7, 1.0, points.shape[:2])
    confidence[rng.random(confidence.shape) < 0.05] = 0.0
    return 400 + size * keypoints, confidence
