"""Clips that a field has not seen: phase, code, camera and shape are fitted to them, the field stays as it is.

How well the motion of the others explains a clip is a test of the field: it has no freedom left but to slow down and speed
up, to move in the space of codes, and to be seen from elsewhere.
"""

import dataclasses

import jax
import jax.numpy as jnp

from body_models import smpl
from nemo_jax import batches, model, objective, stages, takes
from nemo_jax import clips as clips_lib
from nemo_jax.clips import Clips
from nemo_jax.config import FitConfig
from nemo_jax.model import Params
from nemo_jax.priors import Priors

Array = jax.Array


def fit_unseen(
    key: Array, clips: Clips, body: smpl.SMPL, priors: Priors, config: FitConfig, learned: Params
) -> tuple[Params, Array]:
    """Fits all but the field to clips that it was not learned from, from their keypoints alone.

    Cameras are searched as in a fit, then phases, codes, cameras, shapes and focal lengths take the steps of its joint
    stage. Codes and shapes start from the means of the learned ones. Where the configuration looks for handedness, each
    clip is fitted as it is and mirrored, and the better one is taken.

    Args:
      key: of the random batches. clips: N instances. body, priors: those of the fit.
      config: that of the fit. learned: what the fit learned from M other clips.

    Returns:
      Parameters of the N clips, with the learned field, bit for bit; and the keypoint loss (N,) of each over its frames.
    """
    clips = jax.tree.map(jnp.asarray, clips)
    # A learning rate of 0 leaves the field as it is. Initial poses say nothing of the field and are not used.
    config = dataclasses.replace(config, lift=False, warmup_steps=0, lr_field=0.0, weight_init=0.0)
    config = dataclasses.replace(config, lr_contact=0.0, lr_ground=0.0, exchange_price=0)
    # No present reading is to be trusted: by its code a wrong one can explain the keypoints too.
    config = dataclasses.replace(config, rescue_share=0.0, sync_frames=0)
    problem, state = stages.start(key, clips, body, priors, config)
    # The learned field goes its own way.
    problem = dataclasses.replace(problem, config=dataclasses.replace(problem.config, find_travel=False))
    config, instances = problem.config, clips.num_instances
    mean = lambda leaf: jnp.broadcast_to(leaf.mean(0), (instances, *leaf.shape[1:]))
    params = dataclasses.replace(
        model.with_shared(state.params, learned), codes=mean(learned.codes), betas=mean(learned.betas)
    )
    params = stages.as_tall(params, body, clips)
    if learned.path is not None:
        params = dataclasses.replace(params, path=mean(learned.path))

    every = batches.every_frame(clips)

    def run(mirrored: Array) -> tuple[Params, Array]:
        own = dataclasses.replace(params, mirrored=jnp.full(instances, mirrored))
        now = dataclasses.replace(state, params=own)
        for stage in stages.stages(config):
            carry = stage.begin(problem, now)
            carry, _ = stages.run_steps(problem, stage, carry, stages.numbers(stage))
            now = stage.end(problem, carry)
        seen = objective.predict_batch(now.params, problem.assets, config, clips, every)
        # Frames that do not exist have no weight.
        per_frame = objective.keypoint_term(seen, problem.assets, config, clips, every)
        return now.params, per_frame.reshape(instances, -1).sum(1) / jnp.maximum(clips_lib.num_frames(clips), 1)

    hands = jnp.array([0.0, 1.0] if config.find_handedness else [0.0])
    tried, losses = jax.lax.map(run, hands)
    best = jnp.argmin(jax.vmap(takes.shared, (0, None))(losses, problem.assets), axis=0)
    chosen = jax.tree.map(lambda leaf: leaf[best, jnp.arange(instances)], model.without_shared(tried))
    return model.with_shared(chosen, learned), losses.min(0)
