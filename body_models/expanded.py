"""Whether a value is small also to those who look at all of it.

A list of two references to a list of two references, and so on, thirty times, is a few bytes of a pickle and a thousand
million values to whoever makes an array of it or writes it out. Here what is shared counts as often as it occurs.
"""

import numpy as np

from body_models.budget import MAX_DEPTH, Budget, TooMuchError

# Of numbers, and of containers, in bytes: about what they take as arrays or lists.
_LEAF, _CONTAINER = 8, 64
_LEAVES = frozenset([int, float, bool, type(None)])


def check(value: object, budget: Budget) -> None:
    """Looks at dicts, lists, tuples, sets and arrays of objects, each once.

    Raises:
      ValueError: it holds itself, is nested too deeply, or would be larger than the budget's bytes or values.
    """
    _Measure(budget).of(value, 0)


class _Measure:
    def __init__(self, budget: Budget):
        self._budget = budget
        # (values, bytes, levels of nesting) by the id of a container; None while it is being looked at.
        self._done: dict[int, tuple[int, int, int] | None] = {}

    def of(self, value: object, depth: int) -> tuple[int, int, int]:
        inner = _inside(value)
        if inner is None:
            return 1, _size(value), 0
        if id(value) in self._done:
            found = self._done[id(value)]
            if found is None:
                raise ValueError("it holds a container that holds itself")
        else:
            self._done[id(value)] = None
            self._budget.take_steps(1 + len(inner) // 8)
            found = self._done[id(value)] = self._sum(inner, depth)
        if depth + found[2] > MAX_DEPTH:
            raise ValueError("it is nested too deeply")
        return found

    def _sum(self, inner: list, depth: int) -> tuple[int, int, int]:
        if depth > MAX_DEPTH:
            raise ValueError("it is nested too deeply")
        count, size, levels = 1, _CONTAINER, 1
        for item in inner:
            if type(item) in _LEAVES:
                count, size = count + 1, size + _LEAF
                continue
            more, bytes_, below = self.of(item, depth + 1)
            count, size, levels = count + more, size + bytes_, max(levels, below + 1)
        # Here, so that sums of sums stay small.
        if count > self._budget.values or size > self._budget.max_bytes:
            raise TooMuchError("it holds the same values so many times over that together they are without end")
        return count, size, levels


def _inside(value: object) -> list | None:
    if isinstance(value, list):
        return value
    if isinstance(value, dict):
        return [*value, *value.values()]
    if isinstance(value, tuple | set | frozenset):
        return list(value)
    return value.ravel().tolist() if isinstance(value, np.ndarray) and value.dtype.hasobject else None


def _size(value: object) -> int:
    if isinstance(value, np.ndarray):
        return value.nbytes
    return 4 * len(value) if isinstance(value, str | bytes | bytearray) else _LEAF
