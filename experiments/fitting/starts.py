"""The starts of fits (`--starts`): whole fits of the same clips from other random numbers, of which the one with the least
loss is kept.

Start 0 is the fit of the seed alone, with its checkpoints in `checkpoints/`; those of start k are in `starts/<k>/`. They
stay there, so that the same command writes the results again, and one with more starts adds those that are missing.
"""

import contextlib
import dataclasses
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import jax
import numpy as np

from experiments.base.errors import UserError
from experiments.fitting.checkpoints import Checkpoints, Packed, Snapshot
from experiments.fitting.compiled_programs import History, Position, end_of, stages_of
from experiments.fitting.finishing import Finished
from experiments.fitting.inputs import Inputs
from experiments.fitting.plan import Planned
from experiments.results import writing
from experiments.results.fitted_motion import FittedMotion
from nemo_jax import clips as clips_lib
from nemo_jax.stacking import Job

_FOLDER = "starts"
# The loss of a start is its mean over the last steps, because every step looks at other frames.
_LAST_STEPS = 50
_FEW, _STARTS_OF_FEW = 4, 3
_ROOT, _COMPARED = 8, 15  # of BODY_25, as in `nemo_jax.metrics`


@dataclasses.dataclass(frozen=True)
class Ready:
    """A start of a fit whose clips are read. inputs: those of this start. found: its last state, or None. number: which
    start, of so many (`count`). saved: whether this state is a checkpoint on disk."""

    planned: Planned
    inputs: Inputs
    found: Snapshot | None = None
    number: int = 0
    count: int = 1
    saved: bool = True

    @property
    def position(self) -> Position:
        return self.found.position if self.found else Position()

    @property
    def ended(self) -> bool:
        """Whether this start is fitted to its end."""
        return self.position == end_of(self.inputs.job)

    @property
    def several(self) -> bool:
        """Whether the fit has other starts."""
        return self.count > 1

    @property
    def name(self) -> str:
        """The name of the fit, with the number of the start if there are several."""
        return f"{self.planned.name}, start {self.number}" if self.several else self.planned.name

    def checkpoints(self) -> Checkpoints:
        """The checkpoints of this start, not opened yet."""
        folder = self.planned.folder
        own = folder / _FOLDER / str(self.number) if self.number else folder / "checkpoints"
        return Checkpoints(own, self.inputs.job, self.inputs.identity, self.inputs.shapes_of)

    def packed(self) -> Packed | None:
        """The checkpoint of its last state, if that is not on disk yet."""
        return self.checkpoints().packed(self.found) if self.found and not self.saved else None


def of(planned: Planned, inputs: Inputs) -> list[Ready]:
    """The starts of a fit, without their last states."""
    count = planned.settings.starts or _count_for(inputs.job)
    made, job = [Ready(planned, inputs, count=count)], inputs.job
    for number in range(1, count):
        own = dataclasses.replace(job, key=jax.random.fold_in(job.key, number))
        identity = {**inputs.identity, "start": str(number)}
        made.append(Ready(planned, dataclasses.replace(inputs, job=own, identity=identity), number=number, count=count))
    return made


def _count_for(job: Job) -> int:
    """How many starts a fit has if nothing is asked for: several for few clips without any first pose.

    Of 16 fits of three kicks without first poses five end in a wrong motion, which all clips follow nearly as well; their
    losses tell them (docs/accuracy.md).
    """
    few = bool(job.config.lift) and job.clips.num_instances <= _FEW
    return _STARTS_OF_FEW if few and not np.any(np.asarray(clips_lib.posed(job.clips))) else 1


def clear(folder: Path) -> None:
    """Deletes the checkpoints of all starts but the first."""
    if (folder / _FOLDER).exists():
        shutil.rmtree(folder / _FOLDER)


def said_of(starts: Sequence[Ready]) -> list[str]:
    """Sentences about where the starts of an only fit go on; none if it begins."""
    if all(each.ended for each in starts):
        return ["This fit is finished: its results are written again (--resume=false fits anew)."]
    said: dict[str, list[str]] = {}
    for each in starts:
        if each.found and not each.ended:
            stage = stages_of(each.inputs.job)[each.position.stage].name
            said.setdefault(f"at step {each.position.step} of the {stage} stage", []).append(str(each.number))
        elif each.found:
            said.setdefault("that has some finished starts", []).append(str(each.number))
    return [
        f"Continuing an interrupted fit {where}{': start ' + ', '.join(numbers) if starts[0].several else ''}."
        for where, numbers in said.items()
    ]


class Gathered:
    """The starts that have ended, until those of the same fit have too, and the locks on the folders of their fits."""

    def __init__(self) -> None:
        self._ended: dict[Path, dict[int, Ready]] = {}
        self._lost: dict[Path, dict[int, UserError]] = {}
        self._locks: dict[Path, contextlib.ExitStack] = {}

    def hold(self, folder: Path) -> None:
        """Locks a folder unless it is. Raises UserError as `writing.held`."""
        if folder not in self._locks:
            lock = contextlib.ExitStack()
            lock.enter_context(writing.held(folder))
            self._locks[folder] = lock

    def lock_of(self, folder: Path) -> contextlib.ExitStack:
        """Hands the lock over to the caller: it is released when the block of the returned context manager ends."""
        return self._locks.pop(folder, contextlib.ExitStack())

    def release(self) -> None:
        """Releases all locks."""
        for folder in list(self._locks):
            self.lock_of(folder).close()

    def end(self, each: Ready) -> None:
        """Takes in a start that has ended."""
        self._ended.setdefault(each.planned.folder, {})[each.number] = each

    def lose(self, each: Ready, error: UserError) -> UserError | None:
        """Takes in that a start failed. Returns the error of the first one if now all of its fit have failed."""
        lost = self._lost.setdefault(each.planned.folder, {})
        lost[each.number] = error
        return next(iter(lost.values())) if len(lost) == each.count else None

    def whole(self) -> list[list[Ready]]:
        """Takes out the fits of which all starts have ended or failed: of each, those that ended, by number."""
        found = []
        for folder, ended in list(self._ended.items()):
            wanted = next(iter(ended.values())).count
            if len(ended) + len(self._lost.get(folder, {})) == wanted:
                found.append([each for _, each in sorted(self._ended.pop(folder).items())])
        return found


def loss_of(history: History) -> float:
    """The loss of a finished start: the mean of the last stage's total over its last steps."""
    terms = list(history.values())[-1]
    values = terms["total"] if "total" in terms else next(iter(terms.values()))
    return float(np.mean(values[-_LAST_STEPS:], dtype=np.float64))


def spread_mm(fitted: Sequence[FittedMotion]) -> np.ndarray:
    """How far the starts of a fit are apart (N, T), in mm: standard deviation of each joint's place in the axes of the
    camera, roots at the origin, over the starts; mean over the 15 first joints of BODY_25."""
    seen = []
    for each in fitted:
        joints = np.einsum("nij,ntkj->ntki", each.camera_from_world, each.prediction.keypoints)
        seen.append((joints - joints[:, :, _ROOT, None])[:, :, :_COMPARED])
    variance = np.stack(seen).astype(np.float64).var(0).sum(-1)
    return 1000 * np.sqrt(variance).mean(-1)


def best(starts: Sequence[Ready], finished: Sequence[Finished]) -> Finished:
    """The fit that is kept of its starts: the one of the least loss, the first of equal ones.

    Args:
      starts: those that ended, one or more, by number. finished: the same, scored.
    """
    if not starts[0].several:
        return dataclasses.replace(finished[0], checkpoint=starts[0].packed())
    losses: Mapping[int, float] = {
        each.number: loss_of(fit.history) for each, fit in zip(starts, finished, strict=True)
    }
    kept = min(losses, key=losses.__getitem__)
    own = finished[[each.number for each in starts].index(kept)]
    all_losses = tuple(losses.get(number) for number in range(starts[0].count))
    return dataclasses.replace(
        own,
        notes=(*own.notes, sentence(all_losses, kept)),
        seconds={name: sum(fit.seconds[name] for fit in finished) for name in own.seconds},
        starts=all_losses,
        kept_start=kept,
        spread=spread_mm([fit.fitted for fit in finished]),
    )


def sentence(losses: Sequence[float | None], kept: int) -> str:
    """What the user is told: which start is kept, and the losses of all."""
    listed = ", ".join("diverged" if loss is None else f"{loss:.5g}" for loss in losses)
    return f"Of {len(losses)} starts, start {kept} is kept, as its loss is the least: {listed} (from start 0 on)."
