"""Left and right that the fit reads the other way round than they were given (`nemo_jax.exchange`): how often, in words, and
what follows for the scores."""

from collections.abc import Mapping

import numpy as np

from body_models import joints as jn
from experiments.data.dataset import Dataset
from experiments.data.exchanged import as_read
from experiments.data.visible import visible
from experiments.results.fitted_motion import FittedMotion
from nemo_jax import exchange

Array = np.ndarray

KEY = "exchanged"  # of `metrics.json`: by the clip's name, the share of its frames for each group of joints
AS_READ = "pck_0.05/as_read"  # of a clip's scores
_TOLD = 0.05  # share of a clip's frames from which on a sentence tells of it


def as_metrics(dataset: Dataset, exchanged: Array) -> dict[str, dict[str, float]]:
    """The share of the frames of each clip that is read the other way round somewhere, by group (`exchange.GROUPS`)."""
    found = exchange.shares(exchanged, dataset.clips)
    return {
        name: {group: float(share) for group, share in zip(exchange.GROUPS, row, strict=True)}
        for name, row in zip(dataset.names, found, strict=True)
        if row.any()
    }


def sentences(found: Mapping[str, Mapping[str, float]]) -> list[str]:
    """A sentence for each clip with many such frames, of what `as_metrics` returns."""
    return [
        f"Left and right of {name} are exchanged by the detector in {told} of its frames; the fit reads them the other way "
        "round."
        for name, each in found.items()
        if (told := " and ".join(f"{share:.0%} ({group})" for group, share in each.items() if share >= _TOLD))
    ]


def with_scores(
    each: Mapping[str, Mapping[str, float]],
    dataset: Dataset,
    fitted: FittedMotion,
    exchanged: Array,
    hidden: Array | None,
    threshold: float,
) -> dict[str, Mapping[str, float]]:
    """The scores of each clip, with `AS_READ` where it has exchanged frames: PCK 0.05 against the keypoints as the fit reads
    them, where `pck_0.05/fit` is against those that were given.

    Args:
      each: scores by name. dataset: the clips as given. fitted: their fit. exchanged (N, T, 2).
      hidden (N, T, K): keypoints that the fit did not see, which do not count; None = it saw all.
      threshold: a keypoint counts above this confidence.
    """
    changed = exchanged.any((1, 2))
    # Where 2D errors are measured against other keypoints, names of these have nothing to do with it.
    if dataset.reference_2d is not None or not changed.any():
        return dict(each)
    read, flag = as_read(dataset, exchanged), np.asarray(exchange.of_keypoints(exchanged))
    seen = visible(read, threshold)
    if hidden is not None:
        seen &= ~np.where(flag, hidden[..., jn.MIRROR_BODY_25], hidden)
    off = np.linalg.norm(fitted.scored_2d - np.asarray(read.clips.keypoints), axis=-1)
    near = off <= 0.05 * np.asarray(dataset.box_size)[..., None]
    scored = np.asarray(changed & seen.any((1, 2)))
    more = lambda clip: {AS_READ: float(near[clip][seen[clip]].mean())} if scored[clip] else {}
    return {name: {**each[name], **more(clip)} for clip, name in enumerate(dataset.names)}
