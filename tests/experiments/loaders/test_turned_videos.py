"""Films that are stored sideways: a note says so, and `--turn` makes them the films that they would be."""

import hashlib

import films
import numpy as np
import panned_films as panned
import pytest
import stick_people as sticks
from acted_films import SIZE, moving
from PIL import Image

from experiments.base.errors import UserError
from experiments.commands import split
from experiments.data import neutral, pictures
from experiments.detection import detections, search, shot_cameras
from experiments.loaders import registry, split_films

SKY, HIGH = 90, 10  # its grey level, too dark for somebody, and its height in pixels


def film(path, turn=0, count=12):
    """Somebody below a bright sky, stored such that it is to be turned so many degrees clockwise."""
    shown = [sticks.picture(*SIZE, moving(frame)) for frame in range(count)]
    for picture in shown:
        picture[:HIGH] = SKY
    return films.write(path, [np.ascontiguousarray(np.rot90(picture, turn // 90)) for picture in shown])


@pytest.fixture(autouse=True)
def heads_are_below_the_sky(monkeypatch):
    """The stand-in sees bodies as they stand in the picture."""
    bodies = sticks._bodies

    def seen(image):
        sides = [image[:HIGH], image[:, :HIGH], image[-HIGH:], image[:, -HIGH:]]
        turns = int(np.argmin([abs(float(side.mean()) - SKY) for side in sides]))
        found = bodies(np.rot90(image, -turns))
        for landmarks, _ in found:
            for k in reversed(range(turns)):
                x, y = landmarks[:, 0].copy(), landmarks[:, 1].copy()
                landmarks[:, 0], landmarks[:, 1] = y, np.rot90(image, -k).shape[0] - 1 - x
        return found

    monkeypatch.setattr(sticks, "_bodies", seen)


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_a_turned_film_is_as_if_it_were_stored_upright(tmp_path, load, turn):
    upright = load(film(tmp_path / "upright.mp4"))
    turned = load(film(tmp_path / "a.mp4", turn), turn=str(turn))
    assert upright.notes == turned.notes and not any("--turn" in note for note in turned.notes)
    assert upright.videos[0].turn == 0 and turned.videos[0].turn == turn
    np.testing.assert_array_equal(turned.clips.image_size, [SIZE])
    np.testing.assert_allclose(turned.clips.keypoints, upright.clips.keypoints, atol=1.5)
    np.testing.assert_array_equal(turned.clips.confidence, upright.clips.confidence)
    # Results keep the dataset, of which all pictures are drawn.
    neutral.write(turned, tmp_path / "kept")
    kept = neutral.load(tmp_path / "kept", "kick")
    assert kept.videos == turned.videos != upright.videos
    for shown, expected in zip(pictures.frames(kept, 0), pictures.frames(upright, 0), strict=True):
        assert np.mean(np.abs(shown.astype(int) - expected) > films.TOLERANCE) < 0.05


def test_a_note_says_how_to_turn_it(tmp_path, load):
    path = film(tmp_path / "a.mp4", 90)
    film(tmp_path / "b.mp4")
    said = "In {} the person {} in 100% of the frames; if the film is stored {}, --turn='a={}' turns it."
    assert load().notes == (said.format(path, "lies across the picture", "sideways", 90),)
    assert load(turn="a=90").notes == ()
    assert load(turn="a=270").notes == (said.format(path, "stands on the head", "upside down", 90),)
    assert load(turn="90,b=0").notes == ()


def test_a_film_is_searched_once_for_each_turn(tmp_path, load, monkeypatch):
    film(tmp_path / "a.mp4", 90)
    film(tmp_path / "b.mp4", count=9)
    searched, whole = [], detections.detect
    monkeypatch.setattr(detections, "detect", lambda path, *rest: searched.append(path.stem) or whole(path, *rest))
    for turn, expected in ((None, ["a", "b"]), ("a=90", ["a"]), ("a=90,b=0", []), ("0", []), ("b=180", ["b"])):
        load(turn=turn)
        assert searched == expected, turn
        searched.clear()


def test_what_was_found_before_films_could_be_turned_stays(tmp_path):
    path = film(tmp_path / "a.mp4")
    content = hashlib.sha256(path.read_bytes()).hexdigest()
    known = hashlib.sha256(f"{content} {sticks.MODEL.digest} {detections.VERSION}".encode()).hexdigest()[:32]
    assert detections.cache_file(tmp_path, path, sticks.MODEL) == tmp_path / f"{known}.npz"
    assert len({detections.cache_file(tmp_path, path, sticks.MODEL, turn) for turn in (0, 90, 180, 270)}) == 4


def test_cameras_are_those_of_the_turned_pictures(tmp_path):
    turns = panned.turns(14, pan=14.0)
    shown = [np.repeat(panned.picture(turn)[..., None].astype(np.uint8), 3, -1) for turn in turns]
    path = films.write(tmp_path / "a.mp4", [np.ascontiguousarray(np.rot90(picture)) for picture in shown])
    shot = shot_cameras.Shot(range(14), None, max(shown[0].shape))
    for _ in range(2):
        (camera,) = shot_cameras.cameras_of(path, [shot], panned.FOCAL, tmp_path, 90)
        np.testing.assert_allclose(camera.turn, turns, atol=0.004)
        (lying,) = shot_cameras.cameras_of(path, [shot], panned.FOCAL, tmp_path)
        assert np.abs(lying.turn[-1] - turns[-1]).max() > 0.1


def test_what_is_no_turn_here(tmp_path, load):
    film(tmp_path / "a.mp4")
    with pytest.raises(UserError, match=r"^--turn=c=90 names c, which is no clip here; the clips are a$"):
        load(turn="c=90")
    with pytest.raises(
        UserError, match=r"^--turn=90 does not go with --openpose, whose keypoints are of the pictures as"
    ):
        load(turn="90", detect=False, detector=None)
    with pytest.raises(registry.DatasetError, match=r"^--turn=90 says nothing to clips of format synthetic"):
        registry.load("baseball_pitch", turn="90")


def test_the_takes_of_a_turned_film_are_shown_upright(tmp_path, monkeypatch, capsys):
    film(tmp_path / "a.mp4", 270)
    monkeypatch.setattr(search, "detector", lambda model: search.Detector(sticks.MODEL, sticks.Starter()))
    found, notes = split_films.find(str(tmp_path), tmp_path / "out")
    assert found[0].turn == 0 and "--turn='a=270'" in notes[0]
    settings = split.SplitSettings(videos=str(tmp_path), action="kick", turn="a=270", output_dir=str(tmp_path / "out"))
    split.run(settings)
    said = capsys.readouterr().out
    assert "Note" not in said and f"--takes={tmp_path / 'out' / 'takes.csv'} --turn=a=270" in said
    with Image.open(tmp_path / "out" / "contact_sheet.png") as sheet:
        assert sheet.size == (8 * SIZE[0], 136)
        picture = np.asarray(sheet.convert("RGB")).astype(int)[16:, : SIZE[0]]
    assert np.abs(picture[2] - SKY).max() < 30 and (picture[60, 36] > (200, -1, -1)).all()
