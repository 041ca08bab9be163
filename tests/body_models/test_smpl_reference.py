"""SMPL against recorded outputs and gradients of the published implementation; NEMO_REFERENCE_DIR names their folder."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from body_models import joints as jn
from body_models import loaders, smpl

FOLDER = os.environ.get("NEMO_REFERENCE_DIR")
pytestmark = pytest.mark.skipif(FOLDER is None, reason="NEMO_REFERENCE_DIR is not set")


@pytest.fixture(scope="module")
def reference():
    with np.load(Path(str(FOLDER)) / "smpl.npz") as archive:
        return dict(archive)


@pytest.fixture(scope="module")
def body(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    subprocess.run([sys.executable, Path(str(FOLDER)) / "make_models.py", "--out", folder, "--seed", "0"], check=True)
    return loaders.load_body(folder)


def relative_error(found, expected):
    return np.abs(np.asarray(found, np.float64) - expected).max() / np.abs(expected).max()


@jax.jit
def evaluate(body, rotations, betas):
    def one(rotations, betas):
        args = (body, rotations, betas, jnp.zeros(3))
        return smpl.vertices(*args), smpl.all_joints(*args), smpl.keypoints(*args)

    return jax.vmap(one)(rotations, betas)


def test_values(body, reference):
    vertices, joints, keypoints = evaluate(body, reference["rotmats"], reference["betas"])
    assert relative_error(vertices[:, reference["vertex_ids"]], reference["vertices"]) < 1e-5
    assert relative_error(joints, reference["joints54"]) < 1e-5
    assert relative_error(joints[:, reference["joint_map"]], reference["joints49"]) < 1e-5
    assert relative_error(keypoints, reference["joints25_v4"]) < 1e-5
    with_top_of_head = np.concatenate([[jn.TOP_OF_HEAD], jn.BODY_25[1:]])
    assert relative_error(joints[:, with_top_of_head], reference["joints25"]) < 1e-5


def test_values_without_shape(body, reference):
    vertices, joints, _ = evaluate(body, reference["rotmats"], np.zeros_like(reference["betas"]))
    assert relative_error(vertices[:, reference["vertex_ids"]], reference["vertices_zero_betas"]) < 1e-5
    assert relative_error(joints[:, reference["joint_map"]], reference["joints49_zero_betas"]) < 1e-5


def test_gradients(body, reference):
    def loss(rotations, betas):
        vertices, joints, _ = evaluate(body, rotations, betas)
        return (vertices[:, reference["vertex_ids"]] * reference["cot_vertices"]).sum() + (
            joints[:, reference["joint_map"]] * reference["cot_joints49"]
        ).sum()

    rotations, betas = jax.grad(loss, (0, 1))(reference["rotmats"], reference["betas"])
    assert relative_error(rotations, reference["grad_rotmats"]) < 1e-4
    assert relative_error(betas, reference["grad_betas"]) < 1e-4
