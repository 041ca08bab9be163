"""Help pages made of settings dataclasses: every option with its help text, range and default, under its group."""

import dataclasses
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nemo_jax import options
from nemo_jax.options import Option

_HELP = ("--help", "-help", "-h", "-?", "--helpfull", "--helpshort")
_WIDTH = 100
_MOST_CHOICES = 6  # before `=string` is shorter
_COLUMNS = (34, 42)  # where texts begin: the second, where some flag of a group is too long for the first


def show(argv: Sequence[str], page: Callable[[], str]) -> None:
    """Prints the page and ends the program where help is asked for."""
    if any(argument.split("=")[0] in _HELP for argument in argv[1:]):
        print(page())
        raise SystemExit(0)


def page(settings: type, usage: str, notes: Mapping[str, Sequence[str]] | None = None) -> str:
    """The page of a command: usage, its flags in their groups, then the fields of dataclasses in its settings.

    Args:
      settings: a dataclass of options.
      usage: how the page begins.
      notes: paragraphs below a flag, by its name.
    """
    groups: dict[str, list[str]] = {}
    fields: list[str] = []
    for field in dataclasses.fields(settings):
        known = options.of(settings).get(field.name)
        if known is None:
            continue
        if dataclasses.is_dataclass(known.kind):
            fields += [known.help, *_fields(f"--{field.name}.", known.kind)]
            continue
        lines = groups.setdefault(known.group or "", [])
        lines += _entry(f"--{field.name}={kind_of(known)}", f"{known.help}{_default(field, known)}", _COLUMNS[0])
        for note in (notes or {}).get(field.name, ()):
            lines += _entry("", note, _COLUMNS[0])
    blocks = ["\n".join([f"{group}:", *lines] if group else lines) for group, lines in groups.items()]
    return "\n\n".join([usage.rstrip("\n"), *blocks, *(["\n".join(fields)] if fields else [])])


def kind_of(known: Option) -> str:
    """What stands for a value of an option, such as `int` or `auto|cpu`."""
    if known.kind is str and known.length is None and 0 < len(known.choices) <= _MOST_CHOICES:
        return "|".join(known.choices)
    name = "string" if known.kind in (str, Path) else known.kind.__name__
    if known.length:
        return ",".join([name] * known.length)
    return f"{name}s" if known.separated else name


def _fields(prefix: str, settings: type) -> list[str]:
    """Lines of a dataclass whose defaults stand behind the names."""
    found, heads = options.of(settings), {}
    for field in dataclasses.fields(settings):
        if field.name in found and not found[field.name].decided:
            heads[field.name] = f"{prefix}{field.name}={options.shown(field.default)}"
    column = next((c for c in _COLUMNS if max(map(len, heads.values())) + 3 < c), _COLUMNS[-1])
    lines, group = [], None
    for name, head in heads.items():
        if found[name].group != group:
            group = found[name].group
            lines += ["", f"  {group}"]
        known = found[name]
        allowed = ", ".join(known.choices) if known.choices else _range(known)
        lines += _entry(head, known.help + (f" ({allowed})" if allowed else ""), column)
    return lines


def _default(field: dataclasses.Field[Any], known: Option) -> str:
    """Range and default of a flag, in brackets."""
    shown = "" if field.default in (None, dataclasses.MISSING) or known.length == 0 else options.shown(field.default)
    words = [_range(known), f"default {shown}" if shown else ""]
    return f" ({'; '.join(filter(None, words))})" if any(words) else ""


def _range(known: Option) -> str:
    meanings = [f"{value} = {meaning}" for value, meaning in known.special.items()]
    return "; ".join(filter(None, [options.bounds(known).removeprefix("from "), *meanings]))


def _entry(head: str, text: str, column: int) -> list[str]:
    """Lines of one flag: its name and kind, then the text, wrapped in a column of its own."""
    head = f"  {head}" if head else ""
    body = textwrap.wrap(text, _WIDTH - column) or [""]
    if len(head) >= column:
        return [head] + [" " * column + line for line in body if line]
    return [head.ljust(column) + body[0]] + [" " * column + line for line in body[1:]]
