"""Clips with left and right of their keypoints as a fit reads them (`nemo_jax.exchange`)."""

import dataclasses

import jax
import numpy as np

from experiments.data.dataset import Dataset
from nemo_jax import exchange


def as_read(dataset: Dataset, exchanged: np.ndarray) -> Dataset:
    """The dataset with the keypoints traded where `exchanged` (N, T, 2) is 1; the same one where it is nowhere."""
    if not exchanged.any():
        return dataset
    return dataclasses.replace(dataset, clips=jax.device_get(exchange.swapped(dataset.clips, exchanged)))
