"""Between the command line and the experiments: which command, and sentences and exit codes in place of traces."""

import dataclasses
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

from absl import flags as absl_flags

from experiments.base.errors import UserError

BAD_INPUT, INTERRUPTED = 2, 130
# What may stand after `run.py`: the module whose `parse(argv)` makes settings, and the one whose `run(settings)` obeys.
# Without a word it is `fit`.
COMMANDS = {
    "fit": ("experiments.commands.fit", "experiments.commands.fit"),
    "simulate": ("experiments.commands.simulate", "experiments.commands.simulate"),
    "view": ("experiments.commands.view", "experiments.commands.view"),
    "export": ("experiments.commands.export", "experiments.commands.export"),
}


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
    try:
        settings = importlib.import_module(COMMANDS[command][0]).parse(rest)
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
        importlib.import_module(COMMANDS[task.command][1]).run(task.settings)
    except (UserError, DatasetError, BodyModelError, PriorFileError, BadPickleError, UnsafePickleError) as error:
        return _fail(error)
    except KeyboardInterrupt:
        hint = "; the same command continues from the last checkpoint" if task.command == "fit" else ""
        print(f"\nStopped{hint}.", file=sys.stderr)
        return INTERRUPTED
    return 0


def _fail(error: Exception) -> int:
    print(f"error: {error}", file=sys.stderr)
    return BAD_INPUT
