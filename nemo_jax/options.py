"""Fields of a settings dataclass with their metadata: help text, range, choices.

    hidden: int = option(256, "width of the field's layers", least=1, most=16384)

declares an ordinary field whose metadata hold an `Option`. Checks, flags and help pages are made from these options,
for `FitConfig` and for the settings of every command. This module needs no source code of a class and does not import
JAX.
"""

import dataclasses
import difflib
import functools
import math
import numbers
import pathlib
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

REQUIRED: Any = dataclasses.MISSING
_METADATA = "option"
_LONGEST_SHOWN = 100  # letters of a value in an error


@dataclasses.dataclass(frozen=True)
class Option:
    """The metadata of a field, besides its name and default.

    Attributes:
      help: what it is, for a help page.
      group: heading of the help page; None in a declaration = the heading of the previous field.
      least, above, most, below: the range of a number, or of each number of a tuple; `above` and `below` are exclusive
        bounds.
      special: numbers outside the range that have a special meaning, with that meaning.
      choices: the allowed texts; empty = any text. For a `Literal` field they are the values of its type.
      required: for a field without a default: what to give, and an example.
      decided: true if the data determine the value, so that there is no flag for it.
      separated: one flag gives all values of a tuple of texts, with commas between them; else each is a flag of its own.
      check: an additional check of a value; returns a text as `problem` does, or None if the value is valid.
      kind: type of the value, or of each value of a tuple: str, int, float, bool, Path or a dataclass.
      length: of a tuple; 0 = any number of values, None = the field is no tuple.
      optional: whether None is a value too.
    """

    help: str
    group: str | None = None
    least: float | None = None
    above: float | None = None
    most: float | None = None
    below: float | None = None
    special: Mapping[int, str] = dataclasses.field(default_factory=dict)
    choices: tuple[str, ...] = ()
    required: tuple[str, str] | None = None
    decided: bool = False
    separated: bool = False
    check: Callable[[Any], str | None] | None = None
    kind: type = str
    length: int | None = None
    optional: bool = False


def option(default: Any, text: str, **known: Any) -> Any:
    """A dataclass field with this default (or `REQUIRED`) and an `Option` with this help text and the values `known`.

    If the default is a dataclass type, the field's default is an instance of it with its own defaults.
    """
    metadata = {_METADATA: Option(text, **known)}
    if isinstance(default, type):
        return dataclasses.field(default_factory=default, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@functools.cache
def of(settings: type) -> Mapping[str, Option]:
    """The options of a dataclass by field name, in order, completed with their groups and with their fields' types."""
    hints, found, group = typing.get_type_hints(settings), {}, ""
    for field in dataclasses.fields(settings):
        if _METADATA not in field.metadata:
            continue
        declared: Option = field.metadata[_METADATA]
        group = declared.group if declared.group is not None else group
        found[field.name] = dataclasses.replace(declared, group=group, **_of_type(hints[field.name], declared.choices))
    return types.MappingProxyType(found)


def _of_type(hint: Any, choices: tuple[str, ...]) -> dict[str, Any]:
    parts = typing.get_args(hint)
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        (inner,) = (part for part in parts if part is not types.NoneType)
        return {**_of_type(inner, choices), "optional": True}
    if typing.get_origin(hint) is Literal:
        return {"kind": str, "choices": parts}
    if typing.get_origin(hint) is tuple:
        return {"kind": parts[0], "choices": choices, "length": 0 if parts[-1] is Ellipsis else len(parts)}
    return {"kind": hint, "choices": choices}


def problem(known: Option, value: Any) -> str | None:
    """Describes why a value is invalid, such as `is out of range; give a number from 0 to 1`; None = it is valid."""
    if value is None and known.optional:
        return None
    if known.length is not None:
        if not isinstance(value, tuple | list) or known.length not in (0, len(value)):
            return f"is not understood; expected {expected(known)}"
        found = next(filter(None, (_problem_of_one(known, each) for each in value)), None)
    else:
        found = _problem_of_one(known, value)
    return found or (known.check(value) if known.check is not None else None)


def _problem_of_one(known: Option, value: Any) -> str | None:
    if known.kind in (int, float):
        wanted = numbers.Integral if known.kind is int else numbers.Real
        if isinstance(value, bool) or not isinstance(value, wanted):
            return f"is not understood; expected {expected(known)}"
        # A whole number may be too long for a float, and is finite.
        if not isinstance(value, numbers.Integral) and not math.isfinite(value):
            return f"is not finite; give {expected(known)}"
        return None if _is_in_range(known, value) else f"is out of range; give {expected(known)}"
    if not isinstance(value, pathlib.PurePath if known.kind is pathlib.Path else known.kind):
        return f"is not understood; expected {expected(known)}"
    if known.choices and value not in known.choices:
        near = difflib.get_close_matches(value, known.choices, 1)
        return f"is not one of {', '.join(known.choices)}" + (f"; did you mean {near[0]}" if near else "")
    return None


def _is_in_range(known: Option, value: Any) -> bool:
    return value in known.special or not (
        (known.least is not None and value < known.least)
        or (known.above is not None and value <= known.above)
        or (known.most is not None and value > known.most)
        or (known.below is not None and value >= known.below)
    )


def expected(known: Option) -> str:
    """Describes the valid values of a field, such as `a whole number from 1 to 16384, or -1 for all frames`."""
    if known.kind in (int, float):
        one, several = ("a whole number", "whole numbers") if known.kind is int else ("a number", "numbers")
        what = one if known.length is None else several if not known.length else f"{_count(known.length)} {several}"
        meanings = "".join(f", or {value} for {meaning}" for value, meaning in known.special.items())
        return " ".join(filter(None, (what, bounds(known)))) + meanings
    if known.choices:
        return f"one of {', '.join(known.choices)}"
    return "true or false" if known.kind is bool else "a text" if known.length is None else "texts"


def bounds(known: Option) -> str:
    """The range of a number in words, such as `from 0 to 1`; empty where it has none."""
    low = f"from {_plain(known.least)}" if known.least is not None else ""
    low = f"above {_plain(known.above)}" if known.above is not None else low
    high = f"up to, but not including, {_plain(known.below)}" if known.below is not None else ""
    if known.most is not None:
        high = f"to {_plain(known.most)}" if known.least is not None else f"up to {_plain(known.most)}"
    return f"{low} and {high}" if known.above is not None and high else " ".join(filter(None, (low, high)))


def problems(settings: Any, prefix: str = "") -> Iterator[tuple[str, Any, str]]:
    """(name, value, what is wrong) of every field of an instance whose value is wrong; names begin with `prefix`.

    The fields of a nested settings dataclass are checked too and are named `<field>.<name>`.
    """
    for name, known in of(type(settings)).items():
        value = getattr(settings, name)
        if dataclasses.is_dataclass(known.kind) and isinstance(value, known.kind):
            yield from problems(value, f"{prefix}{name}.")
        elif (found := problem(known, value)) is not None:
            yield f"{prefix}{name}", value, found


def check(settings: Any, prefix: str = "") -> None:
    """Raises ValueError if a field has an invalid value; the message names the first one, as a flag with `prefix`."""
    for name, value, found in problems(settings, prefix):
        raise ValueError(f"{name}={shown(value)} {found}")


def shown(value: Any) -> str:
    """A value as written on a command line: one line of ASCII characters, shortened if it is very long."""
    listed = value if isinstance(value, tuple | list) else [value]
    text = ",".join(str(each).lower() if isinstance(each, bool) else str(each) for each in listed)
    text = "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


def _plain(value: float) -> str:
    return f"{value:.0f}" if float(value).is_integer() else f"{value:g}"


def _count(length: int) -> str:
    return {2: "two", 3: "three"}.get(length, str(length))
