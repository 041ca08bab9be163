"""The whole fit as one program for a TPU, without having one."""

import dataclasses
import re

import jax
import jax.export
import jax.numpy as jnp
import pytest

from nemo_jax.fit import fit
from nemo_jax.priors import open_priors
from tests.nemo_jax import helpers

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=["default", "published"])
def module(request):
    published = {
        "init_space": "axis_angle", "camera_search": False, "camera_frames": 1, "kernel": "quadratic", "near": 0.0,
        "principal_swapped": True, "warmup_root": False, "schedule": "constant", "person_size": 0.0, "code_noisy": True,
    }  # fmt: skip
    default = {"lift": True, "rescue_steps": 2, "rescue_frames": 3, "lens_starts": 3}
    config = helpers.tiny_config(**(default if request.param == "default" else published))
    clips = dataclasses.replace(helpers.scene(lengths=(4, 5)).clips, lens=jnp.zeros(2))
    arguments = (jax.random.key_data(jax.random.key(0)), clips, helpers.body(), open_priors())

    def whole(key, clips, body, priors):
        return jax.tree.leaves(fit(jax.random.wrap_key_data(key), clips, body, priors, config))

    return jax.export.export(jax.jit(whole), platforms=["tpu"])(*jax.tree.map(jnp.asarray, arguments))


def test_it_lowers_for_tpu(module):
    assert module.platforms == ("tpu",)
    assert "stablehlo.while" in module.mlir_module()


def test_it_is_float32_throughout(module):
    text = module.mlir_module()
    assert "xf32>" in text
    assert not re.search(r"f64|complex", text)
    assert {str(aval.dtype) for aval in module.out_avals} <= {"float32", "int32"}


def test_its_shapes_are_static(module):
    assert not re.search(r"tensor<[^>]*\?", module.mlir_module())
    assert all(isinstance(n, int) for aval in module.out_avals for n in aval.shape)


def test_it_calls_nothing_outside(module):
    # No host callbacks, no LAPACK; eigenvectors are the TPU compiler's own.
    called = set(re.findall(r"custom_call @([\w.]+)", module.mlir_module()))
    assert called <= {"Eigh"}
