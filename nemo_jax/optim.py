"""Adam per parameter group, as optax transformations whose states can be carried from stage to stage."""

from collections.abc import Collection, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from nemo_jax.config import FitConfig
from nemo_jax.model import Params

Array = jax.Array

GROUPS = ("field", "translation", "phase", "codes", "cameras", "betas", "log_focal", "mirrored")


def group_of(path: tuple[Any, ...]) -> str:
    """Parameter group of a leaf. The translation head counts its steps apart from the rest of the field."""
    names = [str(getattr(entry, "name", getattr(entry, "key", entry))) for entry in path]
    return "translation" if names[:2] == ["field", "translation"] else names[0]


def labels(params: Params) -> Params:
    """Tree of `params` with each leaf's group."""
    return jax.tree_util.tree_map_with_path(lambda path, _: group_of(path), params)


def adam(config: FitConfig, active: Collection[str]) -> optax.GradientTransformation:
    """Adam with torch's defaults on the `active` groups; the others stay, states and step counters included.

    Weight decay is the coupled kind: L2 added to the gradient of the field before Adam. The updates are not scaled by a
    learning rate: see `update`.
    """

    def group(name: str) -> optax.GradientTransformation:
        decay = config.weight_decay if name in ("field", "translation") else 0.0
        chain = optax.chain(optax.add_decayed_weights(decay), optax.scale_by_adam())
        return chain if name in active else optax.GradientTransformation(chain.init, _hold)

    return optax.partition({name: group(name) for name in GROUPS}, labels)


def initial(params: Params, config: FitConfig) -> Any:
    """Adam state of all groups before the first step."""
    tree: Any = params  # optax's annotations know no dataclasses
    return adam(config, ()).init(tree)


def update(
    params: Params, gradient: Params, opt_state: Any, config: FitConfig, rates: Mapping[str, Array | float]
) -> tuple[Params, Any]:
    """One Adam step of the groups that `rates` names, each by its own learning rate; returns parameters and state."""
    tree: Any = (params, gradient)
    direction, opt_state = adam(config, tuple(rates)).update(tree[1], opt_state, tree[0])

    def move(path: tuple[Any, ...], leaf: Array, step: Array) -> Array:
        group = group_of(path)
        return leaf - rates[group] * step if group in rates else leaf

    return jax.tree_util.tree_map_with_path(move, params, direction), opt_state


def _hold(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
    del params
    return jax.tree.map(jnp.zeros_like, updates), state
