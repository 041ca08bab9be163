"""How well a fit synchronises clips, by their true motion: how far apart people are at what it holds to be one moment.

Two clips of one action are at the same moment where their phases are equal. What they truly do then differs because people
do, and because the phases are wrong. The least distance that any warp of time leaves (dynamic time
warping, Sakoe and Chiba 1978, with free ends) tells the two apart.
"""

import numpy as np

from experiments.data.dataset import Dataset
from experiments.evaluation import expected_error
from experiments.results.fitted_motion import FittedMotion

Array = np.ndarray
_LEAST_FRAMES = 5


def of(dataset: Dataset, fitted: FittedMotion) -> dict[str, float]:
    """Means over ordered pairs of clips, of different takes and of one hand as the fit says, millimetres; {} without such.

    `synchrony_mm`: the mean distance of true joints, each about its own root in its own axes, of a clip from the other's at
    the same phase. `synchrony_least_mm`: the same along the best warp of time. Frames whose phase the other clip does not
    show do not count.
    """
    truth = dataset.truth
    if truth is None:
        return {}
    counts = (np.asarray(dataset.clips.frame_mask) > 0).sum(1)
    phases = [np.asarray(own[:count], float) for own, count in zip(fitted.prediction.phase, counts, strict=True)]
    hands = np.asarray(fitted.params.mirrored) > 0.5
    # Clips of one take show the same moments by what they are.
    takes = np.arange(len(counts)) if dataset.clips.take is None else np.asarray(dataset.clips.take)
    shapes = [own[:count] for own, count in zip(expected_error.true_joints(truth), counts, strict=True)]
    found = [
        both
        for i in range(len(counts))
        for j in range(len(counts))
        if i != j and takes[i] != takes[j] and hands[i] == hands[j]
        if (both := _pair(shapes[i], phases[i], shapes[j], phases[j]))
    ]
    if not found:
        return {}
    at_phase, least = 1000 * np.mean(found, axis=0)
    return {"synchrony_mm": float(at_phase), "synchrony_least_mm": float(least)}


def _pair(one: Array, phase: Array, other: Array, other_phase: Array) -> tuple[float, float] | None:
    """Distances of a clip (T, 15, 3) from another one (S, 15, 3) at equal phases (T,), (S,), and along the best warp."""
    seen = (phase >= other_phase[0]) & (phase <= other_phase[-1])
    if seen.sum() < _LEAST_FRAMES:
        return None
    apart = np.linalg.norm(one[seen][:, None] - other[None], axis=-1).mean(-1)
    nearest = np.round(np.interp(phase[seen], other_phase, np.arange(len(other)))).astype(int)
    return float(apart[np.arange(len(apart)), nearest].mean()), warped(apart) / len(apart)


def warped(cost: Array) -> float:
    """The least sum of costs (T, S), one of each row, whose columns never fall."""
    total = cost[0]
    for row in cost[1:]:
        total = np.minimum.accumulate(total) + row
    return float(total.min())
