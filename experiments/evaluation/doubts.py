"""Clips whose fit is none, each with the reasons: what the terminal, the report and `metrics.json` say of them.

`CHECKS` is a list of functions of one clip, each of which returns a reason or None. Another reason to doubt a fit is another
function in that list. Reasons that are certain make a clip "no fit", others "probably wrong".
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import jax
import numpy as np

from experiments.data.dataset import Dataset
from experiments.data.visible import visible
from experiments.evaluation import exchanged
from experiments.results.fitted_motion import FittedMotion
from nemo_jax.priors import limb_loss, open_limbs

Array = np.ndarray

KEY = "doubts"  # of `metrics.json`: by the clip's name, the sentences about it
_STILL_PX = 0.01  # a detector's keypoints of somebody who stands still move by more
_FEWEST_FRAMES = 5  # of a clip that is called still
_POINT_PX = 2.0  # nobody is that small
_MOST = 0.5  # share of frames or keypoints from which on the clip is judged by them
_FAR_SIDES = 1.0  # sides of the picture; a guess of a hidden joint lies nearer
_LEAST_PCK = 0.05
_BEHIND_PCK = 0.15  # less than the others' median; clips of one action differ by a few hundredths
_LOOKED_AT = 64  # frames of a clip; always as many, so that one program is compiled
# Mean over a clip. Recordings of 30 actions, of two laboratories, have 33 to 97; joints turned by 0.5 rad at random 142.
_MOST_SURPRISE = 125.0
_SHOWN = 5  # clips named on the terminal


@dataclasses.dataclass(frozen=True)
class Evidence:
    """A scored fit.

    dataset: its clips, with left and right as the fit reads them (`data.exchanged`). fitted: the fit. each: the scores of
    each clip by name, as `scores.evaluate` returns them. seen (N, T, K): the keypoints that count, true there.
    """

    dataset: Dataset
    fitted: FittedMotion
    each: Mapping[str, Mapping[str, float]]
    seen: Array

    def points(self, clip: int) -> Array:
        """Keypoints (T, K, 2) of a clip in pixels, NaN where they do not count."""
        return np.where(self.seen[clip, ..., None], np.asarray(self.dataset.clips.keypoints)[clip], np.nan)


@dataclasses.dataclass(frozen=True)
class Reason:
    """Why a clip is doubted. why: a clause. certain: whether the fit says nothing, and is not only likely to be wrong."""

    why: str
    certain: bool = True

    @property
    def verdict(self) -> str:
        return "no fit" if self.certain else "probably wrong"


Check = Callable[[Evidence, int], Reason | None]


def find(
    dataset: Dataset, fitted: FittedMotion, each: Mapping[str, Mapping[str, float]], threshold: float
) -> dict[str, list[Reason]]:
    """The clips that are doubted, in order, and why, what is certain first.

    Args:
      dataset: N clips, with left and right as the fit reads them. fitted: their fit. each: scores of each clip by name.
      threshold: a keypoint counts above this confidence.
    """
    evidence = Evidence(dataset, fitted, each, visible(dataset, threshold))
    found = {}
    for clip, name in enumerate(dataset.names):
        reasons = [reason for check in CHECKS if (reason := check(evidence, clip)) is not None]
        if reasons:
            found[name] = sorted(reasons, key=lambda reason: not reason.certain)
    return found


def as_metrics(found: Mapping[str, Sequence[Reason]]) -> dict[str, list[str]]:
    """A sentence for each reason, by the name of the clip, as `metrics.json` holds them."""
    return {name: [_capital(f"{each.verdict}: {each.why}.") for each in reasons] for name, reasons in found.items()}


def sentences(doubts: Mapping[str, Sequence[str]]) -> list[str]:
    """One sentence for each clip, of what `as_metrics` returns."""
    return [f"{name} is {_joined(said)}." for name, said in doubts.items()]


def shown(doubts: Mapping[str, Sequence[str]]) -> list[str]:
    """The first of these sentences, and how many more there are."""
    every = sentences(doubts)
    more = len(every) - _SHOWN
    return every[:_SHOWN] + (
        [f"{more} more clips are doubted; report.html and metrics.json name them."] if more > 0 else []
    )


def _joined(said: Sequence[str]) -> str:
    """The sentences of a clip in one, in which each verdict stands once."""
    reasons: dict[str, list[str]] = {}
    for sentence in said:
        verdict, _, why = sentence.removesuffix(".").partition(": ")
        reasons.setdefault(f"{verdict[:1].lower()}{verdict[1:]}", []).append(why)
    return "; ".join(f"{verdict}: {', and '.join(each)}" for verdict, each in reasons.items())


def _capital(sentence: str) -> str:
    return f"{sentence[0].upper()}{sentence[1:]}"


def _unseen(evidence: Evidence, clip: int) -> Reason | None:
    if evidence.seen[clip].any():
        return None
    return Reason("none of its keypoints is seen well enough to count")


def _still(evidence: Evidence, clip: int) -> Reason | None:
    points = evidence.points(clip)
    frames = int(evidence.seen[clip].any(-1).sum())
    often = evidence.seen[clip].sum(0) >= _FEWEST_FRAMES
    if not often.any():
        return None
    ranges = np.nanmax(points[:, often], 0) - np.nanmin(points[:, often], 0)
    if ranges.max() > _STILL_PX:
        return None
    return Reason(f"its keypoints are in the same places in all {frames} frames, so there is no motion in them")


def _one_point(evidence: Evidence, clip: int) -> Reason | None:
    points = evidence.points(clip)[evidence.seen[clip].sum(-1) > 1]
    if not len(points):
        return None
    size = np.linalg.norm(np.nanmax(points, 1) - np.nanmin(points, 1), axis=-1)
    share = float(np.mean(size <= _POINT_PX))
    if share < _MOST:
        return None
    return Reason(f"its keypoints all lie at one point in {share:.0%} of its frames")


def _outside(evidence: Evidence, clip: int) -> Reason | None:
    points = evidence.points(clip)[evidence.seen[clip]]
    if not len(points):
        return None
    size = np.asarray(evidence.dataset.clips.image_size)[clip].astype(float)
    beyond = np.maximum(np.maximum(-points, points - size), 0.0) / size
    far = beyond.max(-1) > _FAR_SIDES
    if far.mean() < _MOST:
        return None
    return Reason(
        f"{far.mean():.0%} of its keypoints lie far outside its picture of {size[0]:.0f}x{size[1]:.0f} pixels, by up to "
        f"{beyond.max():.1f} times its size, so they may be of a picture of another size"
    )


def _beside(evidence: Evidence, clip: int) -> Reason | None:
    scores = evidence.each.get(evidence.dataset.names[clip], {})
    key = "pck_0.05/fit"
    if key not in scores or scores[key] > _LEAST_PCK:
        return None
    return Reason(f"{scores[key]:.0%} of its keypoints lie within 0.05 of the person's box of the fitted body")


def _behind(evidence: Evidence, clip: int) -> Reason | None:
    """A clip that is explained far worse than the others has probably ended in a wrong minimum."""
    key, names = "pck_0.05/fit", evidence.dataset.names
    scored = {name: evidence.each[name] for name in names if key in evidence.each.get(name, {})}
    # Keypoints whose left and right the detector has exchanged are judged as the fit reads them.
    found = {name: scores.get(exchanged.AS_READ, scores[key]) for name, scores in scored.items()}
    own = found.pop(names[clip], None)
    if own is None or own <= _LEAST_PCK or not found:
        return None
    usual = float(np.median(list(found.values())))
    if own >= usual - _BEHIND_PCK:
        return None
    return Reason(
        f"{own:.0%} of its keypoints lie within 0.05 of the person's box of the fitted body, and {usual:.0%} of those of "
        "the other clips",
        certain=False,
    )


def _unlikely(evidence: Evidence, clip: int) -> Reason | None:
    """A clip whose body stands as nobody does: a single view can be followed by a crooked body."""
    frames = int((np.asarray(evidence.dataset.clips.frame_mask)[clip] > 0).sum())
    which = np.linspace(0, max(frames - 1, 0), _LOOKED_AT).round().astype(int)
    prediction = evidence.fitted.prediction
    joints, roots = np.asarray(prediction.joints)[clip, which], np.asarray(prediction.rotations)[clip, which, 0]
    surprise = float(np.mean(_surprises(open_limbs(), joints, roots)))
    if surprise < _MOST_SURPRISE:
        return None
    return Reason(
        f"the directions of its limbs are unlike those of recorded people (surprise {surprise:.0f}, where recordings of "
        "thirty actions have 33 to 97)",
        certain=False,
    )


_surprises = jax.jit(jax.vmap(limb_loss, (None, 0, 0)))

CHECKS: tuple[Check, ...] = (_unseen, _still, _one_point, _outside, _beside, _behind, _unlikely)
