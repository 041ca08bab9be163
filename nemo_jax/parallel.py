"""Many fits in one program: the functions of `nemo_jax.stages`, vmapped over a leading axis of M fits and spread over
devices.

Fits differ in key, clips and the floats of their configuration: actions x seeds x hyperparameters. Body and priors are
shared and never copied. No fit reads another's numbers, so that one that diverges leaves its neighbours bit for bit, and
devices never talk to each other. `nemo_jax.stacking` makes the arguments and takes the results apart.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from body_models import smpl
from nemo_jax import stages
from nemo_jax.clips import Clips
from nemo_jax.config import FitConfig
from nemo_jax.fit import FitResult
from nemo_jax.model import Assets
from nemo_jax.priors import Priors
from nemo_jax.stages import Losses, Problem, Stage

Array = jax.Array

_FITS = "fits"  # the axis of the device mesh
_SHARED = ("body", "priors", "rows")  # fields of the assets that all fits share


def _problem(own: Any, shared: Any) -> Any:
    """A problem's tree with `own` at the parts that each fit has and `shared` at those that all share."""
    assets: Any = {f.name: shared if f.name in _SHARED else own for f in dataclasses.fields(Assets)}
    return Problem(key=own, clips=own, assets=Assets(**assets), config=own)


# Axes to vmap over: 0 where a part has a leading axis of fits, None where all share it.
PROBLEM_AXES = _problem(0, None)
_PROBLEM_SPECS = _problem(PartitionSpec(_FITS), PartitionSpec())


class Functions(NamedTuple):
    """The parts of M fits, jitted: the arguments of `stages.start`; of a stage its begin, its end, and its steps, which take
    (problem, carry, step numbers (L,)) and return the carry and the losses (M, L). Steps take over their carry's memory."""

    start: jax.stages.Wrapped
    begin: Callable[[Stage], Any]
    steps: Callable[[Stage], Any]
    end: Callable[[Stage], Any]


@functools.cache
def functions(devices: tuple[Any, ...]) -> Functions:
    """The functions of M fits on these devices of this process, an equal share on each: M is a multiple of their number."""
    each, shared = PartitionSpec(_FITS), PartitionSpec()
    alone = devices == tuple(jax.local_devices()[:1])
    mesh = Mesh(np.array(devices), (_FITS,))

    def spread(
        function: Any, axes: Any, specs: Any, out_axes: Any = 0, out_specs: Any = each, donate: tuple[int, ...] = ()
    ) -> Any:
        call = over_fits(function, axes, out_axes)
        if not alone:
            # The values of constants inside a fit are the same on all devices, which the check does not see.
            call = jax.shard_map(call, mesh=mesh, in_specs=specs, out_specs=out_specs, check_vma=False)
        return jax.jit(call, donate_argnums=donate)

    def steps(stage: Stage) -> Any:
        def chunk(problem: Problem, carry: Any, numbers: Array) -> tuple[Any, Losses]:
            return stages.run_steps(problem, stage, carry, numbers)

        return spread(chunk, (PROBLEM_AXES, 0, None), (_PROBLEM_SPECS, each, shared), donate=(1,))

    arguments = (each, each, shared, shared, each)
    return Functions(
        start=spread(stages.start, (0, 0, None, None, 0), arguments, (PROBLEM_AXES, 0), (_PROBLEM_SPECS, each)),
        begin=lambda stage: spread(stage.begin, (PROBLEM_AXES, 0), (_PROBLEM_SPECS, each)),
        steps=steps,
        end=lambda stage: spread(stage.end, (PROBLEM_AXES, 0), (_PROBLEM_SPECS, each)),
    )


def fit_many(
    keys: Array,
    clips: Clips,
    body: smpl.SMPL,
    priors: Priors,
    configs: FitConfig,
    devices: Sequence[Any] | None = None,
) -> FitResult:
    """`fit.fit` of M fits at once, an equal share on each device.

    Args:
      keys: (M,), one a fit.
      clips: leading M, see `stacking.stack_clips`.
      body, priors: shared by all.
      configs: floats (M,), see `stacking.stack_configs`; what is static is the same for all.
      devices: of this process; None = all. Where M is no multiple of their number, the last fit is done again.

    Returns:
      Results with leading M, see `stacking.result_of`. A fit whose losses are not finite has diverged; the others are as
      they would be beside any other fit.

    Raises:
      ValueError: `joint_steps` is -1 and some instances are padding, which would count too.
    """
    if clips.real is not None and configs.joint_steps == -1:
        raise ValueError(
            "joint_steps is -1, steps by the number of instances, some of which are padding; expected a number, as "
            "fit.for_clips of each action gives it"
        )
    used = tuple(jax.local_devices() if devices is None else devices)
    count = keys.shape[0]
    rows = jnp.minimum(jnp.arange(-(-count // len(used)) * len(used)), count - 1)
    keys, clips, configs = jax.tree.map(lambda leaf: leaf[rows], (keys, clips, configs))
    parts = functions(used)
    problem, state = parts.start(keys, clips, body, priors, configs)
    history = {}
    for stage in stages.stages(problem.config):
        carry = parts.begin(stage)(problem, state)
        carry, history[stage.name] = parts.steps(stage)(problem, carry, jnp.arange(stage.steps))
        state = parts.end(stage)(problem, carry)
    results = FitResult(params=state.params, history=history, targets=state.targets)
    return jax.tree.map(lambda leaf: leaf[:count], results)


def over_fits(function: Callable[..., Any], in_axes: tuple[Any, ...], out_axes: Any = 0) -> Callable[..., Any]:
    """`jax.vmap` with every axis 0 or None, but one fit alone runs as itself.

    On a CPU XLA's matrix products are four times slower with an axis of one fit than without it.
    """

    def call(*args: Any) -> Any:
        fits = jax.tree.leaves(_mapped(lambda leaf: leaf, in_axes, args, shared=lambda _: None))[0].shape[0]
        if fits > 1:
            return jax.vmap(function, in_axes, out_axes)(*args)
        return _mapped(lambda leaf: leaf[None], out_axes, function(*_mapped(lambda leaf: leaf[0], in_axes, args)))

    return call


def _mapped(
    change: Callable[[Any], Any], axes: Any, tree: Any, shared: Callable[[Any], Any] = lambda part: part
) -> Any:
    """Applies `change` to the leaves under an axis of 0, and `shared` to the parts whose axis is None; `axes` is a prefix of
    the tree."""
    each = lambda axis, part: shared(part) if axis is None else jax.tree.map(change, part)
    return jax.tree.map(each, axes, tree, is_leaf=lambda axis: axis is None)
