"""What the command lines of all commands share: reading them, their help pages, sentences for bad flags."""

import dataclasses
import difflib
import inspect
import re
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from absl import flags

from experiments.base.errors import UserError

_HELP = ("--help", "-help", "-h", "-?", "--helpfull", "--helpshort")


def read(
    argv: Sequence[str],
    values: flags.FlagValues,
    known: Iterable[str],
    required: Mapping[str, tuple[str, str]],
    page: Callable[[], str],
) -> None:
    """Reads a command line into `values`.

    Args:
      argv: the program's name and its arguments.
      known: names to suggest for an unknown one.
      required: flags that must be there: what to give, and an example.
      page: what `--help` prints.

    Raises:
      UserError: an unknown, missing or bad flag.
      SystemExit: help was asked for; it has been printed.
    """
    show_help(argv, page)
    try:
        rest = values(list(argv))[1:]
    except flags.Error as error:
        raise UserError(sentence(error, values, known)) from error
    if rest:
        name, (_, example) = next(iter(required.items()))
        raise UserError(f"{rest[0]!r} is not understood; arguments are flags such as --{name}={example}")
    for name, (what, example) in required.items():
        if not values[name].value:
            raise UserError(f"--{name} is missing; {what}, such as --{name}={example}")


def show_help(argv: Sequence[str], page: Callable[[], str]) -> None:
    """Prints the page and ends the program where help is asked for."""
    if any(argument.split("=")[0] in _HELP for argument in argv[1:]):
        print(page())
        raise SystemExit(0)


def group_lines(groups: Mapping[str, Iterable[str]], values: flags.FlagValues) -> list[str]:
    """Lines of all flags, under the names of their groups."""
    lines = []
    for group, names in groups.items():
        lines += [f"{group}:", *(line for name in names for line in flag_entry(values[name])), ""]
    return lines


def entry(flag: str, kind: str, text: str, width: int = 100, column: int = 34) -> list[str]:
    """Lines of one flag: its name and kind, then the text, wrapped in a column of its own."""
    head = f"  {flag}={kind}" if flag else ""
    body = textwrap.wrap(text, width - column) or [""]
    if len(head) >= column:
        return [head] + [" " * column + line for line in body if line]
    return [head.ljust(column) + body[0]] + [" " * column + line for line in body[1:]]


def flag_entry(flag: flags.Flag) -> list[str]:
    """Lines of a defined flag: its kind, help and default."""
    kind = "|".join(flag.parser.enum_values) if isinstance(flag, flags.EnumFlag) else flag.flag_type().split()[-1]
    default = "" if flag.default in (None, []) else f" (default {str(flag.default).lower()})"
    text = re.split(r";\s+repeat this option", str(flag.help).removeprefix(f"<{kind}>: "))[0]
    return entry(f"--{flag.name}", kind, f"{text}{default}")


def field_comments(config: type) -> dict[str, dict[str, str]]:
    """Section -> field -> comment, as the source of a dataclass has them; without source, one section without comments."""
    try:
        source = inspect.getsource(config)
    except OSError:
        return {"": {field.name: "" for field in dataclasses.fields(config)}}
    sections: dict[str, dict[str, str]] = {}
    section = ""
    for line in source.splitlines():
        if header := re.match(r"\s+# -+ (.*?) -+$", line):
            section = header[1]
        elif field := re.match(r"    (\w+): [^#]*(?:# (.*))?$", line):
            sections.setdefault(section, {})[field[1]] = field[2] or ""
    return sections


def sentence(error: flags.Error, values: flags.FlagValues, known: Iterable[str]) -> str:
    """What is wrong with a command line, with the nearest of the known names where a flag is unknown."""
    if isinstance(error, flags.UnrecognizedFlagError):
        return f"--{error.flagname} is not a flag; {near(error.flagname, known)}"
    match = re.match(r"flag --([\w.]+)=(.*?): (.*)$", str(error), re.DOTALL)
    if match and match[1] in values:
        return f"--{match[1]}={match[2]} is not understood; expected {_expected(values[match[1]])}"
    return " ".join(str(error).split())


def near(name: str, known: Iterable[str], prefix: str = "") -> str:
    """`did you mean --seed`, or where to look; all the names stand behind the same prefix."""
    found = difflib.get_close_matches(name, list(known), 1)
    return f"did you mean --{prefix}{found[0]}" if found else "see --help for all of them"


def _expected(flag: flags.Flag) -> str:
    parser: Any = flag.parser
    if isinstance(flag, flags.EnumFlag):
        return f"one of {', '.join(parser.enum_values)}"
    kinds = {"int": "a whole number", "float": "a number", "bool": "true or false"}
    return kinds.get(flag.flag_type(), parser.syntactic_help or f"a {flag.flag_type()}")
