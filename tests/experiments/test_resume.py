"""A fit killed at any moment and run again ends where an uninterrupted one does, bit for bit."""

import signal
import sys

import jax
import numpy as np
import pytest
from absl import flags as absl_flags

from experiments import flags, runner
from experiments.checkpoints import Checkpoints, identity_of

# Runs a fit like run.py, saving after every chunk, and dies of SIGKILL right after the chunk number of the first argument.
SCRIPT = """
import os, signal, sys
from absl import flags as absl_flags
from experiments import chunks, flags, runner

last = int(sys.argv[1])
run = chunks.CompiledFit.run

def run_and_die(self, problem, position, carry):
    for number, chunk in enumerate(run(self, problem, position, carry)):
        yield chunk
        if number == last:
            os.kill(os.getpid(), signal.SIGKILL)

chunks.CompiledFit.run = run_and_die
runner.run(flags.parse(["run.py", *sys.argv[2:]], absl_flags.FlagValues()), checkpoint_seconds=0.0)
"""


def end_of(arguments):
    """Final checkpoint of a finished fit."""
    settings = flags.parse(["run.py", *arguments], absl_flags.FlagValues())
    inputs = runner.load(settings)
    identity = {"action": settings.action, "seed": settings.seed, "holdout": inputs.holdout}
    identity = identity_of(inputs.job, identity, inputs.dataset.names)
    return Checkpoints(settings.output / "checkpoints", inputs.job, identity).latest()


def arrays_of(folder):
    with np.load(folder) as file:
        return {name: file[name] for name in file.files}


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_killed_and_run_again(run_py, tiny_flags, tmp_path):
    script = ("-c", SCRIPT)
    whole = [*tiny_flags, f"--output_dir={tmp_path / 'whole'}"]
    process = run_py(-1, *whole, script=script)
    assert process.returncode == 0, process.stderr

    broken = [*tiny_flags, f"--output_dir={tmp_path / 'broken'}"]
    # In the first stage before anything is surely on disk, then within and at the end of stages.
    for last in (0, 3, 5):
        process = run_py(last, *broken, script=script)
        assert process.returncode == -signal.SIGKILL, process.stderr
        assert not (tmp_path / "broken" / "metrics.json").exists()
    process = run_py(-1, *broken, script=script)
    assert process.returncode == 0, process.stderr
    assert "Continuing an interrupted fit" in process.stdout

    one, other = end_of(whole), end_of(broken)
    assert one.position == other.position
    for a, b in zip(jax.tree.leaves(one.carry), jax.tree.leaves(other.carry), strict=True):
        assert np.array_equal(np.asarray(a), np.asarray(b))
    for name in ("history.npz", "motion/pitch_0.npz", "motion/pitch_1.npz"):
        a, b = (arrays_of(tmp_path / run / name) for run in ("whole", "broken"))
        assert a.keys() == b.keys()
        for key in a:
            assert np.array_equal(a[key], b[key]), f"{name}: {key}"
