"""The settings of `python run.py benchmark`, with the help texts and ranges of its flags."""

import dataclasses
import re
from pathlib import Path
from typing import Literal

from experiments.base import flags, shared_options
from experiments.base.devices import Accelerator
from experiments.base.errors import UserError
from experiments.base.shared_options import SEED_LIMIT, path
from experiments.simulation import observations
from experiments.simulation.observations import ObservationModel
from nemo_jax.config import FitConfig
from nemo_jax.options import REQUIRED, option

# The flags that name the data of a suite, one at least.
DATA = {"mocap": ("motion",), "robustness": ("motion",), "penn": ("data_dir",), "film": ("films", "motion")}
OBSERVED = ObservationModel(focal_known=False)


@dataclasses.dataclass(frozen=True)
class SuiteSettings:
    """Everything the command line says; each field with an option is a flag.

    overridden: names of the fields of `fit` that the command line gives; all variants take these and no others.
    """

    suite: str = option(
        REQUIRED,
        "mocap: recorded motion, of which cameras, detections and initial poses are simulated. penn: annotated clips, some "
        "keypoints and some clips of which are left out of the fit. film: films through the detector. robustness: mocap's "
        "clips, as one thing after another gets worse. Required.",
        choices=tuple(DATA),
        required=("name a suite", "mocap"),
        group="Clips",
    )
    motion: str | None = path(
        None,
        "mocap and robustness: folder of motions in AMASS's form, <action>.<number>.npz. film: the same, rendered as films.",
    )
    data_dir: str | None = path(None, "penn: folder of clips with annotated 2D keypoints, such as Penn Action's.")
    films: str | None = path(
        None, "film: folder of real films of one take, with truth.npz; each film is a clip of its own."
    )
    together: bool = option(
        True,
        "film: fit the real films as clips of one action, which does not know that they show one take; or each alone.",
    )
    as_take: bool = option(
        False, "film: tell the fit that the real films are cameras on one performance; their clocks are found."
    )
    shift: tuple[str, ...] = option(
        (),
        "film: with --as_take, by how many frames the second film, the third and so on start later than the first, such as "
        "7,-12,31; films lose as many at their beginning. Says how well clocks are found.",
        separated=True,
    )
    calibration: str | None = option(
        None, "film: with --as_take, calibration of the cameras of the real films, as --calibration of `run.py`."
    )
    cameras: Literal["still", "moving", "both"] = option(
        "still",
        "film: whether rendered films are from cameras that stand still, from ones that pan, tilt, zoom and shake, or both "
        "side by side, of the same motion and with things in every background.",
    )
    pose_model: str | None = path(None, "film: MediaPipe pose model (.task). Without it, the one that is shipped.")
    actions: tuple[str, ...] = option(
        (), "Actions, or names of films, separated by commas. Not given: all of the folder.", separated=True
    )
    instances: int | None = shared_options.max_instances("Use at most so many clips of each action.")
    initial_poses: Literal["with", "without", "both"] = option(
        "with", "mocap: whether fits start from (simulated) poses of another method; both = one fit with, one without."
    )
    clips_seed: int = option(
        0,
        "mocap and film: seed of what is simulated, the same clips for all fits.",
        least=0,
        most=SEED_LIMIT - 1,
        special={-1: "clips of each fit's own seed"},
    )
    leave_out: int = option(
        4, "penn: clips of each action that are left out one at a time, evenly spread; 0 = none.", least=0, most=10_000
    )
    seeds: int = option(3, "Fit with so many seeds.", least=1, most=10_000, group="Fits")
    seed: int = shared_options.seed("The first of them.")
    presets: tuple[str, ...] = option(("default",), "Presets side by side, separated by commas.", separated=True)
    variants: str = option(
        "",
        "More fits side by side, such as 'guess:focal_guess=1.5;held:focal_guess=1.5,lr_focal=0': a name, and fields of "
        "the fit on top of the default preset; preset=<name> takes another, priors=true gives --gmm and --vposer to it.",
    )
    ablation: bool = option(
        False, "More fits side by side: the default preset with each of its choices taken back by itself."
    )
    body_model: str | None = shared_options.body_model()
    gmm: str | None = path(None, "SMPLify's pose mixture, for the paper's presets.")
    vposer: str | None = path(None, "Folder of the VPoser V02_05 snapshot, for the paper's presets.")
    accelerator: Accelerator = option("auto", "Device to run on; auto takes the best there is.")
    fits_per_batch: int | None = option(
        None, "Fits in one program. Not given: as many as the memory of the devices takes.", least=1, most=100_000
    )
    output_dir: str | None = path(
        None, "Folder of table, figure and finished fits. Not given: results/benchmark_<suite>.", group="Results"
    )
    fit: FitConfig = option(FitConfig, "Fields of all fits, as --fit.<field>=<value>, on top of every preset:")
    observe: ObservationModel = option(
        OBSERVED,
        "Constants of the mocap suite's observation model, as --observe.<field>=<value>; focal_known is false if not given:",
    )
    overridden: tuple[str, ...] = ()

    @property
    def output(self) -> Path:
        return Path(self.output_dir) if self.output_dir else Path("results") / f"benchmark_{self.suite}"

    def drawn(self, seed: int) -> int:
        """The seed of the clips of a fit of this seed."""
        return seed if self.clips_seed == -1 else self.clips_seed

    @property
    def fit_seeds(self) -> range:
        return range(self.seed, self.seed + self.seeds)


def check(settings: SuiteSettings) -> None:
    """Raises UserError: a value that no run could use, or values that do not go together."""
    flags.check(settings)
    wanted = DATA[settings.suite]
    if all(getattr(settings, flag) is None for flag in wanted):
        flags_of_it = " or ".join(f"--{flag}=" for flag in wanted)
        raise UserError(f"--suite={settings.suite} needs {flags_of_it}, the folder of its clips")
    for flag in dict.fromkeys(flag for listed in DATA.values() for flag in listed):
        if flag not in wanted and getattr(settings, flag) is not None:
            suites = " or ".join(f"--suite={suite}" for suite, own in DATA.items() if flag in own)
            raise UserError(f"--{flag} is for {suites}, not for --suite={settings.suite}; leave it out")
    for action in settings.actions:
        if found := shared_options.name_problem(action, "kick"):
            raise UserError(f"--actions={action} {found}")
    for flag, given in (("shift", settings.shift), ("calibration", settings.calibration)):
        if given and not (settings.suite == "film" and settings.films is not None and settings.as_take):
            raise UserError(
                f"--{flag} is of real films as one take; give --suite=film --films= --as_take, or leave it out"
            )
    for shift in settings.shift:
        if not re.fullmatch(r"[+-]?[0-9]{1,4}", shift):
            raise UserError(f"--shift={','.join(settings.shift)} has {shift!r}; expected whole frames such as 7,-12,31")
    if settings.seed + settings.seeds > SEED_LIMIT:
        raise UserError(f"--seeds={settings.seeds} from --seed={settings.seed} on goes beyond {SEED_LIMIT - 1}")
    if found := observations.problem(settings.observe):
        raise UserError(f"--observe.{found}")
