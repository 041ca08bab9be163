"""Which shot is taken, and what is said of the others."""

import numpy as np
import pytest

from experiments.base.errors import UserError
from experiments.detection import appearance, shot_choice
from experiments.detection.detections import Detections

NAN = float("nan")


def found(shots=(0, 10, 25), count=30, times=None) -> Detections:
    return Detections(
        times=np.arange(count) / 10 if times is None else times,
        seen=np.ones((count, 1), bool),
        landmarks=np.arange(count * 33 * 4.0).reshape(count, 1, 33, 4),
        world=np.zeros((count, 1, 33, 3)),
        clothes=np.zeros((count, 1, appearance.REGIONS, appearance.BINS), np.uint8),
        image_size=np.array([64.0, 48.0]),
        shots=np.array(shots),
        claimed_fps=10.0,
        damage="",
    )


@pytest.mark.parametrize(
    ("flag", "expected"),
    [
        ("auto", ("auto", {})),
        ("2", ("2", {})),
        ("all, b=1", ("all", {"b": "1"})),
        ("a=2,long name=all", ("auto", {"a": "2", "long name": "all"})),
    ],
)
def test_parsing(flag, expected):
    assert shot_choice.SHOTS.parse(flag) == expected
    assert shot_choice.SHOTS.of(flag, "b") == expected[1].get("b", expected[0])


@pytest.mark.parametrize("flag", ["", "0", "-1", "first", "1,2", "a=", "a=2.5"])
def test_what_is_no_choice_is_one_sentence(flag):
    with pytest.raises(
        UserError, match=rf"^--shots={flag} is not understood at .*; expected auto, all, .*name=choice$"
    ):
        shot_choice.SHOTS.parse(flag)


def test_names_are_checked():
    with pytest.raises(UserError, match=r"^--shots=c=2 names c, which is no clip here; the clips are a, b$"):
        shot_choice.SHOTS.check_names("c=2", ["a", "b"])
    with pytest.raises(UserError, match=r"^--shots=a=1,a=2 names a twice; give name=choice once for each clip$"):
        shot_choice.SHOTS.check_names("a=1,a=2", ["a", "b"])


def test_candidates():
    every = {1: range(10), 2: range(10, 25), 3: range(25, 30)}
    assert shot_choice.candidates(found(), "auto") == every
    assert shot_choice.candidates(found(), "2") == {2: every[2]}
    assert shot_choice.candidates(found(), "all") == {0: range(30)}
    assert shot_choice.candidates(found([0]), "auto") == {0: range(30)}
    with pytest.raises(
        UserError, match=r"^--shots=4 asks for shot 4, but it has 3 shots; give a number from 1 to 3, auto "
    ):
        shot_choice.candidates(found(), "4")
    with pytest.raises(UserError, match=r"^--shots=2 asks for shot 2, but it has no cut; give auto or all$"):
        shot_choice.candidates(found([0]), "2")


def test_somebody_well_seen_is_seen_from_shoulders_to_ankles():
    confidence = np.zeros((3, 25))
    confidence[0, [2, 3, 4, 5, 6, 7]] = 1.0  # arms alone
    confidence[1, [0, 1, *range(15, 25)]] = 1.0  # a face and feet
    assert shot_choice.well_seen(confidence) == 1


def test_the_note():
    said = shot_choice.note("a b.mp4", "a b", found(), 2, "auto", 12)
    assert said == (
        "a b.mp4 has 3 shots; number 2 (1.00 to 2.50 s) is used, the person followed is seen well in 12 of its frames, "
        "and not 1 (0.00 to 1.00 s), 3 (2.50 to 2.90 s); --shots='a b=N' takes another one, --shots='a b=all' all of the "
        "film as one."
    )
    assert ", as asked for, and not 1 (" in shot_choice.note("a.mp4", "a", found(), 2, "2", 12)
    assert shot_choice.note("a.mp4", "a", found(), 0, "all", 12) == ""
    assert shot_choice.note("a.mp4", "a", found([0]), 1, "1", 12) == ""
    many = shot_choice.note("a.mp4", "a", found(range(0, 30, 2), times=np.full(30, NAN)), 1, "auto", 2)
    assert "number 1 (frames 0 to 1) is used" in many and "6 (frames 10 to 11) and 9 more; " in many


def test_a_part_is_as_if_there_were_no_more():
    whole = found()
    part = whole.part(range(10, 25))
    np.testing.assert_array_equal(part.landmarks, whole.landmarks[10:25])
    np.testing.assert_array_equal(part.times, whole.times[10:25])
    assert list(part.shots) == [0] and part.claimed_fps == 10


@pytest.mark.parametrize("shots", [(), (1, 5), (0, 5, 5), (0, 30), (0.0, 5.0), ((0, 5),)])
def test_shots_that_are_none(shots):
    with pytest.raises(ValueError, match="shots begin in frames"):
        found(shots)
