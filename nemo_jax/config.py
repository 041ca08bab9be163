"""Every choice of a fit, in one frozen dataclass; those of its steps and rates are in `nemo_jax.schedule`.

The floats are leaves of a pytree: they can be traced, so a sweep vmaps over them and a hypergradient differentiates
them. All other fields are static: changing one compiles another program.
"""

import dataclasses
from typing import Literal

import jax

from nemo_jax.options import option
from nemo_jax.path import LEAST_KNOTS
from nemo_jax.schedule import MOST_RATE, MOST_STEPS, Schedule

MOST_WEIGHT = 1e9


@dataclasses.dataclass(frozen=True)
class Method:
    """What is fitted, from where it starts, and against what. Each field says what it is and in what range it lies; `--help`
    shows it, and `options.problems` checks it.
    """

    features: Literal["rbf", "none"] = option(
        "rbf", "features of the phase that the field takes; none = the bare phase", group="the field"
    )
    kernel: str = option(
        "gaussian",
        "radial kernel of these features",
        choices=(
            "gaussian",
            "linear",
            "quadratic",
            "inverse_quadratic",
            "multiquadric",
            "inverse_multiquadric",
            "spline",
            "poisson_one",
            "poisson_two",
            "matern32",
            "matern52",
        ),
    )
    num_centres: int = option(32, "number of radial features", least=1, most=4096)
    log_scale: float = option(-4.5, "where the learned log-scales of the features start", least=-30.0, most=30.0)
    activation: Literal["relu", "silu", "gelu", "tanh"] = option(
        "relu", "function between the field's layers; relu = published, and bent where its pieces meet"
    )
    hidden: int = option(256, "width of the field's layers", least=1, most=16384)
    code_size: int = option(5, "numbers in the code of an instance", least=1, most=1024)
    code_std: float = option(1e-4, "standard deviation of the initial codes", least=0.0, most=10.0)
    code_noisy: bool = option(False, "add noise to the codes in the joint stage")
    code_noise: float = option(0.1, "standard deviation of that noise", least=0.0, most=10.0)

    phase_nodes: int = option(200, "sigmoids of a phase network", least=1, most=16384, group="the phase networks")
    phase_init: Literal["linear", "uniform"] = option(
        "linear", "where the shifts of the sigmoids start: evenly spaced, or drawn"
    )

    find_handedness: bool = option(
        True, "mirror instances whose initial poses use the other hand or foot than most", group="handedness"
    )
    handedness_margin: float = option(
        0.2,
        "share of their distance to the others' poses by which mirroring must bring them closer",
        least=0.0,
        most=10.0,
    )

    focal_fixed: float = option(
        0.0,
        "focal length of every video in pixels; 0 = each clip's own (the paper takes 5000)",
        least=0.0,
        most=1e6,
        group="cameras",
    )
    focal_guess: float = option(
        0.7,
        "focal length in image diagonals with which a fit starts, where a clip does not tell its own",
        least=0.01,
        most=1000.0,
    )
    lens_starts: int = option(
        3,
        "unknown lenses with which the camera search starts, from the guess to six times as long, under a prior over "
        "lenses of phones and of television; 0 = the guess alone, without a prior",
        least=0,
        most=100,
    )
    principal_swapped: bool = option(
        False, "put the image centre at (height/2, width/2), as the published code does by mistake"
    )
    camera_search: bool = option(
        True, "try many directions on many frames; false = start as the published code does, upside down"
    )
    camera_joint: bool = option(
        False, "camera stage of the paper's version 4: random frames, all parameters, the 3D term too"
    )
    camera_yaws: int = option(12, "directions of level cameras tried for each instance", least=0, most=3600)
    camera_frames: int = option(24, "frames of each instance that the search looks at", least=1, most=100_000)
    find_travel: bool = option(
        True,
        "find where the body goes before the cameras are searched; false = the search takes it to stay in its place",
    )
    near: float = option(
        0.2, "metres; closer points are projected as if so far away; 0 = as they are (published)", least=0.0, most=100.0
    )

    lift: bool | None = option(
        None,
        "lift clips without initial poses to 3D first; None = where an instance has no pose at all (see fit.for_clips)",
        group="starting without any 3D",
        decided=True,
    )
    lift_steps: int = option(
        240, "steps of lifting instances without initial poses, each from its own video", least=0, most=MOST_STEPS
    )
    lift_frames: int = option(
        24, "frames of each instance that are lifted; the poses between are interpolated", least=2, most=100_000
    )
    lift_yaws: int = option(8, "directions from which each instance is lifted; the best is kept", least=1, most=360)
    lift_turned: int = option(
        4,
        "further directions in which a lying, leaning or overturned body starts, along the trunk seen in each frame; "
        "0 = everybody stands",
        least=0,
        most=360,
    )
    lift_margin: float = option(
        0.1, "share of its loss by which such a start must be better than upright ones", least=0.0, most=1e3
    )
    lift_lr: float = option(0.03, "Adam's learning rate while lifting", above=0.0, most=MOST_RATE)
    lift_trust: float = option(
        0.1, "weight of a lifted pose beside a given one in the 3D term", least=0.0, most=MOST_WEIGHT
    )

    head_keypoint: Literal["data", "top_of_head"] = option(
        "data",
        "joint of the body that keypoint 0 is compared with: the one that the data show, or the published one",
        group="data",
    )
    resample: Literal["all", "shortest"] = option(
        "all", "frames that are fitted: all, or as many of each clip as the shortest has (published)"
    )

    keypoint_loss: str = option(
        "mse_robust",
        "loss of a keypoint's distance",
        choices=("mse", "mse_robust", "rmse", "rmse_robust", "rmse_resized", "mse_robust_resized"),
        group="losses",
    )
    robust_scale: float = option(
        40.0,
        "distance s beyond which robust losses level off, in pixels (see person_size) or radians",
        least=1e-3,
        most=1e6,
    )
    confidence_threshold: float = option(
        0.5, "keypoints detected with this confidence or less are not used", least=0.0, most=1.0
    )
    person_size: float = option(
        800.0,
        "distances are scaled as if the diagonal of the person's median box were so many pixels; 0 = not scaled",
        least=0.0,
        most=1e6,
    )
    visible_box: bool = option(
        True, "boxes hold visible joints alone; false = undetected zeros count, as the published code does"
    )
    camera_confidence: bool = option(
        True, "weight keypoints by confidence in the camera stage too; false = the threshold alone (published)"
    )
    init_space: Literal["rotation", "axis_angle"] = option(
        "rotation", "in which numbers the 3D term compares poses: rotation matrices, or axis-angle (published)"
    )
    weight_init: float = option(
        200.0, "weight of the 3D term, the distance to the initial poses", least=0.0, most=MOST_WEIGHT
    )
    init_hips: float = option(
        4.0,
        "how many times more the 3D term of rotation matrices counts how far hips are bent; keypoints hardly show how the "
        "pelvis is turned about them",
        least=0.0,
        most=1e6,
    )
    init_root: float = option(
        1.0,
        "how many times the 3D term of rotation matrices counts the turn of the whole body, against that of given initial "
        "poses as the clip's camera sees it",
        least=0.0,
        most=1e6,
    )
    weight_depth: float = option(
        10.0,
        "weight of the distance to given initial poses along the viewing axis, where no other clip looks across it",
        least=0.0,
        most=MOST_WEIGHT,
    )
    depth_begin: float = option(
        1.0,
        "how much that counts at first for every clip, whatever the others show; it falls to nothing by depth_until",
        least=0.0,
        most=100.0,
    )
    depth_until: float = option(0.3, "share of the steps by which it has", above=0.0, most=1.0)
    weight_code: float = option(10.0, "weight of the mean squared code", least=0.0, most=MOST_WEIGHT)
    weight_apart: float = option(
        110_000.0, "weight of how far poses are from those of the shared motion", least=0.0, most=MOST_WEIGHT
    )
    apart_scale: float = option(
        0.015,
        "angle in radians from which a joint's difference from the shared motion costs less and less more",
        least=1e-3,
        most=1e3,
    )
    apart_grown: float = option(0.3, "share of the steps by which that weight has grown from 0", above=0.0, most=1.0)
    apart_unposed: float = option(
        0.2, "share of that weight for a clip without given initial poses", least=0.0, most=100.0
    )
    apart_frames: int = option(
        128,
        "frames of a batch that this looks at",
        least=0,
        most=100_000,
        special={0: "codes may do anything (published)"},
    )
    weight_limits: float = option(300.0, "weight of the joint limits", least=0.0, most=MOST_WEIGHT)
    weight_lens: float = option(30.0, "weight of the prior over unknown focal lengths", least=0.0, most=MOST_WEIGHT)
    weight_span: float = option(
        30.0, "weight of the mean squared distance of start and end phases from 0 and 1", least=0.0, most=MOST_WEIGHT
    )
    weight_level: float = option(
        300.0, "weight of 1 - cos of the cameras' roll, which is mostly near 0", least=0.0, most=MOST_WEIGHT
    )
    weight_betas: float = option(3.0, "weight of the mean squared shape coefficient", least=0.0, most=MOST_WEIGHT)
    weight_limbs: float = option(
        0.05, "weight of the open learned prior over the directions of limbs", least=0.0, most=MOST_WEIGHT
    )
    weight_motion: float = option(
        0.1, "weight of the open learned prior over short motions", least=0.0, most=MOST_WEIGHT
    )
    motion_windows: int = option(
        64,
        "windows of three moments, a fifteenth of a second apart, that it looks at in a step; at most an eighth of a batch",
        least=0,
        most=100_000,
        special={0: "no such prior"},
    )
    contact_centres: int = option(
        24,
        "Gaussians of the phase by which toes and heels are found to stand on the ground, where they neither move nor "
        "leave one floor; 0 = nothing knows of the ground (published)",
        least=0,
        most=4096,
        group="the ground",
    )
    contact_hands: bool = option(True, "hands may stand on the ground too; false = feet alone")
    weight_contact: float = option(
        3.0, "weight of contacts: what of planted feet moves or leaves the floor", least=0.0, most=MOST_WEIGHT
    )
    contact_speed: float = option(
        0.05, "speed of a planted foot along each axis, standard deviation in m/s", least=1e-4, most=1e3
    )
    contact_height: float = option(
        0.01, "height of a planted foot over the floor, standard deviation in metres", least=1e-5, most=1e3
    )
    contact_begin: float = option(
        5.0,
        "how many times broader both are when everything begins to be fitted; they narrow to contact_loose times their "
        "values by contact_narrow of the steps",
        least=1.0,
        most=1e3,
    )
    contact_narrow: float = option(0.5, "share of the steps by which they have", above=0.0, most=1.0)
    contact_loose: float = option(
        2.0,
        "how many times contact_speed and contact_height both are until then; once it is known what stands, the next 30% "
        "of the steps narrow them to their values",
        least=1.0,
        most=1e3,
    )
    weight_below: float = option(3.0, "weight of feet below the floor", least=0.0, most=MOST_WEIGHT)
    weight_gravity: float = option(
        3.0, "weight of the prior over roll and pitch of cameras", least=0.0, most=MOST_WEIGHT
    )
    weight_balance: float = option(
        20.0,
        "weight of how far a clip's people are on average from above their feet, where no other clip looks across it",
        least=0.0,
        most=MOST_WEIGHT,
    )
    balance_usual: float = option(
        0.1, "metres from above their feet that cost nothing, in the end", least=0.0, most=10.0
    )
    balance_begin: float = option(0.6, "share of the steps in which these grow from 0", above=0.0, most=1.0)
    path_knots: int = option(
        8,
        "knots of each clip's own path beside that of the field, found when lost clips have been",
        least=LEAST_KNOTS,
        most=4096,
        special={0: "all go the field's way"},
    )
    weight_path: float = option(
        30.0, "weight of how far a clip's own path bends, and a tenth of how fast it goes", least=0.0, most=MOST_WEIGHT
    )
    prior_set: Literal["open", "published"] = option(
        "open",
        "pose priors: open = joint limits, and those of --gmm and --vposer where given; published = these two alone, "
        "which must be given",
    )
    weight_gmm: float = option(0.03, "weight of the pose mixture of --gmm", least=0.0, most=MOST_WEIGHT)
    weight_vposer: float = option(
        10.0, "weight of the distance to the vertices that VPoser reconstructs", least=0.0, most=MOST_WEIGHT
    )
    weight_vposer_z: float = option(1.0, "weight of VPoser's KL divergence", least=0.0, most=MOST_WEIGHT)
    fused_vertices: bool = option(
        True,
        "compute VPoser's vertices by a kernel that rounds, on NVIDIA GPUs (docs/speed.md); false = plain float32",
    )


@dataclasses.dataclass(frozen=True)
class FitConfig(Schedule, Method):  # a dataclass has the fields of its last base first
    """Every choice of a fit: first those of the method, then those of its schedule.

    Defaults are the `default` preset; the published versions are presets of `experiments/configs`.
    """


def with_steps(config: FitConfig, num_instances: int) -> FitConfig:
    """The configuration with `joint_steps` replaced by an explicit number of steps."""
    steps = max(1300, 100 * num_instances) if config.joint_steps == -1 else config.joint_steps
    return dataclasses.replace(config, joint_steps=steps)


_STATIC_TYPES = (int, str, bool, type(None))


def _register() -> None:
    fields = dataclasses.fields(FitConfig)
    data = [f.name for f in fields if isinstance(f.default, float)]
    meta = [f.name for f in fields if isinstance(f.default, _STATIC_TYPES)]
    jax.tree_util.register_dataclass(FitConfig, data_fields=data, meta_fields=meta)


_register()
