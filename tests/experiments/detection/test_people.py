"""People are found, followed, lost and found again; landmarks become keypoints."""

import numpy as np
import pytest
import stick_people as sticks

from body_models import joints as jn
from experiments.detection import keypoints
from experiments.detection.people import Person, Region, Watcher, region_of, same

RED, GREEN = sticks.RED, sticks.GREEN
TILES = 5 * 3  # squares of 60 pixels, at most 36 apart, that cover 200 x 100


def lefts(people):
    return sorted(round(float(person.box[0][0])) for person in people)


def test_one_search_of_the_whole_and_of_its_parts_then_only_looks():
    landmarker = sticks.StickLandmarker()
    watcher = Watcher(landmarker)
    for frame in range(8):
        (person,) = watcher.people(sticks.picture(200, 100, {RED: (20 + frame, 20, 24, 60)}))
        np.testing.assert_allclose(person.box, [[20 + frame, 20], [43 + frame, 79]], atol=0.1)
    assert landmarker.finds == 1 + TILES
    assert landmarker.looks == 2 + 7


def test_a_second_look_where_somebody_moves_fast():
    landmarker = sticks.StickLandmarker()
    watcher = Watcher(landmarker)
    watcher.people(sticks.picture(200, 100, {RED: (20, 20, 24, 60)}))
    before = landmarker.looks
    watcher.people(sticks.picture(200, 100, {RED: (40, 20, 24, 60)}))
    assert landmarker.looks - before == 2


def test_newcomers_are_found_and_leavers_go():
    watcher = Watcher(sticks.StickLandmarker())
    alone, both = {RED: (20, 20, 24, 60)}, {RED: (20, 20, 24, 60), GREEN: (140, 30, 24, 60)}
    counts = [len(watcher.people(sticks.picture(200, 100, alone if frame < 3 else both))) for frame in range(14)]
    assert counts[:3] == [1, 1, 1] and counts[-1] == 2
    assert counts.index(2) <= 3 + 8
    assert lefts(watcher.people(sticks.picture(200, 100, both))) == [20, 140]
    assert lefts(watcher.people(sticks.picture(200, 100, {GREEN: (140, 30, 24, 60)}))) == [140]


def everybody(watcher, scenes):
    """Who is in each picture at the end, those found later and followed back included."""
    seen = []
    for boxes in scenes:
        seen.append(watcher.people(sticks.picture(200, 100, boxes)))
        for ago, person, picture in watcher.earlier:
            assert (picture == sticks.picture(200, 100, scenes[len(seen) - 1 - ago])).all()
            seen[-1 - ago].append(person)
    return seen


def test_newcomers_are_followed_back_to_where_they_came():
    """One who walks comes into view in the third picture and is found by the next search of the whole picture."""
    scenes = [{RED: (20, 20, 24, 60)} | ({GREEN: (175 - 3 * t, 30, 24, 60)} if t >= 2 else {}) for t in range(14)]
    assert [lefts(people) for people in everybody(Watcher(sticks.StickLandmarker()), scenes)] == [
        [20] if t < 2 else [20, 175 - 3 * t] for t in range(14)
    ]


def test_whoever_is_followed_back_is_nobody_else():
    """Somebody steps out from behind another, whom the look back would find instead."""
    scenes = [{GREEN: (60, 20, 24, 60), RED: (60 + 40 * (t >= 5), 20, 24, 60)} for t in range(14)]
    seen = everybody(Watcher(sticks.StickLandmarker()), scenes)
    assert [len(people) for people in seen[:5]] == [1] * 5
    assert lefts(seen[-1]) == [60, 100]


def test_somebody_lost_is_searched_at_once():
    watcher = Watcher(sticks.StickLandmarker())
    watcher.people(sticks.picture(400, 100, {RED: (20, 20, 24, 60)}))
    # Too far to be in the region of before.
    assert lefts(watcher.people(sticks.picture(400, 100, {RED: (300, 20, 24, 60)}))) == [300]


def test_somebody_hidden_for_a_while_is_found_as_soon_as_seen_again():
    watcher = Watcher(sticks.StickLandmarker())
    both, alone = {RED: (60, 20, 24, 60), GREEN: (150, 30, 24, 60)}, {GREEN: (150, 30, 24, 60)}
    for hidden in (9, 10, 11, 12):
        for _ in range(10):
            watcher.people(sticks.picture(220, 100, both))
        for _ in range(hidden):
            watcher.people(sticks.picture(220, 100, alone))
        counts = [len(watcher.people(sticks.picture(220, 100, both))) for _ in range(3)]
        assert counts[-1] == 2


class Shy(sticks.StickLandmarker):
    """Sees nobody in whole pictures but the first, and only in regions as small as `most` shares of its height."""

    most = 9.0

    def regions(self, image):
        return super().regions(image) if self.most > 1 else []

    def look(self, image, region):
        return super().look(image, region) if region.height < self.most else None


def test_somebody_not_seen_where_expected_is_looked_for_closer():
    landmarker = Shy()
    watcher = Watcher(landmarker)
    picture = sticks.picture(200, 100, {RED: (20, 20, 24, 60)})
    (person,) = watcher.people(picture)
    landmarker.most = 0.9 * person.region.height
    assert lefts(watcher.people(picture)) == [20]
    landmarker.most = 0.5 * person.region.height
    assert watcher.people(picture) == []


def test_another_person_is_not_taken_for_the_lost_one():
    landmarker = Shy()
    watcher = Watcher(landmarker)
    (person,) = watcher.people(sticks.picture(200, 100, {RED: (20, 20, 24, 60)}))
    landmarker.most = 0.99 * person.region.height
    assert watcher.people(sticks.picture(200, 100, {RED: (45, 20, 24, 60)})) == []


def test_small_people_are_found_in_tiles():
    landmarker = sticks.StickLandmarker(least_height=25)
    small = sticks.picture(600, 200, {RED: (450, 100, 14, 40)})
    assert landmarker.regions(small) == []
    assert lefts(Watcher(landmarker).people(small)) == [450]


def test_small_people_are_found_beside_somebody_who_is_seen():
    landmarker = sticks.StickLandmarker(least_height=25)
    watcher = Watcher(landmarker)
    alone, both = {RED: (60, 60, 24, 60)}, {RED: (60, 60, 24, 60), GREEN: (450, 100, 14, 40)}
    counts = [len(watcher.people(sticks.picture(600, 200, alone if frame < 9 else both))) for frame in range(34)]
    assert counts[8] == 1 and counts[9:24] == [1] * 15 and counts[-1] == 2
    assert lefts(watcher.people(sticks.picture(600, 200, both))) == [60, 450]
    # And sooner who was hidden.
    for frame in range(12):
        hidden = frame < 3
        found = watcher.people(sticks.picture(600, 200, alone if hidden else both))
    assert lefts(found) == [60, 450]


def test_small_people_are_found_beside_somebody_large():
    landmarker = sticks.StickLandmarker(least_height=25)
    both = sticks.picture(600, 200, {RED: (60, 10, 60, 180), GREEN: (450, 100, 14, 40)})
    assert lefts(Watcher(landmarker).people(both)) == [60, 450]


@pytest.mark.parametrize("part", [(80, 60, 20, 40), (500, 20, 6, 8)], ids=["in somebody's box", "tiny"])
def test_what_only_a_tile_shows_may_be_nobody(part):
    """A part of the large, or a pattern on a wall; the large one alone is found in whole pictures."""
    landmarker = sticks.StickLandmarker(least_height=50)
    watcher = Watcher(landmarker)
    picture = sticks.picture(600, 200, {RED: (60, 10, 60, 180)})
    x, y, width, height = part
    picture[y : y + height, x : x + width] = (0, 255, 0)
    found = Watcher(sticks.StickLandmarker()).people(picture)
    assert lefts(found) == sorted([60, x])  # as far as a search of the whole picture sees it, it is somebody
    for _ in range(30):
        assert lefts(watcher.people(picture)) == [60]


def test_a_part_of_somebody_is_nobody_else():
    class Unsure(sticks.StickLandmarker):
        def look(self, image, region):
            person = super().look(image, region)
            if person is not None and person.landmarks[0, 0] > 100:
                person.landmarks[:, 2] = 0.5
            return person

    both = sticks.picture(200, 100, {RED: (20, 20, 24, 60), GREEN: (140, 30, 24, 60)})
    assert lefts(Watcher(Unsure()).people(both)) == [20]
    # But somebody who is alone is somebody.
    assert lefts(Watcher(Unsure()).people(sticks.picture(200, 100, {GREEN: (140, 30, 24, 60)}))) == [140]


def test_who_is_known_is_not_looked_at_by_a_search():
    landmarker = sticks.StickLandmarker()
    watcher = Watcher(landmarker)
    looks = []
    for _ in range(20):
        before = landmarker.looks
        watcher.people(sticks.picture(200, 100, {RED: (20, 20, 24, 60)}))
        looks.append(landmarker.looks - before)
    assert looks == [2] + [1] * 19 and landmarker.finds == 3 + TILES


def test_nobody():
    watcher = Watcher(sticks.StickLandmarker())
    assert [watcher.people(np.zeros((100, 200, 3), np.uint8)) for _ in range(20)] == [[]] * 20


def test_two_regions_on_one_person_are_one_person():
    """Where the person behind is hidden, both regions see the one in front; later both are seen again."""
    watcher = Watcher(sticks.StickLandmarker())
    counts = []
    for frame in range(40):
        boxes = {RED: (20 + 4 * frame, 20, 24, 60), GREEN: (180 - 4 * frame, 20, 24, 60)}
        counts.append(len(watcher.people(sticks.picture(220, 100, boxes))))
    assert counts[0] == counts[-1] == 2
    # In front of each other for a few frames only.
    assert 1 <= counts.count(1) <= 16 and counts.count(0) == 0


def person_at(x: float, y: float, height: float = 100.0) -> Person:
    landmarks = np.ones((33, 4), np.float32)
    landmarks[:, :2] = np.array([x, y]) + sticks.LAYOUT * [0.4 * height, height]
    return Person(landmarks, np.zeros((33, 3)), Region(0, 0, 0, 0, 0))


def test_same():
    assert same(person_at(0, 0), person_at(8, 0))
    assert not same(person_at(0, 0), person_at(60, 0))
    assert not same(person_at(0, 0), person_at(0, 0, 30))


def test_region_holds_the_body_upright():
    picture = np.zeros((200, 400, 3), np.uint8)
    person = person_at(100, 50)
    region = region_of(person.landmarks, picture)
    assert region.rotation == pytest.approx(0, abs=1e-6)
    assert (region.x_center * 400, region.y_center * 200) == pytest.approx((120, 102))
    assert region.width * 400 == pytest.approx(region.height * 200)
    # The farthest landmark, a toe tip, is inside.
    assert region.height * 200 / 2 > np.hypot(0.2 * 40, 48)
    lying = person.landmarks.copy()
    lying[:, :2] = np.stack([-person.landmarks[:, 1], person.landmarks[:, 0]], -1)  # a quarter turn clockwise
    assert region_of(lying, picture).rotation == pytest.approx(np.pi / 2)


def test_keypoints_by_name():
    landmarks = np.zeros((33, 4))
    landmarks[:, 0], landmarks[:, 1] = np.arange(33), 100 - np.arange(33)
    landmarks[:, 2], landmarks[:, 3] = 0.9, 0.5
    points, confidence = keypoints.body_25(landmarks, (100, 100))
    x = dict(zip(jn.BODY_25_NAMES, points[:, 0], strict=True))
    sure = dict(zip(jn.BODY_25_NAMES, confidence, strict=True))
    expected = {"nose": 0, "left_shoulder": 11, "right_wrist": 16, "left_hip": 23, "right_ankle": 28, "left_heel": 29}
    expected |= {"right_big_toe": 32, "left_eye": 2, "right_ear": 8, "neck": 11.5, "mid_hip": 23.5}
    assert {name: x[name] for name in expected} == expected
    derived = {"neck", "mid_hip", "left_small_toe", "right_small_toe"}
    assert {name for name, value in sure.items() if value == 0} == derived
    assert all(value == pytest.approx(0.45) for name, value in sure.items() if name not in derived)
    # The body's own left and right: a mirrored skeleton has the mirrored keypoints.
    assert len(set(keypoints.LANDMARKS)) == len(keypoints.LANDMARKS) == 21


def test_keypoints_outside_the_image_have_no_confidence():
    landmarks = np.ones((33, 4))
    landmarks[:, :2] = 50
    landmarks[15, :2], landmarks[16, :2], landmarks[27, :2] = (-1, 50), (50, 100.5), (100, 100)
    _, confidence = keypoints.body_25(landmarks, (100, 100))
    names = {jn.BODY_25_NAMES[k] for k in keypoints.KEYPOINTS if confidence[k] == 0}
    assert names == {"left_wrist", "right_wrist"}


def test_spikes():
    """A frame of exchanged legs, a wrist that is off for one frame; not a fast throw, nor a step that stays."""
    points = np.zeros((12, 25, 2))
    landmarks = person_at(100, 100).landmarks
    body, _ = keypoints.body_25(landmarks, (1000, 1000))
    points[:] = body
    knees = [jn.BODY_25_NAMES.index(f"{side}_knee") for side in ("left", "right")]
    wrist, other = (jn.BODY_25_NAMES.index(f"{side}_wrist") for side in ("left", "right"))
    points[5, wrist] += (60, 0)
    points[6:, other] += (50, 0)  # goes and stays
    points[:, knees[0]] += np.arange(12)[:, None] * [20, 0]  # a fifth of the body's height in each frame
    spike = keypoints.spikes(points, np.ones(12, bool))
    assert sorted(zip(*(index.tolist() for index in np.nonzero(spike)), strict=True)) == [(5, wrist)]
    # Not known where a neighbour is not.
    seen = np.ones(12, bool)
    seen[4] = False
    assert not keypoints.spikes(points, seen).any()
    assert keypoints.spikes(points[:2], seen[:2]).shape == (2, 25)
