"""Times the SMPL layer beside the packages `smplx` (PyTorch) and `body-models` (JAX), same arrays, same device, same run.

    python -m experiments.benchmarks.body --output=body.json

Keypoints are the 24 joints and the 11 vertices of BODY_25; gradients are of the sum of squares, for rotations and shape.
All take rotation matrices and compute in float32. Each package has a process of its own, one after the other, so that none
holds memory that another needs; what still does not fit is shown as "-". A package that is not installed
(requirements-benchmarks.txt) is left out with a sentence.
"""

import argparse
import concurrent.futures.process
import contextlib
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from body_models import joints as jn
from body_models import smpl
from experiments.benchmarks import body_calls, measure, problem, timing
from experiments.benchmarks.body_calls import KINDS

# Chain joints and landmark vertices that BODY_25 is made of.
_IDS = tuple(range(jn.NUM_JOINTS)) + tuple(int(i) for i in jn.BODY_25 if i >= jn.NUM_JOINTS)
_LANDMARKS = [int(i) - jn.NUM_JOINTS for i in jn.BODY_25 if i >= jn.NUM_JOINTS]
_PRECISION = (
    "float32 in all products: nemo_jax asks for it, body-models runs with jax_default_matmul_precision=float32, PyTorch "
    "with its own default, float32_matmul_precision=highest, which is no TensorFloat-32"
)
Times = dict[str, timing.Timing | None]
"""Seconds by kind and batch size ("vertices/64"); None where memory did not suffice."""


def main() -> None:
    """The command."""
    parser = measure.parser(__doc__)
    parser.add_argument(
        "--batches",
        default="auto",
        help="batch sizes, separated by commas; auto: 1,16,64,256,1024, and but on a CPU 4096,16384 too",
    )
    parser.add_argument("--kinds", default=",".join(KINDS), help="what to time, separated by commas")
    parser.add_argument("--repeats", type=int, default=5, help="timed blocks of each median")
    parser.add_argument(
        "--torch_compile", action="store_true", help="also smplx under torch.compile, which takes minutes"
    )
    args = parser.parse_args()
    # No process may reserve GPU memory that the next one needs; this is set before anything uses the device.
    os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
    kinds, sizes = chosen(parser, args)
    with tempfile.TemporaryDirectory() as folder:
        file = write_model(Path(folder), sizes)
        packages: dict[str, Callable[[], Times | str]] = {
            "nemo_jax": lambda: apart(own, file, sizes, kinds, args.repeats),
            "smplx": lambda: apart(torch_times, file, sizes, kinds, args.repeats, False),
            "smplx compiled": lambda: apart(torch_times, file, sizes, kinds, args.repeats, True),
            "body-models": lambda: peer_times(file, sizes, kinds, args.repeats),
        }
        if not args.torch_compile:
            del packages["smplx compiled"]
        found = {name: measured() for name, measured in packages.items()}
        differences = disagreement(file.parent)
    left_out = [f"{name} is left out: {outcome}." for name, outcome in found.items() if isinstance(outcome, str)]
    times = {name: outcome for name, outcome in found.items() if not isinstance(outcome, str)}
    if "nemo_jax" not in times:
        raise SystemExit(" ".join(left_out))
    extra = {
        "notes": " ".join(left_out + missing(times)),
        "precision": _PRECISION,
        "largest difference from nemo_jax, mm": differences,
        "spread": "the largest of the packages' (slowest block - fastest block) / median",
    }
    measure.report("SMPL layer, ms (6,890 vertices)", table(times, kinds, sizes), extra, args.output)


def chosen(parser: argparse.ArgumentParser, args: argparse.Namespace) -> tuple[list[str], list[int]]:
    """The kinds and batch sizes chosen by the flags."""
    kinds = [kind.strip() for kind in args.kinds.split(",")]
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        parser.error(f"--kinds has {unknown[0]!r}; choose among {', '.join(KINDS)}, separated by commas.")
    if args.batches == "auto":
        return kinds, [1, 16, 64, 256, 1024] + ([] if jax.default_backend() == "cpu" else [4096, 16384])
    sizes = args.batches.split(",")
    if wrong := [size for size in sizes if not size.strip().isdecimal() or int(size) < 1]:
        parser.error(f"--batches has {wrong[0]!r}; give whole numbers from 1, separated by commas.")
    return kinds, [int(size) for size in sizes]


def table(times: dict[str, Times], kinds: Sequence[str], sizes: Sequence[int]) -> list[dict[str, Any]]:
    """A row for each kind and size: milliseconds of each package, how many times ours the others take, and the spread."""
    rows = []
    for kind in kinds:
        for size in sizes:
            here = {name: found[f"{kind}/{size}"] for name, found in times.items()}
            ours = here["nemo_jax"]
            row: dict[str, Any] = {"what": kind, "batch": size}
            row |= {name: time and 1e3 * time.median for name, time in here.items()}
            for name, time in here.items():
                if name != "nemo_jax":
                    row[f"{name} / ours"] = time.median / ours.median if time and ours else None
            spreads = [(time.greatest - time.least) / time.median for time in here.values() if time]
            rows.append(row | {"spread": max(spreads, default=None)})
    return rows


def missing(times: dict[str, Times]) -> list[str]:
    """One sentence for each missing number."""
    lost = [(name, *case.split("/")) for name, found in times.items() for case, time in found.items() if time is None]
    return [f"{name} ran out of memory: {kind} at batch {size}." for name, kind, size in lost]


def write_model(folder: Path, sizes: Sequence[int]) -> Path:
    """The body's arrays in an SMPL file, and random poses of every batch size beside it."""
    arrays: dict[str, Any] = problem.body_arrays()
    file = folder / "SMPL_NEUTRAL.npz"
    np.savez(file, **arrays, landmarks=arrays["landmark_vertex_ids"][_LANDMARKS])
    for size in sizes:
        rng = np.random.default_rng(size)
        axis_angle = jnp.asarray(0.4 * rng.normal(size=(size, jn.NUM_JOINTS, 3)), jnp.float32)
        turns = np.asarray(problem.turns(axis_angle))
        shape = rng.normal(size=(size, 10)).astype(np.float32)
        np.savez(folder / f"poses_{size}.npz", root=turns[:, 0], pose=turns[:, 1:], shape=shape)
    return file


def apart(function: Callable[..., Times | str], *arguments: Any) -> Times | str:
    """The result of a function of this module that runs in a separate process, or a text if the process died."""
    context = multiprocessing.get_context("spawn")
    try:
        with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
            return pool.submit(function, *arguments).result()
    except concurrent.futures.process.BrokenProcessPool:
        return "its process was killed, most likely for lack of memory; leave out the largest of --batches"


def own(file: Path, sizes: Sequence[int], kinds: Sequence[str], repeats: int) -> Times:
    """The times of this project, in seconds, by kind and batch size."""

    def batched(function: Callable[..., Any]) -> Callable[..., Any]:
        one = lambda body, pose, root, shape: function(body, jnp.concatenate([root[None], pose]), shape, jnp.zeros(3))
        return jax.vmap(one, (None, 0, 0, 0))

    body = problem.body(_IDS)
    functions = {"keypoints": batched(smpl.keypoints), "vertices": batched(smpl.vertices)}
    poses = {size: _poses(file, size, jnp.asarray) for size in sizes}
    clock = lambda call: measure.jax_seconds(call, repeats=repeats)
    found = body_calls.timed("nemo_jax", functions, (body,), poses, kinds, clock)
    first = poses[min(sizes)]
    np.savez(file.with_name("nemo_jax.npz"), **{name: jax.jit(f)(body, *first) for name, f in functions.items()})
    return found


def torch_times(file: Path, sizes: Sequence[int], kinds: Sequence[str], repeats: int, compiled: bool) -> Times | str:
    """The times of `smplx` on the same device, or why there are none. It computes keypoints only with the mesh."""
    try:
        import smplx  # pyright: ignore[reportMissingImports]
        import torch  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        return str(error)
    on_gpu = jax.default_backend() == "gpu"
    if on_gpu and not torch.cuda.is_available():
        return "this PyTorch sees no GPU"
    torch.set_float32_matmul_precision("highest")
    device = torch.device("cuda" if on_gpu else "cpu")
    wait = (lambda _: torch.cuda.synchronize()) if on_gpu else (lambda _: None)
    with np.load(file) as stored:
        data = smplx.utils.Struct(**{name: stored[name] for name in stored.files})  # pyright: ignore
        picks = torch.as_tensor(stored["landmarks"].astype(np.int64), device=device)
    name = "smplx compiled" if compiled else "smplx"

    def calls(size: int) -> tuple[dict[str, Callable[[], Any]], dict[str, Callable[[], Any]]]:
        """Forward and gradient calls of one batch size."""
        with contextlib.redirect_stdout(None):
            model = smplx.SMPL("", data_struct=data, batch_size=size, num_betas=10).to(device)
        model.requires_grad_(False)
        run = lambda p, r, s: model(betas=s, body_pose=p, global_orient=r[:, None], pose2rot=False)
        functions = {
            "keypoints": lambda *x: (lambda o: torch.cat([o.joints[:, :24], o.vertices[:, picks]], 1))(run(*x)),
            "vertices": lambda *x: run(*x).vertices,
        }
        given = _poses(file, size, lambda array: torch.as_tensor(array, device=device))
        leaves = [array.clone().requires_grad_() for array in given]
        forward, gradient = {}, {}
        for what, function in functions.items():
            used = torch.compile(function) if compiled else function
            forward[what] = torch.no_grad()(lambda used=used: used(*given))
            gradient[f"{what} gradient"] = lambda used=used: torch.autograd.grad((used(*leaves) ** 2).sum(), leaves)
        return forward, gradient

    def if_it_fits(call: Callable[[], Any]) -> timing.Timing | None:
        try:
            return timing.seconds(call, wait, repeats)
        except RuntimeError as error:
            if not isinstance(error, torch.cuda.OutOfMemoryError) and "can't allocate memory" not in str(error):
                raise
        torch.cuda.empty_cache()
        return None

    found: Times = {}
    for size in sizes:
        forward, gradient = calls(size)
        if size == min(sizes):
            np.savez(file.with_name(f"{name}.npz"), **{what: call().cpu() for what, call in forward.items()})
        for kind in kinds:
            found[f"{kind}/{size}"] = if_it_fits((forward | gradient)[kind])
            body_calls.tell(name, kind, size, found[f"{kind}/{size}"])
    return found


def peer_times(file: Path, sizes: Sequence[int], kinds: Sequence[str], repeats: int) -> Times | str:
    """The times of `body-models` in a process that cannot import this project, or the reason why there are none."""
    script = Path(__file__).with_name("body_models_peer.py")
    root = str(Path(__file__).parents[2])
    kept = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    kept = [path for path in kept if os.path.abspath(path) != root]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(kept), "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    command = [sys.executable, "-P", str(script), str(file), str(repeats), ",".join(map(str, sizes)), ",".join(kinds)]
    last = ""
    with tempfile.TemporaryFile("w+") as errors:
        options: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": errors, "text": True}
        with subprocess.Popen(command, cwd=file.parent, env=environment, **options) as process:
            for last in process.stdout or ():
                if not last.startswith("{"):
                    print(last, end="", flush=True)
        if process.returncode:
            errors.seek(0)
            return (errors.read().strip().splitlines() or [f"its process ended with {process.returncode}"])[-1]
    return {name: time and timing.Timing(*time) for name, time in json.loads(last).items()}


def disagreement(folder: Path) -> dict[str, float]:
    """The largest distance of each package's keypoints and vertices from this project's, mm, in the smallest batch."""
    found = {}
    with np.load(folder / "nemo_jax.npz") as ours:
        for file in sorted(folder.glob("*.npz")):
            with np.load(file) as theirs:
                if file.stem != "nemo_jax" and set(theirs.files) == set(ours.files):
                    gaps = [np.linalg.norm(theirs[kind] - ours[kind], axis=-1).max() for kind in ours.files]
                    found[file.stem] = 1e3 * float(max(gaps))
    return found


def _poses(file: Path, size: int, convert: Callable[[np.ndarray], Any]) -> tuple[Any, ...]:
    with np.load(file.with_name(f"poses_{size}.npz")) as arrays:
        return tuple(convert(arrays[name]) for name in ("pose", "root", "shape"))


if __name__ == "__main__":
    main()
