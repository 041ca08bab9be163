"""Between the command line and the experiments: sentences and exit codes in place of traces."""

import os
import sys
from collections.abc import Sequence

from absl import flags as absl_flags

from experiments import flags
from experiments.errors import UserError
from experiments.settings import Settings

BAD_INPUT, INTERRUPTED = 2, 130


def parse(argv: Sequence[str]) -> Settings:
    """`flags.parse` that ends the program with one sentence where the command line is wrong."""
    verbosity = absl_flags.FLAGS["verbosity"]
    try:
        settings = flags.parse(argv)
    except UserError as error:
        raise SystemExit(_fail(error)) from None
    except BrokenPipeError:  # the help page went to a pager that was closed
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None
    if verbosity.using_default_value:
        # Libraries' warnings are not for those who run this; --verbosity=0 brings them back.
        absl_flags.FLAGS["verbosity"].value = -2
        verbosity.using_default_value = False
    return settings


def run(settings: Settings) -> int:
    """Runs a fit; returns the exit code."""
    # Not before: libraries that import JAX read their environment on import.
    from body_models.loaders import BodyModelError
    from experiments import runner
    from experiments.datasets.base import DatasetError
    from experiments.prior_files import PriorFileError

    try:
        runner.run(settings)
    except (UserError, DatasetError, BodyModelError, PriorFileError) as error:
        return _fail(error)
    except KeyboardInterrupt:
        print("\nStopped; the same command continues from the last checkpoint.", file=sys.stderr)
        return INTERRUPTED
    return 0


def _fail(error: Exception) -> int:
    print(f"error: {error}", file=sys.stderr)
    return BAD_INPUT
