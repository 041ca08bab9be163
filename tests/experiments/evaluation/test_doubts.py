"""Clips that are no fit: each reason, in the words of the terminal, the report and metrics.json."""

import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from experiments.evaluation import doubts, summary
from experiments.evaluation.doubts import Reason

GOOD = {"pck_0.05/fit": 0.97}


def with_clip(dataset, keypoints=None, confidence=None):
    """The dataset with other keypoints or confidence of clip 0."""
    clips = dataset.clips
    changed = {"keypoints": np.array(clips.keypoints), "confidence": np.array(clips.confidence)}
    if keypoints is not None:
        changed["keypoints"][0] = keypoints(changed["keypoints"][0])
    if confidence is not None:
        changed["confidence"][0] = confidence
    return dataclasses.replace(dataset, clips=dataclasses.replace(clips, **changed))


def found_in(dataset, fitted, first=GOOD):
    each = {name: first if number == 0 else GOOD for number, name in enumerate(dataset.names)}
    found = doubts.find(dataset, fitted, each, 0.5)
    assert set(found) <= {dataset.names[0]}
    return found.get(dataset.names[0], [])


def test_a_good_fit_is_not_doubted(tiny_dataset, perfect):
    assert found_in(tiny_dataset, perfect) == []
    # Somebody who stands still, as a detector sees him, far away in a corner.
    rng = np.random.default_rng(0)
    still = with_clip(tiny_dataset, lambda k: k[:1] * 0.1 + rng.normal(0, 0.2, k.shape))
    assert found_in(still, perfect) == []


@pytest.mark.parametrize(
    ("keypoints", "why"),
    [
        (lambda k: np.broadcast_to(k[:1], k.shape), "its keypoints are in the same places in all 12 frames"),
        (lambda k: np.broadcast_to(k[:, :1], k.shape), "its keypoints all lie at one point in 100% of its frames"),
        (lambda k: k * 10, "of its keypoints lie far outside its picture of 1920x1080 pixels, by up to"),
        (lambda k: k + (19200, 0), "100% of its keypoints lie far outside its picture"),
        (lambda k: -k * 3 - 2000, "100% of its keypoints lie far outside its picture"),
    ],
)
def test_keypoints_that_are_nobodys(tiny_dataset, perfect, keypoints, why):
    frames = int(np.asarray(tiny_dataset.clips.frame_mask)[0].sum())
    (reason,) = found_in(with_clip(tiny_dataset, keypoints), perfect)
    assert why.replace("12 frames", f"{frames} frames") in reason.why and reason.verdict == "no fit"


def test_several_reasons_and_none_seen(tiny_dataset, perfect):
    where = with_clip(tiny_dataset, lambda k: np.full_like(k, 1e5))
    assert len(found_in(where, perfect, {"pck_0.05/fit": 0.0})) == 4
    unseen = with_clip(tiny_dataset, confidence=0.3)
    assert [reason.why for reason in found_in(unseen, perfect, {})] == [
        "none of its keypoints is seen well enough to count"
    ]


def test_a_body_that_is_elsewhere(tiny_dataset, perfect):
    (reason,) = found_in(tiny_dataset, perfect, {"pck_0.05/fit": 0.02})
    assert reason.why == "2% of its keypoints lie within 0.05 of the person's box of the fitted body"
    assert found_in(tiny_dataset, perfect, {}) == []


def test_a_body_that_stands_as_nobody_does(tiny_dataset, perfect):
    joints = np.array(perfect.prediction.joints)
    # Both legs of clip 0 point backwards and up.
    for hip, below in ((1, (4, 7, 10)), (2, (5, 8, 11))):
        for joint in below:
            joints[0, :, joint] = joints[0, :, hip] - (joints[0, :, joint] - joints[0, :, hip])
    crooked = dataclasses.replace(perfect, prediction=dataclasses.replace(perfect.prediction, joints=joints))
    (reason,) = found_in(tiny_dataset, crooked)
    assert reason.verdict == "probably wrong"
    assert reason.why.startswith("the directions of its limbs are unlike those of recorded people (surprise ")


def test_a_clip_far_behind_the_others(tiny_dataset, perfect):
    (reason,) = found_in(tiny_dataset, perfect, {"pck_0.05/fit": 0.74})
    assert reason.why == (
        "74% of its keypoints lie within 0.05 of the person's box of the fitted body, and 97% of those of the other clips"
    )
    assert reason.verdict == "probably wrong"
    assert found_in(tiny_dataset, perfect, {"pck_0.05/fit": 0.85}) == []


def test_the_words_for_terminal_and_metrics(tiny_dataset):
    found = {
        "a[/b]": [Reason("it is still"), Reason("it is small"), Reason("it is far away", certain=False)],
        "c": [Reason("it is odd", False)],
    }
    said = doubts.as_metrics(found)
    assert said == {
        "a[/b]": ["No fit: it is still.", "No fit: it is small.", "Probably wrong: it is far away."],
        "c": ["Probably wrong: it is odd."],
    }
    assert doubts.sentences(said)[0] == "a[/b] is no fit: it is still, and it is small; probably wrong: it is far away."
    printed = io.StringIO()
    times = {"seconds/total": 1.0, "seconds/compile": 1.0, "seconds/fit": 1.0}
    many = {f"clip {number}": said["c"] for number in range(7)}
    summary.print_table(
        Console(file=printed, width=200), tiny_dataset, {**times, doubts.KEY: {**said, **many}}, Path("nowhere")
    )
    lines = [line for line in printed.getvalue().splitlines() if line.startswith("Warning")]
    assert len(lines) == 6 and "a[/b] is no fit" in lines[0]
    assert lines[-1] == "Warning: 4 more clips are doubted; report.html and metrics.json name them."
