"""`python run.py benchmark`: how accurate fits are, on a suite of clips; `experiments/benchmarks/suites` does it."""

import dataclasses
from collections.abc import Sequence

from absl import flags as absl_flags

from experiments.base import flags
from experiments.benchmarks.suites.settings import OBSERVED, SuiteSettings, check
from nemo_jax.config import FitConfig

USAGE = """\
Measures how accurate fits are on a suite of clips: a table, a figure, and every fit's scores.
An interrupted suite goes on from its finished fits.

  python run.py benchmark --suite=mocap --motion=mocap
  python run.py benchmark --suite=mocap --motion=mocap --presets=default,paper_v3 --gmm=gmm_08.pkl
  python run.py benchmark --suite=mocap --motion=mocap --variants='held:focal_guess=1.5,lr_focal=0'
"""


def parse(argv: Sequence[str], values: absl_flags.FlagValues = absl_flags.FLAGS) -> SuiteSettings:
    """Settings of a command line; see `flags.read`."""
    found = flags.read(SuiteSettings, USAGE, argv, values, {"fit": FitConfig(), "observe": OBSERVED})
    fields = tuple(sorted(name.removeprefix("fit.") for name in found.given if name.startswith("fit.")))
    settings = dataclasses.replace(found.settings, overridden=fields)
    check(settings)
    return settings


def run(settings: SuiteSettings) -> None:
    """Fits, scores, and writes table and figure.

    Raises:
      UserError, DatasetError, BodyModelError, PriorFileError: one sentence for the user.
    """
    # Not before: parsing a command line needs neither JAX's devices nor Matplotlib.
    from experiments.benchmarks.suites import run as suites

    suites.run(settings)
