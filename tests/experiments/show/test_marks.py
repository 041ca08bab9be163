"""Joints and words on pictures."""

import numpy as np

from experiments.show import style
from experiments.show.render import marks


class TestMarks:
    def test_joints_have_the_colour_of_their_side(self):
        picture = np.full((40, 120, 3), 90, np.uint8)
        pixels = np.zeros((25, 2))
        pixels[[4, 7]] = [[20.5, 20.5], [60.5, 20.5]]  # right and left wrist
        pixels[1] = np.nan
        visible = np.isin(np.arange(25), [1, 4, 7])
        marks.draw_joints(picture, pixels, visible, 3.0)
        assert tuple(picture[20, 20]) == marks.rgb(style.RIGHT)
        assert tuple(picture[20, 60]) == marks.rgb(style.LEFT)
        assert (picture[:, 80:] == 90).all() and (picture[0, 0] == 90).all()

    def test_joints_at_the_edge_and_outside(self):
        picture = np.full((20, 20, 3), 90, np.uint8)
        pixels = np.array([[0.0, 0.0], [-50, 5], [20, 20], [1e9, 3], [5, -1e9]])
        marks.draw_joints(picture, pixels, np.ones(5, bool), 3.0)
        assert (picture[0, 0] != 90).any() and (picture[-1, -1] != 90).any() and (picture[10, 10] == 90).all()

    def test_words_that_are_too_long_are_cut(self):
        text = marks.shorten("a rather long name of a clip", 14, 80)
        assert text.endswith("…") and marks.font(14).getlength(text) <= 80
        assert marks.shorten("short", 14, 80) == "short"
