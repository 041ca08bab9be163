"""What one run was asked to do, and the checks of it that need no data."""

import dataclasses
import difflib
import math
import re
import typing
from pathlib import Path
from typing import Any, Literal

from experiments.base.devices import Accelerator
from experiments.base.errors import UserError
from nemo_jax.config import FitConfig
from nemo_jax.field import KERNELS
from nemo_jax.losses import KEYPOINT_LOSSES

SEED_LIMIT = 2**32
ALL = "all"  # as an action: every one of the folder
DECIDED = ("lift",)  # fields of the fit that the clips decide (see `nemo_jax.fit.for_clips`)
# Fields that may be zero or negative; every other number of a configuration must be positive.
_FREE = ("log_scale",)
_MAY_BE_ZERO_PREFIXES = (
    "handedness_margin",
    "weight_",
    "lr_",
    "code_noise",
    "code_std",
    "focal_fixed",
    "near",
    "person_size",
    "confidence_",
)
_AT_LEAST = {
    "lift_frames": 2,
    "lift_trust": 0,
    "camera_steps": 0,
    "warmup_steps": 0,
    "camera_yaws": 0,
    "lift_steps": 0,
}
# Fields where -1 stands for something: their least other value, and what -1 means.
_MINUS_ONE = {"batch_size": (1, "all frames"), "joint_steps": (0, "50 for each clip and at least 1000")}

_LICENSED = {
    "body_model": ("the SMPL model file", "https://smpl.is.tue.mpg.de"),
    "vposer": ("the folder of the VPoser V02_05 snapshot", "https://smpl-x.is.tue.mpg.de"),
    "gmm": ("SMPLify's mixture gmm_08.pkl", "https://smplify.is.tue.mpg.de"),
}


@dataclasses.dataclass(frozen=True)
class Settings:
    """Everything the command line says.

    action: of several fits, their actions with commas between them, or `all`. holdout: None = 0.1 for annotations without
    ground truth, else 0. fits_per_batch: None = as many as the device takes. The last three: how processes of several
    machines find each other, see `experiments.fitting.processes`.
    """

    action: str
    accelerator: Accelerator = "auto"
    videos: str | None = None
    data_dir: str | None = None
    dataset: str | None = None
    ids: str | None = None
    person: str | None = None
    pose_model: str | None = None
    openpose: str | None = None
    init: tuple[str, ...] = ()
    image_size: str | None = None
    fps: float | None = None
    focal_length: float | None = None
    body_model: str | None = None
    vposer: str | None = None
    gmm: str | None = None
    preset: str = "default"
    seed: int = 0
    output_dir: str | None = None
    max_instances: int | None = None
    resume: bool = True
    overlay: bool = True
    compare: bool = False
    figures: bool = True
    viewer: bool = True
    report: bool = True
    holdout: float | None = None
    num_seeds: int = 1
    sweep: tuple[str, ...] = ()
    fits_per_batch: int | None = None
    coordinator_address: str | None = None
    num_processes: int | None = None
    process_id: int | None = None
    fit: FitConfig = dataclasses.field(default_factory=FitConfig)

    @property
    def many(self) -> bool:
        """Whether several fits are asked for."""
        return self.num_seeds > 1 or bool(self.sweep) or "," in self.action or self.action == ALL

    @property
    def output(self) -> Path:
        return Path(self.output_dir) if self.output_dir else Path("results") / self.action


def check(settings: Settings) -> None:
    """Raises UserError: a value that no run could use."""
    for action in settings.action.split(","):
        if not action.strip() or "/" in action or action in (".", ".."):
            raise UserError(f"--action={settings.action} is not a name; give one such as baseball_pitch")
    for flag, least in (("num_seeds", 1), ("fits_per_batch", 1), ("num_processes", 1), ("process_id", 0)):
        value = getattr(settings, flag)
        if value is not None and value < least:
            raise UserError(f"--{flag}={value} is out of range; give {least} or more")
    if not 0 <= settings.seed < SEED_LIMIT:
        raise UserError(f"--seed={settings.seed} is out of range; give a number from 0 to {SEED_LIMIT - 1}")
    for flag in ("fps", "focal_length"):
        value = getattr(settings, flag)
        if value is not None and not 0 < value < math.inf:
            raise UserError(f"--{flag}={value} is out of range; give a number above 0")
    if settings.videos and settings.data_dir:
        raise UserError(f"--videos={settings.videos} and --data_dir={settings.data_dir} are both given; leave one out")
    if settings.holdout is not None and not 0 <= settings.holdout < 1:
        raise UserError(
            f"--holdout={settings.holdout} is not a share; give a number from 0 up to, but not including, 1"
        )
    check_fit(settings.fit)
    if settings.fit.prior_set == "published":
        for flag, (name, source) in _LICENSED.items():
            if getattr(settings, flag) is None:
                raise UserError(
                    f"--preset={settings.preset} needs --{flag}, {name}, which is licensed and not included; get it from "
                    f"{source}, or use --preset=default, which needs no licensed file"
                )
    if settings.image_size is not None:
        size_of(settings.image_size)


def size_of(text: str) -> tuple[int, int]:
    """Width and height of `--image_size`. Raises UserError: it is not of the form 1920x1080."""
    match = re.fullmatch(r"([1-9]\d*)[xX]([1-9]\d*)", text)
    if not match:
        raise UserError(f"--image_size={text} is not understood; expected width x height in pixels, such as 1920x1080")
    return int(match[1]), int(match[2])


def check_fit(config: FitConfig) -> None:
    """Raises UserError: a configuration value that no fit could use, named as its flag."""
    choices = {"kernel": tuple(KERNELS), "keypoint_loss": KEYPOINT_LOSSES}
    for name, hint in typing.get_type_hints(FitConfig).items():
        value = getattr(config, name)
        if typing.get_origin(hint) is Literal:
            choices[name] = typing.get_args(hint)
        if name in choices:
            if value not in choices[name]:
                listed, near = ", ".join(choices[name]), _near(value, choices[name])
                raise UserError(f"--fit.{name}={value} is not one of {listed}{near}")
        elif not isinstance(value, bool):
            _check_number(name, value)


def _check_number(name: str, value: float) -> None:
    if not math.isfinite(value):
        raise UserError(f"--fit.{name}={value} is not finite; give a number")
    if name in _MINUS_ONE:
        least, meaning = _MINUS_ONE[name]
        if value != -1 and value < least:
            raise UserError(f"--fit.{name}={value} is out of range; give {least} or more, or -1 for {meaning}")
        return
    may_be_zero = name in _AT_LEAST or name.startswith(_MAY_BE_ZERO_PREFIXES)
    least: Any = _AT_LEAST.get(name, 0 if may_be_zero else 1 if isinstance(value, int) else None)
    if name not in _FREE and (value < least if least is not None else value <= 0):
        expected = f"{least} or more" if least is not None else "a number above 0"
        raise UserError(f"--fit.{name}={value} is out of range; give {expected}")


def _near(value: str, choices: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(str(value), choices, 1)
    return f"; did you mean {near[0]}" if near else ""
