"""`python run.py simulate`: recorded motion -> clips with known truth, which are read like any others."""

import dataclasses
import math
import re
import shlex
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import flags

from body_models import loaders, smpl
from experiments.base.errors import UserError
from experiments.commands import flag_text
from experiments.data import neutral
from experiments.data.dataset import Dataset, DatasetError
from experiments.data.neutral_file import FileError
from experiments.loaders import simulated
from experiments.simulation import amass, observations
from experiments.simulation.observations import ObservationModel

USAGE = """\
Makes clips of recorded motion: what cameras, a keypoint detector and a pose estimator would say
of it.

  python run.py simulate --motion=mocap --action=kick
  python run.py --action=kick --data_dir=simulated             fits them

The motion is AMASS's: .npz files with poses, trans, betas and mocap_framerate, z up.
"""
GROUPS = {
    "Motion": ("action", "motion", "max_instances", "fps", "body_model"),
    "Clips": ("views", "seed", "output_dir"),
}
FPS = observations.MODELLED_FPS
_SEED_LIMIT = 2**32
_OBSERVE = "observe."
_FIELDS: dict[str, Any] = {field.name: field.default for field in dataclasses.fields(ObservationModel)}
_SHARES = ("pull", "pull_root", "confidence_spread")
_BURSTS = ("lost", "swapped", "missing")
_ABOVE_ZERO = ("confidence_px", "drift_frames")


@dataclasses.dataclass(frozen=True)
class SimulateSettings:
    """Everything the command line says. fps None: the motion's own up to 30, else 30."""

    action: str
    motion: str
    max_instances: int | None = None
    fps: float | None = None
    body_model: str | None = None
    views: int = 1
    seed: int = 0
    output_dir: str = "simulated"
    observe: ObservationModel = dataclasses.field(default_factory=ObservationModel)


class _PairParser(flags.ArgumentParser):
    """Two numbers of one type: `4.5,7`, `1920x1080`."""

    syntactic_help = "two numbers such as 4,7"

    def __init__(self, number: type):
        self.number = number

    def parse(self, argument: Any) -> Any:
        if isinstance(argument, tuple):
            return argument
        parts = re.split(r"[,x]", argument.strip("()").replace(" ", ""))
        if len(parts) != 2:
            raise ValueError("not two numbers")
        return tuple(self.number(part) for part in parts)

    def flag_type(self) -> str:
        return f"{self.number.__name__},{self.number.__name__}"


def define(values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines every flag of the command."""

    def string(name: str, default: str | None, text: str) -> None:
        flags.DEFINE_string(name, default, text, flag_values=values)

    string("action", None, "What the motions show, such as kick; picks files by their names. Required.")
    string("motion", None, "Folder of .npz files of motion, or one file. Required.")
    flags.DEFINE_integer("max_instances", None, "Use at most so many motions.", flag_values=values)
    text = "Frames per second of the clips. Not given: the motion's own up to 30, and 30 for faster ones."
    flags.DEFINE_float("fps", None, text, flag_values=values)
    string("body_model", None, "SMPL file (.pkl, .npz) or its folder. Without it, the open body that ships here.")
    flags.DEFINE_integer("views", 1, "Clips of each motion, each with a camera of its own.", flag_values=values)
    flags.DEFINE_integer("seed", 0, "Seed of all randomness.", flag_values=values)
    string("output_dir", "simulated", "Folder of the clips, in which they get a folder named like the action.")
    for field, default in _FIELDS.items():
        name = f"{_OBSERVE}{field}"
        if isinstance(default, bool):
            flags.DEFINE_boolean(name, default, field, flag_values=values)
        elif isinstance(default, tuple):
            parser = _PairParser(type(default[0]))
            flags.DEFINE(parser, name, default, field, flag_values=values)
        else:
            flags.DEFINE_float(name, default, field, flag_values=values)


def parse(argv: Sequence[str], values: flags.FlagValues = flags.FLAGS) -> SimulateSettings:
    """Settings of a command line.

    Args:
      argv: the program's name and its arguments, without the word `simulate`.
      values: where flags live; another one in tests.

    Raises:
      UserError: an unknown, missing or bad flag.
      SystemExit: help was asked for; it has been printed.
    """
    if "motion" not in values:
        define(values)
    known = [*(name for group in GROUPS.values() for name in group), *(f"{_OBSERVE}{field}" for field in _FIELDS)]
    required = {"action": ("name what the motions show", "kick"), "motion": ("give a folder of them", "mocap")}
    flag_text.read(argv, values, known, required, lambda: help_page(values))
    constants: dict[str, Any] = {field: values[f"{_OBSERVE}{field}"].value for field in _FIELDS}
    own: dict[str, Any] = {name: values[name].value for group in GROUPS.values() for name in group}
    settings = SimulateSettings(observe=ObservationModel(**constants), **own)
    check(settings)
    return settings


def help_page(values: flags.FlagValues) -> str:
    """What `--help` prints: our own flags, then every constant of the observation model with its comment in the source."""
    lines = [USAGE, *flag_text.group_lines(GROUPS, values)]
    lines.append("Constants of the observation model, as --observe.<field>=<value>:")
    for section, fields in flag_text.field_comments(ObservationModel).items():
        lines += ["", f"  {section}"] if section else []
        for field, comment in fields.items():
            default = _FIELDS[field]
            shown = ",".join(map(str, default)) if isinstance(default, tuple) else str(default)
            lines += flag_text.entry(
                f"--{_OBSERVE}{field}", shown.lower() if isinstance(default, bool) else shown, comment, column=42
            )
    return "\n".join(lines)


def check(settings: SimulateSettings) -> None:
    """Raises UserError: a value that no run could use."""

    def need(name: str, fits: bool, expected: str) -> None:
        if not fits:
            raise UserError(f"--{name}={getattr(settings, name)} is out of range; give {expected}")

    if re.search(r"[/\\\0]", settings.action) or settings.action.startswith("."):
        raise UserError(f"--action={settings.action} is not a name; give one such as kick")
    need("seed", 0 <= settings.seed < _SEED_LIMIT, f"a number from 0 to {_SEED_LIMIT - 1}")
    need("views", settings.views >= 1, "1 or more")
    need("max_instances", settings.max_instances is None or settings.max_instances >= 1, "1 or more")
    need("fps", settings.fps is None or 0 < settings.fps < math.inf, "a number above 0")
    check_model(settings.observe)


def check_model(model: ObservationModel) -> None:
    """Raises UserError: a constant that no observation could use, named as its flag."""

    def need(field: str, fits: bool, expected: str) -> None:
        if not fits:
            value = getattr(model, field)
            shown = ",".join(map(str, value)) if isinstance(value, tuple) else value
            raise UserError(f"--{_OBSERVE}{field}={shown} is out of range; give {expected}")

    for field, default in _FIELDS.items():
        value = getattr(model, field)
        if isinstance(default, bool):
            continue
        need(field, bool(np.isfinite(value).all()), "numbers that are finite")
        if field in _SHARES:
            need(field, 0 <= value <= 1, "a number from 0 to 1")
        elif field in _ABOVE_ZERO:
            need(field, value > 0, "a number above 0")
        elif field.endswith("_range"):
            need(field, value[0] <= value[1], "the least and then the greatest")
            if field != "azimuth_range" and field != "height_range":
                need(field, value[0] > 0, "numbers above 0")
        elif field == "image_size":
            need(field, min(value) >= 1, "a width and a height of 1 or more")
        else:
            need(field, value >= 0, "0 or more")
    for kind in _BURSTS:
        share, length = getattr(model, f"{kind}_fraction"), getattr(model, f"{kind}_burst")
        need(f"{kind}_fraction", share < 1, "a number from 0 up to, but not including, 1")
        least = max(1.0, share / (1 - share))
        need(f"{kind}_burst", length >= least, f"{least:g} or more, as a share of {share:g} needs runs that long")


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
    """The clips of all motions, and sentences on what was left out.

    What is drawn for a clip depends on the seed, the motion's
    name and the view's number, and not on what else there is.

    Raises:
      UserError: no motion of the action. DatasetError: none that can be used.
    """
    seen, names, left_out, notes = [], [], [], []
    for path in amass.find(settings.motion, settings.action)[: settings.max_instances]:
        try:
            motion, own_notes = amass.read(path, body)
        except FileError as error:
            left_out.append(f"{path} ({error})")
            continue
        notes += own_notes
        fps = settings.fps or min(motion.fps, FPS)
        motion = motion if fps == motion.fps else amass.resample(motion, fps)
        for view in range(settings.views):
            name = path.stem if settings.views == 1 else f"{path.stem}.v{view}"
            rng = np.random.default_rng([settings.seed, view, *path.stem.encode()])
            observation = observations.observe(rng, body, motion, settings.observe)
            if not observation.instance.confidence.any():
                left_out.append(f"{name} (no joint of it is seen in its image)")
                continue
            seen.append(observation)
            names.append(name)
    if not seen:
        raise DatasetError(f"--motion={settings.motion} has no usable motion: {'; '.join(left_out)}")
    note = (
        f"The {len(seen)} clips are synthetic: recorded motion with simulated cameras, detections and initial poses; no "
        "camera filmed it."
    )
    return simulated.dataset(seen, names, settings.action, note, body.num_betas), [
        *(f"Left out {reason}" for reason in left_out),
        *dict.fromkeys(notes),
    ]


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
