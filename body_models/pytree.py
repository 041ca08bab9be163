"""`pytree`: a frozen chex dataclass whose fields type checkers can see."""

from typing import TypeVar, dataclass_transform

import chex

T = TypeVar("T")


@dataclass_transform(frozen_default=True, kw_only_default=True)
def pytree(cls: type[T]) -> type[T]:
    """Makes `cls` a keyword-only `chex.dataclass(frozen=True)`; change fields with `dataclasses.replace`."""
    return chex.dataclass(frozen=True)(cls)  # pyright: ignore[reportReturnType]
