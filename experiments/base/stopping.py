"""Ctrl-C and SIGTERM: one sentence and an exit code at any moment of a process, never a trace.

Python's own way, an exception in the main thread, ends in traces where it strikes during an import, while threads compile
or while the interpreter shuts down, and comes late where the main thread is inside a library. Here a thread waits for
signals and ends the process at once. Nothing is lost by that: results and checkpoints are written under another name and
renamed, and the system itself releases the lock of a results folder.
"""

import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator

# What a shell gives for a process that one of these ended.
EXIT_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}
STARTS_OVER = "the same command starts over"
CONTINUES = "the same command continues from the last checkpoint"
KEEPS_FINISHED = "the same command continues after the last finished fits"
_SHOW_CURSOR = "\x1b[?25h"  # a progress bar hides it
_FLUSH_SECONDS = 1.0

_hint = "give the same command again to go on"
_left_to_python: set[int] = set()
_ends: list[socket.socket] = []
_before_fork = threading.local()


def end_on_signals() -> None:
    """From now on Ctrl-C and SIGTERM end this process with one sentence and exit code 130 or 143. To be called early, in
    the main thread. A signal that is ignored, as in jobs that a shell starts in the background, stays so."""
    if _ends:
        return
    _ends.extend(socket.socketpair())
    _ends[1].setblocking(False)
    threading.Thread(target=_wait, args=(_ends[0],), name="signals", daemon=True).start()
    signal.set_wakeup_fd(_ends[1].fileno(), warn_on_full_buffer=False)
    for number in EXIT_CODES:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, lambda *_: None)  # the thread hears of it
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=_hold, after_in_parent=_release, after_in_child=_in_child)


def say(how_to_continue: str) -> None:
    """What the sentence says from now on: `STARTS_OVER` or `CONTINUES`."""
    global _hint
    _hint = how_to_continue


def sentence() -> str:
    """What a stopped process says."""
    return f"Stopped; {_hint}."


def leave_to_parent() -> None:
    """For worker processes, as the initializer of their pool: Ctrl-C reaches them too, and their parent ends them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextlib.contextmanager
def as_exception() -> Iterator[None]:
    """Ctrl-C within the block is a KeyboardInterrupt, for a command that is meant to be ended by it."""
    before = signal.getsignal(signal.SIGINT)
    _left_to_python.add(signal.SIGINT)
    if before != signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        _left_to_python.discard(signal.SIGINT)


def _wait(end: socket.socket) -> None:
    """Body of the thread: reads the numbers of signals, which Python's handler in C writes at once."""
    while True:
        for number in end.recv(64):
            if number in EXIT_CODES and number not in _left_to_python:
                _end(number)


def _end(number: int) -> None:
    # What was printed goes out first; a reader that has stopped reading does not hold up the end.
    flushing = threading.Thread(target=_flush, daemon=True)
    flushing.start()
    flushing.join(_FLUSH_SECONDS)
    _end_children()
    cursor = _SHOW_CURSOR if os.isatty(2) else ""
    with contextlib.suppress(OSError):
        os.write(2, f"{cursor}\n{sentence()}\n".encode())
    os._exit(EXIT_CODES[signal.Signals(number)])


def _flush() -> None:
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stdout.flush()


def _end_children() -> None:
    """Ends the workers of pools, which would wait for this process for ever."""
    if "multiprocessing" in sys.modules:
        for child in sys.modules["multiprocessing"].active_children():
            child.terminate()


def _hold() -> None:
    """Signals wait while a process forks: Python forgets those that reach the child before it is set up."""
    _before_fork.mask = signal.pthread_sigmask(signal.SIG_BLOCK, EXIT_CODES)


def _release() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _before_fork.mask)


def _in_child() -> None:
    """A fork has no such thread, and what it received would be heard by its parent's: it ends without words."""
    signal.set_wakeup_fd(-1)
    for number in EXIT_CODES:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    _release()
