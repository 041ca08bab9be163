"""Presets: one file each, with a function of the same name that returns a `FitConfig`.

`SUMMARY` says what a preset is for, in a sentence of the help page; its docstring has the command, and what to expect of it.
"""

import difflib
import importlib
import pkgutil

from experiments.base.errors import UserError
from nemo_jax import options
from nemo_jax.config import FitConfig


def names() -> tuple[str, ...]:
    """All presets, by name."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_")))


def get(name: str) -> FitConfig:
    """The preset of that name. Raises UserError: there is none."""
    return getattr(_module(name), name)()


def summary(name: str) -> str:
    """What a preset is for, in a sentence."""
    return _module(name).SUMMARY


def _module(name: str):
    if name not in names():
        near = difflib.get_close_matches(name, names(), 1)
        hint = f"; did you mean {near[0]}" if near else ""
        raise UserError(f"--preset={options.shown(name)} is not a preset; choose one of {', '.join(names())}{hint}")
    return importlib.import_module(f"{__name__}.{name}")
