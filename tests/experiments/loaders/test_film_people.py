"""Who is followed in films, with a stand-in for the detector: one of several, everybody who acts, nobody."""

import numpy as np
import pytest
from acted_films import crossing, crowd, film, moving
from stick_people import BLUE, GREEN, RED

from experiments.base.errors import UserError
from experiments.data.dataset import DatasetError
from experiments.detection import identities
from experiments.loaders import split_films


def test_a_note_where_the_person_is_seldom_seen(tmp_path, load):
    film(tmp_path / "a.mp4", lambda frame: moving(frame) if frame < 4 else {})
    assert load().notes[0] == f"In {tmp_path / 'a.mp4'} the person followed is seen in only 4 of 12 frames."


@pytest.mark.parametrize(
    ("person", "start", "step", "offset"), [("largest", 10, 6, 18), ("2", 190, -6, 14), ("1", 10, 6, 18)]
)
def test_two_people_crossing(tmp_path, load, person, start, step, offset):
    """The one followed before is the one followed after; and to follow another, nothing is searched again."""
    film(tmp_path / "a.mp4", crossing, count=30)
    dataset = load(person=person)
    nose, seen = dataset.clips.keypoints[0, :, 0, 0], dataset.clips.confidence[0, :, 0] > 0
    # The one in front hides the other for some frames, and then its box is cut.
    hidden = 0 if offset == 18 else 12
    assert seen.sum() >= 30 - hidden and seen[:8].all() and seen[-4:].all()
    expected = start + offset + step * np.arange(30)
    apart = np.abs(nose - expected)
    assert apart[:8].max() < 4 and apart[-4:].max() < 4
    (others,) = dataset.bystanders
    (box,) = others.at(0)
    left, top, width, height = crossing(0)[RED if offset == 14 else GREEN]
    np.testing.assert_allclose(box, [left, top, left + width - 1, top + height - 1], atol=2)
    assert len(others.at(29)) == 1 and others.select([29, -1]).boxes.shape == (1, 1, 4)
    load(person="2" if person == "1" else "1")
    assert load.starter.starts == 1


def passing(frame: int) -> dict:
    """Somebody stands; somebody larger walks across in front, who hides the other in frames 19 to 25."""
    return {RED: (110, 40, 26, 60), GREEN: (260 - 8 * frame, 20, 80, 96)}


def test_somebody_who_is_hidden_is_not_taken_for_who_passes_in_front(tmp_path, load):
    film(tmp_path / "a.mp4", passing, count=36)
    dataset = load(person="123,70")
    nose, seen = dataset.clips.keypoints[0, :, 0, 0], dataset.clips.confidence[0, :, 0] > 0
    assert not seen[19:26].any()
    whole = np.r_[0:16, 28:36]
    assert seen[whole].all()
    np.testing.assert_allclose(nose[whole], 110 + 12.5, atol=3)


def test_two_in_the_same_clothes_are_named_where_they_cannot_be_told_apart(tmp_path, load, monkeypatch):
    film(tmp_path / "a.mp4", passing, count=36)
    followed = identities.find

    def doubtful(*given):
        for somebody in (found := followed(*given)):
            somebody.doubts = ((14, 22), (30, 31))
        return found

    monkeypatch.setattr(identities, "find", doubtful)
    (note,) = [note for note in load().notes if "somebody else" in note]
    assert note.startswith(
        f"In {tmp_path / 'a.mp4'} somebody else is so near, or so like, the person of a at 0.56 to 0.88 s, "
    )


def test_everybody_who_does_the_action_is_a_clip(tmp_path, load):
    path = film(tmp_path / "a.mp4", crowd, count=60)
    film(tmp_path / "b.mp4", crowd, count=60)
    dataset = load(person="all,b=2")
    assert dataset.names == ("a person 1", "a person 2", "b")
    hips = dataset.clips.keypoints[:, :, 8, 0]
    np.testing.assert_allclose(hips[0, :60], 20 + 17.5, atol=2)
    np.testing.assert_allclose(hips[1, :60], 190 + 17.5, atol=2)
    assert [video.path for video in dataset.videos] == [str(path), str(path), str(tmp_path / "b.mp4")]
    assert dataset.notes[0] == (
        f"In {path} 2 people do the action: a person 1 (0.00 to 2.36 s), a person 2 (0.00 to 2.36 s); not somebody near "
        "118,64 at 0.00 to 2.36 s, who stands by; --person='a=largest' takes the largest alone."
    )
    # And one does it alone, who is called like the film.
    film(
        tmp_path / "a.mp4",
        lambda frame: {colour: box for colour, box in crowd(frame).items() if colour != BLUE},
        count=60,
    )
    assert load(f"{tmp_path}/a.mp4", person="all").names == ("a",)


def test_people_of_takes(tmp_path, load):
    film(tmp_path / "a.mp4", lambda frame: crowd(frame % 60), count=120)
    names = tuple(f"a person {person} take {take}" for person in (1, 2) for take in (1, 2))
    dataset = load(person="all", split="2")
    assert dataset.names == names and len(dataset.notes) == 1
    assert load(person="all", split="off").names == ("a person 1", "a person 2")
    table = tmp_path / "takes.csv"
    table.write_text("film,take,start_seconds,end_seconds\na,1,0.0,2.4\na,2,2.4,4.8\n")
    dataset = load(person="all", takes=table)
    assert dataset.names == names
    assert [list(video.frames[[0, -1]]) for video in dataset.videos] == [[0, 59], [60, 119]] * 2


def test_everybody_is_asked_for_in_films_only(tmp_path, load):
    film(tmp_path / "a.mp4", crowd, count=8)
    with pytest.raises(UserError, match=r"^--person=a=all asks for everybody, who is found in films only; "):
        load(person="a=all", detect=False, detector=None)
    with pytest.raises(UserError, match=r"^--person=all asks for everybody, but takes are shown of one person"):
        split_films.find(str(tmp_path), tmp_path, person="all")
    with pytest.raises(
        DatasetError, match=r"nobody does the action in .*a\.mp4: somebody near 38,.* who is seen for 0\.32 s"
    ):
        load(person="all")


def test_person_by_clip(tmp_path, load):
    film(tmp_path / "a.mp4", crossing, count=8)
    film(tmp_path / "b.mp4", crossing, count=8)
    first = load(person="a=2,b=1").clips.keypoints[:, 0, 0, 0]
    assert first[0] == pytest.approx(204, abs=2) and first[1] == pytest.approx(28, abs=2)
    with pytest.raises(UserError, match="names c, which is no clip here"):
        load(person="c=2")


def test_nobody_there_to_choose(tmp_path, load):
    film(tmp_path / "a.mp4")
    film(tmp_path / "b.mp4", crossing, count=8)
    dataset = load(person="2")
    assert dataset.names == ("b",)
    assert dataset.notes[0].startswith(
        f"Left out: in {tmp_path}/a.mp4, --person=2 asks for the 2. person from the left"
    )
