"""The rasteriser against closed forms and a ray caster, and the meshes laid over a picture."""

import dataclasses

import numpy as np
import pytest
from scipy.spatial import Delaunay
from scipy.spatial.transform import Rotation

from body_models import loaders
from experiments.show.render import shading
from experiments.show.render.rasterizer import Projection, rasterize
from experiments.show.render.shading import Mesh, draw

GREY = 100


def camera(width=16, height=12, focal=10.0, **fields):
    centre = np.array([width / 2, height / 2])
    return Projection(np.eye(3), np.zeros(3), focal, centre, (width, height), **fields)


def picture(cam):
    return np.full((cam.size[1], cam.size[0], 3), GREY, np.uint8)


def at_pixels(cam, pixels, depths):
    """Points in camera axes that are seen at pixels (V, 2) at depths (V,)."""
    depths = np.broadcast_to(depths, len(pixels))
    return np.concatenate([(np.array(pixels) - cam.principal) / cam.focal * depths[:, None], depths[:, None]], 1)


def images(samples, cam):
    """Depth and face of every pixel; inf and -1 where nothing is seen."""
    depth, face = np.full(cam.size[0] * cam.size[1], np.inf), np.full(cam.size[0] * cam.size[1], -1)
    depth[samples.index], face[samples.index] = samples.depth, samples.face
    return depth.reshape(cam.size[::-1]), face.reshape(cam.size[::-1])


def cast_rays(points, faces, cam, both_sides):
    """Nearest hit of the ray through each pixel's centre (Moller and Trumbore, 1997), one pixel and face at a time.

    Also how near, in shares of the corners, any ray comes to an edge: there rounding may decide.
    """
    depth, face = np.full(cam.size[::-1], np.inf), np.full(cam.size[::-1], -1)
    doubt = np.full(cam.size[::-1], np.inf)
    for row in range(cam.size[1]):
        for column in range(cam.size[0]):
            ray = np.array([*((np.array([column, row]) + 0.5 - cam.principal) / cam.focal), 1.0])
            for number, (a, b, c) in enumerate(points[faces]):
                determinant = ray @ np.cross(b - a, c - a)
                if determinant == 0 or (determinant > 0 and not both_sides):
                    continue
                u, v = -(ray @ np.cross(a, c - a)) / determinant, (ray @ np.cross(a, b - a)) / determinant
                at = a @ np.cross(b - a, c - a) / determinant
                inside = min(u, v, 1 - u - v)
                if at > cam.near * 0.5:
                    doubt[row, column] = min(doubt[row, column], abs(inside), abs(at - cam.near))
                if inside >= 0 and cam.near <= at < depth[row, column]:
                    depth[row, column], face[row, column] = at, number
    return depth, face, doubt


def sphere(radius, centre, rings=48):
    """A closed ball of 2 * rings * rings faces, counter-clockwise from outside."""
    polar, around = np.linspace(0, np.pi, rings + 1), np.linspace(0, 2 * np.pi, 2 * rings, endpoint=False)
    p, a = np.meshgrid(polar, around, indexing="ij")
    unit = np.stack([np.sin(p) * np.cos(a), np.sin(p) * np.sin(a), np.cos(p)], -1).reshape(-1, 3)
    i, j = (x.ravel() for x in np.meshgrid(np.arange(rings), np.arange(2 * rings), indexing="ij"))
    k = (j + 1) % (2 * rings)
    corner = lambda ring, place: ring * 2 * rings + place
    faces = np.concatenate(
        [
            np.stack([corner(i, j), corner(i + 1, j), corner(i + 1, k)], -1),
            np.stack([corner(i, j), corner(i + 1, k), corner(i, k)], -1),
        ]
    )
    return unit * radius + centre, faces


# As seen in the picture, whose y points down, these corners turn counter-clockwise.
QUAD = np.array([[0, 1, 2], [0, 2, 3]])


def quad(cam, left, top, right, bottom, depth):
    return at_pixels(cam, [[left, top], [left, bottom], [right, bottom], [right, top]], depth)


class TestCoverage:
    def test_a_rectangle_covers_the_centres_inside_it(self):
        cam = camera()
        # Centres 2.5 to 6.5 across, 1.5 to 3.5 down.
        samples = rasterize(quad(cam, 2.4, 1.1, 6.9, 4.1, 3.0), QUAD, cam)
        expected = np.zeros(cam.size[::-1], bool)
        expected[1:4, 2:7] = True
        depth, face = images(samples, cam)
        np.testing.assert_array_equal(face >= 0, expected)
        np.testing.assert_allclose(depth[expected], 3.0, rtol=1e-12)
        np.testing.assert_allclose(samples.weights.sum(0), 1.0)
        assert len(np.unique(samples.index)) == len(samples.index)

    def test_weights_give_back_the_point(self):
        cam = camera()
        points = at_pixels(cam, [[1, 1], [3, 11], [15, 5]], [2.0, 7.0, 4.0])
        samples = rasterize(points, np.array([[0, 1, 2]]), cam)
        assert len(samples.index) > 40
        found = np.einsum("cp,cd->pd", samples.weights, points)
        row, column = np.divmod(samples.index, cam.size[0])
        np.testing.assert_allclose(
            found[:, :2] / found[:, 2:] * cam.focal + cam.principal, np.stack([column, row], -1) + 0.5, atol=0.01
        )
        np.testing.assert_allclose(found[:, 2], samples.depth, rtol=1e-9)

    def test_depth_is_that_of_the_plane(self):
        cam = camera(40, 30, 25.0)
        normal, offset = np.array([0.3, -0.5, -1.0]), -4.0  # the plane normal . x = offset
        rays = at_pixels(cam, [[2, 3], [5, 28], [36, 25]], 1.0)
        points = rays * (offset / (rays @ normal))[:, None]
        samples = rasterize(points, np.array([[0, 1, 2]]), cam)
        row, column = np.divmod(samples.index, cam.size[0])
        through = at_pixels(cam, np.stack([column, row], -1) + 0.5, 1.0)
        np.testing.assert_allclose(samples.depth, offset / (through @ normal), rtol=2e-4)

    @pytest.mark.parametrize("seed", range(4))
    def test_the_same_as_casting_rays(self, seed):
        rng = np.random.default_rng(seed)
        cam = camera(20, 15, 12.0, near=0.5)
        # Large, small, in front of, across and behind the near plane, beside and around the picture.
        middles = rng.normal(size=(25, 1, 3)) * [1.5, 1.0, 1.5] + [0, 0, 2.0]
        points = (middles + rng.normal(size=(25, 3, 3)) * rng.choice([0.05, 0.5, 4.0], (25, 1, 1))).reshape(-1, 3)
        faces = np.arange(75).reshape(-1, 3)
        both_sides = bool(seed % 2)
        true_depth, true_face, doubt = cast_rays(points, faces, cam, both_sides)
        depth, face = images(rasterize(points, faces, cam, both_sides), cam)
        sure = doubt > 0.02
        assert sure.mean() > 0.5 and (true_face[sure] >= 0).sum() > 10
        np.testing.assert_array_equal(face[sure], true_face[sure])
        hit = sure & (true_face >= 0)
        np.testing.assert_allclose(depth[hit], true_depth[hit], rtol=0.02)

    def test_faces_that_share_edges_leave_no_gap(self):
        rng = np.random.default_rng(0)
        cam = camera(64, 48, 50.0)
        # From specks below a pixel to triangles across the picture.
        inner = rng.uniform([0, 0], cam.size, (3000, 2)) ** 2 / np.array(cam.size)
        pixels = np.concatenate([inner, [[-900, -900], [-900, 2000], [2000, 2000], [2000, -900]]])
        faces = Delaunay(pixels).simplices
        samples = rasterize(at_pixels(cam, pixels, 2.0), faces, cam, both_sides=True)
        assert len(samples.index) == 64 * 48

    @pytest.mark.parametrize("size", [10, 47, 200])
    def test_a_dense_ball_has_no_holes_and_its_outline(self, size):
        cam = camera(size, size, size * 1.0)
        radius, distance = 1.0, 2.6
        outline = cam.focal * radius / np.sqrt(distance**2 - radius**2)
        x = np.arange(size) + 0.5 - size / 2
        from_centre = np.hypot(x, x[:, None])
        for seed in range(5):
            points, faces = sphere(radius, 0)
            points = points @ Rotation.random(random_state=seed).as_matrix().T + [0, 0, distance]
            _, face = images(rasterize(points, faces, cam), cam)
            assert (face[from_centre < 0.995 * outline - 0.01] >= 0).all()
            assert (face[from_centre > outline + 0.01] == -1).all()

    def test_the_body_has_no_holes_from_any_side(self):
        body = loaders.read_arrays(loaders.OPEN_BODY)
        for turn in range(6):
            cam = camera(60, 80, 80.0)
            points = body["v_template"] @ Rotation.from_euler("yx", [turn, 0.4 * turn]).as_matrix().T + [0, 0, 2.5]
            front, _ = images(rasterize(points, body["f"], cam), cam)
            both, _ = images(rasterize(points, body["f"], cam, both_sides=True), cam)
            # A closed surface shows its front wherever it shows anything.
            assert np.isfinite(front).sum() > 200
            np.testing.assert_array_equal(front, both)

    def test_huge_triangles(self):
        cam = camera(640, 360, 500.0)
        samples = rasterize(quad(cam, -60000, -50000, 70000, 40000, 0.1), QUAD, cam)
        assert len(samples.index) == 640 * 360
        np.testing.assert_allclose(samples.depth, 0.1)

    def test_back_faces(self):
        cam = camera()
        points = quad(cam, 2, 2, 9, 9, 3.0)
        assert len(rasterize(points, QUAD[:, ::-1], cam).index) == 0
        both = rasterize(points, QUAD[:, ::-1], cam, both_sides=True)
        assert len(both.index) == 49
        found = np.einsum("cp,cpd->pd", both.weights, points[QUAD[:, ::-1][both.face]].transpose(1, 0, 2))
        np.testing.assert_allclose(found[:, 0], ((both.index % 16) + 0.5 - 8) / 10 * 3, atol=0.01)

    def test_degenerate_and_distant_faces_are_not_seen(self):
        cam = camera()
        points = np.array([[0, 0, 2.0], [0, 0, 2.0], [1, 0, 2.0], [9, 0, 2.0], [9, 1, 2.0], [10, 1, 2.0]])
        assert len(rasterize(points, np.array([[0, 1, 2], [3, 4, 5]]), cam, both_sides=True).index) == 0


class TestNearPlane:
    def test_a_floor_that_passes_under_the_camera(self):
        cam = camera(20, 20, 10.0, near=0.5)
        floor = np.array([[-500, 1, -50], [500, 1, -50], [500, 1, 2000], [-500, 1, 2000.0]])
        samples = rasterize(floor, QUAD, cam)
        depth, face = images(samples, cam)
        # Pixel rows below the horizon see the floor at focal / (y - principal), all of it beyond the near plane.
        rows = np.arange(10, 20)
        np.testing.assert_allclose(depth[10:], np.repeat((10 / (rows + 0.5 - 10))[:, None], 20, 1), rtol=0.02)
        assert (face[:10] == -1).all()
        found = np.einsum("cp,cpd->pd", samples.weights, floor[QUAD[samples.face]].transpose(1, 0, 2))
        np.testing.assert_allclose(found[:, 1], 1.0, rtol=1e-9)
        np.testing.assert_allclose(found[:, 2], samples.depth, rtol=1e-9)

    def test_what_is_behind_is_not_drawn(self):
        cam = camera()
        out = draw(picture(cam), [Mesh(quad(cam, 0, 0, 16, 12, -3.0), QUAD, closed=False)], cam)
        np.testing.assert_array_equal(out, GREY)

    def test_standing_inside_a_ball(self):
        points, faces = sphere(1.0, [0, 0, 0.2])
        cam = camera(near=0.05)
        assert len(rasterize(points, faces, cam).index) == 0
        assert len(rasterize(points, faces[:, ::-1], cam).index) == 16 * 12


class TestDraw:
    light = np.asarray(shading.LIGHT) / np.linalg.norm(shading.LIGHT)

    def lit(self, facing):
        return shading.AMBIENT + (1 - shading.AMBIENT) * max(facing, 0.0)

    def test_flat_colour(self):
        cam = camera()
        colour = np.array([0.2, 0.5, 1.0])
        out = draw(picture(cam), [Mesh(quad(cam, 4, 3, 8, 6, 2.0), QUAD, colour)], cam)
        expected = picture(cam)
        expected[3:6, 4:8] = np.floor(255 * colour * self.lit(-self.light[2]) + 0.5)
        np.testing.assert_array_equal(out, expected)

    def test_a_ball_is_shaded_smoothly(self):
        cam = camera(120, 120, 200.0)
        centre = np.array([0, 0, 5.0])
        points, faces = sphere(1.0, centre)
        samples = rasterize(points, faces, cam)
        shown = shading.shade(Mesh(points, faces, (1.0, 0.5, 0.0)), points, samples)
        row, column = np.divmod(samples.index, 120)
        rays = at_pixels(cam, np.stack([column, row], -1) + 0.5, 1.0)
        # |t ray - centre| = 1, the nearer of the two.
        b, a = rays @ centre, (rays**2).sum(1)
        under = b**2 - a * (centre @ centre - 1)
        inside = under > 0.3
        normals = ((b - np.sqrt(np.maximum(under, 0))) / a)[:, None] * rays - centre
        expected = [self.lit(n @ self.light) for n in normals]
        np.testing.assert_allclose(shown[inside, 0], np.array(expected)[inside], atol=0.02)
        np.testing.assert_allclose(shown[:, 1], shown[:, 0] / 2)
        assert shown[inside, 0].max() > 0.98 and shown[inside, 0].min() < 0.5

    def test_the_world_is_seen_through_the_camera(self):
        cam = camera()
        turn = Rotation.from_rotvec([0.3, -0.8, 0.1]).as_matrix()
        moved = dataclasses.replace(cam, camera_from_world=turn, translation=np.array([0.1, -0.2, 0.5]))
        points = quad(cam, 4, 3, 8, 6, 2.0)
        world = (points - moved.translation) @ turn
        np.testing.assert_array_equal(
            draw(picture(cam), [Mesh(world, QUAD)], moved), draw(picture(cam), [Mesh(points, QUAD)], cam)
        )

    def test_the_nearer_covers_the_farther_in_any_order(self):
        cam = camera()
        near, far = quad(cam, 2, 2, 8, 8, 2.0), quad(cam, 4, 4, 12, 10, 3.0)
        red, blue = Mesh(near, QUAD, (1.0, 0, 0)), Mesh(far, QUAD, (0, 0, 1.0))
        out = draw(picture(cam), [red, blue], cam)
        np.testing.assert_array_equal(out, draw(picture(cam), [blue, red], cam))
        assert out[6, 6, 0] > 100 and out[6, 6, 2] == 0
        assert out[9, 10, 2] > 100 and out[9, 10, 0] == 0
        assert (out[0, 0] == GREY).all()

    def test_bodies_that_run_through_each_other(self):
        cam = camera()
        points = quad(cam, 0, 0, 16, 12, 1.0)
        slanted = points * np.array([1.0, 2, 2, 1])[:, None]  # nearer at the top
        upright = points * 1.4
        out = draw(picture(cam), [Mesh(slanted, QUAD, (1.0, 0, 0)), Mesh(upright, QUAD, (0, 0, 1.0))], cam)
        assert (out[:4, :, 0] > 0).all() and (out[:4, :, 2] == 0).all()
        assert (out[-3:, :, 2] > 0).all() and (out[-3:, :, 0] == 0).all()

    def test_see_through(self):
        cam = camera()
        brightness = self.lit(-self.light[2])
        front = Mesh(quad(cam, 2, 2, 8, 8, 2.0), QUAD, (1.0, 0, 0), alpha=0.25)
        back = Mesh(quad(cam, 2, 2, 8, 8, 3.0), QUAD, (0, 1.0, 0), alpha=0.5)
        for meshes in ([front, back], [back, front]):
            seen = draw(picture(cam), meshes, cam)[5, 5]
            expected = [255 * 0.25 * brightness, 255 * 0.75 * 0.5 * brightness, 0] + np.array(0.75 * 0.5 * GREY)
            np.testing.assert_allclose(seen, expected, atol=1)
        alone = draw(picture(cam), [front], cam)[5, 5]
        np.testing.assert_allclose(alone, [255 * 0.25 * brightness + 75, 75, 75], atol=1)

    def test_edges_are_smooth(self):
        cam = camera()
        # The rectangle ends in the middle of column 8: 2 of 4 samples across are covered.
        out = draw(picture(cam), [Mesh(quad(cam, 4, 3, 8.5, 6, 2.0), QUAD, (0, 0, 0))], cam, supersample=4)
        np.testing.assert_array_equal(out[4, 7:10, 0], [0, GREY / 2, GREY])

    def test_colours_of_vertices_and_of_faces(self):
        cam = camera(160, 120, 100.0)
        points = quad(cam, 10, 10, 150, 110, 2.0)
        brightness = self.lit(-self.light[2])
        corner = np.array([[0.0, 0, 0], [0, 0, 0], [1, 1, 1], [1, 1, 1]])
        out = draw(picture(cam), [Mesh(points, QUAD, corner)], cam)
        # Black at the left to white at the right.
        across = (np.arange(10, 150) + 0.5 - 10) / 140 * 255 * brightness
        np.testing.assert_allclose(out[60, 10:150, 0], across, atol=1.5)
        out = draw(picture(cam), [Mesh(points, QUAD, np.eye(3)[:2], by_face=True)], cam)
        assert out[100, 20, 0] > 0 == out[100, 20, 1] and out[20, 140, 1] > 0 == out[20, 140, 0]

    def test_a_view_is_a_part_of_the_whole(self):
        points, faces = sphere(1.0, [0.3, 0.1, 4.0], rings=12)
        cam = camera(64, 48, 60.0)
        whole = draw(picture(cam), [Mesh(points, faces)], cam)
        part = cam.view((20, 10), 1.0, (30, 20))
        np.testing.assert_array_equal(draw(picture(part), [Mesh(points, faces)], part), whole[10:30, 20:50])
        twice = cam.view((0, 0), 2.0, (128, 96))
        larger = draw(picture(twice), [Mesh(points, faces)], twice, supersample=1)
        averaged = larger.reshape(48, 2, 64, 2, 3).mean((1, 3))
        np.testing.assert_allclose(averaged, whole, atol=1)

    def test_the_picture_is_left_alone(self):
        cam = camera()
        before = picture(cam)
        assert draw(before, [], cam) is not before
        draw(before, [Mesh(quad(cam, 4, 3, 8, 6, 2.0), QUAD)], cam)
        assert (before == GREY).all()

    def test_bad_arguments(self):
        cam = camera()
        with pytest.raises(ValueError, match=r"shape is \(5, 5, 3\), the camera's size \(16, 12\)"):
            draw(np.zeros((5, 5, 3), np.uint8), [], cam)
        with pytest.raises(ValueError, match="not finite"):
            draw(picture(cam), [Mesh(np.full((4, 3), np.nan), QUAD)], cam)


def test_vertex_normals():
    points, faces = sphere(2.0, 0)
    np.testing.assert_allclose(shading.vertex_normals(points, faces), points / 2, atol=0.05)
    alone = shading.vertex_normals(np.eye(3), np.zeros((0, 3), int))
    np.testing.assert_array_equal(alone, 0)
