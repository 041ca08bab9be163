"""`python run.py split`: where the takes of films are, as pictures and as a table to correct; nothing is fitted."""

import dataclasses
import shlex
from collections.abc import Sequence
from pathlib import Path

from absl import flags as absl_flags

from experiments.base import flags, shared_options
from nemo_jax.options import REQUIRED, option

USAGE = """\
Finds the repetitions of an action in films, and shows them: takes.csv, a table to correct, a
contact sheet of each take's frames and a timeline of each film.

  python run.py split --videos='films/*.mp4' --action=squat
  python run.py --videos='films/*.mp4' --action=squat --takes=results/squat/takes.csv
"""


@dataclasses.dataclass(frozen=True)
class SplitSettings:
    """Everything the command line says; each field is a flag."""

    videos: str = shared_options.path(
        REQUIRED,
        "Films, such as 'films/*.mp4' or a folder. Required.",
        required=("give films, a pattern or a folder", "'films/*.mp4'"),
    )
    action: str = option(
        "takes",
        "What they show; names the folder of the results.",
        check=lambda name: shared_options.name_problem(name, "squat"),
    )
    split: str | None = option(
        None, "How many takes: auto (taken when not given), off, N, or name=choice for each film."
    )
    turn: str | None = option(None, "How films stored sideways are turned, as in a fit.")
    takes: str | None = shared_options.path(None, "A table of takes to show, in place of those found by themselves.")
    person: str | None = option(None, "Who is followed, as in a fit.")
    shots: str | None = option(None, "Which shot of films with cuts, as in a fit.")
    pose_model: str | None = shared_options.path(None, "Pose model, as in a fit.")
    output_dir: str | None = shared_options.path(None, "Folder of the results. Not given: results/<action>.")

    @property
    def output(self) -> Path:
        return Path(self.output_dir) if self.output_dir else Path("results") / self.action


def parse(argv: Sequence[str], values: absl_flags.FlagValues = absl_flags.FLAGS) -> SplitSettings:
    """Settings of a command line; see `flags.read`."""
    settings = flags.read(SplitSettings, USAGE, argv, values).settings
    flags.check(settings)
    return settings


def run(settings: SplitSettings) -> None:
    """Writes `takes.csv`, `contact_sheet.png` and `timeline.png`, and says which command fits the takes.

    Raises:
      UserError, DatasetError: no films, none with a take, or the folder cannot be written; one sentence.
    """
    # Not before: parsing a command line needs neither a detector nor Matplotlib.
    from rich.console import Console

    from experiments.detection import takes_table
    from experiments.loaders import split_films
    from experiments.show import takes_pictures

    console = Console()
    flagged = {name: getattr(settings, name) for name in ("person", "shots", "split", "turn", "takes", "pose_model")}
    films, notes = split_films.find(settings.videos, settings.output / "detections", console, **flagged)
    table = settings.output / "takes.csv"
    # The table that is shown stays as it is.
    if settings.takes is None or Path(settings.takes).resolve() != table.resolve():
        takes_table.write(table, [(film.name, take) for film in films for take in film.takes])
    takes_pictures.contact_sheet(films, settings.output / "contact_sheet.png")
    takes_pictures.timeline(films, settings.output / "timeline.png")
    for film in films:
        spans = ", ".join(f"{take.start:.2f} to {take.end:.2f} s" for take in film.takes)
        print(f"{film.name}: {len(film.takes)} {'take' if len(film.takes) == 1 else 'takes'}, {spans}")
    for note in notes:
        print(f"Note: {note}")
    arguments = {"action": settings.action, "videos": settings.videos, "takes": str(table), "person": settings.person}
    arguments["turn"] = settings.turn
    fit = shlex.join([f"--{name}={value}" for name, value in arguments.items() if value is not None])
    print(f"\nLook at {settings.output / 'contact_sheet.png'} and timeline.png, correct {table}, and fit the takes:")
    print(f"  python run.py {fit}", flush=True)
