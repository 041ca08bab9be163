"""Clips whose cameras turn and zoom: what files say of it, what a note says of it, and what else has to know."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from experiments.base.text import listed
from experiments.data.camera import Camera
from experiments.data.dataset import Dataset
from nemo_jax.clips import Clips

Array = np.ndarray

_MOST_NAMED = 6


def moves(clips: Clips, n: int) -> bool:
    """Whether the camera of instance `n` turns or zooms."""
    exists = np.asarray(clips.frame_mask[n]) > 0
    turn, zoom = (part[exists] for part in _of(clips, n))
    return bool(np.abs(turn - np.eye(3)).max(initial=0) > 1e-6 or np.abs(zoom - 1).max(initial=0) > 1e-6)


def _of(clips: Clips, n: int) -> tuple[Array, Array]:
    """Turns (T, 3, 3) and zooms (T,) of instance `n`, float64; those of a still camera where nothing is said."""
    if clips.camera_turn is None or clips.zoom is None:
        return np.tile(np.eye(3), (clips.num_frames, 1, 1)), np.ones(clips.num_frames)
    return np.asarray(clips.camera_turn[n], float), np.asarray(clips.zoom[n], float)


def entries(clips: Clips, n: int) -> dict[str, Any]:
    """What the neutral format says of the camera's motion in instance `n`, all of whose frames exist."""
    if clips.camera_turn is None or clips.zoom is None:
        return {}
    found = {"camera_turn": clips.camera_turn[n], "zoom": clips.zoom[n]}
    return found if clips.turn_focal is None else {**found, "turn_focal": clips.turn_focal[n]}


def in_reference(clips: Clips, poses: Array) -> Array:
    """Poses (N, T, 24, 3), axis-angle, whose roots are seen from the cameras of their frames, with roots seen from the
    reference cameras of their clips; as they are where all cameras stand still."""
    if clips.camera_turn is None or clips.zoom is None:
        return poses
    exists = np.asarray(clips.zoom) > 0
    turn = Rotation.from_matrix(np.asarray(clips.camera_turn)[exists])
    turned = np.array(poses)
    turned[exists, 0] = (turn.inv() * Rotation.from_rotvec(turned[exists, 0])).as_rotvec()
    return turned


def camera_of(dataset: Dataset, n: int, frame: int) -> Camera:
    """The true camera of a frame of instance `n`, by that of the instance, which there is, and the given turns."""
    assert dataset.cameras is not None
    camera, clips = dataset.cameras[n], dataset.clips
    if not moves(clips, n):
        return camera
    turn, zoom = (part[frame] for part in _of(clips, n))
    return dataclasses.replace(
        camera, world_from_camera=camera.world_from_camera @ turn.T, focal=camera.focal * float(zoom)
    )


def carried(clips: Clips, n: int, keypoints: Array, before: Array, after: Array) -> Array:
    """Where pixels (P, K, 2) of frames `before` (P,) of instance `n` are in the pictures of frames `after` (P,), as far as
    its camera moves; the focal length is a guess where it is not known. Pixels behind the later camera stay."""
    if not moves(clips, n):
        return keypoints
    turn, zoom = _of(clips, n)
    zoom = zoom[:, None, None]
    told = np.array([clips.focal_length[n], *([] if clips.turn_focal is None else [clips.turn_focal[n]])], float)
    told = told[np.isfinite(told)]
    focal = told[-1] if told.size else np.linalg.norm(clips.image_size[n])
    middle = np.asarray(clips.image_size[n], float) / 2
    ray = np.concatenate([(keypoints - middle) / (focal * zoom[before]), np.ones((*keypoints.shape[:-1], 1))], -1)
    seen = np.einsum("pij,pkj->pki", turn[after] @ np.swapaxes(turn[before], -1, -2), ray)
    front = seen[..., 2:] > 0.1
    return np.where(
        front, focal * zoom[after] * seen[..., :2] / np.where(front, seen[..., 2:], 1.0) + middle, keypoints
    )


def noted(dataset: Dataset) -> Dataset:
    """The dataset with a note of how far cameras turn and zoom; as it is where none does."""
    clips, said = dataset.clips, []
    for n, name in enumerate(dataset.names):
        if not moves(clips, n):
            continue
        exists = np.asarray(clips.frame_mask[n]) > 0
        turn, zoom = (part[exists] for part in _of(clips, n))
        degrees = np.degrees(Rotation.from_matrix(turn @ turn[0].T).magnitude().max())
        zoomed = zoom / zoom[0]
        factor = "" if np.ptp(zoomed) < 0.02 else f" and zooms {zoomed.min():.2f} to {zoomed.max():.2f} times"
        said.append(f"{name} turns by up to {degrees:.1f} degrees{factor}")
    if not said:
        return dataset
    note = f"Of moving cameras, {listed(said, _MOST_NAMED)}, against the first frame; the motion is told in the still world."
    return dataset if note in dataset.notes else dataclasses.replace(dataset, notes=(*dataset.notes, note))
