"""Adam per parameter group, as optax transformations whose states can be carried from stage to stage."""

from collections.abc import Collection, Mapping
from typing import cast

import jax
import jax.numpy as jnp
import optax
from jax.tree_util import KeyPath

from body_models.pytree import pytree
from nemo_jax.config import FitConfig
from nemo_jax.model import Params

Array = jax.Array

# Added inside the square root: where a weight has no gradient the root's derivative would be infinite at zero and make
# every gradient through a fit NaN. It is too small to change a step.
ROOT_FLOOR = 1e-32

GROUPS = (
    "field",
    "translation",
    "phase",
    "codes",
    "cameras",
    "betas",
    "log_focal",
    "span",
    "mirrored",
    "path",
    "delay",
    "contact",
    "ground",
)


def group_of(path: KeyPath) -> str:
    """Parameter group of a leaf. What the field says of translations is a group of its own, with its own step counter."""
    names = [str(getattr(entry, "name", getattr(entry, "key", entry))) for entry in path]
    return "translation" if names[:2] in (["field", "translation"], ["field", "way"]) else names[0]


def labels(params: Params) -> Params:
    """Tree of `params` with each leaf's group."""
    return jax.tree_util.tree_map_with_path(lambda path, _: group_of(path), params)


def adam(config: FitConfig, active: Collection[str]) -> optax.GradientTransformation:
    """Adam with PyTorch's defaults on the `active` groups; the other groups, their states and step counters do not
    change.

    Weight decay of the field is coupled (L2 added to the gradient before Adam), or decoupled with `adamw`.
    The updates are not scaled by a learning rate: see `update`.
    """

    def group(name: str) -> optax.GradientTransformation:
        decay = config.weight_decay if name in ("field", "translation") else 0.0
        parts = (optax.add_decayed_weights(decay), optax.scale_by_adam(eps_root=ROOT_FLOOR))
        chain = optax.chain(*(parts if config.optimiser == "adam" else parts[::-1]))
        return chain if name in active else optax.GradientTransformation(chain.init, _hold)

    return optax.partition({name: group(name) for name in GROUPS}, labels)


def initial(params: Params, config: FitConfig) -> optax.OptState:
    """Adam state of all groups before the first step."""
    return adam(config, ()).init(as_tree(params))


def update(
    params: Params, gradient: Params, opt_state: optax.OptState, config: FitConfig, rates: Mapping[str, Array | float]
) -> tuple[Params, optax.OptState]:
    """One Adam step of the groups that `rates` names, each by its own learning rate; returns parameters and state."""
    direction, opt_state = adam(config, tuple(rates)).update(as_tree(gradient), opt_state, as_tree(params))

    def move(path: KeyPath, leaf: Array, step: Array) -> Array:
        group = group_of(path)
        return leaf - rates[group] * step if group in rates else leaf

    return jax.tree_util.tree_map_with_path(move, params, direction), opt_state


@pytree
class Plateau:
    """State of PyTorch's reduce-on-plateau schedule: best loss, steps since then (bad), factor () of all rates."""

    best: Array
    bad: Array
    factor: Array


_PATIENCE, _THRESHOLD, _LEAST_RATE = 10, 1e-4, 1e-6


def fresh_plateau() -> Plateau:
    return Plateau(best=jnp.array(jnp.inf), bad=jnp.array(0), factor=jnp.array(1.0))


def watch(plateau: Plateau, loss: Array, reduction: Array | float) -> Plateau:
    """The state of the schedule after a step with the loss `loss`."""
    better = loss < plateau.best * (1 - _THRESHOLD)
    bad = jnp.where(better, 0, plateau.bad + 1)
    reduce = bad > _PATIENCE
    return Plateau(
        best=jnp.where(better, loss, plateau.best),
        bad=jnp.where(reduce, 0, bad),
        factor=jnp.where(reduce, plateau.factor * reduction, plateau.factor),
    )


def reduced(rates: Mapping[str, Array | float], plateau: Plateau) -> dict[str, Array]:
    """Learning rates times the factor, but at least 1e-6, or the initial rate if that is smaller."""
    return {name: jnp.maximum(rate * plateau.factor, jnp.minimum(rate, _LEAST_RATE)) for name, rate in rates.items()}


def as_tree(params: Params) -> optax.Params:
    """The same parameters, for optax, whose annotations know no dataclasses."""
    return cast(optax.Params, params)


def _hold(
    updates: optax.Updates, state: optax.OptState, params: optax.Params | None = None
) -> tuple[optax.Updates, optax.OptState]:
    del params
    return jax.tree.map(jnp.zeros_like, updates), state


def cosine(step: Array, steps: int) -> Array:
    """Factor () of a learning rate that falls from 1 to 0 over `steps`."""
    return 0.5 * (1 + jnp.cos(jnp.pi * step / max(steps, 1)))


def joint_rates(config: FitConfig, factor: Array | float) -> dict[str, Array | float]:
    """Learning rates of the joint stage by group of parameters, all times `factor`."""
    return {
        "field": config.lr_field * factor,
        "translation": config.lr_field * factor,
        "phase": config.lr_phase * factor,
        "codes": config.lr_code * factor,
        "cameras": config.lr_camera * factor,
        "betas": config.lr_betas * factor,
        "log_focal": config.lr_focal * factor,
        "span": config.lr_span * factor,
        "path": config.lr_path * (config.path_knots > 0) * factor,
        "delay": config.lr_delay * factor,
        "contact": config.lr_contact * factor,
        "ground": config.lr_ground * factor,
    }
