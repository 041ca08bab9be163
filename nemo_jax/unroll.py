"""The joint stage in a form whose results can be differentiated in reverse mode with little memory, with respect to all
inputs, including learning rates and loss weights.

Reverse mode needs the state before every step and the intermediate values inside it. Here only the states at the ends of
about sqrt(L) blocks of sqrt(L) steps are stored; in the backward pass each block is run again to get the states within
it, and each of its steps once more to get its intermediate values (Griewank and Walther, Evaluating Derivatives, 2008,
chapter 12, with two levels). This costs two more forward passes and reduces the memory from L steps to 2 sqrt(L) states
and one step.
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
      problem: the floats of its configuration may be traced; the learning rate schedule is that of its `joint_steps`.
      state: the state before this stage, as returned by the previous stage.
      steps: L, at least 1.

    Returns:
      The state after them and the losses (L,) of every step.

    Raises:
      ValueError: `steps` is below 1.
    """
    if steps < 1:
        raise ValueError(f"the joint stage was to be unrolled for {steps} steps; expected at least 1")
    (stage,) = (stage for stage in stages.stages(problem.config) if stage.name == "joint")
    # Inside a scan XLA cannot merge a step with its repetition, so that `prevent_cse` is not needed.
    stage = stage._replace(step=jax.checkpoint(stage.step, prevent_cse=False))

    def block(state: FitState, numbers: Array) -> tuple[FitState, Losses]:
        return stages.run_steps(problem, stage, state, numbers)

    block = jax.checkpoint(block, prevent_cse=False)
    size = math.isqrt(steps - 1) + 1
    whole = steps // size * size
    state, losses = jax.lax.scan(block, state, (stage.first + jnp.arange(whole)).reshape(-1, size))
    losses = jax.tree.map(lambda x: x.reshape(whole, *x.shape[2:]), losses)
    if whole < steps:
        state, last = block(state, stage.first + jnp.arange(whole, steps))
        losses = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), losses, last)
    return state, losses
