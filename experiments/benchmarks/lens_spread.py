"""How far the focal lengths that fits guess are from the true ones: `SPREAD` of `experiments.evaluation.lens_error`.

    python run.py benchmark --suite=mocap --motion=mocap --observe.focal_range=1000,2600 --output_dir=results/a
    python -m experiments.benchmarks.lens_spread --suites=results/a

Each action is judged by the spread of all others.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from absl import app, flags

from experiments.base.errors import UserError

Array = np.ndarray
_NAME = "focal_error_log"  # of the clips of a row


def read(suites: Sequence[str]) -> tuple[Array, Array]:
    """Errors (C,) of log(focal length) of all clips of finished suites, and their actions (C,).

    Raises:
      UserError: a suite has no clip whose true lens is known.
    """
    errors, actions = [], []
    for suite in suites:
        count = len(errors)
        for path in sorted((Path(suite) / "rows").glob("*.json")):
            row = json.loads(path.read_text())
            own = [values[_NAME] for values in row["each"].values() if _NAME in values]
            errors += own
            actions += [row["cell"]["action"]] * len(own)
        if len(errors) == count:
            raise UserError(
                f"--suites={suite} has no rows/*.json with {_NAME}; expected the folder of a finished suite that knows the "
                "true lenses and does not tell them, such as that of python run.py benchmark --suite=mocap"
            )
    return np.array(errors), np.array(actions)


def spread_of(errors: Array) -> float:
    """Their root mean square: the standard deviation around the guess."""
    return float(np.sqrt(np.mean(errors**2)))


def coverage(errors: Array, actions: Array) -> tuple[float, float]:
    """Shares of the clips within 1 and 1.96 standard deviations, each action's by the errors of all others."""
    scaled = np.empty(len(errors))
    for action in np.unique(actions):
        own = actions == action
        scaled[own] = np.abs(errors[own]) / spread_of(errors[~own])
    return float(np.mean(scaled < 1)), float(np.mean(scaled < 1.96))


def main(argv: Sequence[str]) -> None:
    del argv
    errors, actions = read(flags.FLAGS.suites)
    if len(np.unique(actions)) < 2:
        raise UserError("--suites= hold one action; expected two or more, as each is judged by the others")
    one, two = coverage(errors, actions)
    print(
        f"{len(errors)} clips of {len(np.unique(actions))} actions: spread {spread_of(errors):.3f}, "
        f"mean {errors.mean():+.3f}; {one:.0%} within 1 and {two:.0%} within 1.96 standard deviations of the other actions"
    )


if __name__ == "__main__":
    flags.DEFINE_list("suites", None, "Folders of finished suites.", required=True)
    app.run(main)
