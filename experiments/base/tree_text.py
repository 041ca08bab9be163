"""Pytrees of arrays as JSON: their structure, and shape and type of each leaf, without the values.

A tree is `[leaf]` or `[node, contents, children]`: `[shape, dtype, whether weakly typed]` of a leaf, and the node's type
with what JAX keeps of it besides its children, such as the keys of a dictionary. Only numbers, texts and tuples or lists
of them can be that; and only types of the project and of the libraries whose states it keeps are found again.
"""

import functools
import importlib
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp

from body_models.pytree import Tree

_PLAIN = {"dict": dict, "list": list, "tuple": tuple, "None": type(None)}
_PACKAGES = ("body_models", "nemo_jax", "experiments", "optax", "flax")
_VALUES = (bool, int, float, str, type(None))


class IndescribableError(TypeError):
    """A tree holds what JSON cannot say, or a text is not that of a tree."""


def abstract(tree: Tree) -> Any:
    """The tree with shapes and dtypes in place of arrays, concrete or abstract."""
    return jax.tree.map(_abstract, tree)


def _abstract(leaf: Any) -> jax.ShapeDtypeStruct:
    kind = leaf if isinstance(leaf, jax.ShapeDtypeStruct) else jax.typeof(leaf)
    return jax.ShapeDtypeStruct(kind.shape, kind.dtype, weak_type=getattr(kind, "weak_type", False))


def of(tree: Tree) -> list[Any]:
    """What JSON can write of a tree of arrays, concrete or abstract. Raises IndescribableError."""
    leaves, structure = jax.tree.flatten(abstract(tree))
    return _of(structure, iter(leaves))


def _of(structure: Any, leaves: Iterator[Any]) -> list[Any]:
    node = structure.node_data()
    if node is None and structure.num_leaves == 1:
        leaf = next(leaves)
        return [[list(leaf.shape), str(leaf.dtype), bool(leaf.weak_type)]]
    kind, contents = node or (type(None), None)
    return [_name(kind), _plain(contents), [_of(child, leaves) for child in structure.children()]]


def _name(kind: type) -> str:
    plain = next((name for name, found in _PLAIN.items() if found is kind), None)
    name = plain or f"{kind.__module__}:{kind.__qualname__}"
    if _type(name) is not kind:
        raise IndescribableError(f"{name} is not found by its name")
    return name


def _type(name: str) -> type:
    if name in _PLAIN:
        return _PLAIN[name]
    module, _, path = name.partition(":")
    if module.partition(".")[0] not in _PACKAGES or "." in path:
        raise IndescribableError(f"{name} is no type of {', '.join(_PACKAGES)}")
    try:
        found = getattr(importlib.import_module(module), path)
    except (ImportError, AttributeError) as error:
        raise IndescribableError(f"{name} is not there") from error
    if not isinstance(found, type):
        raise IndescribableError(f"{name} is no type")
    return found


def _plain(contents: Any) -> Any:
    """Tuples and lists are told from each other, as JAX does."""
    if type(contents) in _VALUES:
        return contents
    if type(contents) in (tuple, list):
        return ["(" if type(contents) is tuple else "[", *map(_plain, contents)]
    raise IndescribableError(f"{contents!r:.100} of a tree is not of numbers and texts")


def _contents(plain: Any) -> Any:
    if not isinstance(plain, list):
        return plain
    kind, *values = plain
    return (tuple if kind == "(" else list)(map(_contents, values))


def tree(text: list[Any]) -> Any:
    """The abstract tree of what `of` has written. Raises IndescribableError: it is of no tree."""
    leaves: list[jax.ShapeDtypeStruct] = []
    try:
        structure = _structure(text, leaves)
        return jax.tree.unflatten(structure, leaves)
    except (ValueError, TypeError, IndexError) as error:
        raise IndescribableError(f"no tree: {error}") from error


def _structure(text: list[Any], leaves: list[jax.ShapeDtypeStruct]) -> Any:
    if len(text) == 1:
        shape, dtype, weak = text[0]
        leaves.append(jax.ShapeDtypeStruct(tuple(shape), _dtype(dtype), weak_type=weak))
        return jax.tree.structure(0)
    name, contents, children = text
    if name == "None":
        return jax.tree.structure(None)
    below = [_structure(child, leaves) for child in children]
    registry = jax.tree_util.default_registry
    return jax.tree_util.PyTreeDef.from_node_data_and_children(registry, (_type(name), _contents(contents)), below)


def _dtype(name: str) -> Any:
    key = _key()
    return key if name == str(key) else jnp.dtype(name)


@functools.cache
def _key() -> Any:
    """The type of random keys."""
    return jax.eval_shape(lambda: jax.random.key(0)).dtype
