"""Fits the motion of an action from the command line: `python run.py --action=baseball_pitch`; see `--help`."""

from experiments.base import stopping


def main() -> None:
    """Does what the command line says and ends the program with its exit code."""
    # Before the imports, which take most of a second: from here on Ctrl-C is a sentence.
    stopping.end_on_signals()
    from absl import app

    from experiments.commands import main as command

    app.run(command.run, flags_parser=command.parse)


if __name__ == "__main__":
    main()
