"""Makes values of what a pickle asked for: each recorded call is built by the builder of its name."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from body_models.budget import MAX_DEPTH, Budget
from body_models.pickle_calls import BadPickleError, Call


class Opaque:
    """Stands where the file has a chumpy expression that is not a stored array; its `name` says which."""

    def __init__(self, name: str):
        self.name = name

    def __repr__(self) -> str:
        return f"<{self.name}, not evaluated>"


_PLAIN = (str, bytes, bytearray, int, float, complex, type(None), np.ndarray, np.generic, Opaque)
# The same where most values are told by.
_PLAIN_TYPES = frozenset([str, bytes, int, float, bool, type(None)])
_UNFINISHED = object()


class Resolver:
    """Turns what was recorded into values: `resolve(value)`, with sharing kept; what holds itself is refused."""

    def __init__(self, builders: Mapping[str, "Builder | None"], budget: Budget):
        self._builders = builders
        self.budget = budget
        self._depth = 0
        # Values by the id of what they came from, which is kept beside them so that no id is used twice.
        self._done: dict[int, tuple[object, Any]] = {}

    def reserve(self, num_bytes: int) -> None:
        """To be called before memory is taken, also for a while, that the file's own size does not bound."""
        self.budget.take_bytes(num_bytes)

    def __call__(self, value: Any) -> Any:
        if type(value) in _PLAIN_TYPES or isinstance(value, _PLAIN):
            return value
        if id(value) in self._done:
            found = self._done[id(value)][1]
            if found is _UNFINISHED:
                raise ValueError("it holds a container that holds itself")
            return found
        self.budget.take_steps(2)
        if self._depth >= MAX_DEPTH:
            raise ValueError("it is nested too deeply")
        self._done[id(value)] = (value, _UNFINISHED)
        self._depth += 1
        try:
            found = self._build(value)
        finally:
            self._depth -= 1
        self._done[id(value)] = (value, found)
        return found

    def _build(self, value: Any) -> Any:
        if isinstance(value, list):
            self._in_place(value)
            return value
        if isinstance(value, dict):
            self.keyed(value)
            return value
        if isinstance(value, tuple):
            return tuple(self._in_place(list(value)))
        if isinstance(value, set | frozenset):
            return type(value)(self.hashable(self._in_place(list(value))))
        if isinstance(value, Call):
            if value.name not in self._builders:
                return Opaque(value.name)
            builder = self._builders[value.name]
            if builder is None:
                raise ValueError(f"{value.name} is called, which is only read as a name")
            return builder(value, self)
        named = value.name if isinstance(value, type) and issubclass(value, Call) else type(value).__name__
        raise ValueError(f"it holds {named} itself, which is not data")

    def _in_place(self, items: list) -> list:
        self.budget.take_steps(len(items) // 8)
        for index, item in enumerate(items):
            if type(item) not in _PLAIN_TYPES:
                items[index] = self(item)
        return items

    def keyed(self, items: dict) -> dict:
        """The dict, its keys and values resolved in place."""
        self.budget.take_steps(len(items) // 4)
        if all(type(key) is str for key in items):
            for key, item in items.items():
                if type(item) not in _PLAIN_TYPES:
                    items[key] = self(item)
            return items
        found = list(zip(self.hashable([self(key) for key in items]), map(self, list(items.values())), strict=True))
        items.clear()
        items.update(found)
        return items

    def hashable(self, keys: list) -> list:
        """The keys of a dict or members of a set, found fit to be hashed."""
        for key in keys:
            if type(key) is not str:
                self.budget.check_key(key)
        return keys


Builder = Callable[[Call, Resolver], Any]


def attributes(call: Call, resolve: Resolver) -> dict:
    """Builder for an object of any class: its attributes, as a dict."""
    state = resolve(call.state)
    if not isinstance(state, dict):
        raise BadPickleError(f"{call.name} comes without attributes")
    return state
