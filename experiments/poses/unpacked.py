"""Files that are compressed as a whole, unpacked as they are read: no more of them than a file of their size may have."""

from __future__ import annotations

import bz2
import io
import lzma
import zlib
from typing import BinaryIO

from body_models.budget import Budget
from body_models.streams import Stream, StreamError
from body_models.wording import reason

# xz's strongest preset needs 65 MB; files may ask for 4 GB.
_MAX_WINDOW = 128 << 20
_PIECE = 1 << 18


class CompressionError(StreamError):
    """Damaged, truncated, or of more than it may be. Says why, and does not name the file."""


def is_compressed(head: bytes) -> bool:
    """Whether a file that starts so is compressed in a way that is read: zlib, gzip, bz2, xz, lzma."""
    return any(head.startswith(magic) for magic in _MAKERS)


class Unpacked(Stream):
    """What a compressed file holds. Reading raises CompressionError."""

    def __init__(self, file: BinaryIO, budget: Budget):
        self._raw = _Raw(file, budget)
        super().__init__(io.BufferedReader(self._raw, _PIECE))

    def finish(self) -> None:
        """Reads what is left, so that it shows whether the end is there and its checksum fits."""
        while self.file.read(_PIECE):
            pass


class _Raw(io.RawIOBase):
    def __init__(self, file: BinaryIO, budget: Budget):
        self._file, self._budget = file, budget
        head = file.read(6)
        self._make = next(make for magic, make in _MAKERS.items() if head.startswith(magic))
        self._unpacker, self._left, self._count = self._make(), head, 0

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._count

    def readinto(self, buffer: memoryview) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        found = b""
        while not found and not self._unpacker.eof:
            found = self._next(len(buffer))
        self._count += len(found)
        if self._count > self._budget.max_bytes:
            raise CompressionError(
                f"it is compressed, and unpacking to more than the {self._budget.max_bytes} bytes allowed for its size"
            )
        buffer[: len(found)] = found
        return len(found)

    def _next(self, most: int) -> bytes:
        # zlib hands back what it did not use; the others keep it, and say when they need more.
        if not self._left and getattr(self._unpacker, "needs_input", True):
            self._left = self._file.read(_PIECE)
            if not self._left:
                raise CompressionError("it is compressed, and truncated")
        given, self._left = self._left, b""
        try:
            found = self._unpacker.decompress(given, most)
        except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
            raise CompressionError(f"its compression is damaged ({reason(error)})") from error
        self._left = getattr(self._unpacker, "unconsumed_tail", b"")
        return found


_MAKERS = {
    b"\x78": zlib.decompressobj,
    b"\x1f\x8b": lambda: zlib.decompressobj(16 + zlib.MAX_WBITS),
    b"BZh": bz2.BZ2Decompressor,
    b"\xfd7zXZ": lambda: lzma.LZMADecompressor(memlimit=_MAX_WINDOW),
    b"\x5d\x00": lambda: lzma.LZMADecompressor(memlimit=_MAX_WINDOW),
}
