"""Medians of repeated calls. Imports nothing of the project, so that other libraries can be timed in their own process."""

import dataclasses
import statistics
import time
from collections.abc import Callable
from typing import Any


@dataclasses.dataclass(frozen=True)
class Timing:
    """Seconds of one call: median, least and greatest of `repeats` timed blocks, each the mean over its calls."""

    median: float
    least: float
    greatest: float
    repeats: int


def seconds(call: Callable[[], Any], wait: Callable[[Any], Any], repeats: int = 7, block: float = 0.05) -> Timing:
    """Times `call` after two warm-up calls.

    Args:
      call: does the work once and returns something of it, perhaps before it is done.
      wait: returns when the work behind its argument is done.
      repeats: timed blocks.
      block: seconds that a block lasts at least, so that the clock's own cost and a device's start of work do not count;
        its calls follow each other without waiting, as in a program that does nothing else.
    """
    wait(call())
    begun = time.perf_counter()
    wait(call())
    once = time.perf_counter() - begun
    calls = max(1, round(block / max(once, 1e-6)))
    found, last = [], None
    for _ in range(repeats):
        begun = time.perf_counter()
        for _ in range(calls):
            last = call()
        wait(last)
        found.append((time.perf_counter() - begun) / calls)
    return Timing(statistics.median(found), min(found), max(found), repeats)
