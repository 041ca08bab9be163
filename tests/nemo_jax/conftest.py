"""Tests spend their time in the compiler: XLA is told to hurry, which makes it four times as fast on these programs."""

import os

_FLAGS = ("--xla_backend_optimization_level=0", "--xla_cpu_use_fusion_emitters=false")

# Read when JAX starts its backend, which no import does.
os.environ["XLA_FLAGS"] = " ".join([os.environ.get("XLA_FLAGS", ""), *_FLAGS]).strip()
