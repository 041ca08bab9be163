"""Which device JAX runs on, and where compiled programs are kept between runs."""

import os
from pathlib import Path
from typing import Literal

import jax

from experiments.base.errors import UserError

Accelerator = Literal["auto", "cpu", "gpu", "tpu"]
_NAMES = {"gpu": "GPU", "tpu": "TPU"}


def choose(accelerator: Accelerator) -> str:
    """Makes JAX use the accelerator and describes the device; must come before anything that touches a device.

    Raises:
      UserError: there is none of that kind here.
    """
    if accelerator in ("cpu", "tpu"):
        jax.config.update("jax_platforms", accelerator)
    elif accelerator == "gpu":
        # JAX then tries every kind of GPU that it was installed for, and falls back to the CPU, which is seen below.
        jax.config.update("jax_platforms", None)
    try:
        found = jax.default_backend()
    except RuntimeError as error:
        if accelerator == "auto":
            setting = os.environ.get("JAX_PLATFORMS", "")
            raise UserError(f"JAX_PLATFORMS={setting} names no device that JAX can use here; unset it") from error
        found = "none"
    if accelerator in _NAMES and found != accelerator:
        name = _NAMES[accelerator]
        raise UserError(
            f"--accelerator={accelerator}: JAX finds no {name} here; install JAX for it (pip install "
            f"'jax[{'cuda13' if accelerator == 'gpu' else 'tpu'}]') or use --accelerator=cpu"
        )
    return describe()


def describe() -> str:
    """Such as `NVIDIA H200` or `cpu (2 cores)`."""
    device = jax.devices()[0]
    if device.platform == "cpu":
        return f"cpu ({num_cores()} cores)"
    count = len(jax.devices())
    return device.device_kind if count == 1 else f"{count} x {device.device_kind}"


def compiler_options(once: bool = False) -> dict[str, str | bool]:
    """Options to compile a fit with, which are known to XLA for the device that JAX uses.

    GPUs: matrix products by cuBLAS alone, and kernels side by side. XLA would also try each product as dozens of Triton
    programs, which takes minutes and gains a fit nothing. A step is hundreds of small kernels, many of which do not wait
    for each other, and by default XLA runs one after the other.

    CPUs: kernels by the older of XLA's emitters, where it still has them, and little of LLVM's optimisation, which halves
    the time of compiling and leaves the steps of a fit as fast as they were. Steps sum in kernels of their own too, which
    makes them a sixth faster.

    Args:
      once: for programs that run once or twice in a command, which on a CPU take longer to compile than to run: LLVM does
        as little as it can, and they are compiled in a quarter of the time.
    """
    options: dict[str, str | bool] = {}
    if jax.default_backend() == "gpu":
        options = {"xla_gpu_enable_triton_gemm": False, "xla_gpu_command_buffer_scheduling_mode": "CONCURRENT"}
    elif jax.default_backend() == "cpu":
        return options_of_cpu(once)
    return _unless_said(options)


def options_of_cpu(once: bool = False) -> dict[str, str | bool]:
    """`compiler_options` where JAX computes on the CPU."""
    options: dict[str, str | bool] = {"xla_backend_optimization_level": "0" if once else "1"}
    if once:
        options["xla_llvm_disable_expensive_passes"] = True
    # Later versions of XLA have the newer emitters alone.
    if jax.__version_info__ < (0, 11):
        options["xla_cpu_use_fusion_emitters"] = False
        if not once:
            # Matrix products alone go to its library of kernels, which takes far longer than a loop to sum few numbers.
            options["xla_cpu_experimental_ynn_fusion_type"] = "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT"
    return _unless_said(options)


def _unless_said(options: dict[str, str | bool]) -> dict[str, str | bool]:
    """The options without those of which the user says something, which holds."""
    said = os.environ.get("XLA_FLAGS", "")
    return {name: value for name, value in options.items() if f"--{name}" not in said}


def keep_compiled() -> Path:
    """Turns on JAX's persistent compilation cache; returns its folder. `JAX_COMPILATION_CACHE_DIR` moves it."""
    own = os.environ.get("JAX_COMPILATION_CACHE_DIR")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = Path(own) if own else cache / "nemo_jax" / "xla"
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    return folder


def num_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
