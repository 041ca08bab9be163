"""Recorded motion as a `Dataset` of what would be seen of it, with truth and cameras."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from body_models import smpl
from experiments.data.dataset import Dataset, DatasetError, pad, stack, visible_box_size
from experiments.data.neutral_file import FileError
from experiments.simulation import amass, observations
from experiments.simulation.observations import Observation, ObservationModel
from nemo_jax.clips import GroundTruth


def of_motions(
    motion: str | Path,
    action: str,
    body: smpl.SMPL,
    model: ObservationModel,
    seed: int,
    *,
    most: int | None = None,
    more: Sequence[Path] = (),
    views: int = 1,
    fps: float | None = None,
) -> tuple[Dataset, list[str]]:
    """The clips of all motions of an action, and sentences on what was left out.

    What is drawn for a clip depends on the seed, the motion's name and the view's number, and not on what else there is.

    Args:
      motion: folder of files, or one file, see `amass.find`. action: what they show. body: who moves.
      model, seed: how they are seen. most: motions that are used at most. more: files of other motions
        that are added. views: clips of each motion.
      fps: of the clips; None = the motion's own up to `MODELLED_FPS`, and that for faster ones.

    Raises:
      UserError: no motion of the action. DatasetError: none that can be used.
    """
    seen, names, left_out, notes = [], [], [], []
    for path in [*amass.find(motion, action)[:most], *more]:
        try:
            recorded, own_notes = amass.read(path, body)
        except FileError as error:
            left_out.append(f"{path} ({error})")
            continue
        notes += own_notes
        rate = fps or min(recorded.fps, observations.MODELLED_FPS)
        recorded = recorded if rate == recorded.fps else amass.resample(recorded, rate)
        for view in range(views):
            name = path.stem if views == 1 else f"{path.stem}.v{view}"
            rng = np.random.default_rng([seed, view, *path.stem.encode()])
            share = model.exchanged_share if len(seen) < model.exchanged_clips else 0.0
            observation = observations.observe(rng, body, recorded, replace(model, exchanged_share=share))
            if not observation.instance.confidence.any():
                left_out.append(f"{name} (no joint of it is seen in its image)")
                continue
            seen.append(observation)
            names.append(name)
    if not seen:
        raise DatasetError(f"--motion={motion} has no usable motion: {'; '.join(left_out)}")
    note = (
        f"The {len(seen)} clips are synthetic: recorded motion with simulated cameras, detections and initial poses; no "
        "camera filmed it."
    )
    return dataset(seen, names, action, note, body.num_betas), [
        *(f"Left out {reason}" for reason in left_out),
        *dict.fromkeys(notes),
    ]


def dataset(seen: Sequence[Observation], names: Sequence[str], action: str, note: str, num_betas: int) -> Dataset:
    """The observations as one action.

    Args:
      seen: one observation per instance.
      names: one per instance.
      action: what they all do.
      note: a sentence that says what was simulated.
      num_betas: shape coefficients of the body that was seen; those that a motion lacks are 0.
    """
    betas = np.zeros((len(seen), num_betas), np.float32)
    for row, observation in zip(betas, seen, strict=True):
        known = observation.motion.betas[:num_betas]
        row[: len(known)] = known
    truth: dict[str, Any] = {
        "pose": pad([s.motion.pose for s in seen]),
        "translation": pad([s.motion.translation for s in seen]),
        "betas": betas,
        "joints": pad([s.joints for s in seen]),
    }
    clips = stack([s.instance for s in seen])
    return Dataset(
        clips=clips,
        names=tuple(names),
        action=action,
        box_size=visible_box_size(np.asarray(clips.keypoints), np.asarray(clips.confidence)),
        truth=GroundTruth(**truth),
        cameras=tuple(s.camera for s in seen),
        notes=(note,),
        synthetic=True,
    )
