"""3D human motion from several videos of the same action: one neural motion field, fitted to all of them at once.

    import jax
    import nemo_jax

    # Of each video: keypoints (F, 25, 2) in pixels, in BODY_25 order, and their confidence (F, 25).
    instances = [nemo_jax.Instance(points, confidence, image_size=(1920, 1080)) for points, confidence in videos]
    clips = nemo_jax.Clips.from_instances(instances)
    body = nemo_jax.load_body()  # or load_body("SMPL_NEUTRAL.pkl")
    config = nemo_jax.for_clips(nemo_jax.FitConfig(), clips)
    priors = nemo_jax.open_priors()
    params = jax.jit(nemo_jax.fit)(jax.random.key(0), clips, body, priors, config).params
    rotations, translation = nemo_jax.sample(params, config, 0.6, params.codes[0])  # any phase, any code
    mesh = nemo_jax.vertices(body, rotations, params.betas[0], translation)  # (6773, 3) metres

Everything is a pure function of arrays: it can be jitted, vmapped and differentiated. `docs/api.md` lists all names with
their shapes.
"""

import importlib
import importlib.util
import sys
import types
from typing import TYPE_CHECKING

try:
    from body_models import NEMO_JAX  # noqa: F401  # no other package of this name has it
except ImportError as error:
    found = importlib.util.find_spec("body_models")
    raise ImportError(
        f"`import body_models` finds {(found.origin or 'a folder without code') if found else 'nothing'}, which is not the "
        "package that nemo_jax brings; uninstall what it belongs to, such as body-models of PyPI, and install nemo_jax "
        "again, or give each an environment of its own",
        name="body_models",
    ) from error

if TYPE_CHECKING:
    from body_models.loaders import load_body
    from body_models.smpl import SMPL, joints, keypoints, vertices
    from nemo_jax import metrics, priors, rotations
    from nemo_jax.clips import Clips, GroundTruth
    from nemo_jax.config import FitConfig
    from nemo_jax.fit import FitResult, fit, for_clips
    from nemo_jax.instances import Instance
    from nemo_jax.model import Assets, Params, Prediction, predict, predict_clips, prepare, sample, warp
    from nemo_jax.parallel import fit_many
    from nemo_jax.priors import Priors, open_priors, published_limits
    from nemo_jax.stacking import result_of, stack_clips, stack_configs

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
    "open_priors",
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

_MODULES = ("metrics", "priors", "rotations")
_HOMES = {
    "body_models.loaders": ("load_body",),
    "body_models.smpl": ("SMPL", "joints", "keypoints", "vertices"),
    "nemo_jax.clips": ("Clips", "GroundTruth"),
    "nemo_jax.config": ("FitConfig",),
    "nemo_jax.fit": ("FitResult", "fit", "for_clips"),
    "nemo_jax.instances": ("Instance",),
    "nemo_jax.model": ("Assets", "Params", "Prediction", "predict", "predict_clips", "prepare", "sample", "warp"),
    "nemo_jax.parallel": ("fit_many",),
    "nemo_jax.priors": ("Priors", "open_priors", "published_limits"),
    "nemo_jax.stacking": ("result_of", "stack_clips", "stack_configs"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    # Imported when they are first used: `run.py --help` takes a name of this package and should not wait for Flax.
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value = getattr(importlib.import_module(_HOME_OF[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Package(types.ModuleType):
    """Importing the file `fit.py` would make it the attribute `fit` of the package, which is the function."""

    def __setattr__(self, name: str, value: object) -> None:
        if name != "fit" or not isinstance(value, types.ModuleType):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
