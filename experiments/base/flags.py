"""Flags made of a settings dataclass: every field that is an `option` is a flag, every field of a dataclass in it too.

A command declares its settings, with help texts, ranges and groups, as `nemo_jax.options` describes; `read` makes flags of
them, reads a command line, checks every value and returns the settings. A bad command line is one sentence.
"""

import dataclasses
import difflib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Generic, TypeVar

from absl import flags

from experiments.base import help_page
from experiments.base.errors import UserError
from nemo_jax import options
from nemo_jax.options import Option

T = TypeVar("T")
# Plain decimal numbers: Python's own `int` and `float` also take other scripts' digits, 1_000, spaces, nan and inf.
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_TRUTH = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}


@dataclasses.dataclass(frozen=True)
class CommandLine(Generic[T]):
    """settings: what a command line says. given: names of the flags that were on it."""

    settings: T
    given: frozenset[str]


def read(
    settings: type[T],
    usage: str,
    argv: Sequence[str],
    values: flags.FlagValues = flags.FLAGS,
    nested: Mapping[str, Any] | None = None,
) -> CommandLine[T]:
    """Settings of a command line, checked.

    Args:
      settings: a dataclass of options.
      usage: how `--help` begins.
      argv: the program's name and its arguments.
      values: where flags live; another one in tests.
      nested: what the flags of a dataclass in the settings start from, by its field; not given = its own defaults.

    Raises:
      UserError: an unknown, missing or bad flag.
      SystemExit: help was asked for; it has been printed.
    """
    help_page.show(argv, lambda: help_page.page(settings, usage))
    starts = {"": None, **(nested or {})}
    names = _define(settings, values, starts)
    try:
        rest = values(list(argv))[1:]
    except flags.Error as error:
        raise UserError(_sentence(error, values, names)) from error
    known = options.of(settings)
    if rest:
        name, required = next(((n, o.required) for n, o in known.items() if o.required), (next(iter(known)), None))
        example = f"--{name}={required[1] if required else '...'}"
        raise UserError(f"'{options.shown(rest[0])}' is not understood; arguments are flags such as {example}")
    for name, one in known.items():
        if one.required and not values[name].value:
            what, example = one.required
            raise UserError(f"--{name} is missing; {what}, such as --{name}={example}")
    made = settings(**{name: _value(name, one, values, starts) for name, one in known.items()})
    check(made)
    return CommandLine(made, frozenset(name for name in names if not values[name].using_default_value))


def check(settings: Any, prefix: str = "") -> None:
    """Raises UserError: a field has a value that it cannot have, named as its flag."""
    for name, value, found in options.problems(settings, prefix):
        raise UserError(f"--{name}={options.shown(value)} {found}")


def near(name: str, known: Iterable[str], prefix: str = "") -> str:
    """`did you mean --seed`, or where to look; all the names stand behind the same prefix."""
    found = difflib.get_close_matches(name, list(known), 1)
    return f"did you mean --{prefix}{found[0]}" if found else "see --help for all of them"


def parse(known: Option, text: str) -> Any:
    """One value of an option, as it stands on a command line. Raises ValueError: it is not of that kind."""
    if known.kind is bool:
        if text.lower() not in _TRUTH:
            raise ValueError("not true or false")
        return _TRUTH[text.lower()]
    if known.kind is int:
        if not _WHOLE.fullmatch(text):
            raise ValueError("not a plain whole number")
        return int(text)
    if known.kind is float:
        if not _NUMBER.fullmatch(text) or math.isinf(float(text)):
            raise ValueError("not a plain number")
        return float(text)
    return known.kind(_printable(text))


def _printable(text: str) -> str:
    """The text. Raises ValueError: bytes in it are no letters, so that no message or file could hold it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("not UTF-8") from None
    return text


class _Parser(flags.ArgumentParser):
    """One value, or with `length` as many with commas or an x between them: `4.5,7`, `1920x1080`, `(-10, 10)`."""

    def __init__(self, known: Option):
        self.known = known
        self.syntactic_help = options.expected(known)

    def parse(self, argument: Any) -> Any:
        if not isinstance(argument, str):
            return argument
        if not self.known.length:
            return parse(self.known, argument)
        inside = argument[1:-1] if argument[:1] + argument[-1:] == "()" else argument
        parts = re.split(r", ?|x", inside)
        if len(parts) != self.known.length:
            raise ValueError(f"not {self.known.length} values")
        return tuple(parse(self.known, part) for part in parts)

    def flag_type(self) -> str:
        return help_page.kind_of(self.known)


class _NamesParser(flags.ListParser):
    """Names with commas between them, each once."""

    def parse(self, argument: Any) -> Any:
        if isinstance(argument, tuple):
            return argument
        try:
            names = super().parse(_printable(argument))
        except ValueError:
            raise ValueError("not names") from None
        return tuple(dict.fromkeys(name for name in names if name))


def _define(settings: type, values: flags.FlagValues, starts: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Defines the flags of a dataclass; returns their names. Those of an earlier command line make way."""
    names = []
    for field in dataclasses.fields(settings):
        known = options.of(settings).get(field.name)
        if known is None or known.decided:
            continue
        name = f"{prefix}{field.name}"
        if dataclasses.is_dataclass(known.kind):
            names += _define(known.kind, values, {"": starts.get(field.name)}, f"{name}.")
            continue
        if name in values:
            delattr(values, name)
        start = starts[""]
        default = None if field.default is dataclasses.MISSING else field.default
        default = default if start is None else getattr(start, field.name)
        _define_one(name, known, default, values)
        names.append(name)
    return names


def _define_one(name: str, known: Option, default: Any, values: flags.FlagValues) -> None:
    if known.kind is bool:
        flags.DEFINE_boolean(name, default, known.help, flag_values=values)
    elif known.length == 0 and known.separated:
        parser, serializer = _NamesParser(), flags.CsvListSerializer(",")
        flags.DEFINE(parser, name, default, known.help, values, serializer)
    elif known.length == 0:
        parser, serializer = _Parser(dataclasses.replace(known, length=None)), flags.ArgumentSerializer()
        flags.DEFINE_multi(parser, serializer, name, list(default), known.help, values)
    else:
        flags.DEFINE(_Parser(known), name, default, known.help, values)


def _value(name: str, known: Option, values: flags.FlagValues, starts: Mapping[str, Any]) -> Any:
    """What the flags say of one field of the settings."""
    if not dataclasses.is_dataclass(known.kind):
        value = values[name].value
        return tuple(value) if isinstance(value, list) else value
    own = {field: values[f"{name}.{field}"].value for field, one in options.of(known.kind).items() if not one.decided}
    start = starts.get(name)
    return dataclasses.replace(start, **own) if start is not None else known.kind(**own)


def _sentence(error: flags.Error, values: flags.FlagValues, known: Iterable[str]) -> str:
    """What is wrong with a command line, with the nearest of the known names where a flag is unknown."""
    if isinstance(error, flags.UnrecognizedFlagError):
        return f"--{options.shown(error.flagname)} is not a flag; {near(error.flagname, known)}"
    match = re.match(r"flag --([\w.]+)=(.*): ", str(error), re.DOTALL)
    if match and match[1] in values:
        parser: Any = values[match[1]].parser
        expected = "true or false" if values[match[1]].boolean else parser.syntactic_help or f"a {parser.flag_type()}"
        return f"--{match[1]}={options.shown(match[2])} is not understood; expected {expected}"
    return options.shown(" ".join(str(error).split()))
