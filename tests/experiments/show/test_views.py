"""What part of a picture is shown, and how large."""

import numpy as np
import pytest

from experiments.show import style
from experiments.show.render import marks, views
from experiments.show.render.views import View


class TestViews:
    @pytest.mark.parametrize(
        ("image", "size", "scale"),
        [
            ((320, 568), (320, 568), 1),
            ((1920, 1080), (960, 540), 0.5),
            ((481, 271), (480, 270), 1),
            ((1000, 333), (960, 318), 0.96),
        ],
    )
    def test_whole(self, image, size, scale):
        view = views.whole(np.array(image), 960)
        assert view.size == size and view.scale == pytest.approx(scale) and view.corner == (0, 0)

    def test_around_holds_the_points(self):
        points = np.array([[20, 30], [40, 50], [np.nan, 3]])
        view = views.around(points, np.array([200, 100]), 1.5, (150, 100), margin=0.1)
        placed = view.place(points[:2])
        assert (placed > 5).all() and (placed < [145, 95]).all()
        # 20 pixels and margins of 2, 1.5 times as wide as high, in 100 pixels.
        assert view.scale == pytest.approx(100 / 24)
        assert view.corner == pytest.approx((30 - 18, 40 - 12))

    def test_around_stays_in_the_picture(self):
        view = views.around(np.array([[-5.0, 3], [30, 20]]), np.array([200, 100]), 1.0, (60, 60))
        assert view.corner == (0, 0)
        nothing = views.around(np.zeros((0, 2)), np.array([200, 100]), 2.0, (60, 30), margin=0)
        assert nothing.corner == (0, 0) and nothing.scale == pytest.approx(0.3)

    def test_background_cuts_and_scales(self):
        picture = np.zeros((40, 60, 3), np.uint8)
        picture[10:20, 30:40] = [255, 0, 0]
        cut = views.background(picture, np.array([60, 40]), View((30, 10), 2.0, (30, 20)))
        # Scaling mixes pixels with their neighbours.
        assert (cut[2:18, 2:18] == [255, 0, 0]).all() and (cut[:, 22:] == 0).all() and cut.shape == (20, 30, 3)

    def test_background_of_a_finer_picture(self):
        picture = np.zeros((80, 120, 3), np.uint8)
        picture[:, 60:] = 200
        shown = views.background(picture, np.array([60, 40]), views.whole(np.array([60, 40]), 960))
        assert shown.shape == (40, 60, 3)
        assert (shown[:, :29] == 0).all() and (shown[:, 31:] == 200).all()

    def test_background_beyond_the_picture_is_grey(self):
        picture = np.full((40, 60, 3), 7, np.uint8)
        shown = views.background(picture, np.array([60, 40]), View((-10, 0), 1.0, (80, 40)))
        grey = marks.rgb(style.SHADE)
        assert (shown[:, :10] == grey).all() and (shown[:, 10:70] == 7).all() and (shown[:, 70:] == grey).all()
        nothing = views.background(None, np.array([60, 40]), View((0, 0), 1.0, (60, 40)))
        assert (nothing == grey).all()
        beside = views.background(picture, np.array([60, 40]), View((500, 0), 1.0, (20, 20)))
        assert (beside == grey).all()
