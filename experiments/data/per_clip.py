"""Flags that choose for all clips or for single ones, such as `2`, `serve 1=2,serve 4=310,140` or `1,serve 4=largest`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable

from experiments.base.errors import UserError


@dataclasses.dataclass(frozen=True)
class Choice:
    """A flag of this kind whose choices are words and numbers.

    flag: its name, such as `--person`. default: the choice for clips of which it says nothing. check: see `parse`.
    """

    flag: str
    default: str
    check: Callable[[str, str], None]

    def parse(self, text: str) -> tuple[str, dict[str, str]]:
        """The choice for all clips and those of single ones. Raises UserError, as `parse` of the module."""
        default, single = parse(self.flag, text, self.check)
        return default or self.default, single

    def of(self, text: str, name: str) -> str:
        """The choice for one clip. Raises UserError, as `parse`."""
        default, single = self.parse(text)
        return single.get(name, default)

    def check_names(self, text: str, names: Iterable[str]) -> None:
        """Raises UserError: it chooses for a clip that is not among these, or is no choice at all."""
        check_names(self.flag, text, self.parse(text)[1], names)


def parse(flag: str, text: str, check: Callable[[str, str], None]) -> tuple[str | None, dict[str, str]]:
    """The choice for all clips, None where there is none, and those of single ones.

    Args:
      flag: its name, such as `--person`.
      text: one choice, or `name=choice` for single clips, separated by commas, or both, the one for all others first.
        A choice may have commas itself.
      check: is given each choice and the whole text, and raises UserError where it is none.

    Raises:
      UserError: it is none of these.
    """
    default, single = [], {}
    name = None
    for piece in text.split(","):
        before, equals, choice = piece.rpartition("=")
        if equals:
            name = before.strip()
            if not name or name in single:
                wrong = f"names {name} twice" if name else "has no name before ="
                raise UserError(f"{flag}={text} {wrong}; give name=choice once for each clip")
            single[name] = [choice.strip()]
        else:
            (default if name is None else single[name]).append(piece.strip())
    choices = {name: ",".join(parts) for name, parts in single.items()}
    for choice in ([",".join(default)] if default else []) + list(choices.values()):
        check(choice, text)
    return ",".join(default) or None, choices


def check_names(flag: str, text: str, named: Iterable[str], instance_names: Iterable[str]) -> None:
    """Raises UserError: the flag chooses for a clip that is not among these."""
    names = list(instance_names)
    for name in named:
        if name not in names:
            raise UserError(f"{flag}={text} names {name}, which is no clip here; the clips are {', '.join(names)}")
