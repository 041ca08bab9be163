"""Whether people stand the right way up in a film's pictures, or lie across them as where it is stored sideways.

People do lie, and stand on their hands; so this is for a note, and changes nothing. Who bends over lies by the trunk, but
not from the feet on; who sits on the ground lies from the feet on, but not by the trunk.
"""

from __future__ import annotations

import numpy as np

from experiments.detection.landmarks import LANDMARKS

Array = np.ndarray

_WITHIN = np.cos(np.radians(45))  # how far trunk and whole body may be from a side of the picture
# Share of the frames from which on a film may be stored so. In sixteen films of people who pitch, bend, jump and walk it is
# at most 0.33, in one that is stored sideways 1.
_MOST = 0.6
# Where heads point, x right and y down, in a picture that is to be turned so many degrees clockwise.
_HEADS = {90: (-1, 0), 180: (0, 1), 270: (1, 0)}


def needed(landmarks: Array) -> tuple[int, float]:
    """How many degrees clockwise pictures are to be turned so that a person stands upright in most, and the share of the
    frames that say so; 0 and 0 where the pictures seem to be right.

    Args:
      landmarks (F, 33, 4): of somebody, or several, in the frames in which they are seen: x, y in pixels, and more.
    """
    if not len(landmarks):
        return 0, 0.0
    ankles, hips, shoulders = (_middle(landmarks, part) for part in ("ankle", "hip", "shoulder"))
    trunk, whole = _direction(hips, shoulders), _direction(ankles, shoulders)
    shares = {
        turn: float(((trunk @ head > _WITHIN) & (whole @ head > _WITHIN)).mean()) for turn, head in _HEADS.items()
    }
    turn = max(shares, key=lambda turn: shares[turn])
    return (turn, shares[turn]) if shares[turn] >= _MOST else (0, 0.0)


def note(path: str, name: str, landmarks: Array, turned: int) -> str:
    """A sentence on how a film may have to be turned; empty where people stand upright in it.

    Args:
      path: of the film. name: of it. landmarks: as those of `needed`. turned: degrees by which it is turned already.
    """
    turn, share = needed(landmarks)
    if not turn:
        return ""
    lies, stored = ("stands on the head", "upside down") if turn == 180 else ("lies across the picture", "sideways")
    return (
        f"In {path} the person {lies} in {share:.0%} of the frames; if the film is stored {stored}, "
        f"--turn='{name}={(turned + turn) % 360}' turns it."
    )


def _middle(landmarks: Array, part: str) -> Array:
    """The middle (F, 2) between a left and a right landmark, pixels."""
    pair = [LANDMARKS.index(f"{side}_{part}") for side in ("left", "right")]
    return landmarks[:, pair, :2].astype(float).mean(1)


def _direction(start: Array, end: Array) -> Array:
    """Directions (F, 2) of length 1; 0 where the points are one."""
    length = np.linalg.norm(end - start, axis=-1, keepdims=True)
    return (end - start) / np.where(length > 0, length, 1.0)
