"""Who is in a film: as an earlier run found, else by the detector."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from rich.console import Console

from experiments.base import films
from experiments.base.errors import UserError
from experiments.detection import detections, models, rtmpose
from experiments.detection.detections import Detections, Identified
from experiments.detection.landmarker import BlazePose
from experiments.detection.people import Landmarker
from experiments.detection.progress import FilmProgress


@dataclasses.dataclass(frozen=True)
class Detector:
    """A model and what runs it, a context."""

    model: Identified
    start: Callable[[Any], AbstractContextManager[Landmarker]] = BlazePose


def detector(pose_model: str | None) -> Detector:
    """What `--pose_model=` names: `rtmpose`, or a model of BlazePose as `models.load` has it; None = its default.

    Raises:
      UserError: there is no such model, or the package that runs it is not installed.
    """
    if pose_model == rtmpose.NAME:
        return Detector(rtmpose.load(), rtmpose.RtmPose)
    return Detector(models.load(pose_model))


class Searcher:
    """Searches films for people, one after the other; a context. The first film that needs the detector starts it."""

    def __init__(self, detector: Detector, folder: Path, console: Console | None):
        """folder: where finds are kept. console: where each film is reported; None = nowhere."""
        self._detector, self._folder, self._console = detector, folder, console
        self._stack = contextlib.ExitStack()
        self._landmarker: Landmarker | None = None
        self.notes: list[str] = []  # sentences about finds that could not be used

    def __enter__(self) -> Searcher:
        return self

    def __exit__(self, *details: object) -> None:
        self._stack.close()

    def people(self, path: Path, turn: int = 0) -> Detections:
        """Everybody in a film that is turned so many degrees, as in `films`; found at most once.

        Raises:
          VideoError: it cannot be read, or has no frame.
          UserError: the detector cannot be started, or the finds cannot be kept.
        """
        kept = detections.cache_file(self._folder, path, self._detector.model, turn)
        found = self._kept(path, kept)
        if found is not None:
            FilmProgress(self._console, path.name, None).done(found.seen, kept=True)
            return found
        with FilmProgress(self._console, path.name, films.probe(path).num_frames) as progress:
            if self._landmarker is None:
                self._landmarker = self._stack.enter_context(self._detector.start(self._detector.model))
            found = detections.detect(path, self._landmarker, progress.frame, turn)
            try:
                detections.save(found, kept)
            except OSError as error:
                reason = (error.strerror or str(error)).lower()
                raise UserError(f"{self._folder} cannot be written ({reason}); choose another --output_dir") from error
        progress.done(found.seen, kept=False)
        return found

    def _kept(self, path: Path, kept: Path) -> Detections | None:
        """What an earlier run found in a film, if that is there and sound."""
        try:
            return detections.load(kept)
        except detections.DamagedError as error:
            self.notes.append(f"What an earlier run found in {path} is damaged ({error}), so it was searched anew.")
            return None
