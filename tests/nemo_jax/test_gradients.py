"""Gradients of the total loss: finite where formulas tend to break, and those of finite differences."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nemo_jax import batches, camera_search, model, objective
from nemo_jax.priors import Priors, published_limits
from tests.nemo_jax import helpers, points

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def report():
    # Its own process: float64 is a switch of the whole of JAX.
    environment = {**os.environ, "JAX_ENABLE_X64": "1", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-m", "tests.nemo_jax.float64_checks"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    "case",
    [
        "default at start",
        "default at zero",
        "default at somewhere",
        "roots at somewhere",
        "default without limits at pi",
        "published at somewhere",
        "warm-up at pi",
    ],
)
def test_slopes_agree_with_differences(report, case):
    slopes = report[case]
    largest = max(abs(expected) for _, expected in slopes.values())
    assert largest > 1e-5
    for name, (found, expected) in slopes.items():
        # Differences carry the rounding of the sum, which drowns slopes far below the largest.
        assert found == pytest.approx(expected, rel=2e-5, abs=max(1e-8 * largest, 1e-9)), name


def test_every_parameter_is_moved_by_something(report):
    for name, (found, _) in report["default at somewhere"].items():
        # The bias of the translation head cancels: translation is against phase 0.
        assert (found == 0) == (name == ".field['translation']['bias']"), name


def loss_and_gradient(config, priors, clips):
    assets = jax.jit(model.prepare)(clips, helpers.body(), priors, config)
    targets, batch = camera_search.targets_from(clips), batches.full_batch(clips)
    loss = lambda p: objective.joint_loss(p, assets, config, clips, targets, batch)[0]
    return jax.jit(jax.value_and_grad(loss))


@pytest.mark.parametrize(
    "changes",
    [{}, {"init_space": "axis_angle", "keypoint_loss": "rmse_robust", "near": 0.0}],
    ids=["default", "published"],
)
def test_gradients_are_finite_everywhere(changes):
    clips, config = helpers.scene(lengths=(4, 6)).clips, helpers.tiny_config(**changes)
    run = loss_and_gradient(config, Priors(joint_limits=published_limits()), clips)
    for where in points.WHERE:
        value, gradient = run(points.at(where, config, clips))
        assert jnp.isfinite(value), where
        for path, leaf in jax.tree_util.tree_leaves_with_path(gradient):
            assert jnp.isfinite(leaf).all(), (where, jax.tree_util.keystr(path))
        assert max(float(np.abs(leaf).max()) for leaf in jax.tree.leaves(gradient)) > 0
