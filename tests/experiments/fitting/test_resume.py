"""A fit killed at any moment and run again ends where an uninterrupted one does, bit for bit."""

import io
import signal
import sys

import jax
import numpy as np
import pytest
from absl import flags as absl_flags
from rich.console import Console

from experiments.commands import fit
from experiments.fitting import inputs
from experiments.fitting import run as fitting
from experiments.fitting.checkpoints import Checkpoints
from experiments.show import presentation
from tests.experiments.conftest import JOINT_ALONE

# Runs a fit like run.py, saving after every chunk, and dies of SIGKILL right after the chunk number of the first argument.
SCRIPT = """
import os, signal, sys
from absl import flags as absl_flags
from experiments.commands import fit as flags
from experiments.fitting import compiled_programs, machine, run as fitting
from experiments.show import presentation

last = int(sys.argv[1])
run = compiled_programs.CompiledFit.run

def run_and_die(self, problem, position, carry):
    for number, chunk in enumerate(run(self, problem, position, carry)):
        yield chunk
        if number == last:
            os.kill(os.getpid(), signal.SIGKILL)

compiled_programs.CompiledFit.run = run_and_die
machine._SAVING_SHARE = 1e9
settings = flags.parse(["run.py", *sys.argv[2:]], absl_flags.FlagValues())
fitting.run(settings, presentation.begin, checkpoint_seconds=0.0)
"""


def end_of(arguments):
    """Final checkpoint of a finished fit."""
    settings = fit.parse(["run.py", *arguments], absl_flags.FlagValues())
    given = inputs.load(settings)
    return Checkpoints(settings.output / "checkpoints", given.job, given.identity).latest()


def arrays_of(folder):
    with np.load(folder) as file:
        return {name: file[name] for name in file.files}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_killed_and_run_again(run_py, serve_flags, tmp_path):
    # In this process, which dies of nothing: the same programs, from the same cache.
    def run_here(arguments):
        said = io.StringIO()
        settings = fit.parse(["run.py", *arguments], absl_flags.FlagValues())
        fitting.run(settings, presentation.begin, Console(file=said), checkpoint_seconds=0.0)
        return said.getvalue()

    # The joint stage in two parts of one program, 4 steps and 6, between which names are read. All stages are cut in
    # test_checkpoints.
    serve_flags = [flag for flag in serve_flags if "exchange_price" not in flag and "joint_steps" not in flag]
    serve_flags += [*JOINT_ALONE, "--fit.joint_steps=10", "--fit.exchange_price=4"]
    whole = [*serve_flags, f"--output_dir={tmp_path / 'whole'}"]
    run_here(whole)

    broken = [*serve_flags, f"--output_dir={tmp_path / 'broken'}"]
    # In the first part before anything is surely on disk, at its end, and within the second.
    for last in (0, 3, 2):
        process = run_py(last, *broken, script=("-c", SCRIPT))
        assert process.returncode == -signal.SIGKILL, process.stderr
        assert not (tmp_path / "broken" / "metrics.json").exists()
    assert "Continuing an interrupted fit" in run_here(broken)

    one, other = end_of(whole), end_of(broken)
    assert one.position == other.position
    for a, b in zip(jax.tree.leaves(one.carry), jax.tree.leaves(other.carry), strict=True):
        assert np.array_equal(np.asarray(a), np.asarray(b))
    for name in ("history.npz", "motion/pitch_0.npz", "motion/pitch_1.npz"):
        a, b = (arrays_of(tmp_path / run / name) for run in ("whole", "broken"))
        assert a.keys() == b.keys()
        for key in a:
            assert np.array_equal(a[key], b[key]), f"{name}: {key}"
