"""The choices of the default preset, each taken back by itself: what a fit is without it."""

from typing import Any

# Name, and the fields that take the choice back, to what the published method does where it has the choice too.
ABLATION: tuple[tuple[str, dict[str, Any]], ...] = (
    ("lens of 1.5 diagonals", {"focal_guess": 1.5}),
    ("one lens to start from", {"lens_starts": 0, "weight_lens": 0.0}),
    ("lens held", {"lr_focal": 0.0}),
    ("no limb prior", {"weight_limbs": 0.0}),
    ("no motion prior", {"motion_windows": 0}),
    ("no joint limits", {"weight_limits": 0.0}),
    ("initial poses only to start from", {"weight_init": 0.0}),
    ("hips of first poses as other joints", {"init_hips": 0.0}),
    ("free codes", {"weight_code": 0.0}),
    ("mean shapes", {"lr_betas": 0.0}),
    ("whole spans", {"lr_span": 0.0}),
    ("distances in pixels", {"person_size": 0.0}),
    ("broad robust loss", {"robust_scale": 100.0}),
    ("narrow radial features", {"log_scale": -5.5}),
    ("no depth of first poses", {"weight_depth": 0.0}),
    ("no depth of first poses at first", {"depth_begin": 0.0}),
    ("tilted cameras for free", {"weight_level": 0.0}),
    ("no ground", {"contact_centres": 0}),
    ("contacts not narrowed", {"contact_begin": 1.0}),
    ("travel not found first", {"find_travel": False}),
    ("no turned starts", {"lift_turned": 0}),
    ("no rescue", {"rescue_steps": 0}),
    ("read anew by the shared motion alone", {"rescue_share": 0.0}),
    ("no second start", {"restart_steps": 0}),
    ("names as given", {"exchange_price": 0}),
    ("constant rates", {"schedule": "constant"}),
    ("warm-up without roots", {"warmup_root": False}),
    ("cameras not searched", {"camera_search": False, "lens_starts": 0, "weight_lens": 0.0}),
    ("nobody mirrored", {"find_handedness": False}),
    ("quadratic kernel, 100 centres", {"kernel": "quadratic", "num_centres": 100, "log_scale": 0.0}),
    ("no radial features", {"features": "none"}),
    ("init in axis-angle", {"init_space": "axis_angle"}),
)
