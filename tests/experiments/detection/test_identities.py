"""Who is who by clothes and motion: people who cross, take each other's place, leave and come back."""

import numpy as np
import pytest
from test_tracking import figure, frame

from experiments.detection import appearance, identities, tracking

RED, BLUE, GREY = 10, 60, 120


def worn(colour, trousers=5, share=1.0, other=BLUE):
    """Clothes of one colour, or of two where only a share is."""
    clothes = np.zeros((2, appearance.BINS), np.uint8)
    clothes[0, colour] += round(255 * share)
    clothes[0, other] += round(255 * (1 - share))
    clothes[1, trousers] = 255
    return clothes


def scene(*each):
    """People and clothes of frames, each a list of (x, clothes) or (x, clothes, height)."""
    people = [frame(*(figure(x, height=(*rest, 200)[0]) for x, _, *rest in present)) for present in each]
    clothes = [np.array([own for _, own, *_ in present]) for present in each]
    return people, clothes


def members(somebody):
    return set(somebody.members)


RED_MAN, BLUE_MAN = worn(RED), worn(BLUE, trousers=80)


def taken_over(other, covered=range(20, 35)):
    """Somebody stands at 300; another, not seen before, passes in front, and is all that is seen there."""
    frames = []
    for t in range(60):
        if t in covered:
            frames.append([(300 + 8 * (t - 20), other)])
        elif t in range(35, 45):
            frames.append([(300, RED_MAN), (300 + 8 * (t - 20), other)])
        else:
            frames.append([(300, RED_MAN)])
    return scene(*frames)


def test_the_track_of_somebody_is_not_lost_to_who_passes_in_front():
    people, clothes = taken_over(BLUE_MAN)
    first, second = sorted(identities.find(people, clothes), key=lambda s: s.weight)[::-1]
    assert members(first) == {*range(20), *range(35, 60)}
    assert members(second) == set(range(20, 45))
    assert first.doubts == ()
    # By the places alone it is.
    assert (tracking.follow(people) >= 0)[20:35].all()
    np.testing.assert_array_equal(
        tracking.follow(people, "largest", clothes) >= 0, [t < 20 or t >= 35 for t in range(60)]
    )


def test_two_who_meet_and_turn_back_are_not_taken_to_have_crossed():
    frames = [[(400 - 6 * abs(t), RED_MAN), (404 + 6 * abs(t), BLUE_MAN)] for t in range(-30, 31)]
    people, clothes = scene(*frames)
    which = tracking.follow(people, "1", clothes)
    np.testing.assert_array_equal(which[np.abs(np.arange(-30, 31)) > 3], 0)
    # And where they do cross they are.
    frames = [[(400 + 6 * t, RED_MAN), (404 - 6 * t, BLUE_MAN)] for t in range(-30, 31)]
    which = tracking.follow(*scene(*frames)[:1], "1", scene(*frames)[1])
    np.testing.assert_array_equal(which[np.abs(np.arange(-30, 31)) > 3], 0)


@pytest.mark.parametrize("height", [200, 160])
def test_somebody_who_leaves_and_comes_back_is_known_by_the_clothes(height):
    def at(t, clothes):
        if t < 30:
            return [(100 - 6 * t, clothes)]
        return [(900 - 6 * (t - 150), RED_MAN, height)] if t >= 150 else []

    people, clothes = scene(*(at(t, RED_MAN) for t in range(200)))
    (one,) = identities.find(people, clothes)
    assert members(one) == {*range(30), *range(150, 200)}
    people, clothes = scene(*(at(t, BLUE_MAN) for t in range(200)))
    assert [members(s) for s in identities.find(people, clothes)] == [set(range(30)), set(range(150, 200))]


def test_clothes_that_others_wear_tell_nothing():
    """One of a team leaves; another comes in at another place, and may be anybody."""
    frames = [
        [(500, RED_MAN)] + ([(100, RED_MAN)] if t < 30 else [(900, RED_MAN)] if t > 80 else []) for t in range(120)
    ]
    assert len(identities.find(*scene(*frames))) == 3
    frames = [
        [(500, BLUE_MAN)] + ([(100, RED_MAN)] if t < 30 else [(900, RED_MAN)] if t > 80 else []) for t in range(120)
    ]
    assert len(identities.find(*scene(*frames))) == 2


def test_a_gap_is_not_filled_by_somebody_in_other_clothes():
    frames = [[(300, RED_MAN)] if t < 20 or t >= 30 else [(330, BLUE_MAN)] for t in range(50)]
    which = tracking.follow(*scene(*frames)[:1], "largest", scene(*frames)[1])
    np.testing.assert_array_equal(which >= 0, [t < 20 or t >= 30 for t in range(50)])


def test_a_shirt_with_another_back_is_still_the_same_person():
    turned = worn(GREY)
    frames = [[(300 + 2 * t, RED_MAN if t < 30 else turned)] for t in range(60)]
    (one,) = identities.find(*scene(*frames))
    assert len(one.members) == 60


def together(other):
    """Two come together, one of them is hidden for two seconds, and two part, to either side."""
    frames = []
    for t in range(110):
        if t < 30:
            frames.append([(270 + t, RED_MAN), (330 - t, other)])
        elif t < 80:
            frames.append([(300, RED_MAN)])
        else:
            frames.append([(300 + 3 * (t - 80), RED_MAN), (300 - 3 * (t - 80), other)])
    return scene(*frames)


def test_who_cannot_be_told_apart_is_said():
    somebody = max(identities.find(*together(RED_MAN)), key=lambda s: s.weight)
    assert somebody.doubts and any(first >= 20 and last <= 90 for first, last in somebody.doubts)
    somebody = max(identities.find(*together(BLUE_MAN)), key=lambda s: s.weight)
    assert somebody.doubts == () and len(somebody.members) == 110


def test_without_clothes_tracks_are_taken_as_they_are():
    people, _ = taken_over(BLUE_MAN)
    found = identities.find(people)
    assert len(found) == 2 and all(s.doubts == () for s in found)
    assert (
        identities.find([], []) == []
        and identities.find(people[:0] or [np.zeros((0, 8, 3))] * 3, [np.zeros((0, 2, 196))] * 3) == []
    )
