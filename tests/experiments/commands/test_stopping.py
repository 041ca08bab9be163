"""Ctrl-C and SIGTERM at many moments of a real process: one sentence, exit code 130 or 143, never a trace."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.experiments.conftest import JOINT_ALONE

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX are sent")
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}
CONTINUES = "Stopped; the same command continues from the last checkpoint."
# Runs `run.py` and says on the descriptor of the first argument when a moment has come; it then goes on for a while, so that
# the signal finds it there. Each moment is a line that replaces something of the program by the same with a mark before it.
MARKED = """
import os, sys, time
moments = int(sys.argv.pop(1)), sys.argv.pop(1)

def mark(wait=30.0):
    os.write(moments[0], b"!")
    end = time.monotonic() + wait
    while time.monotonic() < end:
        time.sleep(0.01)

def before(owner, name):
    original = getattr(owner, name)
    setattr(owner, name, lambda *a, **k: (mark(), original(*a, **k))[1])

sys.argv[0] = "run.py"
import run
from experiments.base import stopping
exec(moments[1])
run.main()
"""
MOMENTS = {
    "importing": """
import builtins
original = builtins.__import__
def slow(name, *rest, **more):
    if name == "absl":
        mark()
    return original(name, *rest, **more)
builtins.__import__ = slow
""",
    "parsing": "from experiments.commands import fit; before(fit, 'parse')",
    "in a library that runs Python's handlers late": """
from experiments.commands import fit
import ctypes
def parse(*_):
    os.write(moments[0], b"!")
    while True:
        ctypes.CDLL(None).sleep(30)
fit.parse = parse
""",
    "compiling in threads": """
from experiments.commands import fit
def run_threads(settings):
    from concurrent.futures import ThreadPoolExecutor
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: mark(), range(2)))
fit.run = run_threads
""",
    "where exceptions cannot be raised": """
from experiments.commands import fit
class Slow:
    def __del__(self):
        mark()
fit.run = lambda settings: Slow() and None
""",
    "at shutdown": """
import atexit
from experiments.commands import fit
fit.run = lambda settings: atexit.register(mark)
""",
    "joining threads at shutdown": """
import threading
from experiments.commands import fit
fit.run = lambda settings: threading.Thread(target=mark).start()
""",
}


# A shell that starts the tests in the background has Ctrl-C ignored in all that it starts.
HEARD = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
# Saves after the first chunk of steps, not after half a minute.
SAVING = "from experiments.fitting import run as fitting; fitting._CHECKPOINT_SECONDS = 0.0\n"
RUN = "import sys; sys.argv[0] = 'run.py'; import run; run.main()"


def start(code, *arguments, **options):
    """A process that runs Python code as a script would be run."""
    return subprocess.Popen(
        [sys.executable, "-c", HEARD + code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)},
        **options,
    )


def end_of(process, number, sentence=CONTINUES):
    """Asserts that the process says one sentence and ends with the signal's code; returns what it printed before."""
    try:
        out, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert errors.strip().splitlines() == [sentence]
    assert process.returncode == CODES[number]
    return out


@pytest.mark.parametrize("number", CODES, ids=lambda number: number.name)
@pytest.mark.parametrize("moment", MOMENTS)
def test_one_sentence_at_any_moment(moment, number):
    reading, writing = os.pipe()
    process = start(MARKED, writing, MOMENTS[moment], "--action=baseball_pitch", pass_fds=[writing])
    os.close(writing)
    with open(reading, "rb") as marks:
        assert marks.read(1) == b"!", process.communicate()[1]
    begun = time.monotonic()
    process.send_signal(number)
    sentence = "Stopped; give the same command again to go on." if moment == "importing" else CONTINUES
    end_of(process, number, sentence)
    assert time.monotonic() - begun < 20


def saved(folder):
    """The complete checkpoints in a folder of results; those being written have longer names."""
    return [path for path in folder.glob("checkpoints/*") if path.name.isdecimal()]


@pytest.mark.slow
def test_a_fit_that_is_stopped_goes_on(tiny_flags, tmp_path):
    # Steps enough that it does not end before a signal.
    flags = [*tiny_flags, *JOINT_ALONE, "--fit.joint_steps=100000", f"--output_dir={tmp_path}"]
    process = start(SAVING + RUN, *flags)
    for _ in range(1200):
        if process.poll() is not None or saved(tmp_path):
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    assert "2 clips" in end_of(process, signal.SIGINT)
    assert saved(tmp_path)

    process = start(SAVING + RUN, *flags)
    watchdog = threading.Timer(120, process.kill)
    watchdog.start()
    assert any(line.startswith("Continuing an interrupted fit") for line in process.stdout)
    process.send_signal(signal.SIGTERM)
    end_of(process, signal.SIGTERM)
    watchdog.cancel()
    assert not (tmp_path / "metrics.json").exists()


def test_what_was_printed_is_not_lost_and_workers_end():
    code = """
import multiprocessing, sys, time
from experiments.base import stopping

def work():
    time.sleep(60)

if __name__ == "__main__":
    stopping.end_on_signals()
    stopping.say(stopping.STARTS_OVER)
    child = multiprocessing.get_context("fork").Process(target=work)
    child.start()
    print("in the buffer", child.pid)
    sys.stderr.write("!")
    sys.stderr.flush()
    time.sleep(60)
"""
    process = start(code)
    assert process.stderr.read(1) == "!"
    process.send_signal(signal.SIGTERM)
    words = end_of(process, signal.SIGTERM, "Stopped; the same command starts over.").split()
    assert words[:-1] == ["in", "the", "buffer"]
    for _ in range(100):
        try:
            os.kill(int(words[-1]), 0)
        except ProcessLookupError:
            break
        time.sleep(0.05)
    else:
        pytest.fail("the worker is still there")


def test_a_fork_that_is_ended_does_not_end_its_parent():
    code = """
import os, signal, time
from experiments.base import stopping
stopping.end_on_signals()
pid = os.fork()
if pid == 0:
    time.sleep(60)
time.sleep(0.2)
os.kill(pid, signal.SIGTERM)
print(os.WTERMSIG(os.waitpid(pid, 0)[1]) == signal.SIGTERM)
time.sleep(0.3)
print("still here")
"""
    process = start(code)
    out, errors = process.communicate(timeout=60)
    assert (process.returncode, out.splitlines(), errors) == (0, ["True", "still here"], "")


def test_a_fork_that_is_ended_at_once_does_not_live_on():
    code = """
import os, signal, time
from experiments.base import stopping
stopping.end_on_signals()
for _ in range(100):
    pid = os.fork()
    if pid == 0:
        time.sleep(5)
        os._exit(0)
    os.kill(pid, signal.SIGTERM)
    assert os.WTERMSIG(os.waitpid(pid, 0)[1]) == signal.SIGTERM
"""
    process = start(code)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")


def test_an_ignored_ctrl_c_stays_ignored():
    code = """
import os, signal, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
from experiments.base import stopping
stopping.end_on_signals()
os.kill(os.getpid(), signal.SIGINT)
time.sleep(0.3)
print("still here")
"""
    process = start(code)
    out, errors = process.communicate(timeout=60)
    assert (process.returncode, out, errors) == (0, "still here\n", "")
