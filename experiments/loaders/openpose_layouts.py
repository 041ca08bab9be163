"""In which order the keypoints of a person stand: layouts that OpenPose and others write, and BODY_25 of each.

Sources: OpenPose 1.7 (BODY_25, COCO of 18 points), its experimental models (BODY_25B, BODY_135), COCO's annotations (17
points), Halpe-FullBody (26 and 136 points) and COCO-WholeBody (133 points), as RTMLib and Pose2Sim write them.

What BODY_25 has and a layout has not is not seen. The upper neck of BODY_25B and BODY_135 is not the neck of BODY_25,
which is the middle of the shoulders.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable

import numpy as np

from body_models import joints as jn

Array = np.ndarray
AUTO = "auto"

_BOTH = [
    f"{side}_{part}"
    for part in ("eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle")
    for side in ("left", "right")
]
_COCO_17 = ["nose", *_BOTH]
_SIDES = ("left", "right")
_TOES = ("big_toe", "small_toe", "heel")
_FEET_BY_SIDE = [f"{side}_{part}" for side in _SIDES for part in _TOES]
_FEET_BY_PART = [f"{side}_{part}" for part in _TOES for side in _SIDES]
_COCO_18 = [n for n in jn.BODY_25_NAMES[:19] if n != "mid_hip"]
_BODY_25B = [*_COCO_17, "upper_neck", "top_of_head", *_FEET_BY_SIDE]
_HALPE_26 = [*_COCO_17, "top_of_head", "neck", "mid_hip", *_FEET_BY_PART]


@dataclasses.dataclass(frozen=True)
class Layout:
    """A layout of `points` points, the first of which have these names; those behind are of hands and face."""

    points: int
    names: tuple[str, ...]

    @functools.cached_property
    def _places(self) -> Array:
        """Rows (2, joints): joints of BODY_25, ascending, and where they stand here."""
        own = [(jn.BODY_25_NAMES.index(name), at) for at, name in enumerate(self.names) if name in jn.BODY_25_NAMES]
        return np.array(sorted(own)).T

    @property
    def body_25(self) -> tuple[int, ...]:
        """The joints of BODY_25 that the layout has, ascending."""
        return tuple(int(k) for k in self._places[0])

    def to_body_25(self, people: Array) -> Array:
        """People (..., points, 3) as (..., 25, 3), with zeros for joints that the layout has not."""
        found = np.zeros((*people.shape[:-2], jn.NUM_KEYPOINTS, 3))
        found[..., self._places[0], :] = people[..., self._places[1], :]
        return found


# Of layouts with as many points the first is taken, unless the bodies say otherwise, see `told_apart`.
LAYOUTS = {
    "body_25": Layout(25, tuple(jn.BODY_25_NAMES)),
    "body_25b": Layout(25, tuple(_BODY_25B)),
    "body_135": Layout(135, tuple(_BODY_25B)),
    "coco_17": Layout(17, tuple(_COCO_17)),
    "coco_18": Layout(18, tuple(_COCO_18)),
    "coco_133": Layout(133, (*_COCO_17, *_FEET_BY_SIDE)),
    "halpe_26": Layout(26, tuple(_HALPE_26)),
    "halpe_136": Layout(136, tuple(_HALPE_26)),
}
NAMES = (AUTO, *LAYOUTS)
# Others, by their number of points, which are only named.
_UNREAD = {15: "OpenPose's MPI", 16: "MPII", 21: "a hand", 33: "BlazePose", 70: "a face"}

# Lengths of a grown person's limbs, about, in metres.
_LIMBS = {
    ("nose", "eye"): 0.05, ("eye", "ear"): 0.09, ("shoulder", "elbow"): 0.28, ("elbow", "wrist"): 0.25,
    ("shoulder", "hip"): 0.5, ("hip", "knee"): 0.42, ("knee", "ankle"): 0.41, ("ankle", "heel"): 0.07,
    ("ankle", "big_toe"): 0.18, ("big_toe", "small_toe"): 0.07,
}  # fmt: skip
_TO_THE_MIDDLE = {("neck", "shoulder"): 0.17, ("mid_hip", "hip"): 0.1, ("neck", "nose"): 0.22, ("neck", "mid_hip"): 0.5}
_BETWEEN_SIDES = {"eye": 0.06, "shoulder": 0.35, "hip": 0.2}
# As many limbs must be seen, and as much better must another layout explain their lengths, before it is taken for the first.
_FEWEST_LIMBS = 6
_MARGIN = 0.05
# A limb's length counts in metres, for long limbs tell legs from arms, and by its logarithm, for short ones tell faces.
_LOG_WEIGHT = 0.4
_MOST_LOG = 2.0  # a limb that is wrong is not the more wrong the longer it is
_TINY = 0.01  # metres, about the noise of a keypoint


def expected(layout: str) -> str:
    """How many numbers a person has, for a sentence."""
    if layout != AUTO:
        return f"{3 * LAYOUTS[layout].points} ({layout}, by --openpose_layout)"
    return "those of " + ", ".join(f"{name} ({3 * one.points})" for name, one in LAYOUTS.items())


def found(numbers: int) -> str:
    """What so many numbers of a person are, for a sentence."""
    points, rest = divmod(numbers, 3)
    known = [*of_length(points, AUTO), *filter(None, [_UNREAD.get(points)])]
    of_points = "" if rest else f" ({points} keypoints{', as of ' + ' and '.join(known) if known else ''})"
    return f"{numbers} numbers{of_points}"


def of_length(points: int, layout: str) -> list[str]:
    """The layouts that people of so many points can have, given `--openpose_layout`."""
    return [name for name in (LAYOUTS if layout == AUTO else (layout,)) if LAYOUTS[name].points == points]


def told_apart(people: Iterable[Array], candidates: list[str]) -> str:
    """The layout of a clip: the one under which the lengths of the limbs are those of a body.

    Args:
      people: each (points, 3), everybody in all frames.
      candidates: layouts of as many points. The first is taken where another is not clearly better.
    """
    if len(candidates) == 1:
        return candidates[0]
    everybody = np.stack(list(people))
    likeness = {name: _likeness(LAYOUTS[name].to_body_25(everybody)) for name in candidates}
    best = max(candidates, key=lambda name: likeness[name])
    return best if likeness[best] > likeness[candidates[0]] + _MARGIN else candidates[0]


def _likeness(people: Array) -> float:
    """How well the typical lengths of limbs of people (M, 25, 3) in the image are those of a body, at any scale: at most 1,
    and 0 where too few are seen."""
    ends, lengths = _limbs()
    seen = np.isfinite(people).all(-1) & (people[..., 2] > 0)
    points = np.where(seen[..., None], people[..., :2], np.nan)
    with np.errstate(over="ignore", invalid="ignore"):
        size = np.nanmax(points, 1, initial=-np.inf) - np.nanmin(points, 1, initial=np.inf)
        found = (
            np.linalg.norm(points[:, ends[:, 0]] - points[:, ends[:, 1]], axis=-1)
            / np.linalg.norm(size, axis=-1)[:, None]
        )
    usable = np.isfinite(found)
    known = usable.any(0)
    if known.sum() < _FEWEST_LIMBS:
        return 0.0
    typical = np.array([np.median(column[use]) for column, use in zip(found.T[known], usable.T[known], strict=True)])
    lengths = lengths[known]
    product = np.linalg.norm(typical) * np.linalg.norm(lengths)
    if product == 0:
        return 0.0
    ratio = np.log((typical / np.linalg.norm(typical) * np.linalg.norm(lengths) + _TINY) / (lengths + _TINY))
    apart = np.minimum(np.abs(ratio - np.median(ratio)), _MOST_LOG)
    return float(typical @ lengths / product - _LOG_WEIGHT * apart.mean())


def _limbs() -> tuple[Array, Array]:
    """Joints (L, 2) at the ends of limbs, and their lengths (L,) in metres."""
    sided = {**_LIMBS, **_TO_THE_MIDDLE}
    pairs = {tuple(_of_side(part, side) for part in limb): length for limb, length in sided.items() for side in _SIDES}
    pairs |= {tuple(f"{side}_{part}" for side in _SIDES): length for part, length in _BETWEEN_SIDES.items()}
    ends = np.array([[jn.BODY_25_NAMES.index(name) for name in pair] for pair in pairs])
    return ends, np.array(list(pairs.values()))


def _of_side(part: str, side: str) -> str:
    return part if part in jn.BODY_25_NAMES else f"{side}_{part}"
