"""Following one person among several: stick figures that walk, cross, vanish and flicker."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.base.errors import UserError
from experiments.detection import tracking

# An upright figure 1 high, centred at 0.
FIGURE = np.array([[0, -0.5], [0, -0.35], [-0.12, -0.3], [0.12, -0.3], [-0.2, 0], [0.2, 0], [-0.1, 0.5], [0.1, 0.5]])


def figure(x, y=300.0, height=200.0, confidence=0.9, rng=None, noise=0.0):
    points = FIGURE * height + [x, y]
    if rng is not None:
        points = points + rng.normal(0, noise, points.shape)
    return np.concatenate([points, np.full((len(points), 1), confidence)], 1)


def frame(*people):
    return np.stack(people) if people else np.zeros((0, len(FIGURE), 3))


def centres(people, which):
    return np.array([people[t][p][:, 0].mean() if p >= 0 else np.nan for t, p in enumerate(which)])


def test_the_largest_is_followed_whatever_their_order():
    people = [frame(figure(100 + t, height=150), figure(500 - t, height=300)) for t in range(10)]
    np.testing.assert_array_equal(tracking.follow(people), np.ones(10))
    mixed = [p[::-1] if t % 2 else p for t, p in enumerate(people)]
    np.testing.assert_array_equal(tracking.follow(mixed), [1, 0] * 5)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_order_within_frames_never_matters(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    people = []
    for _ in range(6):
        several = [
            figure(rng.choice([100, 130, 400]), height=rng.choice([100, 200]), rng=rng, noise=rng.choice([0, 20]))
            for _ in range(rng.integers(0, 4))
        ]
        people.append(frame(*several))
        people[-1][..., 2] *= rng.random(people[-1].shape[:2]) > 0.3
    person = data.draw(st.sampled_from(["largest", "1", "110,300"]))
    orders = [rng.permutation(len(p)) for p in people]

    def followed(people):
        try:
            return [None if p < 0 else people[t][p] for t, p in enumerate(tracking.follow(people, person))]
        except UserError:
            return None

    np.testing.assert_equal(followed([p[o] for p, o in zip(people, orders, strict=True)]), followed(people))


@given(
    seed=st.integers(0, 10**6),
    ratio=st.floats(1.15, 2.5),
    speeds=st.tuples(st.floats(2, 14), st.floats(-14, -2)),
    depth=st.floats(-30, 30),
)
@settings(max_examples=25, deadline=None)
def test_two_who_cross_keep_their_identities(seed, ratio, speeds, depth):
    rng = np.random.default_rng(seed)
    frames, noise = 41, 3.0
    people, truth = [], []
    for t in range(frames):
        both = [
            figure(400 + speeds[0] * (t - 20), 300 + depth, 180 * ratio, rng=rng, noise=noise),
            figure(400 + speeds[1] * (t - 20), 300, 180, rng=rng, noise=noise),
        ]
        order = rng.permutation(2)
        people.append(frame(*[both[p] for p in order]))
        truth.append(order)
    np.testing.assert_array_equal(tracking.follow(people), [list(order).index(0) for order in truth])


@pytest.mark.parametrize("hidden", ["nobody", "one", "both"])
def test_two_of_one_size_keep_their_directions(hidden):
    # For 7 frames around the meeting the detector sees both, only one, or neither.
    people, seen = [], []
    for t in range(-30, 31):
        both = [figure(400 + 10 * t), figure(402 - 10 * t)]
        visible = 2 if abs(t) > 3 else {"nobody": 2, "one": 1, "both": 0}[hidden]
        people.append(frame(*(both[:visible] if visible < 2 or t % 3 else both[::-1])))
        seen.append(visible == 2)
    times = np.arange(-30, 31)[seen]
    for person, expected in (("1", 400 + 10 * times), ("2", 402 - 10 * times)):
        np.testing.assert_allclose(centres(people, tracking.follow(people, person))[seen], expected)


def test_one_who_reappears_is_not_taken_for_the_other_who_is_missed():
    # The one behind is hidden for 11 frames but one, in which the detector misses the one in front.
    people, expected = [], []
    for t in range(-20, 21):
        front, behind = figure(400 + 6 * t, height=200), figure(400 - 6 * t, height=165)
        seen = [behind] if t == 2 else [front] if abs(t) <= 5 else [behind, front]
        people.append(frame(*seen))
        expected.append(-1 if t == 2 else len(seen) - 1)
    np.testing.assert_array_equal(tracking.follow(people), expected)


def test_a_gap_is_bridged_and_nobody_else_fills_it():
    # The person turns around while unseen, so comes back 0.7 sizes from where the last velocity pointed.
    people = []
    for t in range(40):
        other = figure(900, height=120)
        x = 100 + 10 * t if t < 10 else 350 - 10 * t
        people.append(frame(other) if 10 <= t < 20 else frame(other, figure(x)))
    expected = [-1 if 10 <= t < 20 else 1 for t in range(40)]
    np.testing.assert_array_equal(tracking.follow(people), expected)


def test_somebody_seen_shortly_is_waited_for():
    people = [frame(figure(100))] * 2 + [frame()] * 9 + [frame(figure(110))] * 5
    np.testing.assert_array_equal(tracking.follow(people), [0] * 2 + [-1] * 9 + [0] * 5)


def test_a_jump_is_not_the_person():
    people = [frame(figure(100)) for _ in range(20)]
    people[7] = frame(figure(220))
    np.testing.assert_array_equal(tracking.follow(people), np.where(np.arange(20) == 7, -1, 0))


def test_a_ghost_does_not_take_over_however_large():
    people = [frame(figure(100 + 3 * t, height=150)) for t in range(20)]
    people[0] = frame(figure(500, height=800), people[0][0])
    people[9] = frame(figure(130, height=700, confidence=1.0), people[9][0])
    expected = np.where(np.isin(np.arange(20), [0, 9]), 1, 0)
    np.testing.assert_array_equal(tracking.follow(people), expected)


def test_where_a_ghost_was_the_person_stays_itself():
    people = [frame(figure(100)) for _ in range(10)]
    people[4] = frame(figure(130), figure(100))
    people += [frame(figure(130)) for _ in range(10)]
    np.testing.assert_array_equal(tracking.follow(people), np.where(np.arange(20) == 4, 1, 0))


def test_somebody_small_nearby_is_not_the_person_who_vanished():
    people = [frame(figure(100, height=400)) for _ in range(10)]
    people += [frame(figure(130, 400, height=60)) for _ in range(5)]
    np.testing.assert_array_equal(tracking.follow(people), [0] * 10 + [-1] * 5)


def test_a_body_is_preferred_to_a_part_of_it():
    # The detector splits the person for a while.
    whole = figure(200)
    top, bottom = whole.copy(), whole.copy()
    top[5:, 2], bottom[:5, 2] = 0, 0
    people = [frame(whole)] * 5 + [frame(bottom, top)] * 3 + [frame(bottom, whole)] * 5
    np.testing.assert_array_equal(tracking.follow(people), [0] * 5 + [1] * 3 + [1] * 5)


def test_somebody_who_comes_later_is_followed_from_there():
    people = [frame(), frame(figure(600, height=80))] + [
        frame(figure(600, height=80), figure(100 + t)) for t in range(10)
    ]
    np.testing.assert_array_equal(tracking.follow(people), [-1, -1] + [1] * 10)


def test_unseen_keypoints_do_not_count():
    broken = figure(100)
    broken[2] = [np.nan, np.inf, 0.9]
    broken[3] = [5000, 5000, 0.0]
    people = [frame(figure(900, height=250), broken) for _ in range(3)]
    np.testing.assert_array_equal(tracking.follow(people), [0, 0, 0])


@pytest.mark.parametrize("empty", [np.zeros((0, 8, 3)), np.zeros((0,)), np.zeros((2, 8, 3))])
def test_nobody(empty):
    for person in ("largest", "2", "10,10"):
        np.testing.assert_array_equal(tracking.follow([empty] * 3, person), [-1, -1, -1])
    assert tracking.follow([]).shape == (0,)


def test_a_person_is_chosen_by_number_or_pixel():
    walkers = [figure(600), figure(100), figure(350, height=300)]
    people = [frame(walkers[0])] + [frame(*walkers)] * 30
    # For one frame a ghost stands at the very left.
    people[1] = frame(*walkers, figure(20))
    people[2] = frame(*walkers, figure(5000, 5000))
    # The first frame shows one person; the three are first seen together in the second.
    expected = {"1": [0] * 31, "2": [-1] + [2] * 30, "3": [0] * 31, "largest": [-1] + [2] * 30}
    for person, which in expected.items():
        np.testing.assert_array_equal(tracking.follow(people, person), which)
    np.testing.assert_array_equal(tracking.follow(people, "105,290"), [-1] + [1] * 30)
    np.testing.assert_array_equal(tracking.follow(people, "340.5, 200"), [-1] + [2] * 30)


def test_a_choice_that_fits_nobody_is_one_sentence():
    people = [frame(figure(100), figure(500))] * 5
    with pytest.raises(
        UserError, match=r"--person=3 asks for the 3\. .* no frame shows more than 2; give a number from 1"
    ):
        tracking.follow(people, "3")
    with pytest.raises(UserError, match="--person=300,10 is a pixel where nobody is"):
        tracking.follow(people, "300,10")


def test_the_flag_names_clips():
    assert tracking.PERSON.parse("largest") == ("largest", {})
    assert tracking.PERSON.parse("310,140") == ("310,140", {})
    both = "clip ä=2, clip b=310,140 ,c=d=1"
    assert tracking.PERSON.parse(both) == ("auto", {"clip ä": "2", "clip b": "310,140", "c=d": "1"})
    assert tracking.PERSON.of(both, "clip b") == "310,140"
    assert tracking.PERSON.of(both, "clip z") == "auto"
    assert tracking.PERSON.of("2,b=1", "a") == "2"
    tracking.check_names(both, ["clip ä", "clip b", "c=d", "other"])
    with pytest.raises(UserError, match="names clip b, which is no clip here; the clips are clip ä, x"):
        tracking.check_names(both, ["clip ä", "x"])


@pytest.mark.parametrize(
    "flag", ["", "0", "-1", "1.5", "left", "a=", "=2", "1,2,3", "a=1,a=2", "a=2,b", "10;20", "1,-2"]
)
def test_nonsense_is_one_sentence(flag):
    with pytest.raises(UserError, match=r"^--person="):
        tracking.PERSON.of(flag, "a")
    with pytest.raises(UserError, match=r"^--person="):
        tracking.follow([], flag)


def test_everybody_is_for_films():
    assert tracking.PERSON.parse("largest,a=all") == ("largest", {"a": "all"})
    tracking.check_names("a=all", ["a"], films=True)
    for check in (lambda: tracking.check_names("a=all", ["a"]), lambda: tracking.follow([frame(figure(1))], "all")):
        with pytest.raises(UserError, match="asks for everybody, who is found in films only"):
            check()
