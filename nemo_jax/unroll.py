"""The joint stage unrolled for reverse-mode gradients in little memory: what comes out of it, differentiated by what goes
in, its learning rates and loss weights included.

Reverse mode needs the state before every step and the intermediate values inside it. Here only the states at the ends of
about sqrt(L) blocks of sqrt(L) steps are kept; on the way back a block is run again for the states within it, and each of
its steps once more for its own intermediate values (Griewank and Walther, Evaluating Derivatives, 2008, chapter 12, with
two levels). That costs two more forward passes and turns memory of L steps into that of 2 sqrt(L) states and one step.
"""

import math

import jax
import jax.numpy as jnp

from nemo_jax import stages
from nemo_jax.stages import FitState, Losses, Problem

Array = jax.Array


def joint_stage(problem: Problem, state: FitState, steps: int) -> tuple[FitState, Losses]:
    """The first `steps` steps of the joint stage, equal to `stages.run_steps` of them in value.

    Args:
      problem: its configuration's floats may be traced; the schedule is that of its own `joint_steps`.
      state: before the stage, as the stages before it leave it.
      steps: L, at least 1.

    Returns:
      The state after them and the losses (L,) of every step.

    Raises:
      ValueError: `steps` is below 1.
    """
    if steps < 1:
        raise ValueError(f"the joint stage was to be unrolled for {steps} steps; expected at least 1")
    (stage,) = (stage for stage in stages.stages(problem.config) if stage.name == "joint")
    # Inside a scan nothing can be shared between a step and its repetition, so that no guard against it is needed.
    stage = stage._replace(step=jax.checkpoint(stage.step, prevent_cse=False))

    def block(state: FitState, numbers: Array) -> tuple[FitState, Losses]:
        return stages.run_steps(problem, stage, state, numbers)

    block = jax.checkpoint(block, prevent_cse=False)
    size = math.isqrt(steps - 1) + 1
    whole = steps // size * size
    state, losses = jax.lax.scan(block, state, jnp.arange(whole).reshape(-1, size))
    losses = jax.tree.map(lambda x: x.reshape(whole, *x.shape[2:]), losses)
    if whole < steps:
        state, last = block(state, jnp.arange(whole, steps))
        losses = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), losses, last)
    return state, losses
