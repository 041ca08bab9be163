"""From films to a dataset, with a stand-in for the detector: who is followed, what is kept, what is left out."""

import io
import re

import films
import numpy as np
import pytest
import stick_people as sticks
from rich.console import Console

from experiments.base import films as frames
from experiments.base.errors import UserError
from experiments.data.dataset import DatasetError
from experiments.detection import detections, identities, landmarks, search, sides
from experiments.loaders import split_films, videos
from tests.fuzz import bombs

RED, GREEN, BLUE = sticks.RED, sticks.GREEN, sticks.BLUE
SIZE = (240, 120)


def moving(frame: int) -> dict:
    return {RED: (20 + 2 * frame, 20, 32, 80)}


def crossing(frame: int) -> dict:
    """The larger walks to the right in front of the other."""
    return {GREEN: (190 - 6 * frame, 40, 28, 66), RED: (10 + 6 * frame, 20, 36, 90)}


def nobody(frame: int) -> dict:
    return {}


def film(path, scene=moving, count=12, **options):
    return films.write(path, [sticks.picture(*SIZE, scene(frame)) for frame in range(count)], **options)


@pytest.fixture(autouse=True)
def quick_poses(monkeypatch):
    """Poses that tell what they were made of: the world landmark of the left shoulder, in each joint."""

    def initial_pose(body, world, visibility, fps):
        return np.repeat(world[:, None, 11], 24, 1), (visibility.max(1) > 0.5).astype(float)

    monkeypatch.setattr(landmarks, "initial_pose", initial_pose)


@pytest.fixture
def load(tmp_path, tiny_body):
    """`videos.load` on a folder; what started the stand-in is its attribute."""

    def run(pattern=None, **options):
        detector = search.Detector(sticks.MODEL, run.starter)
        options = {"cache_dir": tmp_path / "out" / "detections", "body": tiny_body, "detector": detector, **options}
        return videos.load(str(pattern or tmp_path), "kick", **options)

    run.starter = sticks.Starter()
    return run


def test_everything(tmp_path, load):
    film(tmp_path / "clip10.mp4", count=8, fps=50)
    film(tmp_path / "clip2.mkv", count=12)
    dataset = load()
    clips = dataset.clips
    assert dataset.names == ("clip2", "clip10") and dataset.action == "kick" and dataset.notes == ()
    assert clips.keypoints.shape == (2, 12, 25, 2)
    np.testing.assert_array_equal(clips.frame_mask.sum(1), [12, 8])
    np.testing.assert_allclose(clips.fps, [25, 50], rtol=1e-5)
    np.testing.assert_array_equal(clips.image_size, [SIZE, SIZE])
    assert np.isnan(clips.focal_length).all()
    # The nose is at the middle of the box, which moves by 2 pixels a frame; compression moves its edges.
    np.testing.assert_allclose(clips.keypoints[0, :, 0, 0], 20 + 15.5 + 2 * np.arange(12), atol=1.5)
    np.testing.assert_array_equal(clips.confidence[0, :, 0], 1)
    assert set(np.flatnonzero(clips.confidence[0, 3] == 0)) == {1, 8, 20, 23} == set(range(25)) - set(dataset.annotated)
    np.testing.assert_allclose(dataset.box_size[0], np.hypot(31, 79), atol=3)
    np.testing.assert_array_equal(clips.init_mask, clips.frame_mask)
    np.testing.assert_allclose(clips.init_pose[0, :, 5], np.tile([0.18, -0.544, 0], (12, 1)), atol=1e-3)
    assert [video.path for video in dataset.videos] == [str(tmp_path / "clip2.mkv"), str(tmp_path / "clip10.mp4")]
    np.testing.assert_array_equal(dataset.videos[0].frames, np.arange(12))


def test_portrait_and_landscape_mixed(tmp_path, load):
    film(tmp_path / "a.mp4")
    films.turn(film(tmp_path / "b.mp4"), (0, 1, -1, 0))
    dataset = load()
    np.testing.assert_array_equal(dataset.clips.image_size, [SIZE, SIZE[::-1]])
    # Lying in the turned film: as wide as high before.
    np.testing.assert_allclose(np.ptp(dataset.clips.keypoints[1, 0, list(dataset.annotated)], axis=0), [79, 31], atol=3)


def test_variable_rate_keeps_time(tmp_path, load):
    times = [0.0, 0.04, 0.08, 0.2, 0.24, 0.28, 0.32, 0.36]
    film(tmp_path / "a.mkv", count=8, times=times)
    dataset = load()
    shown = [0, 1, 2, 2, 3, 3, 4, 5, 6, 7]
    np.testing.assert_array_equal(dataset.videos[0].frames, shown)
    np.testing.assert_allclose(dataset.clips.keypoints[0, :, 0, 0], 35.5 + 2 * np.array(shown), atol=1.5)
    assert dataset.clips.fps[0] == pytest.approx(25)


def test_exchanged_sides_are_named_as_before_and_after(tmp_path, load, monkeypatch):
    """For three frames the detector takes the person's front for the back."""
    film(tmp_path / "a.mp4")
    right = load().clips

    def exchanged(path, *rest):
        found = whole(path, *rest)
        for array in (found.landmarks, found.world):
            array[4:7] = array[4:7][:, :, sides.MIRROR]
        return found

    whole = detections.detect
    monkeypatch.setattr(detections, "detect", exchanged)
    clips = load(cache_dir=tmp_path / "other").clips
    np.testing.assert_array_equal(clips.keypoints, right.keypoints)
    np.testing.assert_array_equal(clips.confidence, right.confidence)
    # Depths of the wrong side are not used.
    np.testing.assert_array_equal(np.flatnonzero(clips.init_mask[0] == 0), [4, 5, 6])


def test_frames_before_and_after_are_kept(tmp_path, load):
    film(tmp_path / "a.mp4", lambda frame: moving(frame) if 4 <= frame < 9 else {})
    clips = load().clips
    seen = [0] * 4 + [1] * 5 + [0] * 3
    np.testing.assert_array_equal(clips.frame_mask[0], np.ones(12))
    np.testing.assert_array_equal(clips.confidence[0, :, 0], seen)
    np.testing.assert_array_equal(clips.init_mask[0], seen)
    assert not clips.keypoints[0, :4].any()


def glued(path):
    """Five frames of somebody, twelve of somebody else from another place, six of an empty room."""
    pictures = []
    for room, scene, count in ((1, {GREEN: (150, 10, 36, 90)}, 5), (2, {RED: (20, 20, 32, 80)}, 12), (3, {}, 6)):
        walls = np.random.default_rng(room).integers(0, 90, (12, 24, 3)).astype(np.uint8).repeat(10, 0).repeat(10, 1)
        for _ in range(count):
            people = sticks.picture(*SIZE, scene)
            pictures.append(np.where(people.any(-1, keepdims=True), people, walls))
            scene = {colour: (x + 2, *rest) for colour, (x, *rest) in scene.items()}
    return films.write(path, pictures)


def test_of_several_shots_the_one_that_shows_most_of_somebody_is_used(tmp_path, load):
    path = glued(tmp_path / "a.mp4")
    dataset = load()
    clips = dataset.clips
    np.testing.assert_array_equal(dataset.videos[0].frames, np.arange(5, 17))
    np.testing.assert_allclose(clips.keypoints[0, :, 0, 0], 20 + 15.5 + 2 * np.arange(12), atol=1.5)
    assert clips.confidence[0, :, 0].all() and clips.fps[0] == pytest.approx(25)
    assert dataset.notes[0] == (
        f"{path} has 3 shots; number 2 (0.20 to 0.68 s) is used, the person followed is seen well in 12 of its frames, "
        "and not 1 (0.00 to 0.20 s), 3 (0.68 to 0.88 s); --shots='a=N' takes another one, --shots='a=all' all of the film "
        "as one."
    )


def test_a_shot_that_is_asked_for(tmp_path, load):
    """Nothing is searched again for it."""
    path = glued(tmp_path / "a.mp4")
    film(tmp_path / "b.mp4")
    load()
    dataset = load(shots="a=1")
    np.testing.assert_array_equal(dataset.videos[0].frames, np.arange(5))
    np.testing.assert_allclose(dataset.clips.keypoints[0, :5, 0, 0], 150 + 17.5 + 2 * np.arange(5), atol=1.5)
    np.testing.assert_array_equal(dataset.videos[1].frames, np.arange(12))
    whole = load(shots="a=all")
    np.testing.assert_array_equal(whole.videos[0].frames, np.arange(23))
    assert not any("shots" in note for note in whole.notes) and load.starter.starts == 1
    assert load(shots="a=3").notes[0] == f"Left out: nobody is in view in {path}."
    assert load(shots="2").notes[0] == (
        f"Left out: in {tmp_path}/b.mp4, --shots=2 asks for shot 2, but it has no cut; give auto or all."
    )
    with pytest.raises(UserError, match="names c, which is no clip here"):
        load(shots="c=1")
    with pytest.raises(UserError, match=r"^--shots=2 says nothing where --openpose has the keypoints"):
        load(shots="2", detect=False, detector=None)


def test_a_shot_without_the_person_asked_for_is_not_taken(tmp_path, load):
    glued(tmp_path / "a.mp4")
    dataset = load(person="165,60")
    np.testing.assert_array_equal(dataset.videos[0].frames, np.arange(5))
    with pytest.raises(DatasetError, match=r"--person=3 asks for the 3\. person from the left"):
        load(person="3")


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


def crowd(frame: int) -> dict:
    """Two squat in turn; somebody between them stands by."""
    low = [round(30 * np.sin(np.pi * min(max(frame - start, 0), 40) / 40) ** 2) for start in (2, 16)]
    return {
        RED: (20, 20 + low[0], 36, 90 - low[0]),
        GREEN: (100, 20, 36, 90),
        BLUE: (190, 20 + low[1], 36, 90 - low[1]),
    }


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


def test_second_run_searches_nothing(tmp_path, load, monkeypatch):
    film(tmp_path / "a.mp4")
    film(tmp_path / "b.mp4", count=9)
    first = load()
    (tmp_path / "a.mp4").rename(tmp_path / "c.mp4")  # the content counts, not the name
    (tmp_path / "out" / "detections" / ".unfinished.x.npz").write_bytes(b"PK")

    def fail(path):
        raise AssertionError(f"{path} was decoded")

    monkeypatch.setattr(frames, "walk", fail)
    second = load()
    assert load.starter.starts == 1
    assert second.names == ("b", "c")
    np.testing.assert_array_equal(second.clips.keypoints[1], first.clips.keypoints[0])
    np.testing.assert_array_equal(second.clips.init_pose[1], first.clips.init_pose[0])


def test_an_interrupted_run_goes_on_with_the_next_film(tmp_path, load, monkeypatch):
    for name in ("a", "b", "c"):
        film(tmp_path / f"{name}.mp4", count=8 + ord(name) % 5)
    whole = detections.detect

    def interrupted(path, *rest):
        if path.stem == "b":
            raise KeyboardInterrupt
        return whole(path, *rest)

    monkeypatch.setattr(detections, "detect", interrupted)
    with pytest.raises(KeyboardInterrupt):
        load()
    searched = []
    monkeypatch.setattr(detections, "detect", lambda path, *rest: searched.append(path.stem) or whole(path, *rest))
    assert load().names == ("a", "b", "c")
    assert searched == ["b", "c"]


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 cut", "half", "other", "no numbers", "nowhere", "bomb"])
def test_a_damaged_find_is_searched_again(tmp_path, load, damage):
    film(tmp_path / "a.mp4")
    first = load()
    (kept,) = (tmp_path / "out" / "detections").glob("*.npz")
    content = kept.read_bytes()
    if damage == "other":
        np.savez(kept, **{**np.load(kept), "world": np.zeros((3, 3))})
    elif damage == "no numbers":
        np.savez(kept, **{**np.load(kept), "times": np.full(len(np.load(kept)["times"]), "now")})
    elif damage == "nowhere":
        np.savez(kept, **{**np.load(kept), "landmarks": np.load(kept)["landmarks"] * np.nan})
    elif damage == "bomb":
        kept.write_bytes(bombs.npz("landmarks"))
    else:
        kept.write_bytes(content[: len(content) // 2] if damage == "half" else damage)
    second = load()
    assert load.starter.starts == 2
    np.testing.assert_array_equal(second.clips.keypoints, first.clips.keypoints)
    (note,) = [note for note in second.notes if "earlier run" in note]
    assert (
        note.startswith(f"What an earlier run found in {tmp_path / 'a.mp4'} is damaged (") and "searched anew" in note
    )
    third = load()
    assert third.names == ("a",) and load.starter.starts == 2
    assert not any("earlier run" in note for note in third.notes)


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path, load):
    film(tmp_path / "a.mp4", count=3)
    (tmp_path / "out").write_text("a file in its place")
    with pytest.raises(UserError, match=r"out/detections cannot be written \(.+\); choose another --output_dir$"):
        load()


def test_another_model_searches_again(tmp_path, load):
    film(tmp_path / "a.mp4")
    load()
    other = sticks.Model(b"boxes", b"better sticks")
    starter = sticks.Starter(model=other)
    load(detector=search.Detector(other, starter))
    assert starter.starts == 1 and len(list((tmp_path / "out" / "detections").glob("*.npz"))) == 2


def test_broken_films_are_left_out(tmp_path, load):
    film(tmp_path / "good ä.mp4")
    film(tmp_path / "empty room.mp4", nobody)
    (tmp_path / "text.mp4").write_text("not a film")
    data = film(tmp_path / "no frames.mp4", movflags="faststart").read_bytes()
    (tmp_path / "no frames.mp4").write_bytes(data[: data.index(b"mdat") + 4])
    film(tmp_path / "zwei.mp4", count=60)
    dataset = load()
    assert dataset.names == ("good ä", "zwei")
    at = str(tmp_path)
    assert dataset.notes == (
        f"Left out: nobody is in view in {at}/empty room.mp4.",
        f"Left out: {at}/no frames.mp4 has no frame that can be decoded.",
        f"Left out: {at}/text.mp4 cannot be read as a video (invalid data found when processing input).",
    )


def test_a_film_that_is_cut_short_is_used(tmp_path, load):
    path = film(tmp_path / "a.mkv", count=60)
    path.write_bytes(path.read_bytes()[: int(0.6 * path.stat().st_size)])
    dataset = load()
    count = int(dataset.clips.frame_mask.sum())
    assert 10 < count < 55
    assert dataset.notes[0].startswith(f"{path} should have ") and dataset.notes[0].endswith("; these are used.")
    # And again from what was kept.
    assert load().notes == dataset.notes and load.starter.starts == 1


def test_a_film_of_two_sizes_is_used_up_to_the_second(tmp_path, load):
    parts = [film(tmp_path / "1.mp4", count=9), films.write(tmp_path / "2.mp4", films.numbered(7))]
    path = tmp_path / "a.ts"
    path.write_bytes(b"".join(films.retime(part, part.with_suffix(".ts")).read_bytes() for part in parts))
    dataset = load(path)
    assert dataset.clips.frame_mask.sum() == 9 and dataset.clips.fps[0] == pytest.approx(25)
    assert dataset.notes[0] == (
        f"the pictures of {path} change from 240x120 to 64x48 pixels at frame 9; what follows is not used; these are used."
    )


def test_all_bad(tmp_path, load):
    for index in range(7):
        (tmp_path / f"{index}.mp4").write_text("no film")
    with pytest.raises(DatasetError, match=r"^no video of --videos=.* can be used: .*/0\.mp4 cannot .*; and 2 more$"):
        load()


def test_nobody_there_to_choose(tmp_path, load):
    film(tmp_path / "a.mp4")
    film(tmp_path / "b.mp4", crossing, count=8)
    dataset = load(person="2")
    assert dataset.names == ("b",)
    assert dataset.notes[0].startswith(
        f"Left out: in {tmp_path}/a.mp4, --person=2 asks for the 2. person from the left"
    )


def test_max_instances_counts_usable_films(tmp_path, load):
    film(tmp_path / "a.mp4", nobody)
    for name in ("b", "c", "d"):
        film(tmp_path / f"{name}.mp4")
    assert load(max_instances=2).names == ("b", "c")


def test_without_detection(tmp_path, load):
    """Keypoints come from elsewhere; neither the model nor a landmarker is needed."""
    times = [0.0, 0.04, 0.08, 0.2, 0.24]
    film(tmp_path / "a.mkv", count=5, times=times)
    films.turn(film(tmp_path / "b.mp4"), (0, 1, -1, 0))
    (tmp_path / "c.mp4").write_text("no film")
    dataset = load(detect=False, detector=None)
    assert dataset.names == ("a", "b") and len(dataset.notes) == 1
    np.testing.assert_array_equal(dataset.clips.frame_mask.sum(1), [7, 12])
    np.testing.assert_array_equal(dataset.clips.image_size, [SIZE, SIZE[::-1]])
    assert not dataset.clips.confidence.any() and not dataset.clips.init_mask.any()
    np.testing.assert_array_equal(dataset.videos[0].frames, [0, 1, 2, 2, 3, 3, 4])
    assert not (tmp_path / "out").exists()


def test_a_model_without_depth_gives_no_first_poses(tmp_path, load, monkeypatch):
    """They are lifted later, as where keypoints come from elsewhere."""
    film(tmp_path / "a.mp4")
    whole = detections.detect

    def flat(path, *rest):
        found = whole(path, *rest)
        found.world[:] = np.nan
        return found

    monkeypatch.setattr(detections, "detect", flat)
    clips = load().clips
    assert not clips.init_mask.any() and np.isfinite(clips.init_pose).all()
    np.testing.assert_array_equal(clips.confidence[0, :, 0], 1)


def test_a_line_for_each_film(tmp_path, load):
    film(tmp_path / "a [b].mp4")
    plain, again = Console(file=io.StringIO(), width=200), Console(file=io.StringIO(), width=200)
    load(console=plain)
    assert re.fullmatch(r"a \[b\]\.mp4: people in 12 of 12 frames, in \d+ s\n", plain.file.getvalue())
    load(console=again)
    assert again.file.getvalue() == "a [b].mp4: people in 12 of 12 frames, as an earlier run found\n"


def test_the_live_line(tmp_path, load):
    film(tmp_path / "a.mp4")
    terminal = Console(file=io.StringIO(), width=120, force_terminal=True, color_system=None)
    load(console=terminal)
    assert "frame 12/12" in terminal.file.getvalue()


def test_takes_of_a_table(tmp_path, load):
    film(tmp_path / "a.mp4")
    film(tmp_path / "b.mp4")
    table = tmp_path / "takes.csv"
    table.write_text("film,take,start_seconds,end_seconds\na,1,0.04,0.2\na,2,0.2,0.4\n")
    dataset = load(takes=table)
    assert dataset.names == ("a take 1", "a take 2")
    assert [list(video.frames) for video in dataset.videos] == [[1, 2, 3, 4], [5, 6, 7, 8, 9]]
    np.testing.assert_allclose(dataset.clips.keypoints[1, :5, 0, 0], 20 + 15.5 + 2 * np.arange(5, 10), atol=1.5)
    assert dataset.notes == ("Left out: --takes has no row of b.",)
    with pytest.raises(UserError, match="are both given; leave one out"):
        load(takes=table, split="2")
    assert load(split="a=7").notes[0].startswith(f"Left out: in {tmp_path}/a.mp4, --split=7 asks for 7 takes")


def test_folders_of_takes(load, tmp_path):
    for name in ("take_1/a", "take_1/b", "take_2/a", "take_2/b", "solo/c"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        film(tmp_path / f"{name}.mp4")
    found = load()
    assert found.names == ("c", "take_1 a", "take_1 b", "take_2 a", "take_2 b")
    np.testing.assert_array_equal(found.clips.take, [0, 1, 1, 3, 3])
    assert found.clips.offset is None
    assert (
        "take_1 a, take_1 b are taken for one performance, since their folder is take_1; --same_take=off"
        in found.notes[-2]
    )
    assert load(f"{tmp_path}/take_1/a.mp4").clips.take is None


def test_takes_of_films_that_come_apart(tmp_path):
    paths = [tmp_path / "take_1" / f"{name}.mp4" for name in "ab"]
    clip = lambda path, n: videos._Clip(f"{path.stem} {n}", videos.Video(str(path), np.arange(3)), None, ())
    take, notes = videos._takes([clip(path, n) for path in paths for n in range(2)], paths)
    np.testing.assert_array_equal(take, [0, 1, 0, 1])
    assert len(notes) == 2
    take, (note,) = videos._takes([clip(paths[0], 0), clip(paths[1], 0), clip(paths[1], 1)], paths)
    assert take is None and "come apart into different numbers of clips; --split=off" in note
