"""`python run.py export`: the motion of a finished run as files for Blender, game engines, OpenSim and spreadsheets."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from absl import flags as absl_flags

from experiments import export
from experiments.base import flags, shared_options
from experiments.base.errors import UserError
from experiments.export import formats
from experiments.results import reading
from nemo_jax.options import option

USAGE = """\
Writes the motion of a finished run for other tools.

  python run.py export --results=results/kick                  everything
  python run.py export --results=results/kick --format=glb,bvh --fps=60

  amass      .npz of SMPL-H, z up, for the Meshcapade add-on of Blender
  bvh        skeleton and Euler angles, centimetres, y up
  glb        animated skinned mesh, for Blender, three.js, Godot, Unity
  fbx-ready  .glb with Mixamo's bone names, a root bone and a T-pose first, to make FBX of
  trc        markers for OpenSim, millimetres, y up
  csv        joint positions and angles
"""


@dataclasses.dataclass(frozen=True)
class ExportSettings:
    """Everything the command line says; each field is a flag. None: what `experiments.export.export` takes then."""

    results: str = shared_options.results("Output folder of a finished run. Required.", group="Export")
    format: tuple[str, ...] = option(
        tuple(export.FORMATS), f"Formats, of {', '.join(export.FORMATS)}. Not given: all.", separated=True
    )
    instances: tuple[str, ...] | None = option(None, "Names of the clips to write. Not given: all.", separated=True)
    fps: float | None = shared_options.fps(
        "Frames per second, at which the field itself is sampled. Not given: each clip's own; for amass the next "
        "multiple of 30."
    )
    up: Literal["y", "z"] | None = option(None, "Axis that points up. Not given: z for amass, y for the others.")
    ground: bool = option(
        True, "Put the lowest point of each clip at height 0, where the fit has found no floor, which is there."
    )
    output_dir: str | None = shared_options.path(
        None, "Folder of the files, in which each format gets a folder. Not given: <results>/export."
    )
    foot_locks: bool = option(True, "Make feet that the fit says are planted stand still, by changing the legs alone.")


def parse(argv: Sequence[str], values: absl_flags.FlagValues = absl_flags.FLAGS) -> ExportSettings:
    """Settings of a command line; see `flags.read`."""
    settings = flags.read(ExportSettings, USAGE, argv, values).settings
    check(settings)
    return settings


def check(settings: ExportSettings) -> None:
    """Raises UserError: a value that no run could use."""
    for flag in ("format", "instances"):
        if getattr(settings, flag) == ():
            raise UserError(f"--{flag}= has no name in it; leave it out for all")
    formats.check(settings.format, settings.fps, settings.up)


def run(settings: ExportSettings) -> None:
    """Reads the run and writes its files.

    Raises:
      UserError: there is no finished run, or the files cannot be written.
    """
    run = reading.load(settings.results)
    folder = Path(settings.output_dir or run.folder / "export")
    asked = (settings.format, settings.instances, settings.fps, settings.up, settings.ground, settings.foot_locks)
    export.export(run, folder, *asked, report=print)
