"""The program, as `python run.py` and, where the package is installed, as `nemo-jax`."""

import importlib
import sys

from experiments.base import garbage, stopping

BAD_INSTALLATION = 2


def main() -> None:
    """Does what the command line says and ends the process with its exit code."""
    garbage.collect_seldom()
    # Before the imports, which take most of a second: from here on Ctrl-C is a sentence.
    stopping.end_on_signals()
    check_packages()
    from absl import app

    from experiments.commands import main as command

    app.run(command.run, flags_parser=command.parse)


def check_packages() -> None:
    """Ends the process with one sentence where `body_models` is another package of that name."""
    try:
        from body_models import NEMO_JAX  # noqa: F401
    except ImportError:
        # Now `nemo_jax` says what is wrong; otherwise it is imported later, as it takes a second.
        try:
            importlib.import_module("nemo_jax")
        except ImportError as error:
            print(f"error: {error}", file=sys.stderr)
            raise SystemExit(BAD_INSTALLATION) from None
