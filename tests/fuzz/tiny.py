"""A tiny fit, its results and its checkpoints, for campaigns in processes of their own."""

import itertools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from body_models import loaders
from experiments.data.dataset import Dataset
from experiments.fitting import checkpoints as kept
from experiments.fitting import finishing
from experiments.fitting.compiled_programs import CompiledFit, Position
from experiments.fitting.settings import Settings
from experiments.loaders import synthetic
from experiments.results import fitted_motion, reading, writing
from nemo_jax import stacking, stages
from nemo_jax.config import FitConfig
from nemo_jax.priors import Priors, published_limits
from nemo_jax.stacking import Job

_CONFIG = FitConfig(
    lift=False, hidden=8, num_centres=4, phase_nodes=4, batch_size=8, warmup_steps=6, camera_steps=0, joint_steps=0,
    rescue_steps=0, exchange_price=0, contact_centres=0,
)  # fmt: skip


def _job() -> tuple[Job, Dataset]:
    body = loaders.load_body()
    dataset = synthetic.load(body, num_instances=2, style=synthetic.StyleModel(frames_range=(8, 12)))
    clips = jax.tree.map(jnp.asarray, dataset.clips)
    priors = Priors(joint_limits=published_limits())
    return Job(key=jax.random.key(3), clips=clips, body=body, priors=priors, config=_CONFIG), dataset


def results(folder: Path) -> None:
    """Writes the results of an unfitted model."""
    job, dataset = _job()
    folder.mkdir()
    problem, state = jax.jit(stages.start)(*job.arguments)
    fitted = fitted_motion.predict(state.params, problem.assets, job.body, job.config, job.clips)
    reading.write(folder, dataset, fitted.params)
    writing.write_motions(folder / "motion", dataset, fitted, "open_body")
    settings = Settings(action=dataset.action, fit=job.config)
    writing.write_config(folder / "config.json", settings, finishing.versions())
    writing.write_json(folder / "metrics.json", {"pck_0.05/fit": 0.5, "doubts": {}, "num_instances": 2})


def checkpoints(folder: Path) -> dict[str, Any]:
    """Writes two checkpoints if there are none; the job, its identity, and digest and seconds of what was written by
    position."""
    job, dataset = _job()
    identity = kept.identity_of(job, {"seed": 3}, dataset.names)
    program = CompiledFit(stacking.stack([job], 1, stacking.padding_of([job])), Position())
    problem, state = program.start()
    first = lambda tree: jax.tree.map(lambda leaf: np.array(leaf[0]), tree)
    written = {}
    there = folder.exists()
    with kept.Checkpoints(folder, job, identity) as saved:
        for chunk in itertools.islice(program.run(problem, Position(), state), 2):
            carry, losses = first(chunk.carry), first(chunk.losses)
            seconds = {"fit": float(chunk.position.step)}
            written[chunk.position] = (kept.digest(carry), seconds)
            if not there:
                saved.save(kept.Snapshot(chunk.position, carry, job.key, {chunk.stage.name: losses}, seconds))
    return {"job": job, "identity": identity, "written": written}
