"""Times the fused vertex term of the published loss, value and gradient, beside the plain one, and says how far they differ.

    python -m experiments.benchmarks.vertices --output=vertices.json

Pairs of random poses of the benchmarks' body. The kernel runs on NVIDIA GPUs; elsewhere both are the plain path.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from body_models import joints as jn
from body_models import smpl
from body_models.kernels import vertex_gap
from experiments.base import devices
from experiments.benchmarks import measure, problem

# Leaves of a skeleton for which the term has a gradient.
_LEAVES = ("world", "offsets", "feature", "betas")


def main() -> None:
    """The command."""
    parser = measure.parser(__doc__)
    parser.add_argument("--batches", default="512,16384", help="numbers of pairs, separated by commas")
    args = parser.parse_args()
    rows = [row(int(batch)) for batch in args.batches.split(",")]
    note = "errors: of value and gradients, |fused - plain| / |plain|, plain in float32"
    measure.report("Vertex term, value and gradient (6,890 vertices)", rows, {"notes": note}, args.output)


def row(batch: int) -> dict[str, Any]:
    """Milliseconds of both paths on `batch` pairs, and relative errors in norm."""
    body = problem.body()
    own, target = pairs(body, batch)
    table = jax.jit(vertex_gap.table)(body)

    def total(skeleton: smpl.Skeleton, path: Any) -> tuple[jax.Array, jax.Array]:
        values = path(skeleton)
        return values.sum(), values

    def compiled(path: Any) -> Any:
        function = jax.jit(lambda s, t, b, r: jax.grad(total, has_aux=True)(s, lambda x: path(b, r, x, t)))
        return function.lower(own, target, body, table).compile(compiler_options=devices.compiler_options())

    plain = compiled(lambda b, _, s, t: jax.vmap(vertex_gap.plain_gap, (None, 0, 0))(b, s, t))
    fused = compiled(vertex_gap.fused_gap)
    given = (own, target, body, table)
    times = [1e3 * measure.jax_seconds(lambda f=f: f(*given), repeats=5).median for f in (fused, plain)]
    (gradient, values), (exact, expected) = fused(*given), plain(*given)
    errors = {name: _error(getattr(gradient, name), getattr(exact, name)) for name in _LEAVES}
    return {
        "pairs": batch,
        "fused ms": times[0],
        "plain ms": times[1],
        "value's error": _error(values, expected),
        **{f"{name}'s": error for name, error in errors.items()},
    }


def pairs(body: smpl.SMPL, batch: int) -> tuple[smpl.Skeleton, smpl.Skeleton]:
    """Random poses and others near them, leaves (batch, ...)."""
    rng = np.random.default_rng(0)
    pose = 0.4 * rng.normal(size=(batch, jn.NUM_JOINTS, 3))
    near = pose + 0.1 * rng.normal(size=pose.shape)
    betas = jnp.asarray(rng.normal(size=(batch, body.num_betas)), jnp.float32)
    posed = jax.jit(jax.vmap(smpl.pose_skeleton, (None, 0, 0)))
    own, target = (posed(body, problem.turns(jnp.asarray(x, jnp.float32)), betas) for x in (pose, near))
    return own, target


def _error(found: jax.Array, expected: jax.Array) -> float:
    return float(jnp.linalg.norm(found - expected) / jnp.linalg.norm(expected))


if __name__ == "__main__":
    main()
