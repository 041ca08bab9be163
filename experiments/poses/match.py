"""Finds, frame by frame, which of the people in a method's output is the person of the clip."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from body_models import joints as jn
from experiments.data.dataset import DatasetError
from experiments.poses.track import PoseTrack

Array = np.ndarray

# Costs of the search for the person, in diagonals of the person's box: of a frame in which the track is missing or
# farther away than this, and of a change to another track.
_NOBODY = 1 / 3
_CHANGE = 1 / 3
# Of the wrong clip, from where on the median distance of the nearest person to the keypoints says so.
_OTHER_CLIP = 1.0
_HIPS = [jn.BODY_25_NAMES.index(name) for name in ("mid_hip", "left_hip", "right_hip")]


def lay(
    tracks: Sequence[PoseTrack],
    keypoints: Array,
    confidence: Array,
    image_size: tuple[float, float] | None = None,
    name: str = "the initial poses",
) -> tuple[Array, Array, list[str]]:
    """The poses of the person that the keypoints show, for the frames of the clip.

    The person is found as the sequence of tracks with the least total cost. A frame costs the track's distance to the
    keypoints in diagonals of their box, but at most a third of a diagonal, which is also the cost of a frame in which
    the track is missing; a change to another track costs a third too. In this way a person whose track ends and
    continues under another name is joined again. Frames in which the person is missing or farther away than that are
    left out. The distance of a track is the mean distance of its projected joints to the visible keypoints; without
    joints, the distance of the keypoints outside its box plus half the distance between the centres; without a box, the
    distance of its pelvis to the hips. If no track has a position, the longest track is used.

    Args:
      tracks: the people of one video, at least one.
      keypoints: (F, 25, 2) pixels.
      confidence: (F, 25), 0 = not seen.
      image_size: width and height in pixels, for tracks (WHAM's) that know the pelvis and not the camera.
      name: the name of the tracks' file, for error messages.

    Returns:
      pose (F, 24, 3) and mask (F,), float32, 0 where there is no pose; and notes for the user.

    Raises:
      DatasetError: the tracks belong to another clip, judging by the number of frames or the positions of the people.
    """
    count = len(keypoints)
    _check_frames(tracks, count, name)
    distances, sizes = _distances(tracks, np.asarray(keypoints), np.asarray(confidence), image_size)
    present = np.zeros((len(tracks), count), bool)
    for row, track in zip(present, tracks, strict=True):
        row[track.frames] = True
    notes: list[str] = []
    if np.isfinite(distances).any():
        _check_place(distances, sizes, name)
        chosen = _cheapest(distances / sizes, present)
    else:
        longest = int(np.argmax(present.sum(1)))
        chosen = np.where(present[longest], longest, -1)
        if len(tracks) > 1:
            notes.append(
                f"{name}: it has {len(tracks)} people and does not say where in the image they are; the longest track "
                f"({tracks[longest].name}) is taken."
            )
    if np.all(chosen < 0):
        raise DatasetError(
            f"{name}: in no frame is anybody of it near the keypoints; it looks as if it is of another clip"
        )
    pose, mask = np.zeros((count, jn.NUM_JOINTS, 3), np.float32), (chosen >= 0).astype(np.float32)
    used = [index for index in dict.fromkeys(chosen.tolist()) if index >= 0]
    for index in used:
        mine = np.flatnonzero(chosen == index)
        pose[mine] = tracks[index].pose[np.searchsorted(tracks[index].frames, mine)]
    if len(used) > 1:
        notes.append(f"{name}: put together from {len(used)} tracks ({', '.join(tracks[i].name for i in used[:5])}).")
    if not mask.all():
        notes.append(f"{name}: has the person in {int(mask.sum())} of {count} frames.")
    return pose, mask, notes


def _check_frames(tracks: Sequence[PoseTrack], count: int, name: str) -> None:
    if not any(len(track.frames) for track in tracks):
        raise DatasetError(f"{name}: there is nobody in it")
    expected = next((track.num_frames for track in tracks if track.num_frames not in (None, count)), None)
    if expected is not None:
        raise DatasetError(
            f"{name}: it has poses for a video of {expected} frames and the clip has {count}; it looks as if it is of "
            "another clip, or of a trimmed one"
        )
    first, last = min(t.frames[0] for t in tracks if len(t.frames)), max(t.frames[-1] for t in tracks if len(t.frames))
    if first < 0 or last >= count:
        raise DatasetError(
            f"{name}: it has poses for frames {first} to {last} and the clip has frames 0 to {count - 1}; it looks as if it "
            "is of another clip, or of a trimmed one"
        )


def _distances(
    tracks: Sequence[PoseTrack], keypoints: Array, confidence: Array, image_size: tuple[float, float] | None
) -> tuple[Array, Array]:
    """Distances (P, F) of the tracks to the keypoints in pixels, NaN = unknown; and the size (F,) of the keypoints' box."""
    weights = np.where(np.isfinite(keypoints).all(-1), confidence, 0.0)
    seen = weights > 0
    low = np.where(seen[..., None], keypoints, np.inf).min(1)
    high = np.where(seen[..., None], keypoints, -np.inf).max(1)
    visible = seen.any(1)
    low[~visible], high[~visible] = np.nan, np.nan
    sizes = np.linalg.norm(high - low, axis=-1)
    # If only a few joints of a person are visible, the box does not show the person's size.
    sizes = np.maximum(sizes, max(1.0, 0.5 * np.nanmedian(sizes) if visible.any() else 1.0))
    hips = np.where(seen[..., None], keypoints, np.nan)[:, _HIPS]
    found = np.full((len(tracks), len(keypoints)), np.nan)
    for row, track in zip(found, tracks, strict=True):
        frames = track.frames
        if track.joints_2d is not None:
            known = np.where(np.isfinite(track.joints_2d).all(-1), weights[frames], 0.0)
            off = np.linalg.norm(np.nan_to_num(track.joints_2d) - np.nan_to_num(keypoints[frames]), axis=-1)
            total = known.sum(1)
            row[frames] = np.where(total > 0, (off * known).sum(1) / np.where(total > 0, total, 1.0), np.nan)
        elif track.boxes is not None:
            corners = track.boxes.reshape(-1, 1, 2, 2)
            nearest = np.clip(keypoints[frames], corners[..., 0, :], corners[..., 1, :])
            outside = np.linalg.norm(nearest - keypoints[frames], axis=-1)
            outside = np.where(seen[frames], outside, 0.0).sum(1) / np.maximum(seen[frames].sum(1), 1)
            between = np.linalg.norm(corners.mean((1, 2)) - (low + high)[frames] / 2, axis=-1)
            row[frames] = outside + between / 2
        elif track.pelvis is not None and (track.camera is not None or image_size is not None):
            off = np.linalg.norm(_project(track, image_size)[:, None] - hips[frames], axis=-1)
            # A single hip is about a decimetre from the pelvis, which is close enough.
            row[frames] = np.where(np.isfinite(off).any(1), np.nan_to_num(off, nan=np.inf).min(1), np.nan)
    return found, sizes


def _project(track: PoseTrack, image_size: tuple[float, float] | None) -> Array:
    """The pelvis (M, 2) in the image; NaN behind the camera."""
    assert track.pelvis is not None
    if track.camera is not None:
        focal, x, y = track.camera
    else:
        assert image_size is not None
        focal, x, y = float(np.hypot(*image_size)), image_size[0] / 2, image_size[1] / 2
    depth = np.where(track.pelvis[:, 2:] > 0, track.pelvis[:, 2:], np.nan)
    return focal * track.pelvis[:, :2] / depth + (x, y)


def _check_place(distances: Array, sizes: Array, name: str) -> None:
    known = np.isfinite(distances).any(0)
    nearest = np.nanmin(distances[:, known], axis=0)
    if np.median(nearest / sizes[known]) > _OTHER_CLIP:
        raise DatasetError(
            f"{name}: the nearest person of it is {np.median(nearest):.0f} px from the keypoints (median), whose box has a "
            f"diagonal of {np.median(sizes[known]):.0f} px; it looks as if it is of another clip"
        )


def _cheapest(costs: Array, present: Array) -> Array:
    """Which track (F,) is the person in each frame, -1 = none: the path of least cost through costs (P, F)."""
    known = np.isfinite(costs)
    # In a frame in which a track has no position, its median distance is used.
    usual = [np.median(row[k]) if k.any() else _NOBODY for row, k in zip(costs, known, strict=True)]
    step = np.where(known, costs, np.where(present, np.array(usual)[:, None], np.inf))
    # A frame without any known distance, such as one without keypoints, is decided by the frames around it.
    blind = ~known.any(0)
    usable = present & (blind | (step <= _NOBODY))
    step = np.where(blind, 0.0, np.minimum(step, _NOBODY))

    total, came_from = step[:, 0], []
    for frame in range(1, costs.shape[1]):
        best = int(total.argmin())
        change = total[best] + _CHANGE < total
        came_from.append(np.where(change, best, np.arange(len(total))))
        total = np.minimum(total, total[best] + _CHANGE) + step[:, frame]
    path = [int(total.argmin())]
    for previous in reversed(came_from):
        path.append(int(previous[path[-1]]))
    path = np.array(path[::-1])
    return np.where(usable[path, np.arange(len(path))], path, -1)
