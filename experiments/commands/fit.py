"""`python run.py`, also `run.py fit`: fits what the clips of an action show; the fit's fields are `--fit.<field>=`."""

import dataclasses
import itertools
import re
from collections.abc import Sequence

from absl import flags as absl_flags

from experiments import configs
from experiments.base import flags, help_page
from experiments.base.errors import UserError
from experiments.fitting.settings import DECIDED, Settings, check
from nemo_jax import options
from nemo_jax.config import FitConfig

USAGE = """\
Fits one motion field to several videos of the same action: 2D keypoints in, 3D motion out.

  python run.py --action=baseball_pitch                        a synthetic pitch, no data needed
  python run.py --action=my_action --videos='clips/*.mp4'      your own videos
  python run.py --action=tennis_serve --data_dir=penn_action   clips on disk
  python run.py --action=all --data_dir=penn_action            all its actions (docs/scale.md)
  python run.py split --videos=long.mp4                        the repetitions in a film, to correct
  python run.py view --results=results/my_action               what came of it, in 3D
  python run.py export --results=results/my_action             to Blender, games, OpenSim, tables
  python run.py simulate --help                                clips made from recorded motion
  python run.py benchmark --help                               how accurate fits are
"""
# Pictures of the results, which take longer than a fit: of several fits they are made only if asked for.
_PICTURES = ("overview", "overlay", "figures", "viewer", "report")
_FIELD = re.compile(r"--?(?:no)?fit\.([^=]*)")
_PRESET = re.compile(r"--?preset(?:=(.*))?", re.DOTALL)


def parse(argv: Sequence[str], values: absl_flags.FlagValues = absl_flags.FLAGS) -> Settings:
    """Settings of a command line: the preset first, then the overrides of `--fit.<field>=`.

    Args:
      argv: the program's name and its arguments.
      values: where flags live; another one in tests.

    Raises:
      UserError: an unknown or bad flag.
      SystemExit: help was asked for; it has been printed.
    """
    presets = lambda: {"preset": [f"{name}: {configs.summary(name)}" for name in configs.names()]}
    help_page.show(argv, lambda: help_page.page(Settings, USAGE, presets()))
    preset = configs.get(_preset(argv))
    _check_field_names(argv)
    found = flags.read(Settings, USAGE, argv, values, {"fit": preset})
    settings = found.settings
    if settings.many:
        settings = dataclasses.replace(settings, **dict.fromkeys(set(_PICTURES) - found.given, False))
    check(settings)
    return settings


def run(settings: Settings) -> None:
    """Fits, writes the results and draws what the settings ask for.

    Raises:
      UserError, DatasetError, BodyModelError: nothing could be fitted, or some fits failed; one sentence.
    """
    # Not before: parsing a command line needs neither JAX's devices nor Matplotlib.
    from experiments.fitting import run as fitting
    from experiments.show import presentation

    fitting.run(settings, presentation.begin)


def _preset(argv: Sequence[str]) -> str:
    """The value of `--preset`, the last if it is given several times, before all flags are known."""
    name, arguments = "default", [*argv[1:], ""]
    for argument, following in itertools.pairwise(arguments):
        if match := _PRESET.fullmatch(argument):
            name = following if match[1] is None else match[1]
    return name


def _check_field_names(argv: Sequence[str]) -> None:
    known = [field.name for field in dataclasses.fields(FitConfig)]
    for argument in argv[1:]:
        match = _FIELD.match(argument)
        if match and match[1] in DECIDED:
            raise UserError(f"--fit.{match[1]} is decided by the clips; leave it out")
        if match and match[1] not in known:
            name, hint = options.shown(match[1]), flags.near(match[1], known, "fit.")
            raise UserError(f"--fit.{name} is not a field of the fit; {hint}")
