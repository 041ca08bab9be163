"""Bytes that are read in order, of a file, from memory, or out of a compressed file, never more of them than there are."""

import io
from typing import BinaryIO

# Of longer pieces, room is made for what arrives, not for what is announced.
_PIECE = 1 << 20
# A line holds a whole array in pickles of protocol 0.
_MAX_LINE = 128 << 20


class StreamError(ValueError):
    """What is read gives no more bytes, and says why; without the file's name."""


class Stream:
    """Where the bytes run out, reading fails instead of returning less.

    file: what is read, buffered. size: how many bytes it has; None where that is not known (compressed).
    """

    def __init__(self, source: bytes | BinaryIO, size: int | None = None):
        self.file = io.BytesIO(source) if isinstance(source, bytes) else source
        self.size = len(source) if isinstance(source, bytes) else size

    def read(self, count: int) -> bytes:
        if count > _PIECE:
            if self.size is None:
                return bytes(self.read_array(count))
            self.expect(count)
        found = self.file.read(count)
        if len(found) < count:
            raise EOFError
        return found

    def read_array(self, count: int) -> bytearray:
        """The same, as bytes that can be written to."""
        self.expect(count)
        found = bytearray(count if self.size is not None else 0)
        if self.size is not None:
            if self.file.readinto(found) < count:  # pyright: ignore[reportAttributeAccessIssue]
                raise EOFError
            return found
        while len(found) < count:
            piece = self.file.read(min(_PIECE, count - len(found)))
            if not piece:
                raise EOFError
            found += piece
        return found

    def peek(self, count: int) -> bytes:
        """What follows, without taking it: up to `count` bytes, fewer where the buffer has fewer."""
        if isinstance(self.file, io.BytesIO):
            return bytes(self.file.getbuffer()[self.tell() : self.tell() + count])
        return self.file.peek(count)[:count]  # pyright: ignore[reportAttributeAccessIssue]

    def expect(self, count: int) -> None:
        """Raises EOFError where it is known that so many bytes do not follow."""
        if count < 0 or (self.size is not None and count > self.size - self.tell()):
            raise EOFError

    def readline(self) -> bytes:
        line = self.file.readline(_MAX_LINE)
        if not line.endswith(b"\n"):
            if len(line) == _MAX_LINE:
                raise ValueError(f"it has a line of more than {_MAX_LINE >> 20} MB")
            raise EOFError
        return line

    def tell(self) -> int:
        return self.file.tell()

    def rest(self) -> bytes:
        """All that follows."""
        return self.file.read()
