"""The clips that settings name, read; also by a process that imports nothing else of a fit."""

from rich.console import Console

from body_models import loaders, smpl
from experiments.data.dataset import Dataset
from experiments.fitting.settings import Settings, size_of
from experiments.loaders import registry


def read(settings: Settings, body: smpl.SMPL, console: Console | None) -> Dataset:
    """The clips that the settings name."""
    return registry.load(
        settings.action,
        settings.data_dir,
        settings.dataset,
        settings.max_instances,
        settings.seed,
        body,
        videos=settings.videos,
        openpose=settings.openpose,
        init=settings.init,
        person=settings.person,
        pose_model=settings.pose_model,
        ids=settings.ids,
        image_size=size_of(settings.image_size) if settings.image_size else None,
        fps=settings.fps,
        focal_length=settings.focal_length,
        cache_dir=settings.output / "detections",
        console=console,
    )


def read_apart(settings: Settings) -> Dataset:
    """The clips that the settings name, in a process of its own."""
    return read(settings, loaders.load_body(settings.body_model), None)
