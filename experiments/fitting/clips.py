"""Reads the clips that the settings name. A separate module, so that a worker process need not import the whole fit."""

from pathlib import Path

import numpy as np
from rich.console import Console

from body_models import loaders, smpl
from experiments.data import calibrated, heights, lens_of_files, takes
from experiments.data.dataset import Dataset
from experiments.fitting.settings import Settings, size_of
from experiments.loaders import registry

FINDS = "detections"


def read(settings: Settings, body: smpl.SMPL, console: Console | None) -> Dataset:
    """Reads the clips that the settings name."""
    dataset = registry.load(
        settings.action,
        settings.data_dir,
        settings.dataset,
        settings.max_instances,
        settings.seed,
        body,
        videos=settings.videos,
        openpose=settings.openpose,
        openpose_layout=settings.openpose_layout,
        init=settings.init,
        person=settings.person,
        shots=settings.shots,
        split=settings.split,
        turn=settings.turn,
        takes=settings.takes,
        pose_model=settings.pose_model,
        camera_motion=settings.camera_motion,
        ids=settings.ids,
        image_size=size_of(settings.image_size) if settings.image_size else None,
        fps=settings.fps,
        focal_length=settings.focal_length,
        cache_dir=_finds(settings),
        console=console,
    )
    if settings.same_take:
        dataset = takes.with_same_take(dataset, settings.same_take)
    elif dataset.clips.take is not None and dataset.clips.offset is None:
        # Folders of films say what is one performance, and not when its films start.
        dataset = takes.with_starts(dataset, np.asarray(dataset.clips.take))
    dataset = calibrated.with_calibration(dataset, settings.calibration)
    # After the takes, whose clips have one height.
    dataset = heights.with_heights(dataset, settings.height) if settings.height is not None else dataset
    dataset = heights.of_takes(dataset)
    return lens_of_files.with_same_camera(dataset, settings.same_camera) if settings.same_camera else dataset


def _finds(settings: Settings) -> Path:
    """Where the people found in films are kept: beside the table of takes, where `run.py split` has looked for them."""
    beside = Path(settings.takes).parent / FINDS if settings.takes else None
    return beside if beside is not None and beside.is_dir() else settings.output / FINDS


def read_apart(settings: Settings) -> Dataset:
    """Reads the clips that the settings name, when called in a separate process."""
    return read(settings, loaders.load_body(settings.body_model), None)
