"""Several processes, on one machine or many, share the fits of one command line.

They meet once, through `jax.distributed.initialize`: they check that they were asked for the same fits, hear from process 0
which of these are finished, and part. From then on each fits its own share on its own devices and writes to its own
folders of a file system that all see; the death of one takes nothing from the others, and starting all again, in any
number, shares out what is left. They meet in a short-lived child process, because JAX's runtime, once joined, ends all
processes when the one with the coordinator dies, and so that checkpoints are those of one process, which any can restore.
"""

import dataclasses
import hashlib
import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.base.errors import UserError
from experiments.fitting.settings import Settings

_PATIENCE = 300
_FLAGS = ("coordinator_address", "num_processes", "process_id")
_SLURM = ("SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID")
_MPI = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MPI_LOCALNRANKS")
# Number of this process among those of its machine, and how many these are, as launchers say it.
_LOCAL = (("SLURM_LOCALID", "SLURM_STEP_TASKS_PER_NODE"), ("OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE"))


@dataclasses.dataclass(frozen=True)
class Share:
    """process: which one this is, of how many `processes`. mine: the numbers of its fits, finished ones included, which it
    checks."""

    process: int
    processes: int
    mine: tuple[int, ...]


def share(settings: Settings, names: Sequence[str], finished: Sequence[bool], patience: int = _PATIENCE) -> Share:
    """This process's share of the fits; all of them where it is the only one.

    Must come before anything that touches a device.

    Args:
      settings: they may say where the processes meet; else the environment is asked.
      names: of all fits, the same in every process. finished: which of them have results, as seen from here.
      patience: seconds to wait for the others.

    Raises:
      UserError: the flags are not enough, not all processes came, or they were not asked for the same.
    """
    method = launcher(os.environ) if settings.num_processes != 1 else None
    given = {flag: getattr(settings, flag) for flag in _FLAGS}
    if settings.num_processes == 1 or (method is None and all(value is None for value in given.values())):
        return Share(0, 1, tuple(range(len(names))))
    _check(given, method)
    request = {**given, "method": "mpi4py" if method == "mpi4py" else None, "patience": patience}
    answer = _meet({**request, "digest": _digest(names), "finished": list(map(bool, finished))})
    if (own := own_device(os.environ)) is not None:
        for kind in ("cuda", "rocm"):
            jax.config.update(f"jax_{kind}_visible_devices", own)
    process, processes = answer["process"], answer["processes"]
    return Share(process, processes, assigned(answer["finished"], process, processes))


def assigned(finished: Sequence[bool], process: int, processes: int) -> tuple[int, ...]:
    """Numbers of one process's fits: its part of the unfinished ones, neighbours together as they share data and programs,
    and its part of the finished ones."""
    state = np.asarray(finished, bool)
    parts = [np.array_split(np.flatnonzero(which), processes)[process] for which in (~state, state)]
    return tuple(sorted(int(number) for part in parts for number in part))


def launcher(environment: Mapping[str, str]) -> str | None:
    """Who started several processes, by the variables that it leaves; None where this is the only one.

    Raises:
      UserError: they were started by an MPI, or are pods of Kubernetes, and the package that asks it is not installed.
    """

    def count(name: str) -> int:
        value = environment.get(name, "")
        return int(value) if value.isdigit() else 1

    if all(name in environment for name in _SLURM) and count("SLURM_NTASKS") > 1:
        return "slurm"
    if "OMPI_MCA_orte_hnp_uri" in environment and count("OMPI_COMM_WORLD_SIZE") > 1:
        return "ompi"
    if any(count(name) > 1 for name in _MPI):
        return _needs("mpi4py", "mpi4py", "an MPI started several processes")
    if _has_tpu() and _tpu_hosts(environment) != 1:
        return "tpu"
    if "KUBERNETES_SERVICE_HOST" in environment and "JOB_COMPLETION_INDEX" in environment:
        return _needs("kubernetes", "k8s", "this is a pod of an indexed job of Kubernetes")
    return None


def own_device(environment: Mapping[str, str]) -> str | None:
    """The GPU of this process, where a launcher started several on this machine and did not give each its own; else None."""
    for number, count in _LOCAL:
        several = max(map(int, re.findall(r"(?<!x)\b\d+", environment.get(count, ""))), default=1) > 1
        if number in environment and several:
            visible = environment.get("CUDA_VISIBLE_DEVICES", environment.get("ROCR_VISIBLE_DEVICES"))
            return environment[number] if visible is None or "," in visible else None
    return None


def check_alone() -> None:
    """Raises UserError: JAX's devices reach over several machines, so that this process cannot compute by itself."""
    if jax.process_count() > 1:
        raise UserError(
            f"JAX counts {jax.process_count()} processes behind its devices; each must have its own: on a TPU pod set "
            "TPU_PROCESS_BOUNDS=1,1,1 and TPU_CHIPS_PER_PROCESS_BOUNDS, as docs/scale.md shows"
        )


def _needs(module: str, name: str, what: str) -> str:
    if importlib.util.find_spec(module) is None:
        raise UserError(
            f"{what}, but the package {module} is not installed, which tells them apart; install it, give "
            "--coordinator_address, --num_processes and --process_id, or --num_processes=1 to fit all in this one"
        )
    return name


def _has_tpu() -> bool:
    return importlib.util.find_spec("libtpu") is not None and any(
        Path(device).exists() for device in ("/dev/accel0", "/dev/vfio/0")
    )


def _tpu_hosts(environment: Mapping[str, str]) -> int | None:
    """None: only the machine's metadata would tell."""
    hosts = environment.get("TPU_PROCESS_ADDRESSES") or environment.get("TPU_WORKER_HOSTNAMES")
    if hosts is None:
        return 1 if "TPU_SKIP_MDS_QUERY" in environment else None
    return len(hosts.split(","))


def _check(given: Mapping[str, Any], method: str | None) -> None:
    missing = [f"--{flag}" for flag in _FLAGS if given[flag] is None]
    if method is None and missing:
        raise UserError(
            f"{' and '.join(missing)} missing: no SLURM, TPU, Kubernetes or MPI is found that would tell; give all of "
            f"{', '.join('--' + flag for flag in _FLAGS)}"
        )
    address = given["coordinator_address"]
    if address is not None and not re.fullmatch(r".+:\d+", address):
        raise UserError(f"--coordinator_address={address} has no port; give host and port, such as 10.0.0.1:1234")
    process, processes = given["process_id"], given["num_processes"]
    if process is not None and processes is not None and process >= processes:
        raise UserError(f"--process_id={process} is out of range; give 0 to {processes - 1}, as --num_processes says")


def _meet(request: Mapping[str, Any]) -> dict[str, Any]:
    """Joins the others in a child process and returns what they agreed on."""
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    # The meeting needs no accelerator, and must not take one from the fits.
    environment = {**os.environ, "PYTHONPATH": path, "JAX_PLATFORMS": "cpu"}
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.json"
        command = [sys.executable, "-m", "experiments.fitting.processes", json.dumps(request), str(answer)]
        try:
            child = subprocess.run(
                command,
                env=environment,
                capture_output=True,
                text=True,
                timeout=2 * request["patience"] + 60,
                check=False,
            )
            output = child.stderr
        except subprocess.TimeoutExpired:
            output = "it took too long"
        if not answer.exists():
            raise UserError(
                f"the processes did not all meet within {request['patience']} s ({_reason(output)}); start all of them at "
                "once, with the same --coordinator_address and --num_processes and each with its own --process_id"
            )
        found = json.loads(answer.read_text())
    if "error" in found:
        raise UserError(found["error"])
    return found


def _reason(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    telling = [line for line in lines if re.match(r"[\w.]*(Error|Exception)\b", line)]
    return (telling or lines or ["no reason given"])[-1][:200]


def _digest(names: Sequence[str]) -> int:
    return int.from_bytes(hashlib.sha256("\n".join(names).encode()).digest()[:4], "big")


def _attend(request: Mapping[str, Any]) -> dict[str, Any]:
    """The meeting itself, in the child process."""
    from jax.experimental import multihost_utils

    jax.distributed.initialize(
        coordinator_address=request["coordinator_address"],
        num_processes=request["num_processes"],
        process_id=request["process_id"],
        cluster_detection_method=request["method"],
        initialization_timeout=request["patience"],
    )
    digests = np.ravel(multihost_utils.process_allgather(np.uint32(request["digest"])))
    if (digests != digests[0]).any():
        odd = int(np.flatnonzero(digests != digests[0])[0])
        answer = {
            "error": f"process {odd} was asked for other fits than process 0; give all the same flags, and the same data"
        }
    else:
        finished = multihost_utils.broadcast_one_to_all(np.array(request["finished"], np.int32))
        answer = {
            "process": jax.process_index(),
            "processes": jax.process_count(),
            "finished": [bool(value) for value in np.asarray(finished)],
        }
    jax.distributed.shutdown()
    return answer


if __name__ == "__main__":
    agreed = _attend(json.loads(sys.argv[1]))
    Path(sys.argv[2]).write_text(json.dumps(agreed))
