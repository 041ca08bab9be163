"""Tiny fits, shared by the tests of the experiments."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.data import neutral
from experiments.fitting import finishing
from experiments.fitting.settings import DECIDED, Settings
from experiments.loaders import synthetic
from experiments.results import fitted_motion, reading, writing
from experiments.show.presentation import PARTS
from nemo_jax import stages
from nemo_jax.config import FitConfig
from nemo_jax.priors import Priors, published_limits
from nemo_jax.stacking import Job

ROOT = Path(__file__).parents[2]
TINY = {
    "lift": False,
    "hidden": 8,
    "num_centres": 4,
    "phase_nodes": 4,
    "batch_size": 8,
    "warmup_steps": 6,
    "camera_steps": 4,
    "joint_steps": 7,
    "camera_yaws": 2,
    "camera_frames": 4,
    "rescue_steps": 0,
    "exchange_price": 0,
    # Depths of single frames, in closed form, differ by rounding from program to program; `test_parallel` has them.
    "find_travel": False,
    # Contacts have tests of their own; what is shared by all clips besides the field is not sliced by tests of single clips.
    "contact_centres": 0,
    "path_knots": 0,
    "warmup_tempo": 0.0,
    "motion_windows": 0,
    "apart_frames": 0,
}
# For tests that any stage serves: each stage that is left out is neither traced nor compiled, in no process.
WARMUP_ALONE = ("--fit.camera_steps=0", "--fit.joint_steps=0")
JOINT_ALONE = ("--fit.warmup_steps=0", "--fit.camera_steps=0")


@pytest.fixture(scope="session")
def tiny_config():
    return FitConfig(**TINY)


@pytest.fixture(scope="session")
def tiny_job(tiny_dataset, tiny_body, tiny_config):
    clips = jax.tree.map(jnp.asarray, tiny_dataset.clips)
    priors = Priors(joint_limits=published_limits())
    return Job(key=jax.random.key(3), clips=clips, body=tiny_body, priors=priors, config=tiny_config)


@pytest.fixture(scope="session")
def tiny_fitted(tiny_job):
    """An unfitted model's answer: enough to draw and to write."""
    problem, state = jax.jit(stages.start)(*tiny_job.arguments)
    return fitted_motion.predict(state.params, problem.assets, tiny_job.body, tiny_job.config, tiny_job.clips)


@pytest.fixture(scope="session")
def saved_run(tiny_dataset, tiny_fitted, tiny_config, tiny_body_file, tmp_path_factory):
    """The folder of a finished run, as `experiments.results.reading` reads it: an unfitted model's."""
    folder = tmp_path_factory.mktemp("saved") / "results"
    settings = Settings(action=tiny_dataset.action, body_model=str(tiny_body_file), fit=tiny_config)
    reading.write(folder, tiny_dataset, tiny_fitted.params)
    writing.write_motions(folder / "motion", tiny_dataset, tiny_fitted, str(tiny_body_file))
    writing.write_config(folder / "config.json", settings, finishing.versions())
    writing.write_json(folder / "instances.json", {name: {"pck_0.05/fit": 0.5} for name in tiny_dataset.names})
    writing.write_json(folder / "metrics.json", {"pck_0.05/fit": 0.5, "num_instances": len(tiny_dataset.names)})
    return folder


@pytest.fixture(scope="session")
def make_run(tiny_body, tiny_config):
    """Makes the run of a fit whose answer is known: (dataset, fitted, folder, body=, settings=, metrics=) -> `Run`."""

    def make(dataset, fitted, folder=Path("no folder"), body=tiny_body, **about):
        return reading.Run(Path(folder), dataset, fitted.params, tiny_config, body, **about, answer=fitted)

    return make


@pytest.fixture(scope="session")
def perfect(tiny_dataset, tiny_fitted):
    """A fit that is the truth, seen by the true cameras."""
    truth, cameras = tiny_dataset.truth, tiny_dataset.cameras
    from nemo_jax import rotations

    seen = np.stack([c.project(j) for c, j in zip(cameras, truth.joints, strict=True)]).astype(np.float32)
    prediction = dataclasses.replace(
        tiny_fitted.prediction,
        rotations=np.asarray(rotations.axis_angle_to_matrix(jnp.asarray(truth.pose))),
        translation=truth.translation,
        keypoints=truth.joints,
        keypoints_2d=np.nan_to_num(seen),
    )
    return dataclasses.replace(
        tiny_fitted,
        params=dataclasses.replace(tiny_fitted.params, betas=truth.betas),
        prediction=prediction,
        poses=truth.pose,
        head_2d=prediction.keypoints_2d[:, :, 0],
        camera_from_world=np.stack([c.world_from_camera.T for c in cameras]).astype(np.float32),
    )


@pytest.fixture(scope="session")
def run_py(tmp_path_factory):
    """Runs `run.py` with arguments in an empty folder; returns the finished process."""
    folder = tmp_path_factory.mktemp("cwd")

    def run(*arguments, script=(str(ROOT / "run.py"),), **environment):
        return subprocess.run(
            [sys.executable, *script, *map(str, arguments)],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
            env={
                **os.environ,
                "JAX_PLATFORMS": "cpu",
                "PYTHONPATH": str(ROOT),
                **environment,
            },
        )

    return run


@pytest.fixture(scope="session")
def tiny_flags(tiny_body_file):
    """A fit of two synthetic clips that takes seconds once it is compiled."""
    return [
        "--action=baseball_pitch",
        "--max_instances=2",
        f"--body_model={tiny_body_file}",
        *(f"--{part}=false" for part in PARTS),
        *(f"--fit.{name}={value}" for name, value in TINY.items() if name not in DECIDED),
    ]


@pytest.fixture(scope="session")
def without_truth(tmp_path_factory, tiny_dataset, tiny_body):
    """A folder with two actions of tiny clips, two and three of them, not of one length; nobody knows what is true of them,
    so that their fits are scored quickly."""
    folder = tmp_path_factory.mktemp("untrue")
    longer = synthetic.load(tiny_body, num_instances=3, seed=4, style=synthetic.StyleModel(frames_range=(13, 17)))
    for action, dataset in (("serve", tiny_dataset), ("throw", longer)):
        neutral.write(dataclasses.replace(dataset, action=action, truth=None, cameras=None), folder)
    return folder


@pytest.fixture(scope="session")
def both_flags(tiny_flags, without_truth):
    """A tiny fit's flags for both actions of that folder, all their clips."""
    rest = [flag for flag in tiny_flags if not flag.startswith(("--action", "--max_instances"))]
    return ["--action=all", f"--data_dir={without_truth}", *rest]


@pytest.fixture(scope="session")
def serve_flags(both_flags):
    """The same for the action of two clips."""
    return [flag.replace("--action=all", "--action=serve") for flag in both_flags]
