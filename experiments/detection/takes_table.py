"""`takes.csv`: which parts of films are takes, written by `run.py split`, corrected by people, read by `--takes`."""

from __future__ import annotations

import csv
import dataclasses
import itertools
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from experiments.base.errors import UserError
from experiments.base.files import replacing
from experiments.base.text import listed

Array = np.ndarray

COLUMNS = ("film", "take", "start_seconds", "end_seconds")
FLAG = "--takes"
_MOST_BYTES = 10_000_000
_DIGITS = 3  # of seconds
_EARLY = 0.25  # of a frame: a time that was rounded is that of the frame nearest to it


@dataclasses.dataclass(frozen=True)
class Take:
    """number: counted from 1. start, end: seconds from the film's first frame; the frame at `end` is not of it."""

    number: int
    start: float
    end: float


def write(path: Path, takes: Iterable[tuple[str, Take]]) -> None:
    """Writes takes with the names of their films, at once or not at all."""
    with replacing(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for film, take in takes:
            writer.writerow([film, take.number, f"{take.start:.{_DIGITS}f}", f"{take.end:.{_DIGITS}f}"])


def read(path: Path, films: Sequence[str]) -> dict[str, list[Take]]:
    """The takes of each film, in the order of their times. Further columns are ignored.

    Args:
      path: the table. films: names of all films.

    Raises:
      UserError: it cannot be read, or a row is wrong.
    """
    where = f"{FLAG}={path}"
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise UserError(f"{where} has more than {_MOST_BYTES:,} bytes; give the takes.csv of `python run.py split`")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UserError(f"{where} cannot be read ({reason}); write one with `python run.py split`") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{where} is no text in UTF-8; save it as CSV in UTF-8") from error
    head = next(iter(text.splitlines()), "")
    # Spreadsheets of some countries separate by semicolons.
    rows = csv.DictReader(text.splitlines(), delimiter=";" if ";" in head else ",")
    known = [name.strip() for name in rows.fieldnames or ()]
    rows.fieldnames = known
    if missing := [name for name in COLUMNS if name not in known]:
        raise UserError(f"{where} has no column {missing[0]}; expected {','.join(COLUMNS)} in its first line")
    found: dict[str, list[Take]] = {}
    try:
        for number, row in enumerate(rows, 2):
            if any((row[name] or "").strip() for name in COLUMNS):
                film, take = _row(f"{where}, line {number},", row, films)
                found.setdefault(film, []).append(take)
    except csv.Error as error:
        raise UserError(f"{where} is no table ({error}); expected {','.join(COLUMNS)} in its first line") from error
    if not found:
        raise UserError(f"{where} has no take; give a row for each, film,take,start_seconds,end_seconds")
    for film, takes in found.items():
        takes.sort(key=lambda take: take.start)
        _check_together(where, film, takes)
    return found


def frames(takes: Sequence[Take], times: Array, film: str) -> list[range]:
    """The frames of takes, by the times (F,) of a film's frames in seconds, the first of them 0.

    Raises:
      UserError: a take is outside the film, or so short that it has no frame.
    """
    step = (times[-1] / (len(times) - 1)) if len(times) > 1 else 1.0
    length, result = float(times[-1] + step), []
    for take in takes:
        if take.end > length + step:
            raise UserError(
                f"{FLAG} has a take of {film} from {take.start:g} to {take.end:g} s, but the film ends at {length:.2f} s; "
                "mend the row"
            )
        start, stop = np.searchsorted(times, np.array([take.start, take.end]) - _EARLY * step)
        if stop <= start:
            raise UserError(
                f"{FLAG} has a take of {film} from {take.start:g} to {take.end:g} s, in which it has no frame; mend the row"
            )
        result.append(range(int(start), int(stop)))
    return result


def _row(where: str, row: dict[str, str | None], films: Sequence[str]) -> tuple[str, Take]:
    film = (row["film"] or "").strip()
    if film not in films:
        raise UserError(f"{where} names the film {film!r}, which is not among {listed(list(films))}; mend or delete it")
    numbers = []
    for name in COLUMNS[1:]:
        text = (row[name] or "").strip()
        try:
            # A comma before the decimals, as such spreadsheets write it.
            value = float(text.replace(",", "."))
        except ValueError:
            value = math.nan
        if not math.isfinite(value) or value < 0:
            raise UserError(f"{where} has {text!r} as {name}; expected a number from 0 on")
        numbers.append(value)
    number, start, end = numbers
    if number != int(number) or number < 1:
        raise UserError(f"{where} has {row['take']!r} as take; expected 1, 2, 3 and so on")
    if end <= start:
        raise UserError(f"{where} ends at {end:g} s, not after its start at {start:g} s; mend the row")
    return film, Take(int(number), start, end)


def _check_together(where: str, film: str, takes: Sequence[Take]) -> None:
    numbers = [take.number for take in takes]
    if twice := [number for number in numbers if numbers.count(number) > 1]:
        raise UserError(f"{where} has take {twice[0]} of {film} twice; give each a number of its own")
    for before, after in itertools.pairwise(takes):
        if after.start < before.end - 10**-_DIGITS:
            raise UserError(
                f"{where} has takes {before.number} and {after.number} of {film} that overlap from {after.start:g} to "
                f"{before.end:g} s; mend one of them"
            )
