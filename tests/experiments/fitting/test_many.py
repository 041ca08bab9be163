"""Many fits from the command line: their folders, failures, interruptions."""

import csv
import dataclasses
import io
import json
import os
import signal
import sys

import numpy as np
import pytest
from absl import flags as absl_flags
from rich.console import Console

from experiments.base.errors import UserError
from experiments.commands import fit
from experiments.data import neutral
from experiments.fitting import checkpoints
from experiments.fitting import run as fitting
from experiments.loaders import synthetic
from experiments.show import presentation
from tests.experiments.conftest import JOINT_ALONE, WARMUP_ALONE
from tests.experiments.fitting.test_resume import SCRIPT


@pytest.fixture(scope="session")
def two_actions(tmp_path_factory, tiny_dataset, tiny_body):
    """A folder with two actions: two clips and three, not of one length."""
    folder = tmp_path_factory.mktemp("actions")
    neutral.write(dataclasses.replace(tiny_dataset, action="serve"), folder)
    longer = synthetic.load(tiny_body, num_instances=3, seed=4, style=synthetic.StyleModel(frames_range=(13, 17)))
    neutral.write(dataclasses.replace(longer, action="throw"), folder)
    return folder


@pytest.fixture(scope="session")
def many_flags(tiny_flags, two_actions):
    """A tiny fit's flags for all actions of the folder, all their clips."""
    rest = [flag for flag in tiny_flags if not flag.startswith(("--action", "--max_instances"))]
    return ["--action=all", f"--data_dir={two_actions}", *rest]


def rows_of(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def run_here(arguments):
    """Fits like run.py, in this process, and prints what it says. Raises UserError: some failed."""
    said = io.StringIO()
    settings = fit.parse(["run.py", *arguments], absl_flags.FlagValues())
    console = Console(file=said, highlight=False, soft_wrap=True, width=200)
    try:
        fitting.run(settings, presentation.begin, console, checkpoint_seconds=0.0)
    finally:
        print(said.getvalue())


def arrays_of(path):
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


def test_some_fail_and_the_others_finish(run_py, many_flags, tmp_path, capsys):
    """A learning rate that diverges and an action that is not there; on two devices, two fits at a time."""
    two_devices = {"XLA_FLAGS": f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=2"}
    given = [flag.replace("--action=all", "--action=serve,volley,throw") for flag in many_flags]
    given += [
        *JOINT_ALONE,
        "--fit.optimiser=adamw",
        "--fit.weight_decay=1000",
    ]  # at the greater rate, weights grow 10,000 times a step
    given += ["--sweep=fit.lr_field=1e-3,10", "--fits_per_batch=2", f"--output_dir={tmp_path}"]
    process = run_py(*given, **two_devices)
    assert process.returncode == 2, process.stderr
    assert "Traceback" not in process.stderr
    (sentence,) = [line for line in process.stderr.splitlines() if line.startswith("error:")]
    assert "4 of 6 fits failed" in sentence and "many.csv" in sentence
    # The actions share one program, though one has a clip more.
    assert process.stdout.count("compiled for") == process.stdout.count("compiled for 2 fits at once") == 1
    rows = rows_of(tmp_path / "many.csv")
    assert [(row["action"], row["lr_field"]) for row in rows] == [
        (action, lr) for action in ("serve", "volley", "throw") for lr in ("0.001", "10.0")
    ]
    for row in rows:
        folder = tmp_path / row["action"] / f"lr_field={row['lr_field']}"
        assert row["folder"] == str(folder)
        if row["action"] != "volley" and row["lr_field"] == "0.001":
            assert (row["status"], row["error"]) == ("done", "")
            metrics = json.loads((folder / "metrics.json").read_text())
            assert float(row["mpjpe_mm/fit"]) == metrics["mpjpe_mm/fit"]
            clips = {"serve": 2, "throw": 3}[row["action"]]
            assert len(list((folder / "motion").glob("*.npz"))) == metrics["num_instances"] == clips
            assert json.loads((folder / "config.json").read_text())["fit"]["lr_field"] == 1e-3
            assert not (folder / "error.txt").exists()
        else:
            reason = "--action=volley is not in" if row["action"] == "volley" else "the fit diverged"
            assert row["status"] == "failed" and reason in row["error"]
            assert (folder / "error.txt").read_text().strip() == row["error"]
            assert not (folder / "metrics.json").exists()

    # Again, on one device: a finished one is left alone, one without its results gets them, the others are tried anew.
    kept, lost = (tmp_path / action / "lr_field=0.001" / "metrics.json" for action in ("serve", "throw"))
    stamp, numbers = kept.stat().st_mtime_ns, json.loads(lost.read_text())
    lost.unlink()
    with pytest.raises(UserError, match="4 of 6 fits failed"):
        run_here(given)
    again = capsys.readouterr().out
    # On a busy machine one of them may have been saved before it diverged, and then they do not go on together.
    fitted = " ".join(line for line in again.splitlines() if line.startswith("Fitting "))
    assert all(f"{action}, seed 0, lr_field=10.0" in fitted for action in ("serve", "throw"))
    assert "lr_field=0.001" not in fitted
    assert kept.stat().st_mtime_ns == stamp
    assert json.loads(lost.read_text())["mpjpe_mm/fit"] == pytest.approx(numbers["mpjpe_mm/fit"], rel=1e-6)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_killed_and_run_again(run_py, both_flags, tmp_path):
    # Two stages are enough to be killed within the first and the second.
    both_flags = [*both_flags, "--fit.joint_steps=0"]
    whole = [*both_flags, f"--output_dir={tmp_path / 'whole'}"]
    run_here(whole)

    broken = [*both_flags, f"--output_dir={tmp_path / 'broken'}"]
    for last in (2, 4):
        process = run_py(last, *broken, script=("-c", SCRIPT))
        assert process.returncode == -signal.SIGKILL, process.stderr
    assert not list((tmp_path / "broken").rglob("metrics.json"))
    run_here(broken)
    for action in ("serve", "throw"):
        one, other = (arrays_of(tmp_path / run / action / "history.npz") for run in ("whole", "broken"))
        assert one.keys() == other.keys()
        for key in one:
            # Bit for bit where all were saved at the same step; where the kill came between two saves, other programs ran.
            np.testing.assert_allclose(other[key], one[key], rtol=1e-3, err_msg=f"{action} {key}")


def test_what_stops_all_is_said_once(tmp_path):
    with pytest.raises(UserError, match=r"^--data_dir=.*no such folder") as error:
        run_here(["--action=a,b", f"--data_dir={tmp_path / 'nowhere'}", f"--output_dir={tmp_path / 'out'}"])
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_eight_fits_are_read_and_written_by_other_processes(tiny_flags, tmp_path, capsys):
    given = [*tiny_flags, *WARMUP_ALONE, "--num_seeds=8", f"--output_dir={tmp_path}"]
    run_here(given)
    rows = rows_of(tmp_path / "many.csv")
    assert [(row["seed"], row["status"]) for row in rows] == [(str(seed), "done") for seed in range(8)]
    # Each seed has clips of its own, made up by a process that knows nothing of the others.
    assert len({row["mpjpe_mm/fit"] for row in rows}) == 8
    for seed in range(8):
        folder = tmp_path / f"seed_{seed}"
        assert len(list((folder / "motion").glob("*.npz"))) == 2
        assert not (folder / "overview.png").exists()
        assert list((folder / "checkpoints").glob(f"*/{checkpoints.SEAL}"))
    capsys.readouterr()
    run_here(given)
    assert "Fitting" not in capsys.readouterr().out
