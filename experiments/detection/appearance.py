"""What people wear: histograms of the colours of their clothes, by which somebody is known again.

Colours are those of CIE Lab (1976, D65), with coarse steps of lightness, which changes with the light, and finer ones of
colour, in two regions of the body: the trunk, and the legs. Unlike boxes, the regions follow the pose and hold little of
the background.
"""

from __future__ import annotations

import numpy as np

Array = np.ndarray

REGIONS = 2  # trunk, legs
_STEPS = (4, 7, 7)  # of lightness, green to red, blue to yellow
_LOW, _HIGH = np.array([0.0, -60.0, -60.0]), np.array([100.0, 60.0, 60.0])
_STRIDES = np.array([_STEPS[1] * _STEPS[2], _STEPS[2], 1])
_CORNERS = np.array(list(np.ndindex(2, 2, 2)))
BINS = int(np.prod(_STEPS))
WHOLE = 255  # what the bins of a region sum to, but for rounding

# Indices of MediaPipe's landmarks, left then right.
_SHOULDERS, _HIPS = (11, 12), (23, 24)
_LIMBS = ((23, 25), (24, 26), (25, 27), (26, 28))
_CONFIDENT = 0.5  # visibility times presence of the ends of what is sampled
_ALONG, _ACROSS = np.linspace(0.08, 0.92, 14), np.linspace(-1, 1, 9)
_TRUNK_WIDTH = (0.7, 0.14)  # half of it: share of the shoulders', and at least this share of the trunk's length
_LIMB_WIDTH = 0.07  # half of a limb's, in lengths of it
_SHORTEST = 5.0  # pixels of a trunk whose colours are told
_MOST_FRAMES = 300  # that tell what somebody wears
_INSIDE = 0.3  # share of the samples that must lie in the picture


def clothes(picture: Array, landmarks: Array) -> Array:
    """The histograms, uint8 (2, 196), of the trunk and of the legs of somebody; zeros where they cannot be told.

    Args:
      picture: RGB uint8 (H, W, 3).
      landmarks (33, 4): x, y in pixels, visibility, presence.
    """
    points = landmarks[:, :2].astype(float)
    sure = landmarks[:, 2] * landmarks[:, 3] >= _CONFIDENT
    result = np.zeros((REGIONS, BINS), np.uint8)
    top, bottom = points[list(_SHOULDERS)].mean(0), points[list(_HIPS)].mean(0)
    trunk = float(np.linalg.norm(bottom - top))
    if trunk < _SHORTEST:
        return result
    if sure[[*_SHOULDERS, *_HIPS]].all():
        shoulders = float(np.linalg.norm(points[_SHOULDERS[0]] - points[_SHOULDERS[1]])) / 2
        width = max(_TRUNK_WIDTH[0] * shoulders, _TRUNK_WIDTH[1] * trunk)
        result[0] = _histogram(picture, _strip(top, bottom, width))
    limbs = [(points[a], points[b]) for a, b in _LIMBS if sure[a] and sure[b]]
    if limbs:
        strips = [_strip(a, b, _LIMB_WIDTH * float(np.linalg.norm(b - a))) for a, b in limbs]
        result[1] = _histogram(picture, np.concatenate(strips))
    return result


def unlikeness(one: Array, other: Array) -> Array:
    """Hellinger's distance (...) of histograms (..., 2, 196) of any scale: 0 = equal, 1 = no colour in common.

    It is the mean of the regions that both tell; NaN where there is none.
    """
    root, other_root = _roots(one), _roots(other)
    shared = root.any(-1) & other_root.any(-1)
    apart = np.sqrt(np.maximum(1 - (root * other_root).sum(-1), 0.0))
    count = shared.sum(-1)
    total = np.where(shared, apart, 0.0).sum(-1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def model(each: Array) -> Array:
    """What somebody wears (2, 196), of histograms (F, 2, 196) of some frames, without those that differ from most.

    A region that no frame tells stays zero.
    """
    each = np.asarray(each)
    each = each[:: max(1, len(each) // _MOST_FRAMES)].astype(float)
    result = np.zeros((REGIONS, BINS))
    for region in range(REGIONS):
        own = each[:, region]
        own = own[own.any(-1)]
        if not len(own):
            continue
        own = own / own.sum(-1, keepdims=True)
        roots = np.sqrt(own)
        middle = np.median(roots, 0)
        # Of bins that are seldom filled the median is 0 in all.
        middle = middle if middle.any() else roots.mean(0)
        middle = middle / np.linalg.norm(middle)
        apart = np.sqrt(np.maximum(1 - roots @ middle, 0.0))
        result[region] = own[apart <= np.median(apart) * 1.5 + 1e-6].mean(0)
    return result


def _roots(histograms: Array) -> Array:
    """Square roots of histograms, each of sum 1 or of zeros."""
    values = np.asarray(histograms, float)
    return np.sqrt(values / np.maximum(values.sum(-1, keepdims=True), 1e-12))


def _strip(start: Array, end: Array, width: float) -> Array:
    """Places (S, 2) evenly over a strip between two points, `width` pixels to either side."""
    along = end - start
    normal = np.array([-along[1], along[0]]) / max(float(np.linalg.norm(along)), 1e-6)
    return (start + _ALONG[:, None, None] * along + width * _ACROSS[:, None] * normal).reshape(-1, 2)


def _histogram(picture: Array, places: Array) -> Array:
    """Of the colours at places (S, 2), uint8 (196,)."""
    height, width = picture.shape[:2]
    x, y = np.rint(places).astype(int).T
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    if inside.mean() < _INSIDE:
        return np.zeros(BINS, np.uint8)
    at = (lab(picture[y[inside], x[inside]]) - _LOW) / (_HIGH - _LOW) * (np.array(_STEPS) - 1)
    at = np.clip(at, 0, np.array(_STEPS) - 1)
    low = np.minimum(at.astype(int), np.array(_STEPS) - 2)
    part = at - low
    # A colour between two steps counts for both, so that small changes change little.
    shares = np.where(_CORNERS[:, None], part, 1 - part).prod(-1)
    bins = (low + _CORNERS[:, None]) @ _STRIDES
    counts = np.bincount(bins.ravel(), shares.ravel(), BINS)
    return np.rint(counts / counts.sum() * WHOLE).astype(np.uint8)


def lab(colours: Array) -> Array:
    """CIE Lab (..., 3) of sRGB colours (..., 3), 0 to 255 (IEC 61966-2-1; white D65)."""
    share = np.asarray(colours, float) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    x, y, z = np.moveaxis(linear @ _TO_XYZ.T / _WHITE, -1, 0)
    fx, fy, fz = (np.where(v > 216 / 24389, np.cbrt(v), (24389 / 27 * v + 16) / 116) for v in (x, y, z))
    return np.stack([116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)], -1)


_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
_WHITE = _TO_XYZ.sum(1)
