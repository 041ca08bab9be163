"""Between the command line and the experiments: which command, and sentences and exit codes in place of traces."""

import dataclasses
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

from absl import flags as absl_flags

from experiments.base import stopping
from experiments.base.errors import UserError
from experiments.commands import COMMANDS

BAD_INPUT, INTERRUPTED = 2, 130
# What the same command does after it was stopped; the others start over.
_GOES_ON = {"fit": stopping.CONTINUES, "benchmark": stopping.KEEPS_FINISHED}


@dataclasses.dataclass(frozen=True)
class Task:
    """A command, one of `COMMANDS`, and the settings that its parser made."""

    command: str
    settings: Any


def parse(argv: Sequence[str]) -> Task:
    """The command and the settings of a command line; ends the program with one sentence where it is wrong."""
    verbosity = absl_flags.FLAGS["verbosity"]
    command, rest = "fit", list(argv)
    if len(argv) > 1 and argv[1] in COMMANDS:
        command, rest = argv[1], [argv[0], *argv[2:]]
    stopping.say(_GOES_ON.get(command, stopping.STARTS_OVER))
    try:
        settings = importlib.import_module(COMMANDS[command]).parse(rest)
    except UserError as error:
        raise SystemExit(_fail(error)) from None
    except BrokenPipeError:  # the help page went to a pager that was closed
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None
    if verbosity.using_default_value:
        # Libraries' warnings are not for those who run this; --verbosity=0 brings them back.
        absl_flags.FLAGS["verbosity"].value = -2
        verbosity.using_default_value = False
    return Task(command, settings)


def run(task: Task) -> int:
    """Does what a command line says; returns the exit code."""
    # Not before: libraries that import JAX read their environment on import.
    from body_models.loaders import BodyModelError
    from body_models.safe_pickle import BadPickleError, UnsafePickleError
    from experiments.data.dataset import DatasetError
    from experiments.fitting.prior_files import PriorFileError

    try:
        importlib.import_module(COMMANDS[task.command]).run(task.settings)
    except (UserError, DatasetError, BodyModelError, PriorFileError, BadPickleError, UnsafePickleError) as error:
        return _fail(error)
    except KeyboardInterrupt:  # where `stopping` does not watch, as in other people's programs
        stopping.say(_GOES_ON.get(task.command, stopping.STARTS_OVER))
        print(f"\n{stopping.sentence()}", file=sys.stderr)
        return INTERRUPTED
    return 0


def _fail(error: Exception) -> int:
    print(f"error: {error}", file=sys.stderr)
    return BAD_INPUT
