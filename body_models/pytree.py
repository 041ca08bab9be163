"""`pytree`: a frozen chex dataclass whose fields type checkers can see; `Tree`: a pytree of any structure."""

from typing import Any, TypeVar, cast, dataclass_transform

import chex

T = TypeVar("T")
Tree = Any
"""A pytree of any structure: parameters of Flax, states of optax, what a function is mapped over."""


@dataclass_transform(frozen_default=True, kw_only_default=True)
def pytree(cls: type[T]) -> type[T]:
    """Makes `cls` a keyword-only `chex.dataclass(frozen=True)`; change fields with `dataclasses.replace`."""
    return cast(type[T], chex.dataclass(frozen=True)(cls))
