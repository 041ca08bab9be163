"""Fits the motion of an action from the command line: `python run.py --action=baseball_pitch`; see `--help`."""

from absl import app

from experiments.commands import main as command


def main(task: command.Task) -> int:
    return command.run(task)


if __name__ == "__main__":
    app.run(main, flags_parser=command.parse)
