"""Tests spend their time in the compiler: XLA is told to hurry, which makes it two to four times as fast here."""

import os
from importlib import metadata

_flags = ["--xla_backend_optimization_level=0"]
# Newer versions have no other way, and an unknown flag ends the process.
if metadata.version("jaxlib").startswith("0.10."):
    _flags.append("--xla_cpu_use_fusion_emitters=false")

# Read when JAX starts its backend, which no import does.
os.environ["XLA_FLAGS"] = " ".join([os.environ.get("XLA_FLAGS", ""), *_flags]).strip()
