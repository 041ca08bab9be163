"""Several processes share the fits: who takes which, what launchers say, the death of one, the start of all again."""

import json
import os
import signal
import socket
import subprocess
import sys

import pytest

from experiments.base.errors import UserError
from experiments.fitting import processes as distributed
from experiments.fitting.settings import Settings
from tests.experiments.conftest import ROOT
from tests.experiments.fitting.test_many import SCRIPT, rows_of, run_here

_SLURM = {
    "SLURM_JOB_ID": "1",
    "SLURM_STEP_NODELIST": "n[1-2]",
    "SLURM_NTASKS": "4",
    "SLURM_PROCID": "2",
    "SLURM_LOCALID": "0",
}


def test_all_fits_are_assigned_once_and_the_unfinished_ones_evenly():
    finished = [number % 3 == 0 for number in range(20)]
    for processes in (1, 2, 3, 7, 30):
        shares = [distributed.assigned(finished, process, processes) for process in range(processes)]
        assert sorted(number for share in shares for number in share) == list(range(20))
        work = [sum(not finished[number] for number in share) for share in shares]
        assert max(work) - min(work) <= 1


def test_neighbours_stay_together():
    assert distributed.assigned([False] * 6, 1, 3) == (2, 3)


def test_without_flags_and_launcher_one_process_takes_all():
    share = distributed.share(Settings(action="a"), ["x", "y"], [True, False])
    assert share == distributed.Share(0, 1, (0, 1))
    off = Settings(action="a", num_processes=1)
    assert distributed.share(off, ["x"], [False]).mine == (0,)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        (_SLURM, "slurm"),
        ({**_SLURM, "SLURM_NTASKS": "1"}, None),
        # A batch script itself, outside of srun.
        ({name: value for name, value in _SLURM.items() if "STEP" not in name}, None),
        ({"OMPI_COMM_WORLD_SIZE": "4", "OMPI_MCA_orte_hnp_uri": "1.0;tcp://10.0.0.1:1"}, "ompi"),
        ({"OMPI_COMM_WORLD_SIZE": "1"}, None),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, None),
    ],
)
def test_launchers(environment, expected):
    assert distributed.launcher(environment) == expected


@pytest.mark.parametrize(
    ("environment", "package"),
    [
        ({"PMI_SIZE": "2"}, "mpi4py"),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JOB_COMPLETION_INDEX": "0"}, "kubernetes"),
    ],
)
def test_launchers_whose_package_is_missing(monkeypatch, environment, package):
    monkeypatch.setattr(distributed.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=f"{package} is not installed.*--num_processes=1"):
        distributed.launcher(environment)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        ({"SLURM_LOCALID": "3", "SLURM_STEP_TASKS_PER_NODE": "4(x2)"}, "3"),
        ({"SLURM_LOCALID": "3", "SLURM_STEP_TASKS_PER_NODE": "4", "CUDA_VISIBLE_DEVICES": "0,1,2,3"}, "3"),
        # Each was given its own, or has the machine to itself.
        ({"SLURM_LOCALID": "3", "SLURM_STEP_TASKS_PER_NODE": "4", "CUDA_VISIBLE_DEVICES": "0"}, None),
        ({"SLURM_LOCALID": "0", "SLURM_STEP_TASKS_PER_NODE": "1(x8)"}, None),
        ({"OMPI_COMM_WORLD_LOCAL_RANK": "1", "OMPI_COMM_WORLD_LOCAL_SIZE": "2"}, "1"),
    ],
)
def test_the_gpu_of_a_process(environment, expected):
    assert distributed.own_device(environment) == expected


@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        ({"num_processes": 2}, ["--coordinator_address and --process_id missing"]),
        ({"coordinator_address": "here", "num_processes": 2, "process_id": 0}, ["here has no port"]),
        ({"coordinator_address": "h:1", "num_processes": 2, "process_id": 2}, ["--process_id=2", "0 to 1"]),
    ],
)
def test_bad_flags(flags, parts):
    with pytest.raises(UserError) as error:
        distributed.share(Settings(action="a", **flags), ["x"], [False])
    for part in parts:
        assert part in str(error.value)


def free_address():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def meeting(address, process, processes, names, patience=60):
    """A process that meets the others and prints its share, or the sentence of its error."""
    script = (
        "import json, sys\nfrom experiments.base.errors import UserError\n"
        "from experiments.fitting import processes as distributed\n"
        "from experiments.fitting.settings import Settings\n"
        "a, i, n, names, patience = json.loads(sys.argv[1])\n"
        "s = Settings(action='a', coordinator_address=a, num_processes=n, process_id=i)\n"
        # Only what process 0 sees of the finished ones counts.
        "try: print(json.dumps(distributed.share(s, names, [i == 0] * 2 + [False] * (len(names) - 2), patience).mine))\n"
        "except UserError as error: print(json.dumps(str(error)))"
    )
    return subprocess.Popen(
        [sys.executable, "-c", script, json.dumps([address, process, processes, names, patience])],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"},
    )


def said(process):
    return json.loads(process.communicate(timeout=200)[0].splitlines()[-1])


def test_processes_agree_on_what_is_finished():
    address, names = free_address(), ["u", "v", "w", "x", "y"]
    shares = [said(process) for process in [meeting(address, i, 2, names) for i in range(2)]]
    assert shares == [[0, 2, 3], [1, 4]]


def test_processes_that_were_asked_for_other_fits():
    address = free_address()
    answers = [said(process) for process in [meeting(address, i, 2, ["u", "v", "wx"[i]]) for i in range(2)]]
    assert all("process 1 was asked for other fits than process 0" in answer for answer in answers)


def test_one_that_nobody_meets():
    answer = said(meeting(free_address(), 1, 2, ["u", "v"], patience=3))
    assert "the processes did not all meet within 3 s" in answer and "\n" not in answer


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_two_die_and_all_are_started_again(serve_flags, tmp_path):
    """Of four processes two are killed while they fit, one of them the coordinator; then two do the rest."""
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    folder = tmp_path / "seeds"
    # Two stages are enough to be killed in the second one.
    two_stages = [*serve_flags, "--fit.joint_steps=0"]
    # Four that start at once would each compile the same.
    run_here([*two_stages, f"--output_dir={tmp_path / 'before'}"])

    def run(processes, dying=()):
        address = free_address()
        flags = [*two_stages, "--num_seeds=4", f"--output_dir={folder}", f"--coordinator_address={address}"]
        started = [
            subprocess.Popen(
                # The ninth chunk is one of the second stage.
                [sys.executable, "-c", SCRIPT, "8" if process in dying else "-1", *flags]
                + [f"--num_processes={processes}", f"--process_id={process}"],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=environment,
            )
            for process in range(processes)
        ]
        ends = [process.communicate(timeout=500) for process in started]
        assert [process.returncode for process in started] == [
            -signal.SIGKILL if process in dying else 0 for process in range(processes)
        ], ends
        return [out for out, _ in ends]

    def metrics():
        return {path.parent.name: path.stat().st_mtime_ns for path in folder.glob("*/metrics.json")}

    run(4, dying=(0, 2))
    before = metrics()
    assert set(before) == {"seed_1", "seed_3"}
    assert [row["status"] for row in rows_of(folder / "many.csv")] == ["unfinished", "done"] * 2

    outputs = run(2)
    after = metrics()
    assert set(after) == {f"seed_{seed}" for seed in range(4)}
    assert {seed: after[seed] for seed in before} == before
    # One unfinished fit each, from where its checkpoint left it.
    for seed, out in zip((0, 2), outputs, strict=True):
        assert f"Fitting serve, seed {seed}\n" in out
        assert "camera " in out and "warmup " not in out
    assert [row["status"] for row in rows_of(folder / "many.csv")] == ["done"] * 4
