"""Where a film cuts from one shot to another.

The classical way: pictures made small are compared with those before, and a cut is a difference that stands alone, far
above those around it (Yeo and Liu, Rapid scene analysis on compressed video, 1995). What makes pictures differ within a
shot is taken out first:

- light: pictures are compared by correlation, which neither brightness nor contrast changes;
- pans and shaking: the correlation is the best of all shifts by up to a quarter of the picture;
- flashes, and somebody who darts past the lens: soon after the change a picture is as before;
- fast pans and zooms: the differences before or after are large, too;
- pictures that are shown two or three times, as films brought to another frame rate have them: they count once.

A picture that mixes the last of one shot with the first of the next, as changes of the frame rate leave them, belongs to
the former. Dissolves are no cuts, nor are small jumps in time before the same view.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Generic, TypeVar

import numpy as np
from scipy import fft

Array = np.ndarray
Item = TypeVar("Item")

_SIDE = 48  # of small pictures, pixels
_SAMPLES = 4  # along each side of such a pixel
_SHIFT = _SIDE // 4
_NOISE = 6.0  # levels by which pixels may differ and mean nothing
# Differences are 1 minus correlation. Of other views they are 0.4 and more, of the same stadium by the same camera on other
# days 0.06 to 0.14; from frame to frame of one shot 0.06 at the most, where somebody walks up to the camera, seldom 0.01.
_LEAST = 0.07
_ALONE = 4.0  # times the usual difference on either side
_BESIDE = 2.0  # times the differences next to it
# Of almost the same view the change must be above all others around.
_LEAST_OF_SAME = 0.045
_ABOVE_ALL = 5.0
_EXPLAINED = 0.6  # share of a change that is left, below which a shift explains it
_REACH = 8  # frames on either side that are looked at
_BACK = 3.0  # a picture that differs so many times less from one before the change is as before
_MIXED = 4.0  # a picture that differs so many times less from a mixture is one
# Pictures shown again differ by less than 0.0001 once compressed; the least of a walker before the sea by 0.0013.
_REPEATED = 3e-4
_REPEATS = 2  # in a row; what stands longer is a still scene


@dataclasses.dataclass(eq=False)
class _Shown(Generic[Item]):
    """A small picture, how it differs from the one before, and how often it is shown. held: what comes with it and the
    picture as it was, each time."""

    small: Array
    change: float
    held: list[tuple[Item, Array]]
    times: int = 1


def small(picture: Array) -> Array:
    """What is compared of a picture, RGB uint8 (H, W, 3): float32 (48, 48, 3), of any shape of picture."""
    places = np.arange(_SIDE * _SAMPLES) + 0.5
    rows, columns = ((places * count / len(places)).astype(int) for count in picture.shape[:2])
    sampled = picture.reshape(-1, 3).take(rows[:, None] * picture.shape[1] + columns, axis=0)
    blocks = sampled.reshape(_SIDE, _SAMPLES, _SIDE, _SAMPLES, 3)
    return blocks.sum(3, dtype=np.uint16).sum(1, dtype=np.uint16).astype(np.float32) / _SAMPLES**2


def marked(pictures: Iterable[tuple[Item, Array]]) -> Iterator[tuple[Item, Array, bool]]:
    """Passes pictures, RGB uint8 (H, W, 3), and what comes with each, on in order, with whether a shot begins there.

    The first picture begins one. It runs some frames ahead of what it passes on.
    """
    window: deque[_Shown[Item]] = deque()
    place, repeats = 0, 0  # in the window, of the picture that is next to be passed on; in a row, of the last one

    def passed_on() -> Iterator[tuple[Item, Array, bool]]:
        begins = not np.isfinite(window[place].change) or _cut(list(window), place)
        for item, picture in window[place].held:
            yield item, picture, begins
            begins = False
        # Only its small picture is looked at from here on.
        window[place].held = []

    for item, picture in pictures:
        now = small(picture)
        # Before the first picture is nothing at all.
        change = difference(window[-1].small, now) if window else np.inf
        repeats = repeats + 1 if change < _REPEATED else 0
        if 0 < repeats <= _REPEATS:
            window[-1].held.append((item, picture))
            window[-1].times += 1
            continue
        window.append(_Shown(now, change, [(item, picture)]))
        if len(window) - place > _REACH:
            yield from passed_on()
            place += 1
        if place > _REACH + 2:
            window.popleft()
            place -= 1
    while place < len(window):
        yield from passed_on()
        place += 1


def difference(before: Array, after: Array) -> float:
    """1 minus the correlation of two small pictures: 0 = the same; at the best shift where one explains them."""
    plain = 1 - float(_correlation(_moments(before, after)))
    # Most pictures need no more than this.
    if plain <= _LEAST_OF_SAME:
        return plain
    shifted = 1 - _correlation(_shifted_moments(before, after))
    best = float(shifted.min())
    return min(plain, best) if best < _EXPLAINED * shifted[_SHIFT, _SHIFT] else plain


def _cut(shown: Sequence[_Shown[Item]], now: int) -> bool:
    """Whether a shot begins at a picture.

    Args:
      shown: the pictures around it. now: its index, at least 1.
    """
    smalls, differences = [each.small for each in shown], [each.change for each in shown]
    ends = now + 1 == len(shown)
    if (ends and shown[now].times == 1) or (not ends and _mixed(smalls[now - 1 : now + 2], differences[now : now + 2])):
        return False
    for last in (now - 1, now - 2):
        # A single picture is no shot: often a black one, from which the film fades in.
        alone = last < 1 and shown[0].times == 1
        if (
            last < 0
            or alone
            or (last == now - 2 and not _mixed(smalls[last : now + 1], differences[last + 1 : now + 1]))
        ):
            continue
        change = differences[now] if last == now - 1 else difference(smalls[last], smalls[now])
        before = list(differences[max(1, last - _REACH + 1) : last + 1])
        after = list(differences[now + 1 : now + _REACH + 1])
        usual = max(float(np.median(side)) if side else 0.0 for side in (before, after))
        beside = max(before[-1:] + after[:1], default=0.0)
        stands_out = change > max(_LEAST, _ALONE * usual, _BESIDE * beside)
        above_all = change > max(_LEAST_OF_SAME, _ABOVE_ALL * max(before + after, default=0.0))
        if (stands_out or above_all) and not _returns(smalls, last, now, change / _BACK):
            return True
    return False


def _mixed(three: Sequence[Array], differences: Sequence[float]) -> bool:
    """Whether the middle one of three small pictures is a mixture of the others, and unlike both of them."""
    before, middle, after = three
    if min(differences) <= _LEAST:
        return False
    apart = (before - after).ravel()
    share = np.clip((middle - after).ravel() @ apart / max(float(apart @ apart), 1e-9), 0, 1)
    mixture = share * before + (1 - share) * after
    return 1 - float(_correlation(_moments(mixture, middle))) < min(differences) / _MIXED


def _returns(smalls: Sequence[Array], last: int, now: int, alike: float) -> bool:
    """Whether what is seen a little later is as before, or what is seen now was a little earlier."""
    later = smalls[now + 1 : now + _REACH + 1]
    earlier = smalls[max(0, last - _REACH) : last]
    return any(difference(smalls[last], other) < alike for other in later) or any(
        difference(other, smalls[now]) < alike for other in earlier
    )


def _correlation(moments: tuple[Array, Array, Array]) -> Array:
    """Of the covariance and the two variances, each the sum of the colours'; noise alone correlates with anything."""
    covariance, *variances = moments
    noise = 3 * _NOISE**2
    of_each = [np.maximum(variance, 0) + noise for variance in variances]
    return (covariance + noise) / np.sqrt(of_each[0] * of_each[1])


def _moments(a: Array, b: Array) -> tuple[Array, Array, Array]:
    """Covariance and variances () of small pictures."""
    a, b = a - a.mean((0, 1)), b - b.mean((0, 1))
    covariance, *variances = (np.asarray((x * y).sum() / _SIDE**2) for x, y in ((a, b), (a, a), (b, b)))
    return covariance, variances[0], variances[1]


def _shifted_moments(a: Array, b: Array) -> tuple[Array, Array, Array]:
    """The same (D, D) of the parts that small pictures share, for all shifts (Padfield, Masked FFT registration, 2010).

    They are blurred a little, since shifts are by whole pixels.
    """
    shape = (2 * _SIDE, 2 * _SIDE)
    shifts = np.arange(-_SHIFT, _SHIFT + 1)

    def forward(values: Array) -> Array:
        return np.asarray(fft.rfft2(values, shape, axes=(-2, -1)))

    def back(spectrum: Array) -> Array:
        return np.asarray(fft.irfft2(spectrum, shape, axes=(-2, -1)))[..., shifts[:, None], shifts]

    everywhere = forward(np.ones((_SIDE, _SIDE)))
    middle = (a.mean((0, 1)) + b.mean((0, 1))) / 2  # keeps sums small
    a, b = (np.moveaxis(_blurred(each - middle), -1, 0).astype(float) for each in (a, b))
    of_a, of_b = forward(a), np.conj(forward(b))
    count = np.rint(back(everywhere * np.conj(everywhere)))
    mean_a, mean_b = back(of_a * np.conj(everywhere)) / count, back(everywhere * of_b) / count
    product = back((of_a * of_b).sum(0)) / count
    square_a = back(forward((a**2).sum(0)) * np.conj(everywhere)) / count
    square_b = back(everywhere * np.conj(forward((b**2).sum(0)))) / count
    return product - (mean_a * mean_b).sum(0), square_a - (mean_a**2).sum(0), square_b - (mean_b**2).sum(0)


def _blurred(values: Array) -> Array:
    """Each of (H, W, 3) averaged with those beside it, above and below, half as much."""
    for axis in (0, 1):
        padded = np.pad(values, [(1, 1) if axis == each else (0, 0) for each in range(3)], mode="edge")
        before, after = (np.take(padded, np.arange(values.shape[axis]) + shift, axis) for shift in (0, 2))
        values = values / 2 + (before + after) / 4
    return values
