"""Native libraries talk on the standard error output; this keeps their small talk from the user."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator


@contextlib.contextmanager
def without(chatter: re.Pattern[str]) -> Iterator[None]:
    """Holds back what is written to the standard error output, by native code too, until the block ends, however it ends.

    Lines that match `chatter` at their beginning are then dropped, all others are written.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            held.seek(0)
            lines = held.read().decode(errors="replace").splitlines(keepends=True)
            sys.stderr.write("".join(line for line in lines if not chatter.match(line)))
            sys.stderr.flush()
