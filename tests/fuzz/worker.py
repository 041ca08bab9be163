"""A process that answers what a reader makes of one file or folder after the other, and is replaced when it hangs or dies.

`python -m tests.fuzz.worker <module> <scratch folder>` imports a module of this package, calls its `begin(folder)`, then its
`answer(path)` for each line. Starting JAX takes seconds, which a process for each file would pay each time.
"""

import importlib
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.fuzz.measure import Outcome, _resident

ROOT = Path(__file__).parents[2]
_START_SECONDS = 300.0
_PATIENCE = 3  # times the seconds that a call may take of the clock, as the machine does other things too


class Worker:
    """Starts when it is first needed; a context."""

    def __init__(self, module: str, scratch: Path):
        self._module, self._scratch = module, scratch
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def start(self) -> None:
        if self._process is not None:
            return
        command = [sys.executable, "-m", "tests.fuzz.worker", self._module, str(self._scratch)]
        variables = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=variables)
        line, _, _ = self._line(self._process, _START_SECONDS, 1 << 60)
        if line != "ready":
            raise RuntimeError(f"the worker of {self._module} did not start: {line}")

    def ask(self, path: Path, max_seconds: float, max_bytes: int) -> Outcome:
        """What the reader makes of a path, within limits."""
        self.start()
        process = self._process
        assert process is not None and process.stdin is not None
        process.stdin.write(f"{path}\n".encode())
        process.stdin.flush()
        answer, seconds, most = self._line(process, _PATIENCE * max_seconds, max_bytes)
        if answer == "hangs" or not answer or answer.startswith(("takes", "dies")):
            self._end()
        elif seconds > _PATIENCE * max_seconds:
            answer = "hangs"
        return Outcome(answer, seconds, most)

    def _line(self, process: "subprocess.Popen[bytes]", seconds: float, max_bytes: int) -> tuple[str, float, int]:
        assert process.stdout is not None
        before, start, most = _resident(process.pid), time.monotonic(), 0
        while True:
            ready = select.select([process.stdout], [], [], 0.02)[0]
            most = max(most, _resident(process.pid) - before)
            spent = time.monotonic() - start
            if ready:
                line = process.stdout.readline().decode(errors="replace").strip()
                if line:
                    return line, spent, most
                status = process.wait()
                return f"dies of signal {-status}" if status < 0 else f"dies with status {status}", spent, most
            if most > max_bytes:
                return "takes too much memory", spent, most
            if spent > seconds:
                return "hangs", spent, most

    def _end(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.communicate()
            self._process = None


def sentence(error: Exception) -> str:
    """ "refused" where an error is one sentence, else what it is."""
    message = str(error)
    if "\n" in message or not message or len(message) > 1500:
        return f"no sentence of {len(message)} characters: {message[:200]!r}"
    return "refused"


def main() -> None:
    module = importlib.import_module(f"tests.fuzz.{sys.argv[1]}")
    # What the readers print is not an answer, and there are hundreds of them.
    answers = os.fdopen(os.dup(1), "w")
    log = os.open(Path(sys.argv[2]) / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    module.begin(Path(sys.argv[2]))
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        try:
            answer = module.answer(Path(line.rstrip("\n")))
        except BaseException as error:
            answer = f"trace: {type(error).__name__}: {str(error)[:200]}"
        print(ascii(answer)[1:-1], file=answers, flush=True)


if __name__ == "__main__":
    main()
