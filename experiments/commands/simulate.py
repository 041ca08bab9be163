"""`python run.py simulate`: recorded motion -> clips with known truth, which are read like any others."""

import dataclasses
import shlex
import sys
from collections.abc import Sequence

import numpy as np
from absl import flags as absl_flags

from body_models import loaders, smpl
from experiments.base import flags, shared_options
from experiments.base.errors import UserError
from experiments.data import neutral
from experiments.data.dataset import Dataset
from experiments.loaders import simulated
from experiments.simulation import observations
from experiments.simulation.observations import ObservationModel
from nemo_jax.options import REQUIRED, option

USAGE = """\
Makes clips of recorded motion: what cameras, a keypoint detector and a pose estimator would say
of it.

  python run.py simulate --motion=mocap --action=kick
  python run.py --action=kick --data_dir=simulated             fits them

The motion is AMASS's: .npz files with poses, trans, betas and mocap_framerate, z up.
"""


@dataclasses.dataclass(frozen=True)
class SimulateSettings:
    """Everything the command line says; each field is a flag. fps None: the motion's own up to 30, else 30."""

    action: str = option(
        REQUIRED,
        "What the motions show, such as kick; picks files by their names. Required.",
        required=("name what the motions show", "kick"),
        check=lambda name: shared_options.name_problem(name, "kick"),
        group="Motion",
    )
    motion: str = shared_options.path(
        REQUIRED, "Folder of .npz files of motion, or one file. Required.", required=("give a folder of them", "mocap")
    )
    max_instances: int | None = shared_options.max_instances("Use at most so many motions.")
    fps: float | None = shared_options.fps(
        "Frames per second of the clips. Not given: the motion's own up to 30, and 30 for faster ones."
    )
    body_model: str | None = shared_options.body_model()
    views: int = option(1, "Clips of each motion, each with a camera of its own.", least=1, most=10_000, group="Clips")
    seed: int = shared_options.seed()
    output_dir: str = shared_options.path(
        "simulated", "Folder of the clips, in which they get a folder named like the action."
    )
    observe: ObservationModel = option(
        ObservationModel, "Constants of the observation model, as --observe.<field>=<value>:"
    )


def parse(argv: Sequence[str], values: absl_flags.FlagValues = absl_flags.FLAGS) -> SimulateSettings:
    """Settings of a command line; see `flags.read`."""
    settings = flags.read(SimulateSettings, USAGE, argv, values).settings
    check(settings)
    return settings


def check(settings: SimulateSettings) -> None:
    """Raises UserError: a value that no run could use, or values that do not go together."""
    flags.check(settings)
    if found := observations.problem(settings.observe):
        raise UserError(f"--observe.{found}")


def run(settings: SimulateSettings) -> None:
    """Writes the clips in the neutral format, says what they are and which command fits them.

    Raises:
      UserError, DatasetError, BodyModelError: one sentence for the user.
    """
    # Not before: choosing a device starts JAX. The same bits come of a machine with a GPU and of one without.
    from experiments.base import devices

    devices.choose("cpu")
    devices.keep_compiled()
    dataset, notes = make(settings, loaders.load_body(settings.body_model))
    paths = neutral.write(dataset, settings.output_dir)
    for path, line in zip(paths, _descriptions(dataset), strict=True):
        print(f"{path}: {line}")
    for note in notes:
        print(f"Note: {note}.")
    arguments = {"action": settings.action, "data_dir": settings.output_dir, "body_model": settings.body_model}
    fit = shlex.join([f"--{name}={value}" for name, value in arguments.items() if value is not None])
    print(f"\nFit them:\n  python run.py {fit}")
    sys.stdout.flush()


def make(settings: SimulateSettings, body: smpl.SMPL) -> tuple[Dataset, list[str]]:
    """The clips of all motions, and sentences on what was left out; see `simulated.of_motions`."""
    return simulated.of_motions(
        settings.motion,
        settings.action,
        body,
        settings.observe,
        settings.seed,
        most=settings.max_instances,
        views=settings.views,
        fps=settings.fps,
    )


def _descriptions(dataset: Dataset) -> list[str]:
    clips = dataset.clips
    lines = []
    for n, frames in enumerate(np.asarray(clips.frame_mask).sum(-1).astype(int)):
        seen = np.asarray(clips.confidence)[n, :frames] > 0
        lines.append(
            f"{frames} frames at {float(clips.fps[n]):g} per second, {seen.mean():.0%} of the joints seen, an initial pose "
            f"in {np.asarray(clips.init_mask)[n, :frames].mean():.0%} of the frames"
        )
    return lines
