"""Times the PyPI package `body-models` in a separate process, because it has the same import name as this project's
package.

Run by `experiments.benchmarks.body` as a file, from outside the project: model file, number of repeats, batch sizes, kinds.
"""

import dataclasses
import importlib
import json
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np


def main() -> None:
    """Prints lines of progress and then one JSON object: `Timing`s as lists, or null, by kind and batch size."""
    # The package body-models, not this project, which is found here where it is installed too.
    if hasattr(importlib.import_module("body_models"), "NEMO_JAX"):
        raise SystemExit(
            "body_models is nemo_jax's own package here; uninstall nemo_jax, install requirements-benchmarks.txt and run "
            "the benchmark from a checkout"
        )
    from body_models.smpl.jax import SMPL  # pyright: ignore[reportMissingImports]

    # Alone, without the folder above it, whose package of the same name would hide the installed one.
    sys.path.insert(0, str(Path(__file__).parent))
    timing, calls = importlib.import_module("timing"), importlib.import_module("body_calls")

    # The package uses JAX's default precision, which is TensorFloat-32 on GPUs; the other packages compute in float32.
    jax.config.update("jax_default_matmul_precision", "float32")
    file, repeats, sizes, kinds = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3].split(","), sys.argv[4].split(",")
    model = SMPL(model_path=file, rotation_type="matrix")
    with np.load(file) as arrays:
        landmarks = arrays["landmarks"]
    picks = model.prepare_point_regressor(jnp.asarray(np.eye(model.num_vertices, dtype=np.float32)[landmarks]))

    def keypoints(pose, root, shape):
        arguments = {"pelvis_rotation": root, "shape": shape}
        joints = model.forward_skeleton(pose, **arguments)[..., :3, 3]
        return jnp.concatenate([joints, model.forward_points(pose, point_regressor=picks, **arguments)], -2)

    def vertices(pose, root, shape):
        return model.forward_vertices(pose, pelvis_rotation=root, shape=shape)

    poses = {}
    for size in map(int, sizes):
        with np.load(file.with_name(f"poses_{size}.npz")) as data:
            poses[size] = tuple(jnp.asarray(data[name]) for name in ("pose", "root", "shape"))
    functions = {"keypoints": keypoints, "vertices": vertices}
    clock = lambda call: timing.seconds(call, jax.block_until_ready, repeats)
    found = calls.timed("body-models", functions, (), poses, kinds, clock)
    first = poses[min(poses)]
    np.savez(file.with_name("body-models.npz"), **{name: jax.jit(f)(*first) for name, f in functions.items()})
    print(json.dumps({name: time and dataclasses.astuple(time) for name, time in found.items()}))


if __name__ == "__main__":
    main()
