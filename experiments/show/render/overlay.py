"""Films and pictures of the fitted bodies over the frames that they were fitted to."""

import contextlib
import dataclasses
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from matplotlib.colors import to_rgb
from rich.console import Console
from rich.text import Text

from experiments.base.text import duration
from experiments.data import pictures
from experiments.data.dataset import Dataset
from experiments.fitting.workers import Later, Shared, Submit
from experiments.results.reading import Run
from experiments.show.render import bodies, floor, grid, marks, mp4, views
from experiments.show.render.pieces import Film
from experiments.show.render.shading import Mesh, draw
from experiments.show.render.views import View
from experiments.show.style import FIT, INITIAL

Array = np.ndarray

LONG_SIDE = 960  # largest longer side of a film, pixels
_LEGEND = [("fit", FIT), ("initial estimate", INITIAL)]
# Bodies are transparent so that the person behind them is visible; without a picture they are opaque.
_ALPHA, _ALPHA_ON_GREY, _ALPHA_INITIAL = 0.8, 1.0, 0.6


@dataclasses.dataclass(frozen=True)
class Show:
    """Selects what is drawn: the film's picture, the fitted body, the initial estimate, the input joints, the floor that
    the fit has found."""

    picture: bool = True
    fit: bool = True
    initial: bool = False
    joints: bool = True
    ground: bool = False


def still(run: Run, instance: int, frame: int, view: View | None = None, show: Show | None = None) -> Array:
    """One frame, RGB uint8 (H, W, 3); see `stills`."""
    return next(stills(run, instance, [frame], view, show))


def stills(
    run: Run, instance: int, frames: Sequence[int], view: View | None = None, show: Show | None = None
) -> Iterator[Array]:
    """Frames of an instance, RGB uint8 (H, W, 3) each.

    Args:
      frames: frame numbers in non-decreasing order.
      view: the part that is shown and its size; None = the whole picture, with a longer side of at most `LONG_SIDE`.
        `views.around` shows the person.
      show: what to draw; None = the picture (grey if there is none), the fit and the input joints.
    """
    show = show or Show()
    seen = pictures.frames(run.dataset, instance, frames) if show.picture else iter([None] * len(frames))
    yield from _draw(run, instance, frames, seen, view or _whole(run.dataset, instance), show)


def write_all(run: Run, console: Console, compare: bool = False, ground: bool = True) -> None:
    """Writes `overlay/<instance>.mp4` for each instance into the run's folder and, of two or more,
    `overlay/all_synchronised.mp4` and `overlay/all_unsynchronised.mp4`; films of instances that no longer exist are
    deleted.

    Args:
      console: where to report.
      compare: whether the initial estimate is drawn too.
      ground: whether the floor that the fit has found is drawn too.
    """
    Films(Shared(run, Later), compare, ground).finish(console)


class Films:
    """The films of `write_all`, begun here, each a piece of work by itself; `finish` waits for them and reports."""

    def __init__(self, shared: Shared[Run], compare: bool, ground: bool, submit: Submit = Later):
        self._begun = time.perf_counter()
        run = shared.value
        self._shared, self._run, self._compare, self._submit = shared, run, compare, submit
        self._plan = grid.make_plan(run)
        folder = run.folder / "overlay"
        self._paths = [folder / grid.film_name(name) for name in run.dataset.names]
        self._films = [
            Film(
                path,
                run.num_frames(instance),
                len(self._paths),
                submit,
                _write_film,
                shared,
                instance,
                compare,
                ground,
                self._plan,
            )
            for instance, path in enumerate(self._paths)
        ]

    def finish(self, console: Console) -> None:
        """Waits for the films of single instances, then for those of all of them."""
        dataset, folder, plan = self._run.dataset, self._run.folder / "overlay", self._plan
        legend = _LEGEND if self._compare and bool(np.asarray(dataset.clips.init_mask).any()) else []
        cells: grid.Cells = {}
        missing: list[str] = []
        status = console.status("overlay") if console.is_terminal else contextlib.nullcontext()
        with status as line:
            for number, (name, film) in enumerate(zip(dataset.names, self._films, strict=True), start=1):
                if line:
                    line.update(Text(f"overlay  {name}, {number} of {len(dataset.names)}"))
                for own, lost in film.results():
                    cells |= own
                    missing += [f"frame {frame} of {name}" for frame in lost]
            if line and plan:
                line.update("overlay  all together")
            together = grid.write(folder, self._shared, plan, cells, legend, self._submit) if plan else []
        for stale in set(folder.glob("*.mp4")) - {*self._paths, *together}:
            stale.unlink()
        notes = plan.notes(len(dataset.names)) if plan else []
        if missing:
            notes.insert(
                0,
                f"{len(missing)} pictures could not be read, the first is {missing[0]}; the overlay is grey there. Put "
                "them back and run the same command again.",
            )
        if self._compare and not legend:
            notes.append("The clips have no initial estimate to compare with, so that the overlay shows the fit alone.")
        for note in notes:
            console.print(f"Note: {note}", markup=False)
        count = len(self._paths) + len(together)
        console.print(f"overlay {count} films in {duration(time.perf_counter() - self._begun)}")


def _write_film(
    path: Path, frames: range, run: Run, instance: int, compare: bool, ground: bool, plan: grid.Plan | None
) -> tuple[grid.Cells, list[int]]:
    """Writes a film of some frames of an instance; returns those that the grids need, and the numbers of those whose
    pictures should be on disk and cannot be read."""
    dataset = run.dataset
    image_size = np.asarray(dataset.clips.image_size[instance])
    view = _whole(dataset, instance)
    show = Show(initial=compare and bool(np.asarray(dataset.clips.init_mask[instance]).any()), ground=ground)
    cells: grid.Cells = {}
    lost: list[int] = []
    seen = _watched(dataset, instance, frames, lost)
    with mp4.writing(path, view.size, float(dataset.clips.fps[instance])) as add:
        for frame, picture in zip(frames, _draw(run, instance, frames, seen, view, show), strict=True):
            if plan and plan.needs(instance, frame):
                cells[instance, frame] = plan.cell(instance, picture, image_size, view)
            add(marks.draw_legend(picture, _LEGEND) if show.initial else picture)
    return cells, lost


def _watched(dataset: Dataset, instance: int, frames: range, lost: list[int]) -> Iterator[Array | None]:
    """Yields the pictures of some frames of an instance, and puts the numbers of missing ones into `lost`."""
    for frame, picture in zip(frames, pictures.frames(dataset, instance, frames), strict=True):
        if picture is None and _expected(dataset, instance, frame):
            lost.append(frame)
        yield picture


def _expected(dataset: Dataset, instance: int, frame: int) -> bool:
    videos, paths = dataset.videos, dataset.frame_paths
    if videos and (video := videos[instance]) is not None:
        return bool(video.frames[frame] >= 0)
    return bool(paths and (own := paths[instance]) and own[frame])


def _whole(dataset: Dataset, instance: int) -> View:
    return views.whole(np.asarray(dataset.clips.image_size[instance], float), LONG_SIDE)


def _draw(
    run: Run, instance: int, frames: Sequence[int], seen: Iterator[Array | None], view: View, show: Show
) -> Iterator[Array]:
    """Draws the frames over their pictures `seen`; yields the results of `stills`."""
    dataset = run.dataset
    image_size = np.asarray(dataset.clips.image_size[instance])
    nothing = [None] * len(frames)
    fit = bodies.of_fit(run, instance, frames) if show.fit else nothing
    initial = bodies.of_initial(run, instance, frames) if show.initial else nothing
    faces = np.asarray(run.body.faces)
    # A fit without contacts knows of no floor.
    standing = floor.feet(run, instance) if show.ground and run.params.ground is not None else None
    pixels, confidence = np.asarray(dataset.clips.keypoints[instance]), np.asarray(dataset.clips.confidence[instance])
    for frame, picture, one, other in zip(frames, seen, fit, initial, strict=True):
        camera = bodies.camera(run, instance, frame).view(view.corner, view.scale, view.size)
        alpha = _ALPHA_ON_GREY if picture is None else _ALPHA
        drawn = [(one, FIT, alpha), (other, INITIAL, _ALPHA_INITIAL)]
        meshes = [
            Mesh(vertices, faces, to_rgb(colour), alpha) for vertices, colour, alpha in drawn if vertices is not None
        ]
        out = views.background(picture, image_size, view)
        if standing is not None:
            out = floor.draw(out, floor.camera(run, instance, frame, camera), standing[frame])
        out = draw(out, meshes, camera)
        if show.joints:
            marks.draw_joints(out, view.place(pixels[frame]), confidence[frame] > 0, max(1.5, view.size[1] / 240))
        yield out
