"""The suite `mocap`: recorded motion of which everything else is simulated, so that the truth is known."""

import dataclasses
from typing import Any

import numpy as np
from rich.console import Console

from body_models import loaders, smpl
from experiments.base.errors import UserError
from experiments.base.text import listed
from experiments.benchmarks.suites import fits
from experiments.benchmarks.suites.fits import Case
from experiments.benchmarks.suites.rows import Cell
from experiments.benchmarks.suites.settings import SuiteSettings
from experiments.benchmarks.suites.variants import Variant
from experiments.data.dataset import Dataset
from experiments.fitting.inputs import Cache
from experiments.loaders import simulated
from experiments.simulation import amass

WITH, WITHOUT = "with poses", "without poses"
_POSES = {"with": (WITH,), "without": (WITHOUT,), "both": (WITH, WITHOUT)}


def cases(settings: SuiteSettings, variants: list[Variant], console: Console) -> tuple[list[Case], list[str]]:
    """The fits of the suite, actions x seeds x variants x poses, and sentences about the clips.

    Raises:
      UserError, DatasetError: no such motion, or none that can be used.
    """
    del console
    cache = Cache()
    body = cache.get(("body", "nose"), lambda: loaders.load_body(settings.body_model))
    found, notes = [], []
    for action in actions(settings):
        for seed in settings.fit_seeds:
            drawn = settings.drawn(seed)
            make = lambda a=action, s=drawn: _simulate(settings, body, a, s)
            dataset, said = cache.get(("simulated", action, drawn), make)
            notes += said
            for variant in variants:
                for poses in _POSES[settings.initial_poses]:
                    clips = dataset if poses == WITH else without_poses(dataset)
                    cell = Cell(action, variant.name, poses, seed)
                    found.append(fits.case(cell, variant, clips, settings, cache))
    return found, list(dict.fromkeys(notes))


def actions(settings: SuiteSettings) -> list[str]:
    """The actions of the folder that are asked for. Raises UserError: it has no such action, or none."""
    known = amass.actions(str(settings.motion))
    if unknown := [action for action in settings.actions if action not in known]:
        there = listed(known, 8)
        raise UserError(f"--actions={unknown[0]} is not in {settings.motion}, which holds {there}; name some of these")
    return list(settings.actions) or known


def _simulate(settings: SuiteSettings, body: smpl.SMPL, action: str, seed: int) -> tuple[Dataset, list[str]]:
    return simulated.of_motions(str(settings.motion), action, body, settings.observe, seed, most=settings.instances)


def without_poses(dataset: Dataset) -> Dataset:
    """The clips without their initial poses, from keypoints alone."""
    fields: dict[str, Any] = {name: np.zeros_like(getattr(dataset.clips, name)) for name in ("init_pose", "init_mask")}
    return dataclasses.replace(dataset, clips=dataclasses.replace(dataset.clips, **fields))
