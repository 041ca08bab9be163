"""Whom films of one action follow where they show several people, with a stand-in for the detector."""

import numpy as np
import pytest
import stick_people as sticks
from acted_films import film
from stick_people import BLUE, GREEN, RED

from experiments.detection import search
from experiments.loaders import film_people, split_films

COUNT = 60
LEFT, RIGHT = 20, 150  # where two people begin in the picture
LARGE, SMALL = 19, 12  # half their widths


def squat(frame: int) -> float:
    return np.sin(np.pi * np.clip(frame - 2, 0, 44) / 44) ** 2


def bob(frame: int) -> float:
    """Up and down five times."""
    return np.sin(5 * np.pi * frame / COUNT) ** 2


def rise(frame: int) -> float:
    return frame / COUNT


def still(frame: int) -> float:
    return 0.0


def scene(left, right, heights=(96, 60), colours=(RED, BLUE)):
    """Two people of these heights, each of whom does something; the larger is in front."""

    def boxes(frame: int) -> dict:
        found = {}
        for action, x, height, colour in zip((left, right), (LEFT, RIGHT), heights, colours, strict=True):
            low = round(0.5 * height * action(frame))
            found[colour] = (x, 20 + low, round(0.4 * height), height - low)
        return found

    return boxes


def middle_of(dataset, name: str) -> float:
    """Where the hips of a clip's person are, pixels from the left."""
    return float(np.median(dataset.clips.keypoints[dataset.names.index(name), :COUNT, 8, 0]))


@pytest.fixture
def films(tmp_path):
    """Three films of a squat; in the last one somebody larger bobs up and down."""
    film(tmp_path / "a.mp4", scene(squat, bob), count=COUNT)
    film(tmp_path / "b.mp4", scene(bob, squat, (60, 96)), count=COUNT)
    return film(tmp_path / "c.mp4", scene(squat, bob, (60, 96)), count=COUNT)


def test_a_film_follows_who_does_what_the_others_show(films, load):
    dataset = load()
    assert middle_of(dataset, "a") == pytest.approx(LEFT + LARGE, abs=2)
    assert middle_of(dataset, "b") == pytest.approx(RIGHT + LARGE, abs=2)
    assert middle_of(dataset, "c") == pytest.approx(LEFT + SMALL, abs=2)
    (note,) = dataset.notes
    assert note.startswith(f"In {films} the person near 32,")
    assert note.endswith("and not the largest; --person='c=largest' follows that one.")
    # Each film is searched once.
    assert load.starter.starts == 1


def test_the_largest_where_the_user_says_so(films, load):
    for person in ("largest", "auto,c=largest"):
        dataset = load(person=person)
        assert middle_of(dataset, "c") == pytest.approx(RIGHT + LARGE, abs=2), person
        assert not dataset.notes


def test_one_whom_the_user_names_tells_the_other_films(films, load):
    """Who bobs is the largest in one film of three only."""
    dataset = load(person="c=2")
    assert middle_of(dataset, "a") == pytest.approx(RIGHT + SMALL, abs=2)
    assert middle_of(dataset, "b") == pytest.approx(LEFT + SMALL, abs=2)
    assert [note.partition(" the person")[0] for note in dataset.notes] == [
        f"In {films.with_name(name)}" for name in ("a.mp4", "b.mp4")
    ]


def test_takes_of_a_table_and_of_the_contact_sheet_follow_the_same(films, load, tmp_path):
    (tmp_path / "takes.csv").write_text("film,take,start_seconds,end_seconds\na,1,0.0,2.3\nb,1,0.0,2.3\nc,1,0.0,2.3\n")
    dataset = load(takes=tmp_path / "takes.csv")
    assert middle_of(dataset, "c") == pytest.approx(LEFT + SMALL, abs=2)
    assert len(dataset.notes) == 1
    detector = search.Detector(sticks.MODEL, load.starter)
    shown, notes = split_films.find(str(tmp_path), tmp_path / "out" / "detections", split="off", detector=detector)
    assert np.nanmedian(shown[2].boxes[:, 0]) == pytest.approx(LEFT, abs=2)
    assert any("who does what others show" in note for note in notes)


@pytest.mark.parametrize(
    "scenes",
    [
        # Nobody does what somebody in another film does.
        [scene(squat, still), scene(bob, still), scene(rise, still)],
        # Those who agree are smaller in every film, as those who sit behind an action in which people differ.
        [scene(squat, bob), scene(rise, bob), scene(still, bob)],
        # Both do the same.
        [scene(squat, bob), scene(squat, bob), scene(squat, squat)],
    ],
)
def test_the_largest_where_films_do_not_say_otherwise(tmp_path, load, scenes):
    for name, boxes in zip("abc", scenes, strict=True):
        film(tmp_path / f"{name}.mp4", boxes, count=COUNT)
    dataset = load()
    for name in "abc":
        assert middle_of(dataset, name) == pytest.approx(LEFT + LARGE, abs=2)
    assert not dataset.notes


def test_who_stands_by_in_front_of_the_others(tmp_path, load):
    """The largest of every film stands still: those who act are followed."""
    for name in "ab":
        film(tmp_path / f"{name}.mp4", scene(still, squat, (96, 60), (GREEN, RED)), count=COUNT)
    dataset = load()
    for name in "ab":
        assert middle_of(dataset, name) == pytest.approx(RIGHT + SMALL, abs=2)
    assert len(dataset.notes) == 2


def test_a_single_film_is_not_compared(tmp_path, load, monkeypatch):
    film(tmp_path / "a.mp4", scene(bob, squat), count=COUNT)
    calls = []
    monkeypatch.setattr(film_people, "several", calls.append)
    assert middle_of(load(), "a") == pytest.approx(LEFT + LARGE, abs=2)
    assert not calls
