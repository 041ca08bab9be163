"""A short part of the campaign of hostile files, in a process of its own: `python -m tests.fuzz.pickles` runs more."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz import hostile_archives, hostile_pickles, hostile_torch, odd_entries, pickles
from tests.fuzz.measure import measured

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork, which the measuring needs")


def test_a_short_campaign():
    """Without bombs, which take longest to make; tests of the readers have those."""
    command = [sys.executable, "-m", "tests.fuzz.pickles", "--count=16", "--seed=1", "--skip=bomb"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    table = {line[:28].strip(): line[28:].split() for line in done.stdout.splitlines()}
    assert len(table) > 25
    tried, refused, loaded, failed = map(int, table["all"][:4])
    assert tried > 70
    assert (refused + loaded, failed) == (tried, 0)


def test_files_depend_on_the_seed_alone():
    def wanted(kind):
        return kind in ("memo", "npy shape", "torch strides", "entries of VIBE")

    first, again, other = (list(pickles.cases(80, seed, wanted)) for seed in (3, 3, 4))
    assert first == again != other
    assert {case.kind for case in first} == {"memo", "npy shape", "torch strides", "entries of VIBE"}


def test_there_are_kinds_enough():
    for maker, least in ((hostile_pickles, 30), (hostile_archives, 15), (hostile_torch, 10), (odd_entries, 10)):
        assert len(set(maker.NAMES)) == len(maker.NAMES) >= least


class TestMeasuring:
    def test_an_answer(self):
        outcome = measured(lambda: "refused", 5, 1 << 30)
        assert outcome.answer == "refused" and outcome.seconds < 1

    def test_memory_is_counted(self):
        outcome = measured(lambda: str(len(bytes(range(256)) * (1 << 20))), 5, 1 << 30)
        assert outcome.answer == str(256 << 20)
        assert outcome.bytes > 250 << 20

    def test_what_hangs_and_what_dies(self):
        def hang():
            while True:
                pass

        assert measured(hang, 1, 1 << 30).answer == "hangs"
        assert measured(lambda: os.kill(os.getpid(), signal.SIGKILL), 5, 1 << 30).answer == "dies of signal 9"

    @pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the system does not say what a process takes")
    def test_what_takes_too_much(self):
        def grow():
            parts = []
            while True:
                parts.append(bytes(range(256)) * 40_000)

        assert measured(grow, 20, 300 << 20).answer == "takes too much memory"
