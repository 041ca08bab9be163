"""The section of the report that lists suspicious frames and clips."""

import itertools

import numpy as np

from experiments.data.dataset import Dataset
from experiments.results.reading import Run
from experiments.show.render import marks, overlay, views
from experiments.show.render.overlay import Show
from experiments.show.report import checks
from experiments.show.report.checks import Finding, Stretch
from experiments.show.report.markup import Html, element, from_array, picture, table

Array = np.ndarray

_THUMBNAILS = 12  # maximal number of bad frames that are shown
_BEST_OF_THE_WORST = 6  # number of frames shown if no frame is bad
_SIZE = (240, 300)  # pixels of a thumbnail


def show(run: Run, errors: Array, found: list[Finding], doubted: list[str]) -> list[Html]:
    """The verdict, the bad frames and clips, and the criteria. errors (N, T): from `checks.frame_errors`. doubted: a
    sentence for each clip that is no fit, from `evaluation.doubts`."""
    dataset = run.dataset
    stretches = checks.stretches(errors)
    doubts = [finding for finding in found if finding.kind != "mirrored"]
    frames = sum(int((errors[s.instance, s.first : s.last + 1] > checks.HIGH_ERROR).sum()) for s in stretches)
    return [
        *(element("p", sentence, class_="verdict warn") for sentence in doubted),
        *([] if doubted and not stretches and not doubts else [_verdict(dataset, stretches, frames, doubts)]),
        element("h3", "Frames far from their input"),
        *_frames(run, errors, stretches),
        element("h3", "Clips"),
        _clips(dataset, found),
        element("h3", "By which rules"),
        _rules(dataset, run.threshold),
    ]


def _verdict(dataset: Dataset, stretches: list[Stretch], frames: int, doubts: list[Finding]) -> Html:
    clips, far = len({finding.instance for finding in doubts}), len({s.instance for s in stretches})
    if not stretches and not doubts:
        return element("p", "Nothing: no frame and no clip meets one of the rules below.", class_="verdict")
    bad = f"{_count(frames, 'frame')} in {_count(far, 'clip')} far from the input" if stretches else ""
    odd = f"{_count(clips, 'clip')} of {len(dataset.names)} to be looked at" if doubts else ""
    return element("p", f"{'; '.join(part for part in (bad, odd) if part)}.", class_="verdict warn")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _frames(run: Run, errors: Array, stretches: list[Stretch]) -> list[Html]:
    names = run.dataset.names
    limit = f"{checks.HIGH_ERROR:.0%} of the person's box"
    if stretches:
        by_clip = itertools.groupby(sorted(stretches, key=lambda s: (s.instance, s.first)), key=lambda s: s.instance)
        rows = [[names[n], ", ".join(_range(stretch) for stretch in own)] for n, own in by_clip]
        shown = [(s.instance, s.worst) for s in stretches[:_THUMBNAILS]]
        intro = f"Frames (counted from 0) whose joints are on average more than {limit} away from the input."
        listing = [table(["clip", "frames"], rows)]
        what = "The worst frame of each of these stretches" if len(shown) == len(stretches) else "The worst frames"
    else:
        intro = f"In no frame are the joints on average more than {limit} away from the input."
        listing = []
        worst = np.where(np.isfinite(errors), errors, -1)
        frames = worst.argmax(1)
        order = sorted(range(len(names)), key=lambda n: -worst[n, frames[n]])
        shown = [(n, int(frames[n])) for n in order if worst[n, frames[n]] >= 0][:_BEST_OF_THE_WORST]
        what = "The frames that come nearest to it, one a clip"
    pictures = [_thumbnail(run, n, frame, errors[n, frame]) for n, frame in shown]
    legend = f"{what}: the fitted body, and the input joints as dots (blue left, orange right)."
    below = [element("p", legend), element("div", *pictures, class_="thumbnails")] if pictures else []
    return [element("p", intro), *listing, *below]


def _range(stretch: Stretch) -> str:
    frames = f"{stretch.first}" if stretch.first == stretch.last else f"{stretch.first}–{stretch.last}"
    return f"{frames} (up to {stretch.error:.0%})"


def _thumbnail(run: Run, instance: int, frame: int, error: float) -> Html:
    clips = run.dataset.clips
    joints = np.asarray(clips.keypoints[instance, frame])
    seen = np.asarray(clips.confidence[instance, frame]) > 0
    body = np.asarray(run.fitted.prediction.keypoints_2d)[instance, frame]
    image_size = np.asarray(clips.image_size[instance], float)
    points = np.concatenate([joints[seen], body])
    view = views.around(points, image_size, _SIZE[0] / _SIZE[1], _SIZE)
    drawn = np.array(overlay.still(run, instance, frame, view, Show(joints=False)))
    marks.draw_joints(drawn, view.place(joints), seen, 3.5)
    name = run.dataset.names[instance]
    caption = f"{name}, frame {frame}: {error:.1%}"
    return picture(from_array(drawn), f"The fitted body over frame {frame} of {name}", caption)


def _clips(dataset: Dataset, found: list[Finding]) -> Html:
    if not found:
        return element("p", "None meets a rule.")
    return table(["clip", "what", "in which way"], [[dataset.names[f.instance], f.kind, f.text] for f in found])


def _rules(dataset: Dataset, threshold: float) -> Html:
    rules = {
        "frame": f"The mean distance of its visible joints (confidence above {threshold:g}) from the body's is more than "
        f"{checks.HIGH_ERROR:.0%} of the diagonal of the person's box; frames with fewer than {checks.LEAST_JOINTS} visible "
        f"joints are not judged, and gaps of up to {checks.BRIDGE} frames are closed.",
        **checks.CRITERIA,
    }
    items = [element("li", element("b", name), f": {text}") for name, text in rules.items()]
    few = len(dataset.names) < checks.FEW
    note = f"With fewer than {checks.FEW} clips none is compared with the others." if few else ""
    return element("div", element("ul", *items), *([element("p", note)] if note else []))
