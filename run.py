"""Fits the motion of an action from the command line: `python run.py --action=baseball_pitch`; see `--help`."""

from absl import app

from experiments import command
from experiments.settings import Settings


def main(settings: Settings) -> int:
    return command.run(settings)


if __name__ == "__main__":
    app.run(main, flags_parser=command.parse)
