"""Every choice of a fit, in one frozen dataclass.

The floats are leaves of a pytree: they can be traced, so a sweep vmaps over them and a hypergradient differentiates
them. All other fields are static: changing one compiles another program.
"""

import dataclasses
from typing import Literal

import jax


@dataclasses.dataclass(frozen=True)
class FitConfig:
    """Defaults are the `default` preset; the published versions are presets of `experiments/configs`."""

    # --- the field ---
    features: Literal["rbf", "none"] = "rbf"  # phase features; `none` feeds the bare phase
    kernel: str = "gaussian"  # radial kernel, a key of field.KERNELS
    num_centres: int = 32  # radial features
    log_scale: float = -5.5  # where the learned log-scales of the features start
    hidden: int = 256  # width of the field's layers
    code_size: int = 5  # numbers in an instance code
    code_std: float = 1e-4  # spread of the initial codes
    code_noisy: bool = False  # add noise to the codes in the joint stage
    code_noise: float = 0.1  # its standard deviation
    # --- the phase networks ---
    phase_nodes: int = 200  # sigmoids
    phase_init: Literal["linear", "uniform"] = "linear"  # where their shifts start
    # --- handedness ---
    find_handedness: bool = True  # mirror instances whose initial poses use the other hand than most
    handedness_margin: float = 0.2  # by how much mirroring must bring poses closer to the others', as a share
    # --- cameras ---
    focal_fixed: float = 0.0  # pixels for every video; 0 takes each clip's own (quirk of the paper: 5000)
    focal_guess: float = 1.5  # unknown focal lengths, in image diagonals
    principal_swapped: bool = False  # quirk: centre at (height/2, width/2)
    camera_search: bool = True  # try many yaws on many frames; off = the published start, upside down (quirk)
    camera_joint: bool = False  # the camera stage of published version 4: random frames, all groups, 3D term
    camera_yaws: int = 12  # level cameras tried per instance
    camera_frames: int = 24  # frames per instance that the search looks at
    near: float = 0.2  # metres; closer points count as this far, 0 = no guard (published)
    # --- starting without any 3D ---
    lift: Literal["auto", True, False] = "auto"  # start there; auto = where an instance has no initial pose at all
    lift_steps: int = 240  # steps of the single-video lifting of instances without initial pose
    lift_frames: int = 24  # frames per instance that lifting solves, the others are interpolated
    lift_yaws: int = 8  # starts per instance
    lift_lr: float = 0.03  # its Adam learning rate
    lift_trust: float = 0.1  # weight of a lifted pose against a given one in the 3D term
    # --- data ---
    head_keypoint: Literal["data", "top_of_head"] = "data"  # joint held against keypoint 0; top_of_head is a quirk
    resample: Literal["all", "shortest"] = "all"  # frames used; the paper brings all clips to the shortest one
    # --- losses ---
    keypoint_loss: str = "mse_robust"  # a name in losses.KEYPOINT_LOSSES
    robust_scale: float = 50.0  # s of the robust losses, pixels (after person_size) or radians
    confidence_threshold: float = 0.5  # detections at or below it are not used
    person_size: float = 800.0  # residuals are scaled as if the person's median box had this diagonal; 0 = raw pixels
    visible_box: bool = True  # boxes over visible joints only; off = undetected zeros count (quirk)
    camera_confidence: bool = True  # confidence is a factor in the camera stage too; off = gate only (quirk)
    init_space: Literal["rotation", "axis_angle"] = "rotation"  # where the 3D term measures; axis_angle as published
    weight_init: float = 50.0  # 3D term, against the initial pose
    weight_code: float = 10.0  # mean squared code
    weight_limits: float = 300.0  # joint-limit prior
    weight_betas: float = 10.0  # mean squared shape coefficient
    prior_set: Literal["open", "published"] = "open"  # joint limits and what is given, or the paper's two and no limits
    weight_gmm: float = 1.0  # Gaussian mixture prior, where one is given
    weight_vposer: float = 10.0  # VPoser vertex reconstruction, where one is given
    weight_vposer_z: float = 1.0  # VPoser KL
    fused_vertices: bool = (
        True  # VPoser's vertices by a kernel on NVIDIA GPUs, rounded (docs/speed.md); off = plain float32
    )
    # --- optimisation ---
    batch_size: int = 512  # (instance, frame) pairs a step, with replacement; -1 = all frames
    warmup_steps: int = 300  # field and phases against the initial poses
    camera_steps: int = 200  # cameras against the keypoints, the field frozen
    joint_steps: int = -1  # everything; -1 = 50 per instance, and at least 1000
    optimiser: Literal["adam", "adamw"] = "adam"  # adamw decouples the field's weight decay
    plateau: bool = False  # reduce every learning rate of the joint stage when its loss stops falling
    plateau_factor: float = 0.5  # by this, after 10 steps without progress, down to 1e-6
    warmup_root: bool = True  # the warm-up fits the root orientation too, once cameras are aligned by it
    schedule: Literal["constant", "cosine"] = "cosine"  # of every learning rate within the joint stage
    lr_warmup: float = 1e-3  # the field in the warm-up; phases take lr_phase
    lr_camera_stage: float = 0.02  # cameras in their own stage
    lr_camera: float = 0.012  # cameras in the joint stage
    lr_field: float = 1e-3  # the field in the joint stage
    lr_phase: float = 3e-4  # phase networks
    lr_code: float = 5e-3  # instance codes
    lr_betas: float = 5e-3  # 0 freezes the shapes (quirk: in no optimiser)
    lr_focal: float = 0.0  # 0 keeps focal lengths
    weight_decay: float = 0.0  # of the field: L2 added to its gradient before Adam (adamw: decoupled)
    matmul_precision: Literal["float32", "tensorfloat32", "bfloat16"] = (
        "float32"  # of the networks; the body stays in float32
    )


def with_steps(config: FitConfig, num_instances: int) -> FitConfig:
    """The configuration with the joint stage's steps counted out."""
    steps = max(1000, 50 * num_instances) if config.joint_steps == -1 else config.joint_steps
    return dataclasses.replace(config, joint_steps=steps)


_STATIC_TYPES = (int, str, bool)


def _register() -> None:
    fields = dataclasses.fields(FitConfig)
    data = [f.name for f in fields if isinstance(f.default, float)]
    meta = [f.name for f in fields if isinstance(f.default, _STATIC_TYPES)]
    jax.tree_util.register_dataclass(FitConfig, data_fields=data, meta_fields=meta)


_register()
