"""`python run.py export`: the motion of a finished run as files for Blender, game engines, OpenSim and spreadsheets."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags

from experiments import export
from experiments.base.errors import UserError
from experiments.commands import flag_text
from experiments.export import formats
from experiments.results import reading

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
GROUPS = {
    "Export": ("results", "format", "instances", "fps", "up", "ground", "output_dir"),
}
MAX_FPS = 1000


@dataclasses.dataclass(frozen=True)
class ExportSettings:
    """Everything the command line says, its lists split. None: what `experiments.export.export` takes then."""

    results: str
    format: tuple[str, ...] = tuple(export.FORMATS)
    instances: tuple[str, ...] | None = None
    fps: float | None = None
    up: str | None = None
    ground: bool = True
    output_dir: str | None = None


def define(values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines every flag of the command."""
    flags.DEFINE_string("results", None, "Output folder of a finished run. Required.", flag_values=values)
    text = f"Formats, of {', '.join(export.FORMATS)}. Not given: all."
    flags.DEFINE_list("format", None, text, flag_values=values)
    flags.DEFINE_list("instances", None, "Names of the clips to write. Not given: all.", flag_values=values)
    text = "Frames per second, at which the field itself is sampled. Not given: each clip's own; for amass the next "
    text += "multiple of 30."
    flags.DEFINE_float("fps", None, text, flag_values=values)
    text = "Axis that points up. Not given: z for amass, y for the others."
    flags.DEFINE_enum("up", None, ["y", "z"], text, flag_values=values)
    text = "Put the lowest point of each clip at height 0."
    flags.DEFINE_boolean("ground", True, text, flag_values=values)
    text = "Folder of the files, in which each format gets a folder. Not given: <results>/export."
    flags.DEFINE_string("output_dir", None, text, flag_values=values)


def parse(argv: Sequence[str], values: flags.FlagValues = flags.FLAGS) -> ExportSettings:
    """Settings of a command line.

    Args:
      argv: the program's name and its arguments, without the word `export`.
      values: where flags live; another one in tests.

    Raises:
      UserError: an unknown, missing or bad flag.
      SystemExit: help was asked for; it has been printed.
    """
    if "ground" not in values:
        define(values)
    names = [name for group in GROUPS.values() for name in group]
    required = {"results": ("give the output folder of a run", "results/kick")}
    flag_text.read(argv, values, names, required, lambda: help_page(values))
    own: dict[str, Any] = {name: values[name].value for name in names}
    own["format"] = _names("format", own["format"]) or ExportSettings.format
    own["instances"] = _names("instances", own["instances"])
    settings = ExportSettings(**own)
    check(settings)
    return settings


def help_page(values: flags.FlagValues) -> str:
    """What `--help` prints."""
    return "\n".join([USAGE, *flag_text.group_lines(GROUPS, values)])


def check(settings: ExportSettings) -> None:
    """Raises UserError: a value that no run could use."""
    if settings.fps is not None and not 0 < settings.fps <= MAX_FPS:
        raise UserError(f"--fps={settings.fps} is out of range; give a number above 0 and up to {MAX_FPS}")
    formats.check(settings.format, settings.fps, settings.up)


def run(settings: ExportSettings) -> None:
    """Reads the run and writes its files.

    Raises:
      UserError: there is no finished run, or the files cannot be written.
    """
    run = reading.load(settings.results)
    folder = Path(settings.output_dir or run.folder / "export")
    export.export(
        run, folder, settings.format, settings.instances, settings.fps, settings.up, settings.ground, report=print
    )


def _names(flag: str, values: Sequence[str] | None) -> tuple[str, ...] | None:
    """The names of a list, each once."""
    if values is None:
        return None
    names = tuple(dict.fromkeys(name.strip() for name in values if name.strip()))
    if not names:
        raise UserError(f"--{flag}= has no name in it; leave it out for all")
    return names
