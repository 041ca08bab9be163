"""How often Python looks for cycles of garbage."""

import gc

# Python's own is after 700 new objects. Importing and tracing make millions of objects and hardly a cycle.
_THRESHOLDS = (50_000, 20, 1000)


def collect_seldom() -> None:
    """Makes this process look for cycles seldom, which takes a sixth of the time of importing and tracing otherwise."""
    gc.set_threshold(*_THRESHOLDS)
