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
from nemo_jax import clips as clips_lib
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
    """The result of a fit.

    params: the learned parameters. history: stage -> term -> value at each step. targets: the initial poses that were
    used, including lifted ones; their roots are in the shared world frame if they were aligned. rescued (N,): 1 where the
    rescue changed an instance. exchanged (N, T, 2): 1 in frames where left and right of `exchange.GROUPS` were read the
    other way round.
    """

    params: Params
    history: dict[str, Losses]
    targets: Targets
    rescued: Array
    exchanged: Array


def fit(key: Array, clips: Clips, body: smpl.SMPL, priors: Priors, config: FitConfig) -> FitResult:
    """Fits one action: from keypoints to motion, cameras and phases.

    Args:
      key: the random key; the same key, clips and configuration give the same result.
      clips: N instances of the action.
      body: the body model. priors: the pose priors to use.
      config: the settings of the fit. Under `jit`, `vmap` or `grad`, where the values of the clips are not known, it
        must come from `for_clips`.

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
        carry, history[stage.name] = stages.run_steps(problem, stage, carry, stages.numbers(stage))
        state = stage.end(problem, carry)
    return FitResult(
        params=state.params,
        history=history,
        targets=state.targets,
        rescued=state.rescued,
        exchanged=state.exchanged,
    )


def needs_lift(clips: Clips) -> bool:
    """Whether some instance has no initial pose at all. Needs the values of the clips."""
    missing = ~clips_lib.posed(clips)
    return bool((missing if clips.real is None else missing & (clips.real > 0)).any())


def for_clips(config: FitConfig, clips: Clips) -> FitConfig:
    """The configuration adapted to these clips: `lift` is set if and only if some instance has no initial pose, and the
    number of joint steps is set for the number of instances.

    This needs the values of the clips, so call it outside of `jit`, `vmap` and `grad`.
    """
    return dataclasses.replace(with_steps(config, clips.num_instances), lift=needs_lift(clips))
