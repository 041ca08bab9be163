"""The command that reproduces a run."""

import dataclasses
import shlex
from typing import Any

from experiments import configs
from experiments.fitting.settings import DECIDED, Settings
from nemo_jax.fit import with_steps

_NOT_OF_THE_RESULT = ("resume", "fit")


def command(settings: Settings, num_instances: int) -> str:
    """The shell command with all flags that differ from their defaults. The settings may be those of the command line,
    or those of `config.json`, in which the values determined by the clips are filled in."""
    parts = ["python", "run.py"]
    for field in dataclasses.fields(Settings):
        value = getattr(settings, field.name)
        default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        if field.name in _NOT_OF_THE_RESULT or value == default:
            continue
        values = value if isinstance(value, tuple | list) else [value]
        parts += [f"--{field.name}={_text(one)}" for one in values]
    return " ".join(shlex.quote(part) for part in [*parts, *overrides(settings, num_instances)])


def overrides(settings: Settings, num_instances: int) -> list[str]:
    """The fields of the fit's configuration that differ from the preset, as flags."""
    own = dataclasses.asdict(with_steps(settings.fit, num_instances))
    preset = dataclasses.asdict(with_steps(configs.get(settings.preset), num_instances))
    return [
        f"--fit.{name}={_text(value)}" for name, value in own.items() if value != preset[name] and name not in DECIDED
    ]


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
