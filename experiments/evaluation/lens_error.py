"""How wrong the focal lengths may be that a fit has guessed.

The error of log(focal length) is taken as normal, with one standard deviation for all clips, `SPREAD`. It was measured on
recorded motion seen through lenses that fits did not know (`python -m experiments.benchmarks.lens_spread`). Nothing that a
fit shows of itself tells good guesses from bad ones: a body that bends a little explains the perspective of another lens as
well, so that the fit stays where lenses mostly are, and the curvature of its loss says much less than the truth is off.

An interval takes the lens for one of the kind that the fit chose, see `nemo_jax.lens`: a television lens taken for a phone's
lies outside.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.base.text import listed
from experiments.data.dataset import Dataset
from experiments.results.fitted_motion import FittedMotion
from nemo_jax.config import FitConfig
from nemo_jax.lens import PHONE, TELEVISION

Array = np.ndarray

KEY = "focal_length"  # of `metrics.json`: by the clip's name
# 72 clips of 14 actions, lenses of 0.45 to 1.18 image diagonals (20 to 51 mm on a full frame). Each action by the spread of
# all others, 64% of the clips lie within one standard deviation, 99% within 1.96.
SPREAD = 0.249


@dataclasses.dataclass(frozen=True)
class Lenses:
    """The focal lengths of N clips. focal (N,): pixels. log_sd (N,): standard deviation of their logarithms; NaN where the
    focal length was given."""

    focal: Array
    log_sd: Array

    @property
    def intervals(self) -> Array:
        """Pixels (N, 2) between which the focal length lies for two clips of three; NaN where it was given."""
        return self.focal[:, None] * np.exp(self.log_sd[:, None] * np.array([-1.0, 1.0]))


def of_clips(dataset: Dataset, fitted: FittedMotion, config: FitConfig) -> Lenses:
    """The focal lengths of all clips and how uncertain they are.

    Args:
      dataset: N clips, as read. fitted: their fit. config: of the fit.
    """
    focal = np.asarray(fitted.focal, float)
    diagonal = np.linalg.norm(np.asarray(dataset.clips.image_size, float), axis=-1)
    # Television lenses differ more from each other than phones' do.
    long = np.log(focal / diagonal) > (np.log(PHONE[1]) + np.log(TELEVISION[1])) / 2
    sd = np.where(long, SPREAD * TELEVISION[2] / PHONE[2], SPREAD)
    return Lenses(focal, np.where(guessed(dataset, config), sd, np.nan))


def guessed(dataset: Dataset, config: FitConfig) -> Array:
    """Which clips (N,) did not tell their focal length, so that the fit guessed it."""
    unknown = np.isnan(np.asarray(dataset.clips.focal_length, float))
    return unknown & (float(config.focal_fixed) <= 0)


def as_metrics(names: Sequence[str], lenses: Lenses) -> dict[str, dict[str, Any]]:
    """By the name of each clip whose lens was guessed: pixels, the deviation of the logarithm, and the interval."""
    return {
        name: {"px": float(focal), "log_sd": float(sd), "interval_px": interval.tolist()}
        for name, focal, sd, interval in zip(names, lenses.focal, lenses.log_sd, lenses.intervals, strict=True)
        if np.isfinite(sd)
    }


def shown(lenses: Lenses, clip: int) -> str:
    """A clip's focal length for a table, and its interval if it was guessed."""
    low, high = lenses.intervals[clip]
    return f"{lenses.focal[clip]:.0f}" + (f" ({low:.0f} to {high:.0f})" if np.isfinite(low) else "")


def described(found: Mapping[str, Mapping[str, Any]]) -> str:
    """A sentence on the lenses of all clips whose focal length was guessed, of which there is one at least."""
    focal = [round(each["px"]) for each in found.values()]
    spread = float(np.mean([each["log_sd"] for each in found.values()]))
    pixels = f"{min(focal)}" if min(focal) == max(focal) else f"{min(focal)} to {max(focal)}"
    return (
        f"Lens guessed in {listed(list(found))}: {pixels} pixels, give or take a factor of {np.exp(spread):.2f} for two "
        "clips of three, and distances with it; a television lens is not recognised (--focal_length tells it)"
    )
