"""The suite `penn`: annotated clips, scored on keypoints that are hidden from a fit and on clips that are left out of it."""

import dataclasses
import functools

import jax
import numpy as np
from rich.console import Console

from body_models import loaders
from experiments.base.errors import UserError
from experiments.base.programs import Program
from experiments.base.text import listed
from experiments.benchmarks.suites import fits
from experiments.benchmarks.suites.fits import Case, Numbers
from experiments.benchmarks.suites.rows import Cell
from experiments.benchmarks.suites.settings import SuiteSettings
from experiments.benchmarks.suites.variants import Variant
from experiments.data import padding
from experiments.data.dataset import Dataset
from experiments.evaluation import scores
from experiments.fitting import checkpoints
from experiments.fitting.finishing import Finished
from experiments.fitting.inputs import Cache, Inputs
from experiments.loaders import registry
from experiments.results import fitted_motion
from nemo_jax import unseen

ANNOTATED = "annotated"
_HIDDEN = 0.1  # share of the keypoints, as `run.py fit` hides of annotations
# What is said of an unseen clip: all of its visible keypoints are as unknown to the field as hidden ones.
_SCORES = ("pck_0.05/fit", "pck_auc/fit", "reprojection_px/median", "reprojection_share/median")


def cases(settings: SuiteSettings, variants: list[Variant], console: Console) -> tuple[list[Case], list[str]]:
    """The fits of the suite, actions x seeds x variants, each with all clips and without one of some; and sentences about
    the clips.

    Raises:
      UserError, DatasetError: no such clips.
    """
    del console
    folder = str(settings.data_dir)
    known = registry.actions(folder)
    if missing := [action for action in settings.actions if action not in known]:
        raise UserError(
            f"--actions={missing[0]} is not in {folder}, which holds {listed(known, 8)}; name some of these"
        )
    cache = Cache()
    body = cache.get(("body", "nose"), lambda: loaders.load_body(settings.body_model))
    found, notes = [], []
    for action in settings.actions or known:
        dataset = registry.load(action, folder, max_instances=settings.instances, body=body)
        notes += [note.rstrip(".") for note in dataset.notes]
        for seed in settings.fit_seeds:
            for variant in variants:
                cell = Cell(action, variant.name, ANNOTATED, seed)
                found.append(fits.case(cell, variant, dataset, settings, cache, holdout=_HIDDEN))
                clips = left_out(len(dataset.names), settings.leave_out)
                found += [_without(cell, variant, dataset, clip, settings, cache) for clip in clips]
    return found, list(dict.fromkeys(notes))


def left_out(count: int, most: int) -> list[int]:
    """Which of `count` clips are left out one at a time: `most` of them, evenly spread; none of an only clip."""
    if count < 2 or most == 0:
        return []
    return sorted({int(number) for number in np.linspace(0, count - 1, min(most, count))})


def _without(cell: Cell, variant: Variant, dataset: Dataset, clip: int, settings: SuiteSettings, cache: Cache) -> Case:
    """The fit of all clips but one, which is then scored on that one."""
    name, others = dataset.names[clip], [n for n in range(len(dataset.names)) if n != clip]
    cell = dataclasses.replace(cell, without=name)
    alone = dataset.select(instances=[clip])
    # Only the inputs are needed of it, which have body and priors as the others' fit has them.
    own = fits.case(dataclasses.replace(cell, without=f"only {name}"), variant, alone, settings, cache, holdout=0.0)
    return fits.case(
        cell,
        variant,
        dataset.select(instances=others),
        settings,
        cache,
        holdout=0.0,
        score=functools.partial(_score_unseen, own.inputs, alone),
        about={"unseen clip": checkpoints.digest((alone.clips, alone.names))},
    )


def _score_unseen(own: Inputs, alone: Dataset, fit: Finished) -> tuple[Numbers, dict[str, Numbers]]:
    """The scores of a clip to which all but the field of a fit is fitted."""
    job = own.job
    # The steps are those of the others' fit, whose number they may depend on.
    config = dataclasses.replace(job.config, joint_steps=fit.config.joint_steps)
    clips = padding.clips(alone.clips)
    params, _ = _fit_unseen(job.key, clips, job.body, job.priors, config, fit.fitted.params)
    job = dataclasses.replace(job, clips=jax.tree.map(np.asarray, alone.clips), config=config)
    (motion,) = fitted_motion.predict_many([(job, jax.device_get(params))], own.nose_body)
    dataset = dataclasses.replace(alone, head_point=own.dataset.head_point)
    _, each = scores.evaluate(dataset, motion, own.nose_body, None, float(config.confidence_threshold))
    (numbers,) = each.values()
    found = {f"unseen_{key}": numbers[key] for key in _SCORES if key in numbers}
    return found, {alone.names[0]: found}


_fit_unseen = Program(unseen.fit_unseen)
