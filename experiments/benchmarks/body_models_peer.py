"""Times the PyPI package `body-models` in a process of its own: it goes by the import name of this project's package.

Run by `experiments.benchmarks.body` as a file, from outside the project: model file, number of repeats, batch sizes.
"""

import importlib
import importlib.metadata
import json
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np


def main() -> None:
    """Prints one JSON object: version, and seconds by kind and batch size."""
    # The installed package, not this project.
    from body_models.smpl.jax import SMPL  # pyright: ignore[reportMissingImports]

    # Alone, without the folder above it, whose package of the same name would hide the installed one.
    sys.path.insert(0, str(Path(__file__).parent))
    timing = importlib.import_module("timing")

    file, repeats, sizes = sys.argv[1], int(sys.argv[2]), [int(size) for size in sys.argv[3].split(",")]
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

    found = {}
    for size in sizes:
        data = np.load(Path(file).with_name(f"poses_{size}.npz"))
        given = tuple(jnp.asarray(data[name]) for name in ("pose", "root", "shape"))
        for name, function in (("keypoints", keypoints), ("vertices", vertices)):
            total = lambda *x, f=function: jnp.sum(f(*x) ** 2)
            for kind, call in ((name, jax.jit(function)), (f"{name} gradient", jax.jit(jax.grad(total, (0, 1, 2))))):
                time = timing.seconds(lambda c=call, g=given: c(*g), jax.block_until_ready, repeats)
                found[f"{kind}/{size}"] = time.median
        found[f"check/{size}"] = float(jnp.abs(jax.jit(vertices)(*given)).sum())
    print(json.dumps({"version": importlib.metadata.version("body-models"), "seconds": found}))


if __name__ == "__main__":
    main()
