"""Fits and checks the expected errors of `experiments.evaluation.expected_error` on finished suites.

    python run.py benchmark --suite=mocap --motion=cmu --initial_poses=both --output_dir=results/a
    python run.py benchmark --suite=mocap --motion=cmu --initial_poses=both --instances=1 --output_dir=results/b
    python -m experiments.benchmarks.calibration --suites=results/a,results/b --output_dir=results/calibration

Each action is predicted by weights that were fitted to the other actions; the table, the figure and the spread are of these
predictions. `--write` puts the weights of all actions where fits take them from.

`--level` keeps the weights that ship, by which the suites were scored, and changes only their constant, so that what is
expected is right on average again after fits have become better; it needs no more than the suites' `table.json`.
"""

import dataclasses
import datetime
import json
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from absl import app, flags
from matplotlib.figure import Figure

from experiments.base.errors import UserError
from experiments.base.files import replacing
from experiments.evaluation import expected_error
from experiments.evaluation.expected_error import FEATURES, Calibration
from experiments.show.style import CYCLE, NO_FORMULAS, RC

Array = np.ndarray
_RIDGE = 1e-2  # of a feature's variance: features that never vary get no weight
_BEST = 0.005  # share of the frames that show more for their fit than counts
_BINS = 10


@dataclasses.dataclass(frozen=True)
class Frames:
    """features (R, len(FEATURES)), errors (R,) in millimetres, and of each frame its action, a word, and the numbers of its
    clip and suite."""

    features: Array
    errors: Array
    actions: Array
    clips: Array
    suites: Array


def read(suites: list[str]) -> Frames:
    """The frames of finished suites. Raises UserError: a suite has none, or has other features."""
    found, clips = [], 0
    for number, suite in enumerate(suites):
        paths = sorted((Path(suite) / "frames").glob("*.npz"))
        if not paths:
            raise UserError(
                f"--suites={suite} has no frames/*.npz; expected the folder of a finished suite with a truth, such as "
                "that of python run.py benchmark --suite=mocap"
            )
        for path in paths:
            with np.load(path) as file:
                rows, width = file["features"].shape
                if width != len(FEATURES):
                    raise UserError(
                        f"{path} has {width} features of each frame, expected {len(FEATURES)}: another version wrote "
                        "it; run the suite again, into another folder"
                    )
                of_file = clips + file["clips"], np.full(rows, number)
                found.append((file["features"], file["errors_mm"], [str(file["action"])] * rows, *of_file))
                clips += int(file["clips"].max()) + 1
    return Frames(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


def weights_of(frames: Frames) -> tuple[Array, Array]:
    """The weights that fit the logarithms of the errors best, and `Calibration.least`; every action of a suite counts the
    same."""
    groups = np.char.add(frames.actions.astype(str), frames.suites.astype(str))
    names, which, counts = np.unique(groups, return_inverse=True, return_counts=True)
    weight = 1.0 / (len(names) * counts[which])
    x, y = frames.features.astype(float), np.log(np.maximum(frames.errors, 1.0))
    mean = weight @ x
    scale = np.sqrt(weight @ (x - mean) ** 2)
    # The constant, and what never varied, is in the mean alone.
    z = np.where(scale > 1e-6, (x - mean) / np.maximum(scale, 1e-6), 0.0)
    centre = weight @ y
    slopes = np.linalg.solve(z.T @ (weight[:, None] * z) + _RIDGE * np.eye(z.shape[1]), z.T @ (weight * (y - centre)))
    slopes = np.where(scale > 1e-6, slopes / np.maximum(scale, 1e-6), 0.0)
    slopes[FEATURES.index("constant")] = centre - slopes @ np.where(scale > 1e-6, mean, 0.0)
    return slopes, np.quantile(x * slopes, _BEST, axis=0)


def left_out(frames: Frames) -> Array:
    """Expected logarithms (R,) of each action by the weights of all others."""
    out = np.empty(len(frames.errors))
    for action in np.unique(frames.actions):
        own = frames.actions == action
        out[own] = expected_error.expected_log(frames.features[own], *weights_of(taken(frames, ~own)))
    return out


def taken(frames: Frames, where: Array) -> Frames:
    return Frames(*(getattr(frames, field.name)[where] for field in dataclasses.fields(frames)))


def per_clip(values: Array, clips: Array) -> Array:
    """Means (C,) of values (R,) over the frames of each clip."""
    _, which, counts = np.unique(clips, return_inverse=True, return_counts=True)
    return np.bincount(which, values) / counts


def calibrated(frames: Frames) -> tuple[Calibration, Array, Array]:
    """The calibration of all frames, and errors that are expected of frames (R,) and clips (C,) of actions left out."""
    logs = left_out(frames)
    spread = float(np.std(np.log(np.maximum(frames.errors, 1.0)) - logs))
    expected = np.exp(logs + spread**2 / 2)
    of_clips = per_clip(expected, frames.clips)
    ratio = np.log(np.maximum(per_clip(frames.errors, frames.clips), 1.0)) - np.log(of_clips)
    return Calibration(*weights_of(frames), spread, float(np.std(ratio))), expected, of_clips


def read_clips(suites: list[str]) -> dict[str, Array]:
    """Expected and true errors (R, 2), millimetres, of the clips of finished suites, by action. Raises UserError: a suite
    has no table of clips with both."""
    found: dict[str, list[tuple[float, float]]] = {}
    for suite in suites:
        path = Path(suite) / "table.json"
        fits = json.loads(path.read_text())["fits"] if path.is_file() else []
        rows = [(fit["cell"]["action"], clip) for fit in fits for clip in fit["each"].values()]
        rows = [(action, clip) for action, clip in rows if {"expected_mm", "mpjpe_mm/fit"} <= clip.keys()]
        if not rows:
            raise UserError(
                f"--suites={suite} has no table.json with expected and true errors of clips; expected the folder of a "
                "finished suite with a truth, such as that of python run.py benchmark --suite=mocap"
            )
        for action, clip in rows:
            found.setdefault(action, []).append((clip["expected_mm"], clip["mpjpe_mm/fit"]))
    return {action: np.asarray(pairs) for action, pairs in found.items()}


def levelled(clips: dict[str, Array], shipped: Calibration) -> tuple[Calibration, str]:
    """The shipped calibration at the level of clips (R, 2) by action, and a sentence on it; every action counts the same."""
    means = np.array([pairs.mean(0) for pairs in clips.values()])

    def factor(rows: Array) -> float:
        return float(rows[:, 1].mean() / rows[:, 0].mean())

    constant = np.log(factor(means)) * (np.arange(len(FEATURES)) == FEATURES.index("constant"))
    # Each action at the level of the others.
    off = [
        np.log(np.maximum(pairs[:, 1], 1.0) / pairs[:, 0] / factor(np.delete(means, at, 0)))
        for at, pairs in enumerate(clips.values())
    ]
    ratio = np.concatenate(off)
    spread = float(np.std(ratio))
    text = (
        f"{len(ratio)} fitted clips of {len(clips)} actions, whose errors are {factor(means):.3f} of what was expected. "
        f"Each action was put at the level of the others. {spread_of(ratio, spread)}"
    )
    changed = {"weights": shipped.weights + constant, "least": shipped.least + constant}
    return dataclasses.replace(shipped, clip_spread=spread, **changed), text


def spread_of(ratio: Array, spread: float) -> str:
    """What a spread says of the logarithms (C,) of true over expected errors of clips."""
    one, two = (np.mean(np.abs(ratio) < times * spread) for times in (1, 2))
    far = np.exp([spread, 2 * spread])
    return f"Of the clips {one:.0%} lie within a factor of {far[0]:.2f}, and {two:.0%} within {far[1]:.2f}."


def bins(expected: Array, errors: Array) -> list[tuple[float, float, int]]:
    """Mean expected and mean true error of equally many frames, in the order of what was expected."""
    order = np.array_split(np.argsort(expected), _BINS)
    return [(float(expected[rows].mean()), float(errors[rows].mean()), len(rows)) for rows in order if len(rows)]


def draw(path: Path, frames: Frames, expected: Array, of_clips: Array) -> None:
    """The reliability figure: bins of frames, and every clip."""
    true_clips = per_clip(frames.errors, frames.clips)
    with matplotlib.rc_context({**RC, **NO_FORMULAS}):
        figure = Figure(figsize=(9, 4.4), layout="constrained")
        left, right = figure.subplots(1, 2)
        means = np.array([row[:2] for row in bins(expected, frames.errors)])
        left.plot(*means.T, "o-", color=CYCLE[0])
        left.set_title("tenths of all frames", loc="left")
        right.plot(of_clips, true_clips, ".", color=CYCLE[0], ms=4, alpha=0.5)
        right.set_title("clips", loc="left")
        for axes, most in ((left, means.max()), (right, max(of_clips.max(), np.percentile(true_clips, 99)))):
            axes.plot([0, most], [0, most], color="0.6", lw=1, zorder=0)
            axes.set(xlabel="expected error, mm", ylabel="true error, mm", xlim=(0, 1.05 * most), ylim=(0, 1.05 * most))
        with replacing(path) as temporary:
            figure.savefig(temporary, dpi=150)


def markdown(frames: Frames, calibration: Calibration, expected: Array, of_clips: Array) -> str:
    """The table of bins, and what it says, in Markdown."""
    true_clips = per_clip(frames.errors, frames.clips)
    lines = ["| expected, mm | true, mm | frames |", "| ---: | ---: | ---: |"]
    lines += [f"| {mean:.1f} | {true:.1f} | {count} |" for mean, true, count in bins(expected, frames.errors)]
    ranks = lambda values: np.argsort(np.argsort(values))
    related = lambda a, b: np.corrcoef(ranks(a), ranks(b))[0, 1]
    lines += [
        "",
        f"{len(frames.errors)} frames of {len(of_clips)} fitted clips and {len(np.unique(frames.actions))} actions, each "
        f"action expected by the weights of the others. {spread_of(np.log(true_clips / of_clips), calibration.clip_spread)} "
        f"Rank correlation of expected and true error: {related(of_clips, true_clips):.2f} of clips, "
        f"{related(expected, frames.errors):.2f} of frames.",
    ]
    return "\n".join(lines) + "\n"


def main(_: list[str]) -> None:
    values = flags.FLAGS
    calibrate = level if values.level else fit
    try:
        text = calibrate(values.suites, Path(values.output_dir), values.write)
    except UserError as error:
        raise app.UsageError(str(error)) from error
    print(text)


def fit(suites: list[str], folder: Path, write: bool) -> str:
    """Fits all weights to finished suites, with table and figure; returns the table. Raises UserError: see `read`."""
    frames = read(suites)
    calibration, expected, of_clips = calibrated(frames)
    folder.mkdir(parents=True, exist_ok=True)
    text = markdown(frames, calibration, expected, of_clips)
    with replacing(folder / "reliability.md") as temporary:
        temporary.write_text(text)
    draw(folder / "reliability.png", frames, expected, of_clips)
    about = {"frames": len(frames.errors), "actions": sorted(map(str, np.unique(frames.actions)))}
    save(calibration, about, folder, write)
    return text


def level(suites: list[str], folder: Path, write: bool) -> str:
    """Levels the shipped calibration by finished suites and says what it is then. Raises UserError: see `read_clips`."""
    calibration, text = levelled(read_clips(suites), expected_error.shipped())
    shipped = json.loads(expected_error.WEIGHTS.read_text())
    save(calibration, {name: shipped[name] for name in ("frames", "actions")}, folder, write)
    return text


def save(calibration: Calibration, about: dict[str, Any], folder: Path, write: bool) -> None:
    """Writes the calibration where fits take it from, or else into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    dated = {"date": datetime.datetime.now(datetime.UTC).date().isoformat(), **about}
    document = expected_error.document(calibration, dated)
    with replacing(expected_error.WEIGHTS if write else folder / expected_error.WEIGHTS.name) as temporary:
        temporary.write_text(document)


if __name__ == "__main__":
    flags.DEFINE_list("suites", None, "Folders of finished suites.", required=True)
    flags.DEFINE_string("output_dir", "results/calibration", "Folder of table and figure.")
    flags.DEFINE_bool("write", False, "Put the weights where fits take them from.")
    flags.DEFINE_bool("level", False, "Change the level of the weights that ship alone.")
    app.run(main)
