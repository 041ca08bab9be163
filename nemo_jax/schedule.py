"""How a fit is optimised: its batches, the steps of each stage, and what changes from step to step."""

import dataclasses
from typing import Literal

from nemo_jax.options import option

MOST_STEPS = 10_000_000
MOST_RATE = 10.0


@dataclasses.dataclass(frozen=True)
class Schedule:
    """Batches, steps and rates: the last fields of `nemo_jax.config.FitConfig`, as which they are given."""

    batch_size: int = option(
        512,
        "(instance, frame) pairs of a step, drawn with replacement",
        least=1,
        most=100_000,
        special={-1: "all frames"},
        group="optimisation",
    )
    warmup_steps: int = option(
        300, "steps that fit the field and the phases to the initial poses", least=0, most=MOST_STEPS
    )
    camera_steps: int = option(
        200, "steps that fit the cameras to the keypoints, the field held", least=0, most=MOST_STEPS
    )
    rescue_steps: int = option(
        60,
        "steps in which every clip is tried anew against the motion of the others, and lost clips change; 0 = no rescue",
        least=0,
        most=MOST_STEPS,
    )
    rescue_after: int = option(40, "percent of the joint steps that come before the rescue", least=0, most=100)
    rescue_frames: int = option(12, "frames of each instance that the rescue looks at", least=2, most=100_000)
    rescue_margin: float = option(0.1, "share of its loss by which a clip must gain to change", least=0.0, most=1.0)
    rescue_share: float = option(
        0.25,
        "share of what a clip's own variation explains that another reading must explain without one: a clip that differs "
        "much from the others is not lost",
        least=0.0,
        most=1.0,
    )
    sync_frames: int = option(
        32,
        "frames of each instance by whose poses its phases are set anew at the rescue, where it comes closer to the others "
        "by that; 0 = never",
        least=0,
        most=100_000,
    )
    sync_gain: float = option(0.25, "share of that distance by which it must come closer", least=0.0, most=1.0)
    sync_tempo: float = option(0.05, "price of an uneven tempo in these phases", least=0.0, most=1000.0)
    exchange_price: int = option(
        4,
        "price of a change between keypoints as given and with left and right exchanged, in frames of the usual difference "
        "between them: stretches that the shared motion explains better the other way round are read so; 0 = never",
        least=0,
        most=1_000_000,
    )
    joint_steps: int = option(
        -1,
        "steps that fit everything",
        least=0,
        most=MOST_STEPS,
        special={-1: "100 for each clip and at least 1300"},
    )
    optimiser: Literal["adam", "adamw"] = option("adam", "adamw keeps the field's weight decay out of Adam's moments")
    plateau: bool = option(False, "reduce every learning rate of the joint stage when its loss stops falling")
    plateau_factor: float = option(
        0.5, "factor of that, after 10 steps without progress, down to a rate of 1e-6", least=1e-3, most=1.0
    )
    warmup_root: bool = option(
        True, "fit the root's orientation in the warm-up too, once the cameras are aligned by it"
    )
    warmup_tempo: float = option(
        0.2,
        "weight in the warm-up of how unevenly phases pass, the squared logarithm of their rates; first poses alone tell "
        "tempi badly",
        least=0.0,
        most=1e6,
    )
    schedule: Literal["constant", "cosine"] = option("cosine", "how every learning rate changes within the joint stage")
    lr_warmup: float = option(
        1e-3,
        "learning rate of the field in the warm-up, where the phases have lr_phase",
        least=0.0,
        most=MOST_RATE,
    )
    lr_camera_stage: float = option(0.02, "learning rate of the cameras in their own stage", least=0.0, most=MOST_RATE)
    lr_camera: float = option(0.012, "learning rate of the cameras in the joint stage", least=0.0, most=MOST_RATE)
    lr_field: float = option(1e-3, "learning rate of the field in the joint stage", least=0.0, most=MOST_RATE)
    lr_phase: float = option(3e-4, "learning rate of the phase networks", least=0.0, most=MOST_RATE)
    lr_code: float = option(5e-3, "learning rate of the codes", least=0.0, most=MOST_RATE)
    lr_betas: float = option(
        5e-3, "learning rate of the shapes; 0 = they stay as they start (published)", least=0.0, most=MOST_RATE
    )
    lr_focal: float = option(
        0.003, "learning rate of unknown focal lengths; 0 = they stay as they start", least=0.0, most=MOST_RATE
    )
    lr_span: float = option(
        1e-3,
        "learning rate of the phases at which clips start and end; 0 = every clip shows the whole action (published)",
        least=0.0,
        most=MOST_RATE,
    )
    lr_path: float = option(0.005, "learning rate of the clips' own paths", least=0.0, most=MOST_RATE)
    lr_delay: float = option(
        3e-4,
        "learning rate of when the clips of a take start, in parts of the take; 0 = as given",
        least=0.0,
        most=MOST_RATE,
    )
    lr_contact: float = option(0.05, "learning rate of contacts", least=0.0, most=MOST_RATE)
    lr_ground: float = option(0.003, "learning rate of the floor and of what is up", least=0.0, most=MOST_RATE)
    weight_decay: float = option(
        0.0, "of the field: L2 added to its gradient before Adam, or after it by adamw", least=0.0, most=1e3
    )
    matmul_precision: Literal["float32", "tensorfloat32", "bfloat16"] = option(
        "float32", "precision of the networks' matrix products; the body stays in float32"
    )
