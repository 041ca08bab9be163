"""Films whose camera moves, from the file to the clips: found once, remembered, and not looked for where nobody wants it."""

import films
import numpy as np
import panned_films as panned
import pytest
import stick_people as sticks
from acted_films import film as black

from experiments.base import films as frames
from experiments.data import moving_cameras
from experiments.detection import appearance, camera_motion, landmarks, search, shot_cameras
from experiments.detection.detections import Detections
from experiments.loaders import registry, videos

BOX = (140, 40, 40, 100)


def film(path, turns, zoom=1.0):
    """Somebody red before a textured wall."""
    pictures = []
    for number, turn in enumerate(turns):
        grey = panned.picture(turn, zoom ** (number / (len(turns) - 1)))
        picture = np.repeat(grey[..., None].astype(np.uint8), 3, -1)
        x, y, w, h = BOX
        picture[y : y + h, x + number : x + number + w] = (255, 0, 0)
        pictures.append(picture)
    return films.write(path, pictures)


@pytest.fixture
def load(tmp_path, tiny_body, monkeypatch):
    monkeypatch.setattr(
        landmarks,
        "initial_pose",
        lambda body, world, visibility, fps: (np.zeros((len(world), 24, 3)), np.ones(len(world))),
    )
    # The stand-in takes all that is not black for somebody.
    only_red = lambda image: sticks.picture(image.shape[1], image.shape[0], {sticks.RED: BOX})
    bodies = sticks._bodies
    monkeypatch.setattr(sticks, "_bodies", lambda image: bodies(only_red(image)))

    def run(**options):
        options = {"detector": search.Detector(sticks.MODEL, sticks.Starter()), **options}
        return videos.load(str(tmp_path), "kick", cache_dir=tmp_path / "out", body=tiny_body, **options)

    return run


def test_a_pan_becomes_the_cameras_of_its_frames(tmp_path, load, monkeypatch):
    turns = panned.turns(14, pan=14.0)
    film(tmp_path / "a.mp4", turns, zoom=1.2)
    film(tmp_path / "b.mp4", panned.turns(8))
    given = load(focal_length=panned.FOCAL)
    clips = given.clips
    np.testing.assert_allclose(clips.camera_turn[0], turns, atol=0.004)
    np.testing.assert_allclose(clips.zoom[0], 1.2 ** (np.arange(14) / 13), rtol=0.005)
    assert not moving_cameras.moves(clips, 1)
    # Whether films tell their lens is not for the tracker to say where the user does.
    assert np.isnan(clips.focal_length).all()
    np.testing.assert_allclose(clips.turn_focal, [panned.FOCAL, np.nan], rtol=1e-6)
    # It is found once.
    monkeypatch.setattr(camera_motion, "find", None)
    monkeypatch.setattr(camera_motion, "stands_still", None)
    again = load(focal_length=panned.FOCAL)
    np.testing.assert_array_equal(again.clips.camera_turn, clips.camera_turn)
    assert load(camera_motion="off").clips.camera_turn is None


def test_a_wide_pan_tells_the_lens(tmp_path, load):
    film(tmp_path / "a.mp4", panned.turns(24, pan=28.0))
    given = load()
    assert given.clips.focal_length[0] == pytest.approx(panned.FOCAL, rel=0.03)
    assert given.clips.focal_length[0] == given.clips.turn_focal[0]
    assert any("The pan of a tells its focal length: 3" in note for note in given.notes)


def test_still_films_say_nothing_of_cameras(tmp_path, load):
    film(tmp_path / "a.mp4", panned.turns(8))
    given = load()
    assert given.clips.camera_turn is None and given.clips.zoom is None and given.clips.turn_focal is None
    assert len(list((tmp_path / "out" / "cameras").glob("*.npz"))) == 1


def test_what_is_not_followed_is_told(tmp_path, load, monkeypatch):
    def lost(*arguments):
        raise camera_motion.UnsolvedError("the background is lost in frame 5")

    monkeypatch.setattr(camera_motion, "find", lost)
    film(tmp_path / "a.mp4", panned.turns(8, pan=10.0))
    given = load()
    assert given.clips.camera_turn is None
    note = (
        "The camera of a moves, but is not followed: the background is lost in frame 5. It is taken as standing still"
    )
    assert any(text.startswith(note) for text in given.notes)
    assert any(text.startswith(note) for text in load().notes)


def test_somebody_who_goes_far_is_not_followed(tmp_path, load, monkeypatch):
    """Of a body 100 pixels tall a camera of 330 pixels is 5 m away, and 40 m under a zoom of eight."""
    film(tmp_path / "a.mp4", panned.turns(8, pan=50.0))

    def far(pictures, *arguments):
        count = len(list(pictures()))
        return camera_motion.Motion(panned.turns(count, pan=50.0), np.full(count, 8.0), panned.FOCAL, False)

    monkeypatch.setattr(camera_motion, "find", far)
    given = load(focal_length=panned.FOCAL)
    assert given.clips.camera_turn is None
    (note,) = (
        text for text in given.notes if text.startswith("The camera of a moves, but is not followed: somebody goes")
    )
    assert 28 < float(note.split("some ")[1].split(" m")[0]) < 48
    monkeypatch.setattr(shot_cameras, "_FARTHEST", 60.0)
    monkeypatch.setattr(shot_cameras, "VERSION", 99)
    assert load(focal_length=panned.FOCAL).clips.camera_turn is not None


def test_parts_that_begin_late_are_judged_by_their_own_people(tmp_path, monkeypatch):
    path = film(tmp_path / "a.mp4", panned.turns(14, pan=50.0))
    monkeypatch.setattr(
        camera_motion,
        "find",
        lambda pictures, *_: camera_motion.Motion(panned.turns(8, pan=50.0), np.ones(8), panned.FOCAL, False),
    )
    # A body 100 pixels tall, 5 m away, and one 10 pixels tall, 50 m away.
    tall = np.zeros((2, 8, 1, 33, 4))
    tall[:, :, 0, :, 1] = np.linspace(0, 1, 33) * np.array([100.0, 10.0])[:, None, None]
    near, far = (
        Detections(
            times=np.arange(8) / 30,
            seen=np.ones((8, 1), bool),
            landmarks=landmarks,
            world=np.zeros((8, 1, 33, 3)),
            clothes=np.zeros((8, 1, appearance.REGIONS, appearance.BINS), np.uint8),
            image_size=np.array(panned.SIZE, float),
            shots=np.array([0]),
            claimed_fps=30.0,
            damage="",
        )
        for landmarks in tall
    )
    shots = [shot_cameras.Shot(range(6, 14), people, float(max(panned.SIZE))) for people in (near, far)]
    followed, lost = shot_cameras.cameras_of(path, shots, panned.FOCAL, None)
    assert len(followed.turn) == 8 and not followed.failure
    assert lost.failure.startswith("somebody goes some 4")


def test_damaged_memories_are_found_anew(tmp_path, load):
    film(tmp_path / "a.mp4", panned.turns(8, pan=10.0))
    first = load(focal_length=panned.FOCAL)
    (kept,) = (tmp_path / "out" / "cameras").glob("*.npz")
    kept.write_bytes(kept.read_bytes()[:200])
    np.testing.assert_array_equal(load(focal_length=panned.FOCAL).clips.camera_turn, first.clips.camera_turn)
    # So are those of another number of frames.
    np.savez(kept, turn=np.tile(np.eye(3), (5, 1, 1)), zoom=np.ones(5), focal=1.0, tells_focal=False, failure="")
    np.testing.assert_array_equal(load(focal_length=panned.FOCAL).clips.camera_turn, first.clips.camera_turn)


def test_frames_of_a_camera_are_told_against_the_first_of_them():
    turns, zoom = panned.turns(6, pan=20.0), np.linspace(1, 2, 6)
    camera = shot_cameras.ShotCamera(turns, zoom, 500.0, False, "")
    later = camera.frames(np.array([2, 2, 4]))
    np.testing.assert_allclose(later.turn[:2], np.tile(np.eye(3), (2, 1, 1)), atol=1e-12)
    np.testing.assert_allclose(later.turn[2] @ turns[2], turns[4], atol=1e-12)
    np.testing.assert_allclose(later.zoom, zoom[[2, 2, 4]] / zoom[2])
    assert later.focal == pytest.approx(500 * zoom[2])
    assert shot_cameras.NONE.frames(np.arange(3)) is shot_cameras.NONE


def test_other_formats_have_no_films_to_follow(tiny_dataset, tmp_path):
    from experiments.data import neutral

    neutral.write(tiny_dataset, tmp_path)
    with pytest.raises(registry.DatasetError, match="--camera_motion=off says nothing to clips of format neutral"):
        registry.load(tiny_dataset.action, str(tmp_path), camera_motion="off")


def test_small_pictures_are_those_of_the_film(tmp_path):
    path = black(tmp_path / "a.mp4", count=3)
    for frame in frames.walk(path):
        grey = frame.picture().astype(float) @ [0.299, 0.587, 0.114]
        small = frame.small(120)
        assert small.shape == (60, 120) and small.dtype == np.uint8
        np.testing.assert_allclose(small.mean(), grey.mean(), atol=4)
        assert frame.small(1000).shape == grey.shape
    films.turn(path, (0, 1, -1, 0))
    assert next(frames.walk(path)).small(120).shape == (120, 60)
