"""The settings of a run, with the help texts and ranges of its flags, and the checks that need no data."""

import dataclasses
import re
from pathlib import Path

from experiments.base import flags, shared_options
from experiments.base.devices import Accelerator
from experiments.base.errors import UserError
from experiments.base.shared_options import SEED_LIMIT, path
from experiments.data import heights
from experiments.loaders import openpose_layouts
from nemo_jax import options
from nemo_jax.config import FitConfig
from nemo_jax.options import REQUIRED, option

__all__ = ["ALL", "DECIDED", "SEED_LIMIT", "Settings", "check", "check_fit", "size_of"]
ALL = "all"  # as the value of `action`: all actions of the folder
# Fields of the fit that are determined by the clips (see `nemo_jax.fit.for_clips`).
DECIDED = tuple(name for name, known in options.of(FitConfig).items() if known.decided)
MOST_FITS, MOST_STARTS = 100_000, 1000

_LICENSED = {
    "body_model": ("the SMPL model file", "https://smpl.is.tue.mpg.de"),
    "vposer": ("the folder of the VPoser V02_05 snapshot", "https://smpl-x.is.tue.mpg.de"),
    "gmm": ("SMPLify's mixture gmm_08.pkl", "https://smplify.is.tue.mpg.de"),
}


@dataclasses.dataclass(frozen=True)
class Settings:
    """All settings of the command line; each field is a flag.

    action: for several fits, their actions separated by commas, or `all`. holdout: None = 0.1 for annotations without
    ground truth, else 0. fits_per_batch: None = as many as fit into the device's memory. coordinator_address,
    num_processes and process_id: how processes of several machines connect, see `experiments.fitting.processes`.
    """

    action: str = option(
        REQUIRED,
        "What the clips show, such as baseball_pitch. Required. Several are fitted at once: a,b,c, or all of a folder.",
        required=("name what the clips show", "baseball_pitch"),
        group="Data",
    )
    accelerator: Accelerator = option("auto", "Device to run on; auto takes the best there is.", group="Fit")
    videos: str | None = path(
        None,
        "Films of the action, such as 'clips/*.mp4' or a folder; one person is found in each.",
        group="Data",
    )
    data_dir: str | None = path(
        None, "Folder of the clips. Without it or --videos, the synthetic baseball_pitch is made."
    )
    dataset: str | None = option(None, "Format of the folder; guessed when not given.")
    ids: str | None = option(
        None, "Which clips of a folder, by name, such as 0001,0002; all = those outside the paper's lists too."
    )
    person: str | None = option(
        None,
        "Who is followed where several are seen: auto (taken when not given), the largest, or where films differ the one "
        "who does what most of them show; largest; N for the Nth from the left; x,y for a pixel of the first frame; all for "
        "everybody in a film who does the action, each a clip; or one of these for each clip, such as 'a=2,b=largest'.",
    )
    shots: str | None = option(
        None,
        "Which shot of films with cuts: auto (taken when not given), the one that shows most of the person followed; N for "
        "the Nth; all, the film as one; or one of these for each film, such as 'a=2,b=all'.",
    )
    split: str | None = option(
        None,
        "Whether films come apart into takes, each a clip: auto (taken when not given), where an action is repeated; off; N "
        "takes; or one of these for each film, such as 'a=8,b=off'.",
    )
    turn: str | None = option(
        None,
        "Turns films that are stored sideways: 90, 180 or 270 degrees clockwise, or one of these for each film, such as "
        "'a=90,b=270'.",
    )
    takes: str | None = path(
        None, "Takes of films, takes.csv as `python run.py split` writes it, in place of those found by themselves."
    )
    pose_model: str | None = path(
        None,
        "Pose model for --videos: heavy (taken when not given), full, which takes half the time and errs more, a file of "
        "MediaPipe's (.task), or rtmpose, which needs the package rtmlib.",
    )
    camera_motion: str = option(
        "auto",
        "Whether cameras of --videos that pan, tilt, zoom or shake are followed by what is seen of the background: auto, or "
        "off, all are taken as standing still.",
        choices=("auto", "off"),
    )
    openpose: str | None = path(
        None, "Folder of OpenPose's JSON files, a folder for each clip; replaces their 2D keypoints."
    )
    openpose_layout: str = option(
        openpose_layouts.AUTO,
        "Order of the keypoints in OpenPose's JSON files; auto goes by their number, and tells BODY_25 from BODY_25B by the "
        "bodies.",
        choices=openpose_layouts.NAMES,
    )
    init: tuple[str, ...] = path(
        (),
        "3D poses of another method, a file or a folder with one for each clip. May be given several times: the first "
        "starts the fit, each is scored beside it.",
    )
    image_size: str | None = option(None, "Width and height such as 1920x1080, where neither films nor pictures tell.")
    fps: float | None = shared_options.fps("Frames per second, where the clips do not tell.")
    focal_length: float | None = option(
        None,
        "Focal length of every clip in pixels, where the clips do not tell. Not given: what films and pictures say of "
        "their lens, else fitted.",
        above=0,
        most=1e6,
    )
    height: str | None = option(
        None,
        "How tall the person is, in metres, such as 1.83, or each one, such as 'serve 1=1.83,serve 2=1.7'. It fixes depths, "
        "distances and speeds, of which videos alone do not tell the scale.",
    )
    same_camera: str | None = option(
        None,
        "Clips whose unknown focal length is one: all, or groups of names such as 'serve*;volley1,volley2'.",
    )
    same_take: str | None = option(
        None,
        "Clips that are cameras on one performance: all, or groups of names such as 'left1,right1;left2,right2'. They have "
        "one motion, and are aligned in time by sound or motion. Not given: films in folders such as take_1; off: none.",
    )
    calibration: str | None = option(
        None,
        "Files of calibrated cameras (Pose2Sim, OpenCV, Qualisys, OpenCap), separated by commas: their lenses are known, "
        "and of those of one performance where they stand. Not given: one such as Calib.toml in a take's folder; off: none.",
        group="Data",
    )
    body_model: str | None = shared_options.body_model(group="Fit")
    vposer: str | None = path(None, "Folder of the VPoser V02_05 snapshot, a pose prior. Without it, none.")
    gmm: str | None = path(None, "SMPLify's pose mixture, gmm_08.pkl. Without it, none.")
    preset: str = option("default", "Named configuration to start from.")
    seed: int = shared_options.seed("Seed of all randomness, the synthetic clips' included.")
    output_dir: str | None = path(None, "Folder of the results. Not given: results/<action>.", group="Results")
    max_instances: int | None = shared_options.max_instances("Use at most so many clips.", group="Data")
    resume: bool = option(
        True,
        "Continue an interrupted fit in the output folder; --resume=false starts over.",
        group="Results",
    )
    overview: bool = option(
        True, "Write overview.png, phases.png and losses.png; of several fits only if asked for, like all below."
    )
    overlay: bool = option(True, "Write films of the fitted body over the clips; of several fits only if asked for.")
    compare: bool = option(False, "Draw the initial estimate beside the fit in those films.")
    overlay_ground: bool = option(
        True, "Draw the floor that the fit has found in those films, a grid of 0.5 m squares."
    )
    figures: bool = option(True, "Write figures for a paper, PNG and PDF; the same.")
    viewer: bool = option(True, "Write viewer.html, the motion in 3D; the same.")
    report: bool = option(True, "Write report.html, the run on a page; the same.")
    holdout: float | None = option(
        None,
        "Share of the visible keypoints to hide from the fit and score it on. Not given: 0.1 for annotations without "
        "ground truth, else 0.",
        least=0,
        below=1,
        group="Data",
    )
    starts: int | None = option(
        None,
        "Whole fits of the same clips from different random numbers, in one program; the one of the least loss is kept. "
        "This finds lost fits (three kicks without first poses: MPJPE 47 -> 38 mm with three starts), but a lower loss is "
        "not always a smaller error: the best of 8 had an MPJPE of 40.9 mm for 42.1 of one on six recorded actions, and "
        "43.9 for 43.4 on six others. Not given: 3 for at most 4 clips without any first pose, else 1.",
        least=1,
        most=MOST_STARTS,
        group="Fit",
    )
    num_seeds: int = option(1, "Fit with so many seeds, from --seed on.", least=1, most=MOST_FITS, group="Many fits")
    sweep: tuple[str, ...] = option(
        (),
        "A field of the fit and its values, such as 'fit.lr_field=1e-4,3e-4'. May be given several times: all "
        "combinations are fitted.",
    )
    fits_per_batch: int | None = option(
        None,
        "Fits in one program. Not given: as many as the memory of the devices takes.",
        least=1,
        most=MOST_FITS,
    )
    coordinator_address: str | None = option(
        None,
        "Host and port of the first of several processes; found by itself on SLURM, Cloud TPU, GKE and MPI.",
        group="Several machines",
    )
    num_processes: int | None = option(
        None, "How many processes share the fits; 1 = look for no others.", least=1, most=MOST_FITS
    )
    process_id: int | None = option(None, "Which of them this is, from 0.", least=0, most=MOST_FITS - 1)
    fit: FitConfig = option(FitConfig, "Fields of the fit, as --fit.<field>=<value>, on top of the preset:")

    @property
    def many(self) -> bool:
        """Whether the command line asks for several fits."""
        return self.num_seeds > 1 or bool(self.sweep) or "," in self.action or self.action == ALL

    @property
    def output(self) -> Path:
        return Path(self.output_dir) if self.output_dir else Path("results") / self.action


def check(settings: Settings) -> None:
    """Raises UserError if a value is invalid for every run."""
    for action in settings.action.split(","):
        if found := shared_options.name_problem(action.strip(), "baseball_pitch"):
            raise UserError(f"--action={options.shown(settings.action)} {found}")
    flags.check(settings)
    if settings.videos and settings.data_dir:
        raise UserError(f"--videos={settings.videos} and --data_dir={settings.data_dir} are both given; leave one out")
    if settings.fit.prior_set == "published":
        for flag, (name, source) in _LICENSED.items():
            if getattr(settings, flag) is None:
                raise UserError(
                    f"--preset={settings.preset} needs --{flag}, {name}, which is licensed and not included; get it from "
                    f"{source}, or use --preset=default, which needs no licensed file"
                )
    if settings.image_size is not None:
        size_of(settings.image_size)
    if settings.height is not None:
        heights.parse(settings.height)
    # ASCII digits only: `isdecimal` and `\d`, which read the people and pixels, accept digits of other scripts too.
    if settings.person and any(c.isdecimal() and not c.isascii() for c in re.sub(r"[^,]*=", "", settings.person)):
        raise UserError(f"--person={options.shown(settings.person)} is not understood; expected digits from 0 to 9")


def size_of(text: str) -> tuple[int, int]:
    """Width and height from `--image_size`. Raises UserError if it does not have the form 1920x1080."""
    match = re.fullmatch(r"([1-9][0-9]{0,4})[xX]([1-9][0-9]{0,4})", text)
    if not match:
        raise UserError(
            f"--image_size={options.shown(text)} is not understood; expected width x height in pixels, such as 1920x1080"
        )
    return int(match[1]), int(match[2])


def check_fit(config: FitConfig) -> None:
    """Raises UserError if a configuration value is invalid; the message names it as a flag."""
    flags.check(config, "fit.")
