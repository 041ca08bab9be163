"""The preset `paper_v3`.

Command:
  python run.py --action=baseball_pitch --preset=paper_v3 --body_model=SMPL_NEUTRAL.pkl --vposer=V02_05 --gmm=gmm_08.pkl

Expected accuracy: not measured on the licensed files; parity with the published numbers is in `docs/parity.md`.
Expected time: one joint step poses two full meshes of every frame of a batch; see the README.
"""

import dataclasses

from experiments.configs._published import PUBLISHED
from nemo_jax.config import FitConfig

SUMMARY = "The published method, version 3: terms for codes and initial poses; the run on custom videos."


def paper_v3() -> FitConfig:
    """The published settings of a custom video: strong initial poses, phases that stay."""
    return dataclasses.replace(PUBLISHED, weight_init=1000.0, weight_code=0.1, lr_phase=0.0)
