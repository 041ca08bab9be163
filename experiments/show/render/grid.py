"""Films of all instances side by side: one synchronised by the learned phase, one as they were filmed."""

import dataclasses
import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from experiments.data.dataset import Dataset
from experiments.fitting.workers import Later, Shared, Submit
from experiments.results.fitted_motion import FittedMotion
from experiments.results.reading import Run
from experiments.show.overview import spread
from experiments.show.render import marks, mp4, views
from experiments.show.render.pieces import Film
from experiments.show.render.views import View
from experiments.show.style import CENTRE, CYCLE, SHADE

Array = np.ndarray
# Compressed pictures of cells, by instance and frame, so that long clips fit into memory.
Cells = dict[tuple[int, int], bytes]

MAX_CELLS = 16
SYNCHRONISED, UNSYNCHRONISED = "all_synchronised", "all_unsynchronised"
_FPS = 30
_SECONDS = (2.5, 10.0)  # least and greatest duration in which the middle clip is shown
_LONGEST = 30.0  # maximal duration of a film, seconds
_WIDTH, _HEIGHT = 1280, 680  # largest size of all cells together, pixels
_ASPECTS = (0.6, 1.6)  # smallest and largest ratio of a cell's width to its height
_GAP, _LABEL, _LINE = 8, 36, 34
_BAR = CYCLE[2]
_TEXT, _TITLE = 14, 18  # font sizes


@dataclasses.dataclass(frozen=True)
class Plan:
    """The contents of the films, with C cells.

    instances (C,). views (C,): the part of each clip that its cell shows. columns: cells in a row. rate: clip seconds for
    each second shown. in_step (S, C), plain (U, C): the frame of each clip in each picture of the two films. phases (S,):
    the common phase of the first one's pictures.
    """

    instances: tuple[int, ...]
    views: tuple[View, ...]
    columns: int
    rate: float
    in_step: Array
    plain: Array
    phases: Array

    def needs(self, instance: int, frame: int) -> bool:
        """Whether one of the films shows a frame."""
        if instance not in self.instances:
            return False
        cell = self.instances.index(instance)
        return bool((self.in_step[:, cell] == frame).any() or (self.plain[:, cell] == frame).any())

    def cell(self, instance: int, drawn: Array, image_size: Array, shown: View) -> bytes:
        """The cell of a frame, cut from its picture `drawn` as the view `shown` of a clip of `image_size`."""
        view = self.views[self.instances.index(instance)]
        # The drawn picture covers slightly less than the clip if a row or column was left out.
        covered = np.minimum(image_size, np.array(shown.size) / shown.scale)
        buffer = io.BytesIO()
        Image.fromarray(views.background(drawn, covered, view)).save(buffer, "JPEG", quality=92, subsampling=0)
        return buffer.getvalue()

    def notes(self, num_instances: int) -> list[str]:
        if len(self.instances) == num_instances:
            return []
        films = f"{SYNCHRONISED}.mp4 and {UNSYNCHRONISED}.mp4"
        return [f"{films} show {len(self.instances)} of the {num_instances} clips, evenly spread."]


def film_name(name: str) -> str:
    """The file name of an instance's own film, which always differs from the names of the films of all instances."""
    return f"{name}_clip.mp4" if name in (SYNCHRONISED, UNSYNCHRONISED) else f"{name}.mp4"


def make_plan(run: Run) -> Plan | None:
    """The plan of the films of all instances; None if there is only one instance."""
    dataset, fitted = run.dataset, run.fitted
    instances = spread(len(dataset.names), MAX_CELLS)
    if len(instances) < 2:
        return None
    counts = np.asarray(dataset.clips.frame_mask).sum(1).astype(int)[instances]
    fps = np.asarray(dataset.clips.fps, float)[instances]
    middle = float(np.median(counts / fps))
    rate = middle / float(np.clip(middle, *_SECONDS))
    phases = np.linspace(0, 1, max(2, round(middle / rate * _FPS)))
    shown = min(float((counts / fps).max()) / rate, _LONGEST)
    times = np.arange(math.ceil(shown * _FPS)) / _FPS * rate
    own = [np.asarray(fitted.prediction.phase)[n, :count] for n, count in zip(instances, counts, strict=True)]
    columns, chosen = _arrange(dataset, fitted, instances)
    return Plan(
        instances=tuple(instances),
        views=chosen,
        columns=columns,
        rate=rate,
        in_step=np.stack([nearest_frames(phase, phases) for phase in own], 1),
        plain=np.minimum(np.floor(times[:, None] * fps + 1e-6).astype(int), counts - 1),
        phases=phases,
    )


def nearest_frames(phase: Array, wanted: Array) -> Array:
    """For each wanted phase (S,), the frame of nearest phase in a clip with phases (F,); frames never decrease."""
    rising = np.maximum.accumulate(phase)
    return np.searchsorted((rising[1:] + rising[:-1]) / 2, wanted, side="left")


def _arrange(dataset: Dataset, fitted: FittedMotion, instances: Sequence[int]) -> tuple[int, tuple[View, ...]]:
    """The number of cells per row, and the view of each cell: the area that the person covers in the whole clip."""
    clips = dataset.clips
    points, sizes = [], []
    for instance in instances:
        exists = np.asarray(clips.frame_mask[instance]) > 0
        seen = np.asarray(clips.confidence[instance])[exists] > 0
        inputs = np.asarray(clips.keypoints[instance])[exists][seen]
        points.append(
            np.concatenate([inputs, np.asarray(fitted.prediction.keypoints_2d)[instance, exists].reshape(-1, 2)])
        )
        sizes.append(np.asarray(clips.image_size[instance], float))
    boxes = [views.bounds(p, size) for p, size in zip(points, sizes, strict=True)]
    shapes = [(high - low)[0] / max((high - low)[1], 1.0) for low, high in boxes]
    aspect = float(np.clip(np.median(shapes), *_ASPECTS))
    columns = _columns(len(instances), aspect)
    rows = math.ceil(len(instances) / columns)
    width = (_WIDTH - _GAP * (columns + 1)) / columns
    height = min(width / aspect, (_HEIGHT - _GAP * rows) / rows - _LABEL)
    size = (round(height * aspect), round(height))
    aspect = size[0] / size[1]
    return columns, tuple(views.around(p, s, aspect, size) for p, s in zip(points, sizes, strict=True))


def _columns(count: int, aspect: float) -> int:
    """The number of cells per row with which `count` cells fill a wide screen best."""

    def height(columns: int) -> float:
        """Height of a cell in the layout of `_arrange`."""
        rows = math.ceil(count / columns)
        return min(_WIDTH / columns / aspect, _HEIGHT / rows - _LABEL)

    return max(range(1, count + 1), key=height)


def write(
    folder: Path, run: Shared[Run], plan: Plan, cells: Cells, legend: list[tuple[str, str]], submit: Submit = Later
) -> list[Path]:
    """Writes both films and returns their paths. `cells`: results of `Plan.cell` for all needed frames; `submit` takes the
    work on each film."""
    speed = "" if math.isclose(plan.rate, 1, rel_tol=0.05) else f", at {plan.rate:.2g} times the speed"
    seconds = np.arange(len(plan.plain)) / _FPS * plan.rate
    films = [
        (SYNCHRONISED, "synchronised by the learned phase", plan.in_step, [f"phase {p:.2f}" for p in plan.phases]),
        (UNSYNCHRONISED, f"as filmed, started together{speed}", plan.plain, [f"{t:.2f} s" for t in seconds]),
    ]
    paths = [folder / f"{name}.mp4" for name, *_ in films]
    shared = Shared(cells, submit)
    work = [
        Film(path, len(frames), len(films), submit, _write_film, run, plan, what, frames, states, shared, legend)
        for path, (_, what, frames, states) in zip(paths, films, strict=True)
    ]
    for film in work:
        film.results()
    return paths


def _write_film(
    path: Path,
    pictures: range,
    run: Run,
    plan: Plan,
    what: str,
    frames: Array,
    states: Sequence[str],
    cells: Cells,
    legend: list[tuple[str, str]],
) -> None:
    page = _Page(run, plan, f"{run.dataset.action}: {what}", legend)
    with mp4.writing(path, page.size, _FPS) as add:
        for picture in pictures:
            add(page.draw(frames[picture], states[picture], cells))


class _Page:
    """Draws the pictures of one film; parts that do not change are drawn only once."""

    def __init__(self, run: Run, plan: Plan, title: str, legend: list[tuple[str, str]]):
        self._plan = plan
        self._phase = np.asarray(run.fitted.prediction.phase)
        self._cell = plan.views[0].size
        self._head = _LINE * (2 if legend else 1)
        rows = math.ceil(len(plan.instances) / plan.columns)
        across = plan.columns * (self._cell[0] + _GAP) + _GAP
        down = self._head + rows * (self._cell[1] + _LABEL + _GAP)
        # With few cells the film would be narrower than the title.
        self._width = max(across, 640)
        self._left = (self._width - across) // 2
        self.size = (self._width + self._width % 2, down + down % 2)
        self._base = Image.new("RGB", self.size, "white")
        draw = ImageDraw.Draw(self._base)
        room = self._width - 2 * _GAP - marks.font(_TITLE).getlength("phase 0.00") - 20
        text = marks.shorten(title, _TITLE, room)
        draw.text((_GAP, _LINE / 2), text, fill=CENTRE, font=marks.font(_TITLE), anchor="lm")
        x = _GAP
        for label, colour in legend:
            draw.rectangle((x, 1.5 * _LINE - 7, x + 14, 1.5 * _LINE + 7), fill=colour)
            draw.text((x + 20, 1.5 * _LINE), label, fill=CENTRE, font=marks.font(_TEXT), anchor="lm")
            x += 44 + marks.font(_TEXT).getlength(label)
        for number, instance in enumerate(plan.instances):
            x, y = self._corner(number)
            mirrored = " (mirrored)" if run.fitted.params.mirrored[instance] > 0.5 else ""
            name = marks.shorten(run.dataset.names[instance] + mirrored, _TEXT, self._cell[0])
            draw.text((x, y + self._cell[1] + 12), name, fill=CENTRE, font=marks.font(_TEXT), anchor="lm")
        self._shown: dict[int, int] = {}

    def _corner(self, cell: int) -> tuple[int, int]:
        row, column = divmod(cell, self._plan.columns)
        x = self._left + _GAP + column * (self._cell[0] + _GAP)
        return x, self._head + row * (self._cell[1] + _LABEL + _GAP)

    def draw(self, frames: Array, state: str, cells: Cells) -> Array:
        """Draws one picture, RGB; frames (C,): frame of each cell; state: text in the corner."""
        for number, (instance, frame) in enumerate(zip(self._plan.instances, frames, strict=True)):
            # The cell keeps its contents from the previous picture.
            if self._shown.get(number) != frame:
                x, y = self._corner(number)
                self._base.paste(Image.open(io.BytesIO(cells[instance, int(frame)])), (x, y))
                self._draw_bar(x, y + self._cell[1] + 24, float(self._phase[instance, frame]))
                self._shown[number] = int(frame)
        draw = ImageDraw.Draw(self._base)
        right = self._width - _GAP
        draw.rectangle((right - marks.font(_TITLE).getlength("phase 0.00") - 12, 0, right, _LINE - 4), fill="white")
        draw.text((right, _LINE / 2), state, fill=CENTRE, font=marks.font(_TITLE), anchor="rm")
        return np.asarray(self._base)

    def _draw_bar(self, x: int, y: int, phase: float) -> None:
        draw = ImageDraw.Draw(self._base)
        width = self._cell[0] - 1
        draw.rectangle((x, y, x + width, y + 6), fill=SHADE)
        draw.rectangle((x, y, x + round(width * min(max(phase, 0.0), 1.0)), y + 6), fill=_BAR)
