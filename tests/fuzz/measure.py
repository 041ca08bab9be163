"""Runs a call in a child process and measures what it took. Needs `os.fork` and `resource`: Linux or macOS."""

import dataclasses
import math
import os
import resource
import signal
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

# Where the machine does other things too, a call may take so many times its seconds.
_PATIENCE = 6
_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


@dataclasses.dataclass(frozen=True)
class Outcome:
    """answer: what the call returned, or how it ended. seconds: of the processor, so that what else the machine does says
    nothing. bytes: of memory beyond what was there before."""

    answer: str
    seconds: float
    bytes: int


def measured(call: Callable[[], str], max_seconds: float, max_bytes: int) -> Outcome:
    """What a call answers; killed when it takes longer or more memory."""
    read_end, write_end = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # JAX warns of forks; its backend has not started here
        child = os.fork()
    if not child:
        os.close(read_end)
        limit = math.ceil(max_seconds)
        resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 1))
        os.write(write_end, _resident(os.getpid()).to_bytes(8, "little"))
        os.write(write_end, call().encode(errors="replace")[:4000])
        os._exit(0)
    os.close(write_end)
    # Of its own: not all that the parent has is there from the start.
    before = int.from_bytes(os.read(read_end, 8), "little")
    start = time.monotonic()
    killed = ""
    pause = 0.002
    while True:
        done, status, usage = os.wait4(child, os.WNOHANG)
        if done:
            break
        if not killed and time.monotonic() - start > _PATIENCE * max_seconds:
            killed = "hangs"
        elif not killed and _resident(child) - before > max_bytes:
            killed = "takes too much memory"
        if killed:
            os.kill(child, signal.SIGKILL)
        time.sleep(pause)
        pause = min(pause * 1.3, 0.05)
    seconds = usage.ru_utime + usage.ru_stime
    with os.fdopen(read_end, "rb") as stream:
        answer = stream.read().decode()
    most = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    if not killed and status & 127 == signal.SIGXCPU:
        killed = "hangs"
    if not killed and status:
        killed = f"dies of signal {status & 127}" if status & 127 else f"ends with status {status >> 8}"
    return Outcome(killed or answer, seconds, max(most - before, 0))


def _resident(process: int) -> int:
    """Bytes of memory that a process has; 0 where the system does not say."""
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0
