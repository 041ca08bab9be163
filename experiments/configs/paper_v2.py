"""The preset `paper_v2`.

Command:
  python run.py --action=baseball_pitch --preset=paper_v2 --body_model=SMPL_NEUTRAL.pkl --vposer=V02_05 --gmm=gmm_08.pkl

Expected accuracy: not measured on the licensed files; parity with the published numbers is in `docs/parity.md`.
Expected time: one joint step poses two full meshes of every frame of a batch; see the README.
"""

import dataclasses

from experiments.configs._published import PUBLISHED
from nemo_jax.config import FitConfig

SUMMARY = "The published method, version 2: radial phase features; the run of the paper's own motion capture."


def paper_v2() -> FitConfig:
    """The published settings, as they are."""
    return dataclasses.replace(PUBLISHED)
