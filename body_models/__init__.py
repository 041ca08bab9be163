"""SMPL in JAX: the body model, its loaders, its joints, and a body that needs no licence."""

NEMO_JAX = True
"""Tells this package from the PyPI package body-models, which is imported by the same name; `nemo_jax` looks for it."""
