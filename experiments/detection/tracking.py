"""Which of the people that a detector sees in each frame is the one to fit.

Everybody is followed through the film (`identities`). Then one person is chosen: by default the one that is largest for
longest, which no passing ghost is. Of several films the default is `auto`: where the largest of a few films does something
else than those of the others, these follow another one (`experiments.loaders.film_agreement`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NoReturn

import numpy as np

from experiments.base.errors import UserError
from experiments.data import per_clip
from experiments.detection import identities, tracklets
from experiments.detection.identities import Somebody

Array = np.ndarray

AUTO, LARGEST, ALL = "auto", "largest", "all"
GHOST_SHARE = 0.05  # a track in a smaller share of the frames is nobody, where people are counted
_PIXEL = re.compile(r"(\d+(?:\.\d+)?)\s*,\s*(\d+(?:\.\d+)?)")


def _check_choice(choice: str, flag: str) -> None:
    if choice in (AUTO, LARGEST, ALL) or _PIXEL.fullmatch(choice) or (choice.isdecimal() and int(choice) > 0):
        return
    raise UserError(
        f"--person={flag} is not understood at {choice!r}; expected {AUTO}, {LARGEST}, {ALL}, a number counted from the "
        "left such as 2, a pixel such as 310,140, or one of these for each clip as name=choice"
    )


# One choice, as `follow` takes it; or `all`, everybody in a film who does the action; or `name=choice` for single clips,
# separated by commas, or both, the one for all others first: `2`, `clip a=2,clip b=310,140`, `1,clip b=largest`.
PERSON = per_clip.Choice("--person", AUTO, _check_choice)


def follow(people: Sequence[Array], person: str = LARGEST, clothes: Sequence[Array] | None = None) -> Array:
    """Index (F,) of the followed person in each of the F frames; -1 = not seen.

    The order of the people within a frame does not matter.

    Args:
      people: per frame (P_t, K, 3): x, y in pixels and confidence; a keypoint with confidence 0, or that is not finite, is
        not seen.
      person: whom to follow: `largest`, or `auto`, which is the same here; `2`, the second from the left in the first frame
        with so many people; or `310,140`, the one at this pixel in the first frame where somebody is there.
      clothes: per frame (P_t, 2, B), what they wear, as `appearance.clothes` has it; None = unknown.

    Raises:
      UserError: the choice is none of these, or fits nobody although people are seen; or it is everybody.
    """
    somebody = choose(identities.find(people, clothes), people, person)
    return frames_of(somebody, len(people))


def frames_of(somebody: Somebody | None, count: int) -> Array:
    """Index (F,) of somebody in each of so many frames; -1 = not seen."""
    which = np.full(count, -1, int)
    for frame, index in (somebody.members if somebody else {}).items():
        which[frame] = index
    return which


def choose(everybody: Sequence[Somebody], people: Sequence[Array], person: str) -> Somebody | None:
    """The one of them that `person` says, as in `follow`; None where nobody is. Raises UserError, as `follow`."""
    _check_choice(person, person)
    if person == ALL:
        _refuse_all(person)
    return _choose(list(everybody), people, person) if everybody else None


def _choose(tracks: list[Somebody], people: Sequence[Array], person: str) -> Somebody:
    if person in (AUTO, LARGEST):
        return max(tracks, key=lambda track: track.weight)
    if pixel := _PIXEL.fullmatch(person):
        return _at_pixel(tracks, people, np.array([float(pixel[1]), float(pixel[2])]), person)
    number = int(person)
    lasting = [track for track in tracks if len(track.members) >= GHOST_SHARE * len(people)] or tracks
    most = 0
    for frame, detected in enumerate(people):
        present = [track for track in lasting if frame in track.members]
        most = max(most, len(present))
        if len(present) >= number:
            points = tracklets.split(detected)[0]
            return sorted(present, key=lambda track: np.nanmean(points[track.members[frame], :, 0]))[number - 1]
    raise UserError(
        f"--person={person} asks for the {number}. person from the left, but no frame shows more than {most}; give a number "
        f"from 1 to {most}, or {LARGEST}"
    )


def _at_pixel(tracks: list[Somebody], people: Sequence[Array], pixel: Array, person: str) -> Somebody:
    for frame, detected in enumerate(people):
        points = tracklets.split(detected)[0]
        distances = []
        for track in (t for t in tracks if frame in t.members):
            own = points[track.members[frame]]
            if (np.nanmin(own, 0) <= pixel).all() and (pixel <= np.nanmax(own, 0)).all():
                distances.append((float(np.nanmin(np.linalg.norm(own - pixel, axis=-1))), track))
        if distances:
            return min(distances, key=lambda pair: pair[0])[1]
    raise UserError(
        f"--person={person} is a pixel where nobody is in any frame; give x,y inside the person, or {LARGEST}"
    )


def check_names(flag: str, instance_names: Iterable[str], films: bool = False) -> None:
    """Raises UserError: `--person=` names a clip that is not among these, or is no choice at all, or asks for everybody
    where there are no films in which people are found.
    """
    if not films and asks_for_all(flag):
        _refuse_all(flag)
    PERSON.check_names(flag, instance_names)


def asks_for_all(flag: str) -> bool:
    """Whether `--person=` asks for everybody in some film. Raises UserError: it is no choice at all."""
    default, single = PERSON.parse(flag)
    return ALL in (default, *single.values())


def _refuse_all(flag: str) -> NoReturn:
    raise UserError(
        f"--person={flag} asks for everybody, who is found in films only; keypoints come from files here, so name one"
    )
