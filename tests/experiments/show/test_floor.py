"""The grid of the floor: it stands still, where the camera sees it."""

import dataclasses

import numpy as np

from experiments.show.render import floor, marks
from experiments.show.render.rasterizer import Projection


class TestFloor:
    # 2 m above the floor, looking down by 30 degrees along -z.
    TURN = np.array([[1, 0, 0], [0, -np.cos(np.pi / 6), 0.5], [0, -0.5, -np.cos(np.pi / 6)]])

    def camera(self):
        return Projection(self.TURN, -self.TURN @ [0, 2.0, 0], 100.0, np.array([80.0, 60.0]), (160, 120))

    def test_the_grid_stands_still_around_the_feet(self):
        start, end, strength = floor.lines(np.array([0.1, -3.2]))
        np.testing.assert_allclose(np.linalg.norm(end - start, axis=-1), 0.5)
        np.testing.assert_allclose(np.concatenate([start, end]) * 2 % 1, 0, atol=1e-12)
        assert (start[:, 1] == 0).all() and (strength > 0).all() and strength.max() > 0.98
        assert np.abs((start + end)[:, [0, 2]] / 2 - [0.1, -3.2]).max() < 3.0
        # A step of less than half a square moves no line, only how strong they are.
        again = floor.lines(np.array([0.2, -3.15]))[0]
        common = {tuple(row) for row in start} & {tuple(row) for row in again}
        assert len(common) > 0.9 * len({tuple(row) for row in start})

    def test_corners_are_where_the_camera_sees_them(self):
        ends = np.array([[0.5, 0, -3.0]]), np.array([[0.5, 0, -3.5]])
        found = floor.in_picture(*ends, self.camera())
        for pixel, z in zip(found[:2], (3.0, 3.5), strict=True):
            depth = z * np.cos(np.pi / 6) + 2 * 0.5
            below = 2 * np.cos(np.pi / 6) - z * 0.5
            np.testing.assert_allclose(pixel[0], [80 + 50 / depth, 60 + 100 * below / depth])

    def test_lines_behind_the_camera_vanish_and_others_are_cut(self):
        camera = dataclasses.replace(self.camera(), near=0.1)
        start = np.array([[0.5, 0, 5.0], [0.0, 0, 5.0]])
        end = np.array([[0.5, 0, 4.0], [0.0, 0, -5.0]])
        first, last, kept = floor.in_picture(start, end, camera)
        assert kept.tolist() == [1]
        # At the near plane z is (1 - 0.1) / cos 30.
        below = 2 * np.cos(np.pi / 6) + 0.9 / np.cos(np.pi / 6) * 0.5
        np.testing.assert_allclose(first[0], [80, 60 + 100 * below / 0.1])
        assert last[0, 1] < 120

    def test_lines_are_smooth_and_end_at_the_picture(self):
        picture = np.zeros((4, 6, 3), np.uint8)
        marks.draw_lines(picture, np.array([[-1e9, 1.75]]), np.array([[1e9, 1.75]]), np.array([1.0]), "#FFFFFF")
        assert (picture[1] == 191).all() and (picture[2] == 64).all() and not picture[[0, 3]].any()
        picture[:] = 0
        marks.draw_lines(picture, np.array([[2.5, 9.0]]), np.array([[2.5, 1.0]]), np.array([0.5]), "#FFFFFF")
        assert (picture[1:, 2] == 128).all() and picture.sum() == 3 * 3 * 128

    def test_a_shadow_lies_below_a_line_and_ends_at_the_picture(self):
        ends = np.array([[0.0, 1.5], [5.5, 4.0]]), np.array([[4.5, 1.5], [5.5, 0.0]])
        whole, apart = (np.full((4, 6, 3), 100, np.uint8) for _ in range(2))
        marks.draw_lines(whole, *ends, np.array([0.5, 1.0]), "#FFFFFF", "#000000")
        marks.draw_lines(apart, ends[0] + 1, ends[1] + 1, np.array([0.5, 1.0]), "#000000")
        marks.draw_lines(apart, *ends, np.array([0.5, 1.0]), "#FFFFFF")
        np.testing.assert_array_equal(whole, apart)
        assert whole[..., 0].tolist() == [
            [100, 100, 100, 100, 100, 255],
            [178, 178, 178, 178, 100, 255],
            [100, 50, 50, 50, 50, 255],
            [100, 100, 100, 100, 100, 255],
        ]
