"""Structures of trees as JSON and back."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.base import tree_text
from nemo_jax.config import FitConfig
from nemo_jax.optim import Plateau


def test_a_tree_comes_back_with_its_structure_shapes_and_types():
    optimizer = optax.multi_transform({"a": optax.adam(0.1), "b": optax.sgd(0.1)}, {"x": "a", "y": "b"})
    tree = {
        "state": optimizer.init({"x": jnp.ones((2, 3)), "y": jnp.ones(1)}),
        "own": (Plateau(bad=jnp.int32(1), best=jnp.ones(2), factor=jnp.float16(3)), None, [], [True, (2.0,)]),
        "config": jax.tree.map(jnp.float32, FitConfig(hidden=7, lift=True)),
        "key": jax.random.key(0),
        "half": jnp.zeros(2, jnp.bfloat16),
    }
    again = tree_text.tree(json.loads(json.dumps(tree_text.of(tree))))
    assert again == tree_text.abstract(tree)
    assert again["config"].hidden == 7
    assert again["own"][3][1][0].weak_type and not again["half"].weak_type


@pytest.mark.parametrize(
    "text",
    [
        ["os:system", None, []],
        ["builtins:eval", None, []],
        ["nemo_jax.optim:Plateau.replace", None, []],
        ["nemo_jax.optim:fresh_plateau", None, []],
        ["nemo_jax.optim:NothingHere", None, []],
        ["nemo_jax.nothing:Here", None, []],
        [[[2], "no type", False]],
        [],
        "nothing",
    ],
)
def test_what_is_no_tree_is_refused(text):
    with pytest.raises(tree_text.IndescribableError):
        tree_text.tree(text)


def test_what_json_cannot_say_is_refused():
    with pytest.raises(tree_text.IndescribableError, match="numbers and texts"):
        tree_text.of({np.float32(1): 2})
