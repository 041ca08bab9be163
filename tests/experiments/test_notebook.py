"""The notebook of the Python API: it runs from top to bottom, and what its cells leave behind is what they say."""

import ast
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nemo_jax
from experiments.evaluation import scores
from experiments.results import fitted_motion

NOTEBOOK = Path(__file__).parents[2] / "docs" / "api.ipynb"


@pytest.fixture(scope="module")
def cells():
    return json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]


def source(cell):
    return "".join(cell["source"])


@pytest.fixture(scope="module")
def ran(cells, saved_run, tiny_config):
    """Names after all cells, with a tiny fit: given after the cell of parameters, as papermill does."""
    import dataclasses

    import matplotlib

    # One stage is a fit as well.
    short = dataclasses.replace(tiny_config, warmup_steps=0, camera_steps=0)
    given = {"max_instances": 2, "fit_values": dataclasses.asdict(short), "results": str(saved_run)}
    names, last = {}, None
    with pytest.MonkeyPatch.context() as patch, matplotlib.rc_context():
        patch.chdir(NOTEBOOK.parent)
        for cell in cells:
            if cell["cell_type"] != "code":
                continue
            exec(compile(source(cell), f"{NOTEBOOK.name} {cell['id']}", "exec"), names)
            if "parameters" in cell["metadata"].get("tags", ()):
                assert given.keys() <= names.keys(), "the test gives a parameter that the notebook does not have"
                names.update(given)
        last = source(cells[-1])
    assert "reading.load" in last
    return names


def test_it_is_a_notebook_without_outputs(cells):
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in cells}) == len(cells)
    for cell in cells:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None
    assert [i for i, cell in enumerate(cells) if "parameters" in cell["metadata"].get("tags", ())] == [1]


def test_the_fit_is_of_the_clips(ran, tiny_config):
    assert ran["settings"].joint_steps == tiny_config.joint_steps
    assert ran["params"].codes.shape[0] == len(ran["dataset"].names) == 2
    assert np.isfinite(ran["numbers"]["mpjpe_mm/fit"])
    for name, found in vars(ran["clips"]).items():
        # Unknown focal lengths are left out of the instances.
        if found is not None and name != "focal_length":
            np.testing.assert_array_equal(found, getattr(ran["dataset"].clips, name), err_msg=name)


def test_the_errors_are_those_of_a_run(ran):
    clips = jax.tree.map(jnp.asarray, ran["clips"])
    fitted = fitted_motion.predict(ran["params"], ran["assets"], ran["body"], ran["settings"], clips)
    expected, _ = scores.evaluate(ran["dataset"], fitted, ran["body"], None, 0.5)
    assert set(ran["numbers"]) == {"mpjpe_mm/init", "mpjpe_mm/fit"}
    for name, value in ran["numbers"].items():
        assert value == pytest.approx(expected[name], rel=1e-4)


def test_it_computes_with_the_public_api_alone(cells):
    code = "\n".join(source(cell) for cell in cells if cell["cell_type"] == "code")
    nodes = list(ast.walk(ast.parse(code)))
    modules = {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    project = {name for name in modules | names if name.split(".")[0] in ("nemo_jax", "body_models", "experiments")}
    # Besides the library only what reads files.
    assert project == {"nemo_jax", "experiments.loaders", "experiments.results"}
    used = {n.attr for n in nodes if isinstance(n, ast.Attribute) and getattr(n.value, "id", "") == "nemo_jax"}
    used |= {a.name for n in nodes if isinstance(n, ast.ImportFrom) and n.module == "nemo_jax" for a in n.names}
    assert used and used <= set(nemo_jax.__all__)


def test_the_field_is_sampled_between_the_clips(ran):
    rotations = np.asarray(ran["rotations"])
    np.testing.assert_allclose(
        rotations @ np.swapaxes(rotations, -1, -2), np.broadcast_to(np.eye(3), rotations.shape), atol=1e-4
    )
    np.testing.assert_allclose(ran["codes"][-1], ran["params"].codes[1], atol=1e-6)
    warped = np.asarray(ran["warped"])
    # From the first phase that the clip shows to the last.
    np.testing.assert_allclose(warped[[0, -1]], np.clip(ran["params"].span[0], 0, 1), atol=1e-4)
    assert (np.diff(warped) > 0).all()


def test_meshes_and_pictures(ran):
    meshes = np.asarray(ran["meshes"])
    assert meshes.shape == (8, ran["body"].num_vertices, 3)
    assert 1.0 < np.ptp(meshes[0, :, 1]) < 2.2
    drawn = np.stack(ran["row"])
    assert drawn.shape == (8, 210, 240, 3)
    covered = (drawn != 255).any(-1)
    assert (covered.mean((1, 2)) > 0.05).all()
    # Nobody is cut off.
    assert not covered[:, 0].any() and not covered[:, :, 0].any() and not covered[:, :, -1].any()


def test_the_speed_is_the_derivative(ran):
    place, times, speed = ran["place"], np.asarray(ran["times"]), np.asarray(ran["speed"])
    path = np.stack([place(time) for time in times[100:103:2]])
    difference = np.linalg.norm(path[1] - path[0]) / (times[102] - times[100])
    assert speed[101] == pytest.approx(difference, rel=0.1, abs=1e-3)


def test_a_finished_run_is_read(ran):
    assert len(ran["run"].dataset.names) == 2
    assert ran["mesh"].shape == (10, ran["run"].body.num_vertices, 3)
