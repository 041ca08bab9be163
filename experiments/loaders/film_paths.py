"""Which files a user means by `--videos=`, and what their clips are called."""

from __future__ import annotations

import glob
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from experiments.base.errors import UserError
from experiments.base.text import natural

SUFFIXES = (".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".mts", ".m2ts", ".wmv", ".3gp")
# Not `takes`, nor another word that begins so.
_TAKE = re.compile(r"take([ _-]?\d+|[ _-][a-z])", re.IGNORECASE)
_NO_FILE_NAME = re.compile(r'[\x00-\x1f<>:"/\\|?*]')


def files(pattern: str) -> list[Path]:
    """The files of a pattern, a folder, a file, or several of these separated by commas, in natural order, each once.

    Of a folder without films they are those in the folders in it.

    Raises:
      UserError: a part matches no file.
    """
    found: dict[Path, Path] = {}
    for part in _parts(pattern):
        matches = _matches(part)
        if not matches:
            raise UserError(_why_nothing(part))
        for path in sorted(matches, key=lambda path: natural(str(path))):
            found.setdefault(path.resolve(), path)
    if not found:
        raise UserError(
            "--videos is empty; give a pattern such as 'clips/*.mp4', a folder or files separated by commas"
        )
    return list(found.values())


def names(paths: Sequence[Path]) -> list[str]:
    """A name for each film: its file's without the suffix, made unique, and usable as a file's name anywhere.

    That of a film in the folder of a take begins with the folder's.
    """
    taken: set[str] = set()
    result = []
    for path, folder in zip(paths, take_folders(paths), strict=True):
        said = path.stem if folder is None else f"{folder.name} {path.stem}"
        stem = _NO_FILE_NAME.sub("_", unicodedata.normalize("NFC", said)).strip(" .") or "clip"
        name, number = stem, 2
        # File systems may not tell capitals from small letters.
        while name.casefold() in taken:
            name, number = f"{stem}-{number}", number + 1
        taken.add(name.casefold())
        result.append(name)
    return result


def take_folders(paths: Sequence[Path]) -> list[Path | None]:
    """For each film the folder that is a take: called so, as `take_1` or `take 2`, with several of these films in it."""
    folders = [path.absolute().parent for path in paths]
    return [folder if _TAKE.fullmatch(folder.name) and folders.count(folder) > 1 else None for folder in folders]


def _parts(pattern: str) -> list[str]:
    """The pattern at its commas, but for one that is a file's whole name; without quotes that a shell has left."""
    whole = _unquoted(pattern)
    if whole and Path(whole).expanduser().exists():
        return [whole]
    return [part for part in map(_unquoted, whole.split(",")) if part]


def _unquoted(text: str) -> str:
    text = text.strip()
    inner = text[1:-1]
    quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" and text[0] not in inner
    return inner.strip() if quoted else text


def _matches(part: str) -> list[Path]:
    # File systems differ in how they write letters with accents.
    for form in (part, unicodedata.normalize("NFC", part), unicodedata.normalize("NFD", part)):
        path = Path(form).expanduser()
        if path.is_dir():
            # Films of takes are often in a folder for each.
            return _films_in(path) or [film for below in path.iterdir() if below.is_dir() for film in _films_in(below)]
        if path.is_file():
            return [path]
        if matches := [Path(match) for match in glob.glob(str(path), recursive=True)]:
            return [match for match in matches if match.is_file()]
    return []


def _films_in(folder: Path) -> list[Path]:
    return [file for file in folder.iterdir() if _is_film(file)]


def _is_film(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def _why_nothing(part: str) -> str:
    if Path(part).expanduser().is_dir():
        return f"--videos={part} is a folder without videos ({' '.join(SUFFIXES)}); give another one or a pattern"
    return (
        f"--videos={part} matches no file; give a pattern such as 'clips/*.mp4', a folder or files separated by commas, and "
        "check the path"
    )
