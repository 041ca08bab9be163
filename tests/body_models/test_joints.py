"""Names and symmetry of joints."""

import numpy as np
import pytest

from body_models import joints as jn

NAMES = ("nose", "left_eye", "right_eye", "left_big_toe", "right_big_toe")


def test_left_and_right_trade_places():
    assert jn.mirror_order(NAMES).tolist() == [0, 2, 1, 4, 3]
    assert jn.mirror_order(NAMES, [3, 4]).tolist() == [0, 1, 2, 4, 3]
    assert jn.mirror_order(NAMES, []).tolist() == [0, 1, 2, 3, 4]


def test_a_side_without_a_twin_is_a_mistake():
    with pytest.raises(KeyError, match="right_eye"):
        jn.mirror_order(("nose", "left_eye"))


@pytest.mark.parametrize(
    ("names", "order"), [(jn.SMPL_JOINTS, jn.MIRROR_JOINTS), (jn.BODY_25_NAMES, jn.MIRROR_BODY_25)]
)
def test_the_two_orders_undo_themselves(names, order):
    assert (order[order] == np.arange(len(names))).all()
    for place, name in enumerate(names):
        twin = names[order[place]]
        assert (twin == name) == ("left" not in name and "right" not in name)
        assert sorted(set(name.split("_")) - set(twin.split("_"))) in ([], ["left"], ["right"])
