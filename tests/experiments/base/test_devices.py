"""Options that programs are compiled with."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.base import devices
from experiments.base.programs import Program


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="the options are those of CPUs")
@pytest.mark.parametrize("once", [False, True])
def test_programs_compile_with_options_that_xla_knows_and_compute_the_same(once, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "")
    options = devices.compiler_options(once)
    assert options["xla_backend_optimization_level"] == ("0" if once else "1")
    x = np.linspace(-2, 2, 64, dtype=np.float32).reshape(8, 8)
    function = lambda x: jnp.tanh(x @ x.T).sum(0)
    np.testing.assert_allclose(Program(function, once, "test")(x), np.tanh(x @ x.T).sum(0), atol=1e-4)


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="the options are those of CPUs")
def test_what_xla_flags_say_holds(monkeypatch):
    said = ("backend_optimization_level=3", "cpu_use_fusion_emitters=true", "cpu_experimental_ynn_fusion_type=")
    monkeypatch.setenv("XLA_FLAGS", " ".join(f"--xla_{flag}" for flag in said))
    assert set(devices.compiler_options()) == set()
    assert set(devices.compiler_options(once=True)) == {"xla_llvm_disable_expensive_passes"}


def test_other_devices_are_left_their_own_options(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert all(name.startswith("xla_gpu") for name in devices.compiler_options(once=True))
    monkeypatch.setenv("XLA_FLAGS", "--xla_gpu_enable_triton_gemm=true")
    assert set(devices.compiler_options()) == {"xla_gpu_command_buffer_scheduling_mode"}
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
    assert devices.compiler_options(once=True) == {}
