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
    short = dataset.select(frames=chosen)
    fps = (dataset.clips.fps * frames / sources).astype(np.float32)
    return dataclasses.replace(short, clips=dataclasses.replace(short.clips, fps=fps), source_frames=sources)
