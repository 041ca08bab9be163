"""Fits any action on any device, with what is right where the published code has a quirk.

Command:
  python run.py --action=baseball_pitch
Expected accuracy: on the synthetic pitch (8 clips with initial poses), see `mpjpe_mm/fit` in the README's table.
Expected time: see the README's table.
"""

from nemo_jax.config import FitConfig


def default() -> FitConfig:
    """The defaults of `FitConfig`, each explained there."""
    return FitConfig()
