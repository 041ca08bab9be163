"""Which parts of films become clips, with a stand-in for the detector: shots, takes, and takes of one performance."""

import films
import numpy as np
import pytest
import stick_people as sticks
from acted_films import SIZE, film
from stick_people import GREEN, RED

from experiments.base.errors import UserError
from experiments.data.dataset import DatasetError
from experiments.loaders import videos


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
