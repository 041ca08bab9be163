"""The fits of a command line: actions x seeds x swept values, each with its own settings and results folder."""

import dataclasses
import difflib
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.base import flags
from experiments.base.errors import UserError
from experiments.fitting.settings import ALL, DECIDED, MOST_FITS, SEED_LIMIT, Settings, check_fit
from experiments.loaders import registry
from nemo_jax import options
from nemo_jax.config import FitConfig


@dataclasses.dataclass(frozen=True)
class Planned:
    """One of several fits. settings: those of this fit alone. swept: its value of each swept field."""

    settings: Settings
    swept: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The name of the fit, such as `tennis_serve, seed 1, lr_field=0.0001`."""
        parts = [f"{field}={value}" for field, value in self.swept.items()]
        return ", ".join([self.settings.action, f"seed {self.settings.seed}", *parts])

    @property
    def folder(self) -> Path:
        return self.settings.output


def root(settings: Settings) -> Path:
    """The folder that contains all results of a command line."""
    if settings.output_dir:
        return Path(settings.output_dir)
    return Path("results") / settings.action if len(_listed(settings)) == 1 else Path("results")


def plan(settings: Settings) -> list[Planned]:
    """The list of all fits, action by action; for a single fit the list has one entry.

    Raises:
      UserError: a sweep is invalid, or the number of seeds is too large.
      DatasetError: the actions of the folder cannot be determined.
    """
    if not settings.many:
        return [Planned(settings, {})]
    if settings.seed + settings.num_seeds > SEED_LIMIT:
        raise UserError(f"--num_seeds={settings.num_seeds} from --seed={settings.seed} on goes beyond {SEED_LIMIT - 1}")
    combinations = _combinations(settings)
    actions = _actions(settings)
    seeds = range(settings.seed, settings.seed + settings.num_seeds)
    count = len(actions) * len(seeds) * len(combinations)
    if count * (settings.starts or 1) > MOST_FITS:
        starts = f", each with --starts={settings.starts}" if settings.starts else ""
        raise UserError(
            f"--num_seeds={settings.num_seeds} and --sweep= ask for {count} fits{starts}, {MOST_FITS} are the most; ask for "
            "fewer"
        )
    alone = dataclasses.replace(
        settings,
        num_seeds=1,
        sweep=(),
        fits_per_batch=None,
        coordinator_address=None,
        num_processes=None,
        process_id=None,
    )
    fits = []
    for action, seed, swept in itertools.product(actions, seeds, combinations):
        folder = root(settings)
        if len(_listed(settings)) > 1:
            folder = folder / action
        if settings.num_seeds > 1:
            folder = folder / f"seed_{seed}"
        for field, value in swept.items():
            folder = folder / f"{field}={value}"
        own = dataclasses.replace(
            alone, action=action, seed=seed, output_dir=str(folder), fit=dataclasses.replace(settings.fit, **swept)
        )
        check_fit(own.fit)
        fits.append(Planned(own, swept))
    return fits


def _listed(settings: Settings) -> tuple[str, ...]:
    """The actions as given on the command line; two or more names separated by commas are several actions."""
    return (ALL, ALL) if settings.action == ALL else tuple(action.strip() for action in settings.action.split(","))


def _actions(settings: Settings) -> Sequence[str]:
    if settings.action == ALL:
        if settings.videos:
            raise UserError(f"--action={ALL} needs --data_dir: films do not say what they show; name the action")
        return registry.actions(settings.data_dir, settings.dataset)
    actions = _listed(settings)
    if settings.videos and len(actions) > 1:
        raise UserError(f"--action={settings.action} are several, but --videos={settings.videos} shows one; name it")
    twice = sorted({action for action in actions if actions.count(action) > 1})
    if twice:
        raise UserError(f"--action={settings.action} names {twice[0]} twice; name it once")
    return actions


def _combinations(settings: Settings) -> list[dict[str, Any]]:
    fields: dict[str, list[Any]] = {}
    for text in settings.sweep:
        field, values = _sweep(text)
        if field in fields:
            raise UserError(f"--sweep={text}: {field} is swept twice; give all its values at once")
        fields[field] = values
    return [dict(zip(fields, values, strict=True)) for values in itertools.product(*fields.values())]


def _sweep(text: str) -> tuple[str, list[Any]]:
    name, found, listed = text.partition("=")
    field = name.strip().removeprefix("--").removeprefix("fit.")
    known = [f.name for f in dataclasses.fields(FitConfig) if f.name not in DECIDED]
    if not found or not listed.strip(", "):
        raise UserError(f"--sweep={text} is not understood; expected a field and its values, fit.lr_field=1e-4,3e-4")
    if field not in known:
        near = difflib.get_close_matches(field, known, 1)
        hint = f"did you mean fit.{near[0]}" if near else "see --help for all of them"
        raise UserError(f"--sweep={text}: {field} is not a field of the fit; {hint}")
    values = [
        value_of(f"--sweep={options.shown(text)}", field, part.strip()) for part in listed.split(",") if part.strip()
    ]
    twice = [value for position, value in enumerate(values) if value in values[:position]]
    if twice:
        raise UserError(f"--sweep={text} has {twice[0]} twice; give each value once")
    return field, values


def value_of(given: str, field: str, part: str) -> Any:
    """A value of a field of the fit, as it stands in a flag.

    Args:
      given: the flag with its value, for sentences. field: one of `FitConfig`. part: the text of the value.

    Raises:
      UserError: it is not one.
    """
    known = options.of(FitConfig)[field]
    try:
        value = flags.parse(known, part)
    except ValueError:
        expected = options.expected(known)
        raise UserError(f"{given}: {options.shown(part)} is not understood; expected {expected}") from None
    if found := options.problem(known, value):
        raise UserError(f"{given}: --fit.{field}={options.shown(value)} {found}")
    return value
