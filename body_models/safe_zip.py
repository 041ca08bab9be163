"""Opens zip archives of strangers (`.npz`, torch's checkpoints): everything is counted from the directory, before reading.

Refused are archives whose directory is larger than any that NumPy or torch writes, that name an entry twice, whose
entries overlap (so that a few bytes become many arrays), that are encrypted or compressed in other ways than NumPy's
(whose unpacking cannot be bounded), or that unpack to more than the file's budget. An entry that says to be smaller or
larger than it is fails when it is read, at that size.
"""

import contextlib
import io
import os
import zipfile
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from body_models.budget import MAX_BYTES, Budget, TooMuchError

# Of the list of entries: 10,000 of them, where a file of poses has ten and a checkpoint hundreds.
_MAX_DIRECTORY = 1 << 20
_PIECE = 1 << 20
# Bytes before an entry's contents, its name not counted.
_ENTRY_HEADER = 30


class ZipError(ValueError):
    """The archive cannot be read; says why, and does not name it."""


class Archive:
    """The entries of an archive; their contents are taken from the budget as they are read."""

    def __init__(self, archive: zipfile.ZipFile, budget: Budget):
        self._archive, self.budget = archive, budget
        self._entries = {entry.filename: entry for entry in archive.infolist()}

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def names(self) -> list[str]:
        return list(self._entries)

    def size(self, name: str) -> int:
        return self._entries[name].file_size

    @contextlib.contextmanager
    def stream(self, name: str) -> Iterator[BinaryIO]:
        """An entry to be read from its start, no more than its size at once and in all.

        Raises:
          ZipError: it is damaged, which may show only after its last byte.
        """
        entry = self._entries[name]
        with _told(), self._archive.open(entry) as stream:
            yield stream  # pyright: ignore[reportReturnType]

    def read(self, name: str) -> bytearray:
        """An entry, whole. Raises ZipError as `stream`; TooMuchError: it is beyond the budget."""
        self.budget.take_bytes(self.size(name))
        found = bytearray(self.size(name))
        with self.stream(name) as stream:
            fill(stream, memoryview(found))
        return found


def fill(stream: BinaryIO, room: memoryview) -> None:
    """Reads until there is no room left, a piece at a time: a compressed entry unpacks no faster than it is read.

    Raises:
      EOFError: it ends before.
    """
    done = 0
    while done < len(room):
        piece = stream.read(min(_PIECE, len(room) - done))
        if not piece:
            raise EOFError(f"an entry has {done} bytes where {len(room)} were announced")
        room[done : done + len(piece)] = piece
        done += len(piece)


@contextlib.contextmanager
def opened(path: str | os.PathLike, max_bytes: int = MAX_BYTES) -> Iterator[Archive]:
    """The archive in a file.

    Args:
      max_bytes: most that its entries may unpack to, where the size of the file does not set a lower limit.

    Raises:
      ZipError: it cannot be opened, is none, is damaged, or is refused; also while entries are read.
      TooMuchError: it unpacks to more than it may.
    """
    with contextlib.ExitStack() as stack:
        with _told():
            file = stack.enter_context(_Limited(io.FileIO(path)))
            size = os.fstat(file.fileno()).st_size
            if size > max_bytes:
                raise ZipError(f"it has {size} bytes, more than the {max_bytes} that a file may have here")
            # Damaged directories make the reader raise nearly anything.
            try:
                archive = stack.enter_context(zipfile.ZipFile(file))
            except Exception as error:
                raise ZipError(" ".join(str(error)[:200].split()) or type(error).__name__) from error
        budget = Budget(size, max_bytes)
        _check(archive.infolist(), budget)
        yield Archive(archive, budget)


class _Limited(io.BufferedReader):
    """Reads no more at once than a directory may have: `zipfile` reads that as a whole, as long as the file says it is."""

    def read(self, size: int | None = -1) -> bytes:
        if size is not None and size > _MAX_DIRECTORY:
            raise zipfile.BadZipFile(
                f"its list of entries has {size} bytes, more than the {_MAX_DIRECTORY} that are read"
            )
        return super().read(_MAX_DIRECTORY if size is None or size < 0 else size)


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """What files and `zipfile` raise, as ZipError."""
    try:
        yield
    except zipfile.BadZipFile as error:
        raise ZipError(" ".join(str(error)[:200].split())) from error
    except (OSError, EOFError, NotImplementedError, RuntimeError, zlib.error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else " ".join(str(error)[:200].split())
        raise ZipError(reason or type(error).__name__) from error


def _check(entries: list[zipfile.ZipInfo], budget: Budget) -> None:
    names = {entry.filename for entry in entries}
    if len(names) != len(entries):
        raise ZipError("it has two entries of one name")
    end = 0
    for entry in sorted(entries, key=lambda entry: entry.header_offset):
        if entry.header_offset < end:
            raise ZipError("its entries overlap")
        end = entry.header_offset + _ENTRY_HEADER + entry.compress_size
        if entry.flag_bits & 1:
            raise ZipError("it is encrypted")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ZipError(f"it is compressed by method {entry.compress_type}; stored and deflated entries are read")
        if entry.compress_type == zipfile.ZIP_STORED and entry.file_size != entry.compress_size:
            raise ZipError(f"an entry of {entry.compress_size} bytes says to have {entry.file_size}")
    size = sum(entry.file_size for entry in entries)
    if size > budget.bytes:
        raise TooMuchError(f"it unpacks to {size} bytes, more than the {budget.bytes} bytes allowed for its size")
