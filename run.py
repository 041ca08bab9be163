"""Fits the motion of an action from the command line: `python run.py --action=baseball_pitch`; see `--help`."""

from experiments.commands.entry import main

if __name__ == "__main__":
    main()
