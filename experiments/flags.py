"""The command line: flags, the fit's fields as `--fit.<field>=`, and the help page."""

import dataclasses
import re
import typing
from collections.abc import Sequence
from typing import Any

from absl import flags
from ml_collections import config_flags

from experiments import configs, flag_text
from experiments.errors import UserError
from experiments.settings import Accelerator, Settings, check
from nemo_jax.config import FitConfig

USAGE = """\
Fits one motion field to several videos of the same action: 2D keypoints in, 3D motion out.

  python run.py --action=baseball_pitch                        a synthetic pitch, no data needed
  python run.py --action=my_action --videos='clips/*.mp4'      your own videos
  python run.py --action=tennis_serve --data_dir=penn_action   clips on disk
  python run.py --action=all --data_dir=penn_action            all its actions (docs/scale.md)
  python run.py view --results=results/my_action               what came of it, in 3D
  python run.py export --results=results/my_action             to Blender, games, OpenSim, tables
  python run.py simulate --help                                clips made from recorded motion
"""
# Fields that the clips decide (see `nemo_jax.fit.for_clips`).
DECIDED = ("lift",)
_FIT = re.compile(r"--?(?:no)?fit\.([^=]*)")


def define(values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines every flag but those of the fit, which `parse` adds on top of the preset."""

    def string(name: str, default: str | None, text: str) -> None:
        flags.DEFINE_string(name, default, text, flag_values=values)

    text = (
        "What the clips show, such as baseball_pitch. Required. Several are fitted at once: a,b,c, or all of a folder."
    )
    string("action", None, text)
    string("videos", None, "Films of the action, such as 'clips/*.mp4' or a folder; one person is found in each.")
    string("data_dir", None, "Folder of the clips. Without it or --videos, the synthetic baseball_pitch is made.")
    string("dataset", None, "Format of the folder; guessed when not given.")
    string(
        "ids", None, "Which clips of a folder, by name, such as 0001,0002; all = those outside the paper's lists too."
    )
    string("openpose", None, "Folder of OpenPose's JSON files, a folder for each clip; replaces their 2D keypoints.")
    text = (
        "3D poses of another method, a file or a folder with one for each clip. May be given several times: the first "
    )
    text += "starts the fit, each is scored beside it."
    flags.DEFINE_multi_string("init", [], text, flag_values=values)
    text = "Who is followed where several are seen: largest (taken when not given), N for the Nth from the left, x,y for a "
    text += "pixel of the first frame, or one of these for each clip, such as 'a=2,b=largest'."
    string("person", None, text)
    string("pose_model", None, "MediaPipe pose model (.task) for --videos. Without it, the one that is shipped.")
    string("image_size", None, "Width and height such as 1920x1080, where neither films nor pictures tell.")
    flags.DEFINE_float("fps", None, "Frames per second, where the clips do not tell.", flag_values=values)
    text = "Focal length of every clip in pixels, where the clips do not tell. Not given: guessed."
    flags.DEFINE_float("focal_length", None, text, flag_values=values)
    flags.DEFINE_integer("max_instances", None, "Use at most so many clips.", flag_values=values)
    flags.DEFINE_float(
        "holdout",
        None,
        "Share of the visible keypoints to hide from the fit and score it on. Not given: 0.1 for annotations without "
        "ground truth, else 0.",
        flag_values=values,
    )
    string("body_model", None, "SMPL file (.pkl, .npz) or its folder. Without it, the open body that ships here.")
    string("vposer", None, "Folder of the VPoser V02_05 snapshot, a pose prior. Without it, none.")
    string("gmm", None, "SMPLify's pose mixture, gmm_08.pkl. Without it, none.")
    string("preset", "default", "Named configuration to start from.")
    flags.DEFINE_integer("seed", 0, "Seed of all randomness, the synthetic clips' included.", flag_values=values)
    text = "Device to run on; auto takes the best there is."
    flags.DEFINE_enum("accelerator", "auto", typing.get_args(Accelerator), text, flag_values=values)
    string("output_dir", None, "Folder of the results. Not given: results/<action>.")
    flags.DEFINE_boolean(
        "resume",
        True,
        "Continue an interrupted fit in the output folder; --resume=false starts over.",
        flag_values=values,
    )
    text = "Write films of the fitted body over the clips; of several fits only if asked for."
    flags.DEFINE_boolean("overlay", True, text, flag_values=values)
    flags.DEFINE_boolean("figures", True, "Write figures for a paper, PNG and PDF; the same.", flag_values=values)
    flags.DEFINE_boolean("viewer", True, "Write viewer.html, the motion in 3D; the same.", flag_values=values)
    flags.DEFINE_boolean("report", True, "Write report.html, the run on a page; the same.", flag_values=values)
    text = "Draw the initial estimate beside the fit in those films."
    flags.DEFINE_boolean("compare", False, text, flag_values=values)
    _define_many(values)


def _define_many(values: flags.FlagValues) -> None:
    def whole(name: str, default: int | None, text: str) -> None:
        flags.DEFINE_integer(name, default, text, flag_values=values)

    whole("num_seeds", 1, "Fit with so many seeds, from --seed on.")
    text = "A field of the fit and its values, such as 'fit.lr_field=1e-4,3e-4'. May be given several times: all "
    text += "combinations are fitted."
    flags.DEFINE_multi_string("sweep", [], text, flag_values=values)
    whole("fits_per_batch", None, "Fits in one program. Not given: as many as the memory of the devices takes.")
    text = "Host and port of the first of several processes; found by itself on SLURM, Cloud TPU, GKE and MPI."
    flags.DEFINE_string("coordinator_address", None, text, flag_values=values)
    whole("num_processes", None, "How many processes share the fits; 1 = look for no others.")
    whole("process_id", None, "Which of them this is, from 0.")


GROUPS = {
    "Data": (
        "action", "videos", "data_dir", "dataset", "ids", "max_instances", "person", "pose_model", "openpose", "init",
        "image_size", "fps", "focal_length", "holdout",
    ),
    "Fit": ("preset", "seed", "body_model", "vposer", "gmm", "accelerator"),
    "Results": ("output_dir", "resume", "overlay", "compare", "figures", "viewer", "report"),
    "Many fits": ("num_seeds", "sweep", "fits_per_batch"),
    "Several machines": ("coordinator_address", "num_processes", "process_id"),
}  # fmt: skip


def parse(argv: Sequence[str], values: flags.FlagValues = flags.FLAGS) -> Settings:
    """Settings of a command line: the preset first, then the overrides of `--fit.<field>=`.

    Args:
      argv: the program's name and its arguments.
      values: where flags live; another one in tests.

    Raises:
      UserError: an unknown or bad flag.
      SystemExit: help was asked for; it has been printed.
    """
    if "action" not in values:
        define(values)
    flag_text.show_help(argv, lambda: help_page(values))
    preset = configs.get(_preset(argv))
    _check_field_names(argv)
    known = [name for group in GROUPS.values() for name in group]
    try:
        holder = config_flags.DEFINE_config_dataclass(
            "fit", _mutable(preset), "Fields of the fit.", flag_values=values, sys_argv=list(argv)
        )
    except flags.Error as error:
        raise UserError(flag_text.sentence(error, values, known)) from error
    required = {"action": ("name what the clips show", "baseball_pitch")}
    flag_text.read(argv, values, known, required, lambda: help_page(values))
    own: dict[str, Any] = {name: values[name].value for group in GROUPS.values() for name in group}
    fit = dataclasses.replace(preset, **dataclasses.asdict(holder.value))
    settings = Settings(fit=fit, **{**own, "init": tuple(own["init"]), "sweep": tuple(own["sweep"])})
    if settings.many:
        # Drawing takes longer than fitting; nobody looks at all the films of a sweep.
        unasked = [name for name in ("overlay", "figures", "viewer", "report") if values[name].using_default_value]
        settings = dataclasses.replace(settings, **dict.fromkeys(unasked, False))
    check(settings)
    return settings


def help_page(values: flags.FlagValues) -> str:
    """What `--help` prints: our own flags, then every field of the fit with its comment in the source."""
    lines = [USAGE]
    for group, names in GROUPS.items():
        lines.append(f"{group}:")
        for name in names:
            lines += flag_text.flag_entry(values[name])
            if name == "preset":
                for preset in configs.names():
                    lines += flag_text.entry("", "", f"{preset}: {configs.summary(preset)}")
        lines.append("")
    lines.append("Fields of the fit, as --fit.<field>=<value>, on top of the preset:")
    for section, fields in flag_text.field_comments(FitConfig).items():
        lines += ["", f"  {section}"] if section else []
        for field, comment in fields.items():
            if field in DECIDED:
                continue
            default = getattr(FitConfig(), field)
            lines += flag_text.entry(
                f"--fit.{field}", str(default).lower() if isinstance(default, bool) else str(default), comment
            )
    return "\n".join(lines)


def _preset(argv: Sequence[str]) -> str:
    """The value of `--preset`, the last if it is given several times, before all flags are known."""
    name = "default"
    arguments = list(argv[1:])
    for position, argument in enumerate(arguments):
        if match := re.fullmatch(r"--?preset(?:=(.*))?", argument):
            following = arguments[position + 1] if position + 1 < len(arguments) else ""
            name = match[1] if match[1] is not None else following
    return name


def _check_field_names(argv: Sequence[str]) -> None:
    known = [field.name for field in dataclasses.fields(FitConfig)]
    for argument in argv[1:]:
        match = _FIT.match(argument)
        if match and match[1] in DECIDED:
            raise UserError(f"--fit.{match[1]} is decided by the clips; leave it out")
        if match and match[1] not in known:
            hint = flag_text.near(match[1], known, "fit.")
            raise UserError(f"--fit.{match[1]} is not a field of the fit; {hint}")


def _mutable(config: FitConfig) -> Any:
    """A stand-in that config_flags can write to, with plain types: it knows neither frozen dataclasses nor Literal."""
    fields = [(field.name, type(field.default)) for field in dataclasses.fields(config)]
    return dataclasses.make_dataclass("Fit", fields)(**dataclasses.asdict(config))
