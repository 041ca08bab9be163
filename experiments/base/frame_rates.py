"""Frames per second: what films may have, and what is assumed where nothing tells."""

# Of single pictures, of files without a rate, of films without usable times.
ASSUMED_FPS = 30.0
# Slow-motion cameras reach the most, and no motion is seen below the least.
LEAST_FPS, MOST_FPS = 1.0, 1000.0
_ROUNDED = 1e-3  # by which a rate may be beyond them, relative to it: times are stored in whole ticks


def usable(fps: float | None) -> bool:
    """Whether films have such a rate, frames per second."""
    return fps is not None and LEAST_FPS * (1 - _ROUNDED) <= fps <= MOST_FPS * (1 + _ROUNDED)
