"""What reading one file from a stranger may take: memory, steps, nesting. Counted before it is taken, never given back.

A file of a few bytes can ask for anything: an array of 10^12 zeros, a thousand million copies of one value, a dict whose
keys collide. So what is made of a file is measured by the file: an allowance that any file has, and so much for each of
its bytes. A file that needs more is refused, however long it would have gone on.
"""

import contextlib
import gc
from collections.abc import Iterator

import numpy as np

# Largest file, and most that is made of one: an hour's film with every vertex of the body in every frame has 1 GB, of
# which reading holds two copies for a while.
MAX_BYTES = 4 << 30
# What a file of any size may take: sparse matrices, constant arrays and empty frames are small only in the file.
BASE_BYTES = 128 << 20
# And for each of its bytes: compressed poses unpack to up to five times their size, and are then copied into arrays.
BYTES_PER_BYTE = 16
# A step is a pickle's instruction or a value made of it: less than a microsecond, and up to a hundred bytes of memory.
BASE_STEPS = 3_000_000
# A tracker's output, which is made of many small arrays, has a step for each four bytes when compressed.
BYTES_PER_STEP = 2
# Values that a result may have, counting what is shared as often as it occurs; nothing asks for more than its steps.
BASE_VALUES = 2_000_000
BYTES_PER_VALUE = 2
# Containers within containers; outputs of trackers have six.
MAX_DEPTH = 100
# Whole numbers: the largest that a format has is torch's magic number of 80 bits.
MAX_NUMBER_BYTES = 128
# Keys that are tuples, each of so many parts: their hashes can be made to collide, those of text cannot.
MAX_TUPLE_KEYS = 1000
MAX_TUPLE_PARTS = 32
# CPython's hash of a whole number is its remainder by this; smaller ones do not collide.
MAX_NUMBER_KEY = (1 << 61) - 1
_SAFE_KEYS = frozenset([str, bytes, bool, float, type(None)])
_SAFE_SCALARS = (np.bool_, np.integer, np.floating, np.str_, np.bytes_)


class TooMuchError(ValueError):
    """Reading the file would take more than a file of its size may. Says what, and does not name the file."""


class Budget:
    """What is left for one file and everything in it: files within the file share it."""

    def __init__(self, file_bytes: int, max_bytes: int = MAX_BYTES):
        """file_bytes: size of the file, as it is stored. max_bytes: the most memory, whatever the size."""
        self.max_bytes = min(BASE_BYTES + BYTES_PER_BYTE * file_bytes, max_bytes)
        self.bytes = self.max_bytes
        self.steps = BASE_STEPS + file_bytes // BYTES_PER_STEP
        self.values = BASE_VALUES + file_bytes // BYTES_PER_VALUE
        # Each is met twice: as the file has it, and made of what the file asks for.
        self._tuple_keys = 2 * MAX_TUPLE_KEYS

    def take_bytes(self, count: int) -> None:
        """To be called before memory is taken, also for a while, that the file's own size does not bound."""
        self.bytes -= count
        if self.bytes < 0:
            raise TooMuchError(
                f"they would take more memory than the {self.max_bytes >> 20} MB that a file of its size may have for arrays"
            )

    def take_steps(self, count: int) -> None:
        self.steps -= count
        if self.steps < 0:
            raise TooMuchError("it has more instructions and values than a file of its size may")

    def check_key(self, key: object, by_identity: tuple[type, ...] = ()) -> None:
        """To be called before a key of a dict or member of a set is hashed.

        Args:
          key: it, or of any other type.
          by_identity: types whose hash is that of their address.

        Raises:
          ValueError: hashing or comparing it could take without end.
        """
        kind = type(key)
        if kind in _SAFE_KEYS or (kind is int and -MAX_NUMBER_KEY < key < MAX_NUMBER_KEY):  # pyright: ignore[reportOperatorIssue]
            return
        if isinstance(key, tuple):
            self._tuple_keys -= 1
            if self._tuple_keys < 0:
                raise TooMuchError(f"it has more than {MAX_TUPLE_KEYS} keys that are tuples")
            self._check_parts(key, MAX_TUPLE_PARTS, by_identity)
        elif kind is int or not isinstance(key, (*_SAFE_SCALARS, *by_identity)):
            what = f"a number of {int.bit_length(key)} bits" if isinstance(key, int) else f"a {kind.__name__}"
            raise ValueError(f"it has {what} as a key; text and numbers are read")

    def _check_parts(self, key: tuple, left: int, by_identity: tuple[type, ...]) -> int:
        left -= len(key)
        if left < 0:
            raise ValueError(f"it has a key of more than {MAX_TUPLE_PARTS} parts")
        for part in key:
            if type(part) is tuple:
                left = self._check_parts(part, left - 1, by_identity)
            else:
                self.check_key(part, by_identity)
        return left


@contextlib.contextmanager
def no_collection() -> Iterator[None]:
    """Keeps Python from looking for garbage, which among millions of new lists takes longer than making them."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
