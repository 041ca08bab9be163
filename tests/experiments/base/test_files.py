"""Files that are whole or not there, and what is left of writes that were killed."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from experiments.base import files
from experiments.results import writing

# Begins to write a file, says so, and waits until it may end; it dies in the middle where there is nothing to read.
WRITE = """
import os, sys
from pathlib import Path
from experiments.base import files
with files.replacing(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    print("begun", flush=True)
    if not sys.stdin.readline():
        os._exit(1)
"""


def start(path):
    process = subprocess.Popen(
        [sys.executable, "-c", WRITE, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )
    assert process.stdout.readline() == "begun\n"
    return process


def test_an_error_leaves_nothing(tmp_path):
    def fail():
        with files.replacing(tmp_path / "a.png") as temporary:
            temporary.write_text("half")
            assert temporary.suffix == ".png"
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.name != "posix", reason="processes are asked for by signals of POSIX")
def test_leftovers_of_the_dead_are_removed_and_those_of_the_living_stay(tmp_path):
    dead, alive = start(tmp_path / "motion" / "dead.npz"), start(tmp_path / "alive.npz")
    dead.communicate()
    (tmp_path / ".unfinished.metrics.json").write_text("of an older version")
    (tmp_path / ".unfinished.frames").mkdir()
    (tmp_path / ".unfinished.frames" / "1.png").touch()
    (tmp_path / "motion" / "kept.npz").touch()
    far = tmp_path / ".unfinished.1a-ffffff.far.npz"
    far.touch()
    assert len(list(tmp_path.rglob(".unfinished*"))) == 5
    with files.replacing(tmp_path / "own.json") as own, writing.held(tmp_path):
        left = {path.name for path in tmp_path.rglob(".unfinished*")}
        own.touch()
    assert len(left) == 2 and far.name in left and any("alive.npz" in name for name in left)
    alive.communicate("go on\n")
    assert (tmp_path / "alive.npz").read_text() == "half" and (tmp_path / "own.json").exists()
    long_ago = time.time() - 30 * 3600
    os.utime(far, (long_ago, long_ago))
    files.remove_leftovers(tmp_path)
    assert not list(tmp_path.rglob(".unfinished*")) and (tmp_path / "motion" / "kept.npz").exists()


def test_leftovers_of_this_very_number_are_removed(tmp_path):
    """In a container every run may have the same process number."""
    left = tmp_path / f".unfinished.{os.getpid():x}-{files._machine()}.a.json"
    left.touch()
    with files.replacing(tmp_path / "b.json") as own:
        own.touch()
        files.remove_leftovers(tmp_path)
        assert own.exists() and not left.exists()
