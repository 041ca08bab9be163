"""Reads the clips that the settings name. A separate module, so that a worker process need not import the whole fit."""

from rich.console import Console

from body_models import loaders, smpl
from experiments.data import lens_of_files, takes
from experiments.data.dataset import Dataset
from experiments.fitting.settings import Settings, size_of
from experiments.loaders import registry


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
        pose_model=settings.pose_model,
        ids=settings.ids,
        image_size=size_of(settings.image_size) if settings.image_size else None,
        fps=settings.fps,
        focal_length=settings.focal_length,
        cache_dir=settings.output / "detections",
        console=console,
    )
    dataset = takes.with_same_take(dataset, settings.same_take) if settings.same_take else dataset
    return lens_of_files.with_same_camera(dataset, settings.same_camera) if settings.same_camera else dataset


def read_apart(settings: Settings) -> Dataset:
    """Reads the clips that the settings name, when called in a separate process."""
    return read(settings, loaders.load_body(settings.body_model), None)
