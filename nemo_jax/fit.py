"""The fit: from the 2D keypoints of several videos to motion, cameras and phases.

`fit` runs the stages of `nemo_jax.stages` one after another. It is a pure function of arrays: it can be jitted, vmapped and
differentiated.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jax.core import Tracer

from body_models import smpl
from body_models.pytree import pytree
from nemo_jax import stages
from nemo_jax.clips import Clips
from nemo_jax.config import FitConfig, with_steps
from nemo_jax.model import Params
from nemo_jax.objective import Targets
from nemo_jax.priors import Priors
from nemo_jax.stages import Losses

__all__ = ["FitResult", "fit", "for_clips", "needs_lift", "with_steps"]

Array = jax.Array


@pytree
class FitResult:
    """params: learned. history: stage -> term -> value at each step. targets: the initial poses that were used, lifted
    ones included, roots in the shared world where they were aligned."""

    params: Params
    history: dict[str, Losses]
    targets: Targets


def fit(key: Array, clips: Clips, body: smpl.SMPL, priors: Priors, config: FitConfig) -> FitResult:
    """Fits one action: from keypoints to motion, cameras and phases.

    Args:
      key: of all randomness: the same key, clips and configuration give the same result.
      clips: N instances of the action.
      body: the body model. priors: those to use.
      config: every choice. Under `jit`, `vmap` or `grad`, where the values of the clips are not known, it must come from
        `for_clips`.

    Returns:
      The learned parameters, the losses of every step, and the 3D targets used.

    Raises:
      ValueError: `config.lift` is None and the values of the clips are not known.
    """
    known = not any(isinstance(mask, Tracer) for mask in (clips.init_mask, clips.frame_mask))
    if known and config.lift is None:
        config = for_clips(config, clips)
    clips = jax.tree.map(jnp.asarray, clips)
    problem, state = stages.start(key, clips, body, priors, config)
    history = {}
    for stage in stages.stages(problem.config):
        carry = stage.begin(problem, state)
        carry, history[stage.name] = stages.run_steps(problem, stage, carry, jnp.arange(stage.steps))
        state = stage.end(problem, carry)
    return FitResult(params=state.params, history=history, targets=state.targets)


def needs_lift(clips: Clips) -> bool:
    """Whether some instance has no initial pose at all. Needs the values of the clips."""
    missing = (clips.init_mask * clips.frame_mask).sum(-1) == 0
    return bool((missing if clips.real is None else missing & (clips.real > 0)).any())


def for_clips(config: FitConfig, clips: Clips) -> FitConfig:
    """The configuration as these clips need it: lifting if some have no initial pose, whatever `config.lift` says, and
    steps for so many instances.

    Needs the values of the clips, so it is called outside of `jit`, `vmap` and `grad`.
    """
    return dataclasses.replace(with_steps(config, clips.num_instances), lift=needs_lift(clips))
