"""3D human motion from several videos of the same action: one neural motion field, fitted to all of them at once.

    import jax
    import nemo_jax

    # One Instance for each video: keypoints (F, 25, 2) in pixels, in BODY_25 order, and confidence (F, 25).
    clips = nemo_jax.Clips.from_instances([nemo_jax.Instance(points, seen, (1920, 1080)) for points, seen in videos])
    body = nemo_jax.load_body()
    config = nemo_jax.for_clips(nemo_jax.FitConfig(), clips)
    priors = nemo_jax.Priors(joint_limits=nemo_jax.published_limits())
    result = jax.jit(nemo_jax.fit)(jax.random.key(0), clips, body, priors, config)
    rotations, translation = nemo_jax.sample(result.params, config, 0.6, result.params.codes[0])
    mesh = nemo_jax.vertices(body, rotations, result.params.betas[0], translation)

Everything is a pure function of arrays: it can be jitted, vmapped and differentiated. `docs/api.md` lists all names with
their shapes.
"""

import body_models

if not getattr(body_models, "NEMO_JAX", False):
    raise ImportError(
        f"body_models was imported from {body_models.__file__ or list(body_models.__path__)}, which is not nemo_jax's own "
        "package but another of the same name, such as body-models of PyPI; uninstall that one and install nemo_jax again, "
        "or give each an environment of its own",
        name="body_models",
    )

from body_models.loaders import load_body
from body_models.smpl import SMPL, joints, keypoints, vertices
from nemo_jax import metrics, priors, rotations
from nemo_jax.clips import Clips, GroundTruth
from nemo_jax.config import FitConfig
from nemo_jax.fit import FitResult, fit, for_clips
from nemo_jax.instances import Instance
from nemo_jax.model import Assets, Params, Prediction, predict, predict_clips, prepare, sample, warp
from nemo_jax.parallel import fit_many, result_of, stack_clips, stack_configs
from nemo_jax.priors import Priors, published_limits

__version__ = "0.1.0"

__all__ = [
    "SMPL",
    "Assets",
    "Clips",
    "FitConfig",
    "FitResult",
    "GroundTruth",
    "Instance",
    "Params",
    "Prediction",
    "Priors",
    "__version__",
    "fit",
    "fit_many",
    "for_clips",
    "joints",
    "keypoints",
    "load_body",
    "metrics",
    "predict",
    "predict_clips",
    "prepare",
    "priors",
    "published_limits",
    "result_of",
    "rotations",
    "sample",
    "stack_clips",
    "stack_configs",
    "vertices",
    "warp",
]
