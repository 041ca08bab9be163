"""The preset `default`.

Command:
  python run.py --action=baseball_pitch
Expected accuracy: the synthetic pitch from 109 to 35 mm MPJPE (8 clips, 2 CPU cores, 2026-11-28).
Expected time: 126 s on two slow cores, 29 of them compiling and 53 fitting (the same run).
"""

from nemo_jax.config import FitConfig

SUMMARY = "Fits any action on any device, with what is right where the published code has a quirk."


def default() -> FitConfig:
    """The defaults of `FitConfig`, each explained there."""
    return FitConfig()
