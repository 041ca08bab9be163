"""The fits that a suite puts side by side: presets, and named changes of them."""

import dataclasses
from typing import Any

from experiments import configs
from experiments.base import flags, shared_options
from experiments.base.errors import UserError
from experiments.benchmarks.suites.ablation import ABLATION
from experiments.benchmarks.suites.settings import SuiteSettings
from experiments.fitting import plan
from experiments.fitting.settings import DECIDED
from nemo_jax import options
from nemo_jax.config import FitConfig

_PRESET, _PRIORS = "preset", "priors"  # what a variant may give besides fields of the fit


@dataclasses.dataclass(frozen=True)
class Variant:
    """One way to fit: a name for tables and files, a configuration, and the files of licensed priors."""

    name: str
    config: FitConfig
    gmm: str | None = None
    vposer: str | None = None


def of(settings: SuiteSettings) -> list[Variant]:
    """The variants that a command line asks for, presets first.

    Raises:
      UserError: one is not understood, has the name of another, or lacks its priors.
    """
    found = [_variant(settings, name, name, {}, False) for name in settings.presets]
    if settings.ablation:
        found += [_variant(settings, name, "default", fields, False) for name, fields in ABLATION]
    found += [_read(settings, text) for text in settings.variants.split(";") if text.strip()]
    if not found:
        raise UserError("--presets= and --variants= name nothing to fit; give one such as --presets=default")
    names = [variant.name for variant in found]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UserError(f"--presets and --variants name {options.shown(twice)} twice; name each once")
    return found


def _read(settings: SuiteSettings, text: str) -> Variant:
    """A variant of `name:field=value,field=value`."""
    given = f"--variants={options.shown(text.strip())}"
    name, colon, rest = (part.strip() for part in text.partition(":"))
    if not colon or not rest or shared_options.name_problem(name, "lens"):
        raise UserError(f"{given} is not understood; expected a name and fields of the fit, lens:lr_focal=0.003")
    known = [field.name for field in dataclasses.fields(FitConfig) if field.name not in DECIDED]
    preset, priors, fields = "default", False, {}
    for part in rest.split(","):
        field, equals, value = (piece.strip() for piece in part.partition("="))
        field = field.removeprefix("--").removeprefix("fit.")
        if not equals:
            raise UserError(f"{given}: {options.shown(part)} is not understood; expected <field>=<value>")
        if field == _PRESET:
            preset = value
        elif field == _PRIORS:
            if value not in ("true", "false"):
                raise UserError(f"{given}: priors={options.shown(value)} is not understood; expected true or false")
            priors = value == "true"
        elif field in known:
            fields[field] = plan.value_of(given, field, value)
        else:
            raise UserError(
                f"{given}: {options.shown(field)} is not a field of the fit; {flags.near(field, known, 'fit.')}"
            )
    return _variant(settings, name, preset, fields, priors)


def _variant(settings: SuiteSettings, name: str, preset: str, fields: dict[str, Any], priors: bool) -> Variant:
    config = configs.get(preset)
    shared = {field: getattr(settings.fit, field) for field in settings.overridden}
    config = dataclasses.replace(config, **{**shared, **fields})
    if config.prior_set != "published" and not priors:
        return Variant(name, config)
    if settings.gmm is None and settings.vposer is None:
        raise UserError(
            f"{options.shown(name)} needs --gmm, the file of SMPLify's mixture, or --vposer, the folder of the VPoser "
            "snapshot, or both; give one or leave it out"
        )
    return Variant(name, config, settings.gmm, settings.vposer)
