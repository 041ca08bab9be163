"""The paper's resampling: every clip brought to the length of the shortest one."""

import dataclasses

import numpy as np

from experiments.data.dataset import Dataset


def shortest(dataset: Dataset) -> Dataset:
    """The dataset with F frames in every clip, F one less than the shortest has; frame f of a clip of S frames is its frame
    floor(f / F * S), and its frame rate falls to match.
    """
    sources = dataset.clips.frame_mask.sum(-1).astype(int)
    frames = max(int(sources.min()) - 1, 1)
    chosen = np.floor(np.arange(frames) / frames * sources[:, None]).astype(int)
    rows = np.arange(len(sources))[:, None]

    def pick(array: np.ndarray) -> np.ndarray:
        return np.asarray(array)[rows, chosen]

    clips = dataset.clips
    picked = {
        name: pick(getattr(clips, name)) for name in ("keypoints", "confidence", "frame_mask", "init_pose", "init_mask")
    }
    clips = dataclasses.replace(clips, **picked, fps=(clips.fps * frames / sources).astype(np.float32))
    truth = dataset.truth
    if truth is not None:
        timed = {name: pick(getattr(truth, name)) for name in ("pose", "translation", "joints")}
        truth = dataclasses.replace(truth, **timed)
    paths = dataset.frame_paths
    if paths is not None:
        paths = tuple(
            None if own is None else tuple(own[frame] for frame in which)
            for own, which in zip(paths, chosen, strict=True)
        )
    videos = dataset.videos
    if videos is not None:
        videos = tuple(
            None if own is None else dataclasses.replace(own, frames=own.frames[which])
            for own, which in zip(videos, chosen, strict=True)
        )
    return dataclasses.replace(
        dataset,
        clips=clips,
        truth=truth,
        frame_paths=paths,
        videos=videos,
        box_size=pick(dataset.box_size),
        other_poses={name: (pick(pose), pick(mask)) for name, (pose, mask) in dataset.other_poses.items()},
        reference_2d=None if dataset.reference_2d is None else tuple(map(pick, dataset.reference_2d)),  # pyright: ignore
        source_frames=sources,
    )
