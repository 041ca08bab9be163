"""The camera's motion by the background: known turns and zooms are found, still cameras are still, walks are told."""

import numpy as np
import panned_films as panned
import pytest
from scipy.spatial.transform import Rotation

from experiments.detection import background, camera_motion, direct_alignment, optical_flow, turning_camera
from experiments.detection.turning_camera import STILL, Camera, Match


def degrees(found, true):
    """The greatest angle between turns (F, 3, 3)."""
    return np.degrees(Rotation.from_matrix(found @ np.swapaxes(true, -1, -2)).magnitude().max())


def nobody(frame):
    del frame
    return np.zeros((0, 4))


def test_points_are_followed_to_a_fraction_of_a_pixel():
    turn = Rotation.from_rotvec([0.01, -0.05, 0.03]).as_matrix()
    one, other = (optical_flow.pyramid(panned.picture(t)) for t in (np.eye(3), turn))
    points = optical_flow.corners(one[0], np.ones(one[0].picture.shape, bool))
    assert len(points) > 80
    half = np.array(panned.SIZE) / 2
    true = turning_camera.transfer(points - half, STILL, Camera(turn, 0.0), panned.FOCAL) + half
    found, good = optical_flow.track(one, other, points, points)
    assert good.mean() > 0.6
    assert np.percentile(np.linalg.norm(found - true, axis=-1)[good], 90) < 0.12
    # Where something else is now, nothing is found.
    noise = optical_flow.pyramid(np.random.default_rng(0).uniform(0, 255, one[0].picture.shape))
    assert optical_flow.track(one, noise, points, points)[1].mean() < 0.1
    assert optical_flow.track(one, other, points[:0], points[:0])[0].shape == (0, 2)


def test_corners_keep_out_of_what_is_not_free():
    free = np.ones(panned.SIZE[::-1], bool)
    free[:, 100:] = False
    level = optical_flow.pyramid(panned.picture(np.eye(3)))[0]
    points = optical_flow.corners(level, free)
    assert len(points) > 20 and points[:, 0].max() < 100
    assert len(optical_flow.corners(optical_flow.pyramid(np.full((90, 160), 120.0))[0], free[:90, :160])) == 0


def test_most_points_decide():
    rng = np.random.default_rng(0)
    before = rng.uniform(-150, 150, (60, 2))
    after = 1.02 * before + [5, -3] + rng.normal(0, 0.2, (60, 2))
    after[:25] += rng.uniform(5, 40, (25, 2))
    np.testing.assert_array_equal(np.flatnonzero(~turning_camera.agreeing(before, after)), np.arange(25))
    assert not turning_camera.agreeing(before[:2], after[:2]).any()
    assert not turning_camera.agreeing(np.zeros((9, 2)), np.zeros((9, 2))).any()


@pytest.mark.parametrize("lens", ["known", "unknown"])
def test_cameras_and_lens_of_exact_points(lens):
    rng = np.random.default_rng(1)
    turns = Rotation.from_rotvec([[0, 0, 0], [0.02, 0.1, 0.01], [0.03, 0.22, 0.02], [0.0, 0.3, 0.0]]).as_matrix()
    true = [Camera(turn, 0.05 * k) for k, turn in enumerate(turns)]
    matches = []
    for first, second in ((0, 1), (1, 2), (2, 3), (0, 2), (1, 3)):
        points = rng.uniform(-140, 140, (60, 2)) * [1, 0.5]
        seen = turning_camera.transfer(points, true[first], true[second], 400.0) + rng.normal(0, 0.05, (60, 2))
        seen[:8] += 30.0
        matches.append(Match(first, second, points, seen))
    alone = turning_camera.fit(matches[0], STILL, STILL, 400.0)
    assert degrees(alone.turn, turns[1]) < 0.02 and alone.zoom == pytest.approx(0.05, abs=1e-3)
    start = [STILL, *[Camera(turn, 0.0) for turn in turns[1:]]]
    found, focal, spread = turning_camera.refine(start, matches, 400.0 if lens == "known" else 300.0, lens == "known")
    if lens == "unknown":
        assert focal == pytest.approx(400, rel=0.02) and 0 < spread < 0.05
    else:
        assert focal == 400 and spread == np.inf
    assert max(degrees(a.turn, b.turn) for a, b in zip(found, true, strict=True)) < (0.05 if lens == "known" else 0.4)


def test_what_is_behind_the_camera_is_nowhere():
    around = Camera(Rotation.from_rotvec([0, 2.5, 0]).as_matrix(), 0.0)
    assert np.isnan(turning_camera.transfer(np.zeros((1, 2)), STILL, around, 300.0)).all()


CASES = {
    "a pan with tilt, zoom and shake": ({"frames": 24, "pan": 25.0, "tilt": 4.0, "shake": 0.3}, 1.3, None, True),
    "a roll": ({"frames": 12, "roll": 15.0}, 1.0, panned.FOCAL, False),
    "a zoom": ({"frames": 16}, 1.8, panned.FOCAL, False),
    "a shake": ({"frames": 12, "shake": 0.4}, 1.0, panned.FOCAL, False),
}


@pytest.mark.parametrize("case", CASES)
def test_known_motion_is_found(case):
    angles, zoom, focal, tells = CASES[case]
    turns = panned.turns(**angles)
    zooms = np.exp(np.linspace(0, np.log(zoom), len(turns)))
    pictures, boxes = panned.film(turns, zooms)
    assert not camera_motion.stands_still(pictures, boxes, list(range(len(pictures))))
    found = camera_motion.find(lambda: iter(pictures), boxes, focal)
    assert degrees(found.turn, turns) < 0.1
    np.testing.assert_allclose(found.zoom, zooms, rtol=0.003)
    assert found.tells_focal == tells
    assert found.focal == pytest.approx(panned.FOCAL, rel=0.03)
    np.testing.assert_allclose(found.turn[0], np.eye(3), atol=1e-12)


def test_a_small_pan_moves_pixels_though_it_tells_no_lens():
    turns = panned.turns(16, pan=3.0)
    pictures, boxes = panned.film(turns)
    found = camera_motion.find(lambda: pictures, boxes, None)
    assert not found.tells_focal
    seen = turning_camera.transfer(np.zeros((1, 2)), STILL, Camera(found.turn[-1], 0.0), found.focal)
    np.testing.assert_allclose(seen, [[panned.FOCAL * np.tan(np.radians(3.0)), 0]], atol=0.3)


def test_a_camera_that_stands_still_is_still():
    pictures, boxes = panned.film(panned.turns(10), noise=3.0)
    assert camera_motion.stands_still(pictures, boxes, list(range(10)))
    assert camera_motion.find(lambda: pictures, boxes, None) is None
    # So is one that trembles by a fraction of a pixel, and one before a plain wall, where somebody walks.
    trembling, boxes = panned.film(panned.turns(10, shake=0.02))
    assert camera_motion.find(lambda: trembling, boxes, None) is None
    plain = np.full((6, 90, 160), 120, np.uint8)
    assert (
        camera_motion.stands_still(plain, nobody, list(range(6)))
        and camera_motion.find(lambda: plain, nobody, None) is None
    )


def test_frames_that_show_nothing_are_between_others():
    turns = panned.turns(20, pan=10.0)
    pictures, boxes = panned.film(turns)
    pictures[9] = 0  # a flash
    found = camera_motion.find(lambda: pictures, boxes, panned.FOCAL)
    assert degrees(found.turn, turns) < 0.15
    pictures[5:16] = 0
    with pytest.raises(camera_motion.UnsolvedError, match="the background is lost in frame 5"):
        camera_motion.find(lambda: pictures, boxes, panned.FOCAL)


def test_a_camera_that_walks_is_told():
    near = np.zeros(panned.SIZE[::-1], bool)
    near[:, :140] = True
    pictures = [panned.picture(np.eye(3), place=(0.03 * t, 0, 0), near=near) for t in range(24)]
    with pytest.raises(camera_motion.UnsolvedError, match="moves as if the camera only turned"):
        camera_motion.find(lambda: pictures, nobody, panned.FOCAL)


def test_a_lens_that_pictures_hardly_tell_is_drawn_to_the_guess():
    """A walk along a wall shows no perspective, as the longest of lenses would, with which it would hardly be a turn."""
    assert turning_camera.between(300.0, 3000.0, 0.5) == pytest.approx(300 * 10**0.5)
    assert turning_camera.between(300.0, 3000.0, 0.0) == pytest.approx(3000)
    pictures = [panned.picture(np.eye(3), place=(0.03 * t, 0, 0)) for t in range(24)]
    found = camera_motion.find(lambda: pictures, nobody, None)
    # The pictures alone say 4.8 diagonals, give or take a fifth.
    assert not found.tells_focal and 3.0 < found.focal / np.hypot(*panned.SIZE) < 4.4
    seen = turning_camera.transfer(np.zeros((1, 2)), Camera(found.turn[-1], np.log(found.zoom[-1])), STILL, found.focal)
    np.testing.assert_allclose(seen, [[panned.FOCAL * 0.03 * 23 / 10, 0]], atol=0.3)
    np.testing.assert_allclose(found.zoom, 1, atol=0.002)


def test_boxes_have_a_margin_around_the_people_seen():
    landmarks = np.zeros((2, 33, 4))
    landmarks[0, :, :2] = np.linspace([100, 200], [160, 280], 33)
    boxes = background.boxes_of(landmarks, np.array([True, False]), 0.5)
    np.testing.assert_allclose(boxes, [[44, 94, 86, 146]])
    assert background.boxes_of(landmarks, np.zeros(2, bool), 0.5).shape == (0, 4)


def faint(picture, seed):
    """A picture of hardly any texture, as of a lawn, with an emblem that the broadcaster put over it."""
    seen = 110 + 0.12 * (picture.astype(float) - 128) + 0.4 * np.random.default_rng(seed).normal(size=picture.shape)
    seen[8:34, 230:300] = 240
    seen[14:28:4, 236:294] = 20
    return np.clip(seen, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("focal", [4 * panned.FOCAL, None])
def test_a_lawn_under_a_long_lens_is_followed_as_a_whole(focal):
    """There are no corners but the emblem's, which stands still in the picture."""
    true, lens = panned.turns(20, pan=12.0, tilt=1.0), 4 * panned.FOCAL
    clear, boxes = panned.film(true, focal=lens)
    pictures = np.stack([faint(picture, seed) for seed, picture in enumerate(clear)])
    emblems = direct_alignment.fixed(pictures[::2])
    assert emblems[20, 260] and 0.03 < emblems.mean() < 0.12
    free = ~emblems & background.free(pictures[0].shape, boxes(0))
    assert len(optical_flow.corners(optical_flow.pyramid(pictures[0])[0], free)) < 10
    assert not camera_motion.stands_still(list(pictures[::2]), lambda frame: boxes(2 * frame), list(range(10)))
    found = camera_motion.find(lambda: pictures, boxes, focal, emblems)
    if focal:
        assert degrees(found.turn, true) < 0.1
        np.testing.assert_allclose(found.zoom, 1.0, atol=0.01)
    # What a lens that is not known makes of a far pan differs; pixels near by are where they were.
    seen, there = (
        turning_camera.transfer(np.zeros((1, 2)), Camera(turn[5], 0.0), STILL, length)
        for turn, length in ((found.turn, found.focal), (true, lens))
    )
    np.testing.assert_allclose(seen, there, atol=4.0)


def test_texture_tells_a_similarity():
    one, other = (optical_flow.pyramid(panned.picture(np.eye(3), zoom)) for zoom in (1.0, 1.05))
    free = np.ones(panned.SIZE[::-1], bool)
    points = direct_alignment.textured(one[0], free)
    assert len(points) > 2000
    blocks = direct_alignment.align(one, other, points, points + 3.0, free)
    assert blocks.alike.mean() > 0.95
    half = np.array(panned.SIZE) / 2
    np.testing.assert_allclose(blocks.seen, half + 1.05 * (blocks.points - half), atol=0.15)
    noise = optical_flow.pyramid(np.random.default_rng(0).uniform(0, 255, one[0].picture.shape))
    assert direct_alignment.align(one, noise, points, points, free).alike.mean() < 0.1
    assert direct_alignment.align(one, other, points, points + 1000.0, free) is None


def test_what_stays_in_the_picture_is_an_emblem():
    clear, _ = panned.film(panned.turns(8, pan=20.0), person=False)
    moving = np.stack([faint(picture, seed) for seed, picture in enumerate(clear)])
    assert direct_alignment.fixed(moving)[20, 260] and not direct_alignment.fixed(moving)[60:, :200].any()
    assert direct_alignment.fixed(np.stack([moving[0]] * 4)).mean() > direct_alignment.fixed(moving).mean()
