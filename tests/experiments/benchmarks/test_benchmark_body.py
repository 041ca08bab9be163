"""The benchmark of the SMPL layer: every number is there or said to be missing; nothing is said about speed."""

import importlib.metadata
import math
import os
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.benchmarks import body, body_calls, timing


def installed(*packages):
    try:
        return all(importlib.metadata.version(name) for name in packages)
    except importlib.metadata.PackageNotFoundError:
        return False


def once(call, wait=jax.block_until_ready, *_, **__):
    wait(call())
    return timing.Timing(2.0, 1.0, 4.0, 1)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return body.write_model(tmp_path_factory.mktemp("model"), [1, 2])


@pytest.fixture(scope="module")
def ours(model):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timing, "seconds", once)
        return body.own(model, [1, 2], body.KINDS, 1)


def test_every_kind_and_size_is_measured(ours):
    assert list(ours) == [f"{kind}/{size}" for kind in body.KINDS for size in (1, 2)]
    rows = body.table({"nemo_jax": ours}, body.KINDS, [1, 2])
    assert [(row["what"], row["batch"]) for row in rows] == [(kind, size) for kind in body.KINDS for size in (1, 2)]
    assert all(row["nemo_jax"] == 2000 and row["spread"] == 1.5 for row in rows)


@pytest.mark.skipif(not installed("smplx", "torch"), reason="needs smplx and PyTorch")
def test_smplx_computes_the_same_points(model, ours, monkeypatch):
    monkeypatch.setattr(timing, "seconds", lambda call, *_: once(call, lambda _: None))
    found = body.torch_times(model, [1, 2], body.KINDS, 1, False)
    assert set(found) == set(ours)
    assert body.disagreement(model.parent)["smplx"] < 0.01


@pytest.mark.skipif(not installed("smplx", "torch"), reason="needs smplx and PyTorch")
@pytest.mark.parametrize("message", ["can't allocate memory: you tried to allocate 1 bytes", "something else"])
def test_only_a_lack_of_memory_is_passed_over_in_smplx(model, monkeypatch, message):
    def fail(*_):
        raise RuntimeError(message)

    monkeypatch.setattr(timing, "seconds", fail)
    if message == "something else":
        with pytest.raises(RuntimeError, match="something else"):
            body.torch_times(model, [1], ["vertices"], 1, False)
    else:
        assert body.torch_times(model, [1], ["vertices"], 1, False) == {"vertices/1": None}


@pytest.mark.skipif(not installed("body-models"), reason="needs body-models")
def test_body_models_computes_the_same_points(model, ours, capfd):
    found = body.peer_times(model, [1, 2], ["vertices", "vertices gradient"], 1)
    assert set(found) == {key for key in ours if key.startswith("vertices")}
    assert all(0 < time.least <= time.median <= time.greatest for time in found.values())
    assert body.disagreement(model.parent)["body-models"] < 0.01
    assert "body-models: vertices gradient, batch 2" in capfd.readouterr().out


@pytest.mark.skipif(installed("body-models"), reason="needs an environment without body-models")
def test_a_package_that_is_not_installed_is_named(model):
    assert "body_models" in body.peer_times(model, [1], ["vertices"], 1)


def test_gradients_are_for_the_pose_and_not_for_the_model():
    seen = []

    def clock(call):
        seen.append(call())
        return once(call)

    functions = {"vertices": lambda scale, pose, root, shape: scale * (pose + root + 2 * shape)}
    poses = {3: (jnp.ones(3), jnp.zeros(3), jnp.zeros(3))}
    body_calls.timed("some", functions, (2.0,), poses, ["vertices", "vertices gradient"], clock)
    np.testing.assert_array_equal(seen[0], 2 * np.ones(3))
    np.testing.assert_array_equal(seen[1], np.stack([8 * np.ones(3), 8 * np.ones(3), 16 * np.ones(3)]))


@pytest.mark.parametrize("compiling", [True, False])
def test_what_does_not_fit_is_a_dash_and_a_sentence(compiling):
    def refuse(what):
        raise jax.errors.JaxRuntimeError(f"{what}: Out of memory while trying to allocate 5 bytes.")

    def function(pose, root, shape):
        return refuse("RESOURCE_EXHAUSTED") if compiling and len(pose) == 9 else pose + root + shape

    def clock(call):
        return refuse("RESOURCE_EXHAUSTED") if len(call()) == 9 else once(call)

    poses = {size: (jnp.ones(size),) * 3 for size in (2, 9)}
    found = body_calls.timed("nemo_jax", {"keypoints": function}, (), poses, ["keypoints"], clock)
    assert found["keypoints/9"] is None and found["keypoints/2"].median == 2
    times = {"nemo_jax": found, "other": {"keypoints/2": None, "keypoints/9": timing.Timing(1.0, 1.0, 1.0, 1)}}
    first, second = body.table(times, ["keypoints"], [2, 9])
    assert (first["nemo_jax"], first["other"], first["other / ours"]) == (2000, None, None)
    assert (second["nemo_jax"], second["other"], second["other / ours"], second["spread"]) == (None, 1000, None, 0)
    assert body.missing(times) == [
        "nemo_jax ran out of memory: keypoints at batch 9.",
        "other ran out of memory: keypoints at batch 2.",
    ]
    with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"):
        body_calls.if_it_fits(lambda: refuse("INTERNAL"))


def test_a_process_that_dies_is_named():
    assert "--batches" in body.apart(os._exit, 1)
    assert body.apart(math.gcd, 4, 6) == 2


@pytest.mark.parametrize("flag", ["--batches=1,0", "--batches=1,x", "--kinds=vertices,meshes", "--batches="])
def test_wrong_flags_are_named(flag, monkeypatch, capsys):
    monkeypatch.setenv("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # Set by the command; put back after the test.
    monkeypatch.setattr(sys, "argv", ["body", flag])
    with pytest.raises(SystemExit):
        body.main()
    assert flag.split("=")[0] in capsys.readouterr().err
