"""Many fits in one program: the functions of `nemo_jax.stages`, vmapped over a leading axis of M fits and spread over
devices.

The fits may differ in key, clips and the floats of their configuration: actions x seeds x hyperparameters. Body and
priors are shared and never copied. Fits do not depend on each other: one that diverges does not change a bit of the
others, and devices do not communicate. `nemo_jax.stacking` makes the arguments and splits the results.
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
from body_models.pytree import Tree
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


def _problem(own: Tree, shared: Tree) -> Any:
    """A tree like a problem, with `own` at the parts that every fit has for itself and `shared` at the shared parts."""
    assets: Any = {f.name: shared if f.name in _SHARED else own for f in dataclasses.fields(Assets)}
    return Problem(key=own, clips=own, assets=Assets(**assets), config=own)


# Axes to vmap over: 0 where a part has a leading axis of fits, None where all share it.
PROBLEM_AXES = _problem(0, None)
_PROBLEM_SPECS = _problem(PartitionSpec(_FITS), PartitionSpec())


class Functions(NamedTuple):
    """The jitted functions of M fits: `stages.start`, and the begin, steps and end of a stage. The steps take (problem,
    carry, step numbers (L,)) and return the carry and the losses (M, L); the memory of their input carry is donated."""

    start: jax.stages.Wrapped
    begin: Callable[[Stage], Any]
    steps: Callable[[Stage], Any]
    end: Callable[[Stage], Any]


@functools.cache
def functions(devices: tuple[Any, ...]) -> Functions:
    """The functions of M fits spread evenly over these devices of this process; M is a multiple of their number."""
    each, shared = PartitionSpec(_FITS), PartitionSpec()
    alone = devices == tuple(jax.local_devices()[:1])
    mesh = Mesh(np.array(devices), (_FITS,))

    def spread(
        function: Any, axes: Tree, specs: Tree, out_axes: Tree = 0, out_specs: Tree = each, donate: tuple[int, ...] = ()
    ) -> Any:
        call = over_fits(function, axes, out_axes)
        if not alone:
            # Constants inside a fit are the same on all devices, but the replication check cannot see this.
            call = jax.shard_map(call, mesh=mesh, in_specs=specs, out_specs=out_specs, check_vma=False)
        return jax.jit(call, donate_argnums=donate)

    # Each function is made once, so that it is traced once for the shapes and for the program.
    @functools.cache
    def steps(stage: Stage) -> Any:
        def chunk(problem: Problem, carry: Tree, numbers: Array) -> tuple[Any, Losses]:
            return stages.run_steps(problem, stage, carry, numbers)

        return spread(chunk, (PROBLEM_AXES, 0, None), (_PROBLEM_SPECS, each, shared), donate=(1,))

    arguments = (each, each, shared, shared, each)
    return Functions(
        start=spread(stages.start, (0, 0, None, None, 0), arguments, (PROBLEM_AXES, 0), (_PROBLEM_SPECS, each)),
        begin=functools.cache(lambda stage: spread(stage.begin, (PROBLEM_AXES, 0), (_PROBLEM_SPECS, each))),
        steps=steps,
        end=functools.cache(lambda stage: spread(stage.end, (PROBLEM_AXES, 0), (_PROBLEM_SPECS, each))),
    )


def fit_many(
    keys: Array,
    clips: Clips,
    body: smpl.SMPL,
    priors: Priors,
    configs: FitConfig,
    devices: Sequence[Any] | None = None,
) -> FitResult:
    """Runs M fits (`fit.fit`) at once, spread evenly over the devices.

    Args:
      keys: (M,), one for each fit.
      clips: arrays with a leading axis M, see `stacking.stack_clips`.
      body, priors: shared by all fits.
      configs: floats of shape (M,), see `stacking.stack_configs`; static fields are the same for all fits.
      devices: devices of this process; None = all. If M is not a multiple of their number, the last fit is repeated.

    Returns:
      Results with a leading axis M, see `stacking.result_of`. A fit whose losses are not finite has diverged; this does
      not affect the others.

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
        carry, history[stage.name] = parts.steps(stage)(problem, carry, stages.numbers(stage))
        state = parts.end(stage)(problem, carry)
    results = FitResult(
        params=state.params,
        history=history,
        targets=state.targets,
        rescued=state.rescued,
        exchanged=state.exchanged,
    )
    return jax.tree.map(lambda leaf: leaf[:count], results)


def over_fits(function: Callable[..., Any], in_axes: tuple[Any, ...], out_axes: Tree = 0) -> Callable[..., Any]:
    """`jax.vmap` with every axis 0 or None, except that a single fit runs without the batch axis.

    On a CPU XLA's matrix products are four times slower with an axis of one fit than without it.
    """

    def call(*args: Tree) -> Any:
        fits = jax.tree.leaves(_mapped(lambda leaf: leaf, in_axes, args, shared=lambda _: None))[0].shape[0]
        if fits > 1:
            return jax.vmap(function, in_axes, out_axes)(*args)
        return _mapped(lambda leaf: leaf[None], out_axes, function(*_mapped(lambda leaf: leaf[0], in_axes, args)))

    return call


def _mapped(
    change: Callable[[Any], Any], axes: Tree, tree: Tree, shared: Callable[[Any], Any] = lambda part: part
) -> Any:
    """Applies `change` to the leaves under an axis of 0, and `shared` to the parts whose axis is None; `axes` is a prefix of
    the tree."""
    each = lambda axis, part: shared(part) if axis is None else jax.tree.map(change, part)
    return jax.tree.map(each, axes, tree, is_leaf=lambda axis: axis is None)
