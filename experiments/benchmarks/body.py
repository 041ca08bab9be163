"""Times the SMPL layer beside the packages `smplx` (PyTorch) and `body-models` (JAX), same arrays, same device, same run.

    python -m experiments.benchmarks.body --output=body.json

Keypoints are the 24 joints and the 11 vertices of BODY_25; gradients are of the sum of squares, for rotations and shape.
All take rotation matrices. A package that is not installed (requirements-benchmarks.txt) is left out with a sentence.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from body_models import joints as jn
from body_models import smpl
from experiments.benchmarks import measure, problem, timing

KINDS = ("keypoints", "keypoints gradient", "vertices", "vertices gradient")
# Chain joints and landmark vertices that BODY_25 is made of.
_IDS = tuple(range(jn.NUM_JOINTS)) + tuple(int(i) for i in jn.BODY_25 if i >= jn.NUM_JOINTS)
_LANDMARKS = [int(i) - jn.NUM_JOINTS for i in jn.BODY_25 if i >= jn.NUM_JOINTS]
Times = dict[str, float]


def main() -> None:
    """The command."""
    parser = measure.parser(__doc__)
    parser.add_argument("--batches", default="1,16,64,256,1024,4096,16384", help="batch sizes, separated by commas")
    parser.add_argument("--repeats", type=int, default=5, help="timed blocks of each median")
    parser.add_argument(
        "--torch_compile", action="store_true", help="also smplx under torch.compile, which takes minutes"
    )
    args = parser.parse_args()
    sizes = [int(size) for size in args.batches.split(",")]
    with tempfile.TemporaryDirectory() as folder:
        file = write_model(Path(folder), sizes)
        times: dict[str, Times] = {"nemo_jax": own(file, sizes, args.repeats)}
        notes = []
        for name, found in {
            "smplx": lambda: torch_times(file, sizes, args.repeats, None),
            "smplx compiled": lambda: torch_times(file, sizes, args.repeats, "compile") if args.torch_compile else None,
            "body-models": lambda: peer_times(file, sizes, args.repeats),
        }.items():
            outcome = found()
            if isinstance(outcome, str):
                notes.append(outcome)
            elif outcome:
                times[name] = outcome
    measure.report("SMPL layer, ms (6,890 vertices)", table(times, sizes), {"notes": " ".join(notes)}, args.output)


def table(times: dict[str, Times], sizes: list[int]) -> list[dict[str, Any]]:
    """A row for each kind and size: milliseconds of each package, and how many times ours the others take."""
    rows = []
    for kind in KINDS:
        for size in sizes:
            row: dict[str, Any] = {"what": kind, "batch": size}
            for name, found in times.items():
                row[name] = 1e3 * found[f"{kind}/{size}"]
            for name, found in times.items():
                if name != "nemo_jax":
                    row[f"{name} / ours"] = found[f"{kind}/{size}"] / times["nemo_jax"][f"{kind}/{size}"]
            rows.append(row)
    return rows


def write_model(folder: Path, sizes: list[int]) -> Path:
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


def own(file: Path, sizes: list[int], repeats: int) -> Times:
    """This project's seconds by kind and size."""
    body = problem.body(_IDS)

    def batched(function: Callable[..., Any]) -> Callable[..., Any]:
        one = lambda body, pose, root, shape: function(body, jnp.concatenate([root[None], pose]), shape, jnp.zeros(3))
        return jax.vmap(one, (None, 0, 0, 0))

    found = {}
    for size in sizes:
        given = _poses(file, size, jnp.asarray)
        for name, function in (("keypoints", batched(smpl.keypoints)), ("vertices", batched(smpl.vertices))):
            total = lambda body, *x, f=function: jnp.sum(f(body, *x) ** 2)
            calls = ((name, jax.jit(function)), (f"{name} gradient", jax.jit(jax.grad(total, (1, 2, 3)))))
            for kind, call in calls:
                timed = measure.jax_seconds(lambda c=call, g=given: c(body, *g), repeats=repeats)
                found[f"{kind}/{size}"] = timed.median
    return found


def torch_times(file: Path, sizes: list[int], repeats: int, compiled: str | None) -> Times | str:
    """`smplx` on the same device, or why not. Its keypoints come with the mesh: it has no other way."""
    try:
        import smplx  # pyright: ignore[reportMissingImports]
        import torch  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        return f"smplx is left out: {error}."
    on_gpu = jax.default_backend() == "gpu"
    if on_gpu and not torch.cuda.is_available():
        return "smplx is left out: this PyTorch sees no GPU."
    device = torch.device("cuda" if on_gpu else "cpu")
    wait = (lambda _: torch.cuda.synchronize()) if on_gpu else (lambda _: None)
    with np.load(file) as stored:
        data = smplx.utils.Struct(**{name: stored[name] for name in stored.files})  # pyright: ignore
    picks = torch.as_tensor(np.load(file)["landmarks"].astype(np.int64), device=device)
    found: Times = {}
    for size in sizes:
        with contextlib.redirect_stdout(None):
            model = smplx.SMPL("", data_struct=data, batch_size=size, num_betas=10).to(device)
        model.requires_grad_(False)

        def run(pose, root, shape, model=model):
            return model(betas=shape, body_pose=pose, global_orient=root[:, None], pose2rot=False)

        functions = {
            "keypoints": lambda *x, r=run: (lambda o: torch.cat([o.joints[:, :24], o.vertices[:, picks]], 1))(r(*x)),
            "vertices": lambda *x, r=run: r(*x).vertices,
        }
        given = _poses(file, size, lambda array: torch.as_tensor(array, device=device))
        leaves = [array.clone().requires_grad_() for array in given]
        for name, function in functions.items():
            used = torch.compile(function) if compiled else function

            def forward(used=used, given=given):
                with torch.no_grad():
                    return used(*given)

            def gradient(used=used, leaves=leaves):
                return torch.autograd.grad((used(*leaves) ** 2).sum(), leaves)

            for kind, call in ((name, forward), (f"{name} gradient", gradient)):
                found[f"{kind}/{size}"] = timing.seconds(call, wait, repeats).median
    return found


def peer_times(file: Path, sizes: list[int], repeats: int) -> Times | str:
    """`body-models`, in a process that does not see this project, or why not."""
    script = Path(__file__).with_name("body_models_peer.py")
    root = str(Path(__file__).parents[2])
    kept = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    kept = [path for path in kept if os.path.abspath(path) != root]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(kept), "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    command = [sys.executable, "-P", str(script), str(file), str(repeats), ",".join(map(str, sizes))]
    done = subprocess.run(command, cwd=file.parent, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        return f"body-models is left out: {(done.stderr.strip().splitlines() or ['it stopped'])[-1]}."
    return json.loads(done.stdout.splitlines()[-1])["seconds"]


def _poses(file: Path, size: int, convert: Callable[[np.ndarray], Any]) -> tuple[Any, ...]:
    with np.load(file.with_name(f"poses_{size}.npz")) as arrays:
        return tuple(convert(arrays[name]) for name in ("pose", "root", "shape"))


if __name__ == "__main__":
    main()
