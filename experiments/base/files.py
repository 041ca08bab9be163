"""Files that are complete or not there: each is written under another name, then renamed."""

import contextlib
import hashlib
import os
import platform
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

UNFINISHED = ".unfinished."
_OWNED = re.compile(r"\.unfinished\.([0-9a-f]+)-([0-9a-f]{6})\.")
_LONGEST_WRITE = 24 * 3600.0  # seconds; of a process on another machine nobody can tell whether it lives
_being_written: set[Path] = set()


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A name beside `path` to write to; it takes the place of `path` when the block ends, and is removed on an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix stays, as writers choose their format by it.
    temporary = path.with_name(f"{UNFINISHED}{os.getpid():x}-{_machine()}.{path.name}")
    _being_written.add(temporary.absolute())
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException:
        _remove(temporary)
        raise
    finally:
        _being_written.discard(temporary.absolute())


def remove_leftovers(folder: Path) -> None:
    """Removes what killed writes have left in a folder and those in it. What a living process may still write to stays."""
    for found in folder.rglob(f"{UNFINISHED}*"):
        if not _is_owned(found):
            _remove(found)


def _is_owned(temporary: Path) -> bool:
    """Whether a process that may be alive writes to it."""
    owner = _OWNED.match(temporary.name)
    if owner is None:  # of a version that named no owner
        return False
    if owner[2] == _machine():
        process = int(owner[1], 16)
        return temporary.absolute() in _being_written if process == os.getpid() else _is_alive(process)
    with contextlib.suppress(OSError):
        return time.time() - temporary.stat().st_mtime < _LONGEST_WRITE
    return False


def _is_alive(process: int) -> bool:
    if os.name != "posix":  # there, signal 0 would end it
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _machine() -> str:
    """Six hexadecimal digits of this machine's name."""
    return hashlib.sha256(platform.node().encode()).hexdigest()[:6]


def _remove(place: Path) -> None:
    """Removes a file or a folder, if it is there and can be removed: it is in nobody's way."""
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place, ignore_errors=True)
        return
    with contextlib.suppress(OSError):
        place.unlink()
