"""What rounding costs in accuracy: the same fits with the networks in each precision, held against the truth.

    python -m experiments.benchmarks.accuracy --output=accuracy.json
    python -m experiments.benchmarks.accuracy --presets=default --seeds=1     # on a CPU, in minutes

Synthetic pitches of several groups of throwers, each fitted from several seeds, all in one program for each precision. A
change is that of a fit against the same fit in float32 throughout: same clips, same seed. Presets with VPoser are also
fitted with its vertices by the plain path and by the kernel, where there is one; `experiments.benchmarks.problem` says what
stands in for the licensed priors. With these such a preset fits badly, and only the changes mean something.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from body_models import loaders, smpl
from experiments.base import devices
from experiments.benchmarks import measure, problem
from experiments.data import resample
from experiments.data.dataset import Dataset
from experiments.loaders import synthetic
from nemo_jax import metrics, model, parallel, rotations, stacking
from nemo_jax.clips import Clips
from nemo_jax.config import FitConfig
from nemo_jax.fit import FitResult
from nemo_jax.model import Params
from nemo_jax.priors import Priors

Array = jax.Array
PRECISIONS = ("float32", "tensorfloat32", "bfloat16")
# The loss is that of random batches: its mean over the last steps.
_LAST_STEPS = 50
_CPU_NOTE = "A CPU computes all three precisions in float32, and has no kernel for the vertices: the rows are alike."


class Variant(NamedTuple):
    """One way to compute the fits of a case: precision of the networks; whether VPoser's vertices may be fused."""

    precision: str
    fused: bool


class Fits(NamedTuple):
    """Actions x seeds, as `parallel.fit_many` takes them, with the true poses (M, N, T, 24, 3)."""

    keys: Array
    clips: Clips
    poses: Array


def main() -> None:
    """The command."""
    parser = measure.parser(__doc__)
    parser.add_argument("--presets", default="default,paper_v2", help="separated by commas")
    parser.add_argument("--actions", type=int, default=3, help="groups of eight throwers")
    parser.add_argument("--seeds", default="8,2", help="of each action; for each preset, the last one for the rest")
    args = parser.parse_args()
    seeds = [int(count) for count in args.seeds.split(",")]
    if args.actions < 1 or min(seeds) < 1:
        raise SystemExit(f"--actions={args.actions} --seeds={args.seeds}: 1 or more of each were expected")
    devices.keep_compiled()
    cases = [problem.case(preset) for preset in args.presets.split(",")]
    body = loaders.load_body()
    pitches = [synthetic.load(body, seed=action) for action in range(args.actions)]
    given = [gather(case.config, pitches, seeds[min(row, len(seeds) - 1)]) for row, case in enumerate(cases)]
    rows = table(cases, given)
    notes = [_CPU_NOTE] if jax.default_backend() == "cpu" else []
    notes.append("s.e.: standard errors over fits. change: against float32 throughout, fit by fit.")
    measure.report("MPJPE by precision, synthetic pitches", rows, {"notes": " ".join(notes)}, args.output)


def gather(config: FitConfig, pitches: Sequence[Dataset], seeds: int) -> Fits:
    """The fits of every action with every seed, with the clips prepared for the configuration."""
    used = [resample.shortest(one) if config.resample == "shortest" else one for one in pitches]
    clips = stacking.stack_clips([jax.tree.map(jnp.asarray, one.clips) for one in used])
    frames = clips.frame_mask.shape[-1]
    poses = [_with_frames(one, frames) for one in used]
    keys = jnp.concatenate([jnp.stack([jax.random.key(seed)] * len(used)) for seed in range(seeds)])
    repeat = lambda leaf: jnp.concatenate([leaf] * seeds)
    return Fits(keys, jax.tree.map(repeat, clips), repeat(jnp.stack(poses)))


def _with_frames(dataset: Dataset, frames: int) -> Array:
    """The true poses, padded to `frames` frames."""
    assert dataset.truth is not None
    pose = jnp.asarray(dataset.truth.pose, jnp.float32)
    return jnp.pad(pose, [(0, 0), (0, frames - pose.shape[1]), (0, 0), (0, 0)])


def variants(case: problem.Case) -> list[Variant]:
    """All variants; the first is the reference for the others: float32, without the kernel if there is a choice."""
    if case.priors.vposer is None or jax.default_backend() != "gpu":
        return [Variant(precision, case.config.fused_vertices) for precision in PRECISIONS]
    return [Variant("float32", False), *(Variant(precision, True) for precision in PRECISIONS)]


def table(cases: Sequence[problem.Case], given: Sequence[Fits]) -> list[dict[str, Any]]:
    """A row for each case and variant; all programs compile side by side first."""
    todo = [(case, fits, variant) for case, fits in zip(cases, given, strict=True) for variant in variants(case)]
    programs = measure.compile_all(_lower(*one) for one in todo)
    rows, reference = [], np.zeros(0)
    for (case, fits, variant), (compiled, _) in zip(todo, programs, strict=True):
        arguments = _arguments(case, fits, variant)
        result, seconds = measure.run(lambda c=compiled, a=arguments: c(*a), long=2.0)
        errors = _errors(result.params, fits, problem.body(), case)
        if variant == variants(case)[0]:
            reference = errors
        rows.append(_row(case, variant, errors, errors - reference, result, seconds))
        print(f"{case.name} {variant.precision}: {rows[-1]['MPJPE mm']:.2f} mm, {seconds:.1f} s", flush=True)
    return rows


def _row(
    case: problem.Case, variant: Variant, errors: np.ndarray, change: np.ndarray, result: FitResult, seconds: float
) -> dict[str, Any]:
    kernel = variant.fused and jax.default_backend() == "gpu"
    loss = np.asarray(result.history["joint"]["total"])[:, -_LAST_STEPS:].mean(1)
    return {
        "preset": case.name,
        "networks": variant.precision,
        "vertices": "-" if case.priors.vposer is None else "kernel" if kernel else "plain",
        "fits": len(errors),
        "MPJPE mm": float(errors.mean()),
        "s.e.": _standard_error(errors),
        "change mm": float(change.mean()),
        "its s.e.": _standard_error(change),
        "loss": float(loss.mean()),
        "s per fit": seconds / len(errors),
    }


def _standard_error(values: np.ndarray) -> float | None:
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None


def _arguments(case: problem.Case, fits: Fits, variant: Variant) -> tuple[Any, ...]:
    config = problem.in_precision(case, variant.precision, fused_vertices=variant.fused).config
    return fits.keys, fits.clips, case.body, case.priors, stacking.stack_configs([config] * len(fits.keys))


def _lower(case: problem.Case, fits: Fits, variant: Variant) -> Any:
    # Each variant has its own program on one device, so that their times are comparable.
    spread = lambda *arrays: parallel.fit_many(*arrays, devices=jax.local_devices()[:1])
    return jax.jit(spread).lower(*_arguments(case, fits, variant))


def _errors(params: Params, fits: Fits, nose_body: smpl.SMPL, case: problem.Case) -> np.ndarray:
    """The paper's MPJPE (M,) in mm of fits, `mpjpe_mm/fit` of a run: mean over frames, then over instances."""
    with jax.default_matmul_precision("float32"):
        each = _mpjpe(params, fits.clips, fits.poses, nose_body, case.body, case.priors, case.config)
    return np.asarray(each).mean(1)


@jax.jit
def _mpjpe(
    params: Params,
    clips: Clips,
    poses: Array,
    nose_body: smpl.SMPL,
    body: smpl.SMPL,
    priors: Priors,
    config: FitConfig,
) -> Array:
    """Errors (M, N) of M fits, poses alone: no shape, root orientation or translation."""

    def joints(rotation: Array) -> Array:
        flat, still = jnp.zeros(nose_body.num_betas), jnp.zeros(3)
        rootless = rotation.at[0].set(jnp.eye(3))
        return smpl.keypoints(nose_body, rootless, flat, still)[: metrics.PAPER_JOINTS]

    def of_fit(params: Params, clips: Clips, pose: Array) -> Array:
        assets = model.prepare(clips, body, priors, config)
        fitted = model.predict_clips(params, assets, config, clips).rotations
        over_frames = jax.vmap(jax.vmap(joints))
        true = over_frames(rotations.axis_angle_to_matrix(pose))
        return jax.vmap(metrics.mpjpe)(over_frames(fitted), true, jnp.asarray(clips.frame_mask))

    return jax.vmap(of_fit)(params, clips, poses)


if __name__ == "__main__":
    main()
