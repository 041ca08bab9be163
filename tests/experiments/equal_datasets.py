"""Whether two datasets are the same, bit for bit."""

import dataclasses

import jax
import numpy as np

from experiments.data.dataset import Dataset


def assert_equal(first: Dataset, second: Dataset) -> None:
    """Names the first field that differs."""
    for field in dataclasses.fields(Dataset):
        _same(field.name, getattr(first, field.name), getattr(second, field.name))


def _same(name, one, other):
    assert type(one) is type(other), f"{name}: {type(one)} and {type(other)}"
    if isinstance(one, dict):
        assert list(one) == list(other), name
        for key in one:
            _same(f"{name}[{key}]", one[key], other[key])
    elif isinstance(one, tuple):
        assert len(one) == len(other), f"{name}: {len(one)} and {len(other)}"
        for number, (a, b) in enumerate(zip(one, other, strict=True)):
            _same(f"{name}[{number}]", a, b)
    elif isinstance(one, np.ndarray | np.generic | jax.Array):
        assert one.dtype == other.dtype, f"{name}: {one.dtype} and {other.dtype}"
        np.testing.assert_array_equal(one, other, err_msg=name)
    elif dataclasses.is_dataclass(one):
        for field in dataclasses.fields(one):
            _same(f"{name}.{field.name}", getattr(one, field.name), getattr(other, field.name))
    else:
        assert one == other, f"{name}: {one!r} and {other!r}"
