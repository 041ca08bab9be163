"""The report page: the clips, the scores, the pictures, the suspicious frames and the command to reproduce the run."""

import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np
from PIL import Image

from experiments.base.text import duration
from experiments.data.dataset import Dataset
from experiments.evaluation import doubts, expected_error, lens_error
from experiments.fitting.settings import Settings
from experiments.results import take_offsets
from experiments.results.fitted_motion import FittedMotion
from experiments.results.reading import Run
from experiments.show import figures
from experiments.show.report import checks, reproduce, wrong
from experiments.show.report.markup import Html, element, picture, section, table, text
from experiments.show.report.table import numbers

_CSS = Path(__file__).with_name("report.css")
# File, caption, whether it is a photograph rather than a drawing.
_PICTURES = (
    ("rollout.png", "The motion field at equal phases; a row is a clip's code and shape, the first their mean.", True),
    ("comparison.png", "One moment as filmed, and the bodies as the camera sees them and from the side.", True),
    ("phase_curves.png", "How the clips are synchronised: the learned phase over time.", False),
    ("trajectories.png", "Where the roots go: from above, and their heights.", False),
    ("joint_errors.png", "The error of each joint.", False),
)
_OVERVIEW = "Input joints and reprojected skeleton, and the body in 3D beside them, at equal phases."
_LICENCE_FREE = "open body (no licensed file)"


class Pieces(NamedTuple):
    """What takes long of a page. thumbnails: a picture for each clip, as `followed.thumbnails` makes them; none where there
    are fewer. suspicious, pictures: results of the functions of these names."""

    thumbnails: Sequence[Html | None]
    suspicious: Sequence[Html]
    pictures: Sequence[Html]


def build(
    run: Run,
    settings: Settings,
    each: Mapping[str, Mapping[str, float]],
    notes: Sequence[str],
    pieces: Pieces | None = None,
) -> Html:
    """The whole page; the arguments are those of `report.write`."""
    output, dataset, fitted, metrics = run.folder, run.dataset, run.fitted, run.metrics
    pieces = pieces or Pieces((), suspicious(run, metrics.get(doubts.KEY, {})), pictures(run))
    parts = [
        section("Numbers", *_numbers(dataset, metrics), id_="numbers"),
        section("Pictures", *pieces.pictures, id_="pictures"),
        section("What looks wrong", *pieces.suspicious, id_="wrong"),
        section("Clips", *_clips(run, each, pieces.thumbnails), id_="clips"),
        section("Files", *_files(output, dataset), id_="files"),
        section("Do it again", *_again(settings, metrics, dataset), id_="again"),
        section("Notes", _notes(notes), id_="notes"),
    ]
    anchors = {
        "numbers": "Numbers",
        "pictures": "Pictures",
        "wrong": "What looks wrong",
        "clips": "Clips",
        "files": "Files",
        "again": "Do it again",
        "notes": "Notes",
    }
    links = [element("li", element("a", label, href=f"#{anchor}")) for anchor, label in anchors.items()]
    title = f"{dataset.action}{' (synthetic)' if dataset.synthetic else ''}"
    body = element(
        "body",
        element("header", element("h1", title), *_facts(dataset, fitted, metrics, settings)),
        element("nav", element("ul", *links)),
        element("main", *parts),
    )
    head = element(
        "head",
        Html('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        element("title", f"{title}: report"),
        element("style", Html(_CSS.read_text())),
    )
    return Html(f'<!doctype html>\n<html lang="en">{head}{body}</html>\n')


def _facts(dataset: Dataset, fitted: FittedMotion, metrics: Mapping[str, Any], settings: Settings) -> list[Html]:
    clips = dataset.clips
    counts = np.asarray(clips.frame_mask).sum(1)
    seconds = float((counts / np.asarray(clips.fps)).sum())
    mirrored = int((np.asarray(fitted.params.mirrored) > 0.5).sum())
    spent = f"{duration(metrics['seconds/total'])} in all, " if "seconds/total" in metrics else ""
    if "seconds/fit" in metrics:
        spent += f"{duration(metrics['seconds/compile'])} compiling, {duration(metrics['seconds/fit'])} fitting"
    initial = float(np.asarray(clips.init_mask).sum() / max(counts.sum(), 1))
    facts = {
        "clips": f"{len(dataset.names)}, {int(counts.sum())} frames, {seconds:.1f} s of film"
        + (f"; {mirrored} mirrored" if mirrored else ""),
        "initial 3D poses": f"of {initial:.0%} of the frames" if initial else "none: the clips are lifted from 2D",
        "ground truth": "yes" if dataset.truth is not None else "none: errors are those in the pictures",
        "body": settings.body_model or _LICENCE_FREE,
        "preset": settings.preset,
        "seed": str(settings.seed),
        "device": str(metrics.get("device", "unknown")),
        "time": spent.rstrip(", ") or "unknown",
    }
    lead = "One motion field was fitted to all clips together, with a time warp, a code, a body shape and a camera for each."
    if dataset.synthetic:
        lead += " The clips are synthetic: no camera has seen them."
    pairs = [part for name, value in facts.items() for part in (element("dt", name), element("dd", value))]
    return [element("p", lead), element("dl", *pairs, class_="facts")]


def _numbers(dataset: Dataset, metrics: Mapping[str, Any]) -> list[Html]:
    initial = any(key.endswith("/init") for key in metrics)
    said = "Over all clips, the fit beside the initial estimate." if initial else "Over all clips."
    if any(key.startswith("heldout_") for key in metrics):
        said += " Hidden joints were kept from the fit to score it on them."
    if dataset.truth is None:
        said += " Without ground truth nothing here says how far off the depth is."
    said += " Smaller is better, but for PCK and the area under it."
    return [element("p", said), numbers(dataset, metrics)]


def suspicious(run: Run, doubted: Mapping[str, Sequence[str]]) -> list[Html]:
    """What looks wrong: the verdict, frames and clips. doubted: as in `metrics.json`. The files of `motion/` must be
    there."""
    threshold = run.threshold
    errors = checks.frame_errors(run.as_read, run.fitted, threshold)
    found = checks.findings(run.dataset, run.fitted, threshold)
    return wrong.show(run, errors, found, doubts.sentences(doubted))


def pictures(run: Run) -> list[Html]:
    """The figures of a run that are there, each embedded."""
    output, dataset = run.folder, run.dataset
    folder = output / figures.FOLDER
    found = [(folder / name, caption, photo) for name, caption, photo in _PICTURES]
    found.append((output / "overview.png", _OVERVIEW, True))
    shown = []
    for path, caption, photo in found:
        if path.exists():
            with Image.open(path) as image:
                name = quote(str(path.relative_to(output)))
                link = element("a", "in full", href=name)
                alt = f"{dataset.action}: {caption}"
                shown.append(picture(image, alt, element("span", caption, " (", link, ")"), photo=photo))
    return shown or [element("p", "None were written.")]


def _clips(run: Run, each: Mapping[str, Mapping[str, float]], thumbnails: Sequence[Html | None]) -> list[Html]:
    """A table with one row per clip; columns without any value are omitted."""
    dataset, fitted, clips = run.dataset, run.fitted, run.dataset.clips
    errors = checks.frame_errors(run.as_read, fitted, run.threshold)
    shares = checks.seen_shares(dataset, run.threshold)
    expected = expected_error.of_clips(expected_error.of_run(run))
    lenses = lens_error.of_clips(dataset, fitted, run.config)
    offsets = take_offsets.of_clips(dataset, fitted.params)
    columns: dict[str, list[str]] = {}

    def add(name: str, value: str) -> None:
        columns.setdefault(name, []).append(value)

    for n, name in enumerate(dataset.names):
        scores = each.get(name, {})
        place = checks.camera_place(dataset, fitted, n)
        judged = errors[n][np.isfinite(errors[n])]
        width, height = (round(float(side)) for side in clips.image_size[n])
        add("who is followed", (thumbnails[n] if n < len(thumbnails) else None) or "–")
        add("frames", f"{int(np.asarray(clips.frame_mask[n]).sum())}")
        add("frames/s", f"{float(clips.fps[n]):.4g}")
        add("starts at (s), in its take", f"{offsets[n]:.2f}" if np.isfinite(offsets[n]) else "–")
        add("picture", f"{width} × {height}")
        add("joints seen", f"{shares[n]:.0%}")
        add("reprojection, median (px)", _number(scores, "reprojection_px/median"))
        add("worst frame (% of box)", f"{100 * judged.max():.1f}" if judged.size else "–")
        add("expected error (mm)", f"{expected[n]:.0f}" if np.isfinite(expected[n]) else "–")
        add("MPJPE, initial (mm)", _number(scores, "mpjpe_mm/init"))
        add("MPJPE, fit (mm)", _number(scores, "mpjpe_mm/fit"))
        add("G-MPJPE (mm)", _number(scores, "g_mpjpe_mm/fit"))
        sure = scores.get("scale_sd_percent/fit", 0.0) / 100
        add("distance (m)", f"{place.distance:.1f}" + (f" ± {sure * place.distance:.1f}" if sure else ""))
        tall = scores.get("height_m/fit")
        add("height (m)", "–" if tall is None else f"{tall:.2f}" + (f" ± {sure * tall:.2f}" if sure else ""))
        add("focal length (px), 68% interval", lens_error.shown(lenses, n))
        add("looks up (°)", f"{round(place.up):+d}")
        add("roll (°)", f"{round(place.roll):+d}")
        add("mirrored", "yes" if fitted.params.mirrored[n] > 0.5 else "–")
    kept = {name: values for name, values in columns.items() if any(value != "–" for value in values)}
    rows = zip(dataset.names, *kept.values(), strict=True)
    said = take_offsets.sentences(take_offsets.of_takes(dataset, offsets))
    shown = table(["clip", *kept], list(rows), numbers=range(1, len(kept) + 1))
    return [*(element("p", sentence) for sentence in said), shown]


def _number(scores: Mapping[str, float], key: str) -> str:
    return f"{scores[key]:.1f}" if key in scores else "–"


def _files(output: Path, dataset: Dataset) -> list[Html]:
    known = [
        ("viewer.html", "the motion in 3D, to play and to turn"),
        ("overlay/all_synchronised.mp4", "all clips with their bodies, in step by their phase"),
        ("overlay/all_unsynchronised.mp4", "the same as filmed"),
        ("metrics.json", "the numbers above"),
        ("evaluation.csv", "every method on every clip"),
        ("instances.json", "the numbers of each clip"),
        ("losses.png", "losses of every step"),
        ("config.json", "every setting of the run"),
    ]
    items = [element("li", _link(name), f": {what}") for name, what in known if (output / name).exists()]
    for folder, suffix, what in (
        (figures.FOLDER, ".pdf", "figures for print"),
        ("overlay", ".mp4", "the body over each clip"),
        ("motion", ".npz", "the motion of each clip"),
    ):
        names = sorted(path.name for path in (output / folder).glob(f"*{suffix}") if not path.name.startswith("all_"))
        if names:
            links = [part for name in names for part in (_link(f"{folder}/{name}", name), " ")]
            items.append(element("li", f"{what}: ", *links))
    return [element("p", "Beside this page:"), element("ul", *items)] if items else [element("p", "None.")]


def _link(path: str, label: str = "") -> Html:
    return element("a", label or path, href=quote(path))


def _again(settings: Settings, metrics: Mapping[str, Any], dataset: Dataset) -> list[Html]:
    overrides = reproduce.overrides(settings, len(dataset.names))
    changed = (
        f"The fit is preset {settings.preset} with {', '.join(overrides)}." if overrides else
        f"The fit is preset {settings.preset} as it is."
    )  # fmt: skip
    versions = {name.removeprefix("version/"): value for name, value in metrics.items() if name.startswith("version/")}
    versions = {"Python": platform.python_version(), **versions, "system": platform.platform(terse=True)}
    return [
        element("pre", element("code", reproduce.command(settings, len(dataset.names)))),
        element("p", f"{changed} Every setting is in config.json. On a CPU with the same versions the same command gives "
        "the same numbers; on other devices and versions they differ a little."),
        table(["version", ""], [[name, value] for name, value in versions.items()]),
    ]  # fmt: skip


def _notes(notes: Sequence[str]) -> Html:
    return element("ul", *(element("li", note) for note in notes)) if notes else text("None.")
