import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nemo_jax import camera as cam
from tests.nemo_jax import helpers

seeds = st.integers(0, 2**31 - 1)


def f32(x):
    return jnp.asarray(x, jnp.float32)


join_and_split = jax.jit(lambda r, t: cam.split(cam.join(r, t)))
project = jax.jit(cam.project)
look = jax.jit(lambda c, x, f, p: cam.project(cam.to_camera(c, x), f, p, 0.2))
solve = jax.jit(cam.solve_translation)
unlevel = jax.jit(cam.unlevel)


@given(seed=seeds)
@settings(max_examples=15, deadline=None)
def test_a_camera_is_its_rotation_and_translation(seed):
    rng = np.random.default_rng(seed)
    rotation, translation = helpers.rotation(rng.normal(size=(4, 3)) * 2), rng.normal(size=(4, 3))
    found = join_and_split(f32(rotation), f32(translation))
    np.testing.assert_allclose(found[0], rotation, atol=1e-6)
    np.testing.assert_allclose(found[1], translation, atol=1e-6)


@given(seed=seeds)
@settings(max_examples=15, deadline=None)
def test_pixels_are_those_of_the_pinhole(seed):
    rng = np.random.default_rng(seed)
    rotation, translation = helpers.rotation(rng.normal(size=3)), np.array([0.2, -0.1, 6.0])
    points, principal = rng.uniform(-1, 1, (7, 3)), np.array([640.0, 360.0])
    seen = points @ rotation.T + translation
    expected = 1500 * seen[:, :2] / seen[:, 2:] + principal
    found = look(cam.join(f32(rotation), f32(translation)), f32(points), 1500.0, f32(principal))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=2e-3)


@given(seed=seeds)
@settings(max_examples=10, deadline=None)
def test_a_camera_is_level_at_any_yaw_and_pitch(seed):
    rng = np.random.default_rng(seed)
    yaw, pitch, roll = rng.uniform(-np.pi, np.pi), rng.uniform(-1.4, 1.4), rng.uniform(-np.pi, np.pi)
    level = helpers.rotation([pitch, 0, 0]) @ helpers.level_matrix(yaw)
    rolled = helpers.rotation([0, 0, roll]) @ level
    cameras = cam.join(f32(np.stack([level, rolled])), jnp.zeros((2, 3)))
    np.testing.assert_allclose(unlevel(cameras), [0, np.cos(pitch) ** 2 * (1 - np.cos(roll))], atol=1e-5)


def test_points_behind_the_lens_count_as_near():
    points = f32([[0.1, 0.2, -3.0], [0.1, 0.2, 0.0], [0.1, 0.2, 0.1], [0.1, 0.2, 0.5]])
    found = project(points, 100.0, jnp.zeros(2), 0.2)
    np.testing.assert_allclose(found, 100 * np.array([[0.5, 1], [0.5, 1], [0.5, 1], [0.2, 0.4]]), rtol=1e-6)
    gradient = jax.jit(jax.jacobian(project), static_argnums=())(points, 100.0, jnp.zeros(2), 0.2)
    assert jnp.isfinite(gradient).all()
    # They are drawn sideways, and not in depth: d x / d X = f / near, d x / d Z = 0.
    np.testing.assert_allclose(gradient[0, 0, 0], [500.0, 0, 0], rtol=1e-6)
    np.testing.assert_allclose(gradient[3, 0, 3], [200.0, 0, -40.0], rtol=1e-6)


def test_without_the_guard_projection_is_plain():
    points = f32([[0.1, 0.2, -3.0], [0.3, -0.2, 2.0]])
    expected = 100 * np.array([[-0.1 / 3, -0.2 / 3], [0.15, -0.1]]) + [10, 20]
    np.testing.assert_allclose(project(points, 100.0, f32([10, 20]), 0.0), expected, rtol=1e-6)


def test_projection_gradient_agrees_with_differences():
    rng = np.random.default_rng(0)
    camera, points = rng.normal(size=9) * 0.3 + [0, 0, 5, 1, 0, 0, 1, 0, 0], rng.normal(size=(4, 3)) * 0.5
    with jax.enable_x64(True):
        scalar = jax.jit(
            lambda c: jnp.sum(jnp.sin(cam.project(cam.to_camera(c, jnp.asarray(points)), 3.0, jnp.ones(2), 0.2)))
        )
        expected = helpers.numerical_gradient(scalar, camera)
        np.testing.assert_allclose(jax.jit(jax.grad(scalar))(jnp.asarray(camera)), expected, rtol=1e-7, atol=1e-8)


def test_principal_points():
    size = f32([[1281, 721], [640, 1081]])
    np.testing.assert_array_equal(cam.principal_points(size, swapped=False), [[640.5, 360.5], [320, 540.5]])
    # Published: the largest height and width of all, halved downwards, the height in the place of x.
    np.testing.assert_array_equal(cam.principal_points(size, swapped=True), [[540, 640], [540, 640]])


def test_focal_lengths_where_known():
    found = cam.focal_lengths(f32([1000, np.nan]), f32([[300, 400], [300, 400]]), 1.5)
    np.testing.assert_allclose(found, [1000, 750])


def test_level_camera():
    turns = np.linspace(0, 2 * np.pi, 9)
    found = np.asarray(cam.level_camera(f32(turns)))
    np.testing.assert_allclose(found, np.stack([helpers.level_matrix(y) for y in turns]), atol=1e-6)
    np.testing.assert_allclose(np.linalg.det(found), np.ones(9), atol=1e-6)
    front, up = found @ [0, 0, 1.0], found @ [0, 1.0, 0]
    np.testing.assert_allclose(front[0], [0, 0, -1], atol=1e-6)  # looks into the lens
    np.testing.assert_allclose(front[2], [1, 0, 0], atol=1e-6)  # towards the right edge
    np.testing.assert_allclose(up, np.tile([0, -1.0, 0], (9, 1)), atol=1e-6)
    # Its own left hand shows on the right of the image when it faces the camera.
    np.testing.assert_allclose(found[0] @ [1, 0, 0], [1, 0, 0], atol=1e-6)


@given(seed=seeds)
@settings(max_examples=30, deadline=None)
def test_solve_translation_is_exact_without_noise(seed):
    rng = np.random.default_rng(seed)
    points = helpers.rotation(rng.normal(size=3)) @ rng.uniform(-1, 1, (3, 9))
    points, translation = points.T, np.append(rng.uniform(-2, 2, 2), rng.uniform(3, 20))
    seen = points + translation
    pixels = 1500 * seen[:, :2] / seen[:, 2:] + [640, 360]
    weights = rng.uniform(0.1, 1, 9)
    weights[:2], pixels[:2] = 0, 1e4  # left out, wherever they are
    found = solve(f32(points), f32(pixels), f32(weights), 1500.0, f32([640, 360]))
    np.testing.assert_allclose(found, translation, rtol=2e-4, atol=2e-3)


def test_solve_translation_weighs_least_squares():
    rng = np.random.default_rng(3)
    points, weights = rng.uniform(-1, 1, (12, 3)), rng.uniform(0, 1, 12)
    seen = points + [0.3, -0.2, 6.0]
    ray = seen[:, :2] / seen[:, 2:] + 0.01 * rng.normal(size=(12, 2))
    rows, right = [], []
    for (u, v), (x, y, z), w in zip(ray, points, np.sqrt(weights), strict=True):
        rows += [[w, 0, -w * u], [0, w, -w * v]]
        right += [w * (u * z - x), w * (v * z - y)]
    expected = np.linalg.lstsq(np.array(rows), np.array(right), rcond=None)[0]
    found = solve(f32(points), f32(1000 * ray + 7), f32(weights), 1000.0, f32([7, 7]))
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.parametrize("seen", [0, 1])
def test_solve_translation_with_next_to_nothing(seen):
    points, weights = f32(np.random.default_rng(0).normal(size=(5, 3))), np.zeros(5)
    weights[:seen] = 1
    found = solve(points, jnp.full((5, 2), 50.0), f32(weights), 100.0, jnp.zeros(2))
    assert jnp.isfinite(found).all()
    assert found[2] >= 0.5
    if seen:
        np.testing.assert_allclose(project(points[:1] + found, 100.0, jnp.zeros(2), 0.0), [[50, 50]], rtol=1e-3)


def test_wrong_sizes_are_refused():
    with pytest.raises(AssertionError):
        cam.split(jnp.zeros(8))


# --- cameras from nothing ---

solve_camera = jax.jit(cam.solve_camera)
slopes = jax.jit(jax.jacobian(cam.solve_camera, argnums=(0, 1, 2, 3)))
PRINCIPAL = np.array([640.0, 360.0])


def seen_by_chance(rng, count=60):
    """Points in the world, a rotation and a translation that look at them from 3 to 10 m, and their pixels, float64."""
    points = rng.uniform(-1, 1, (count, 3)) * [0.6, 1.0, 0.6] + rng.uniform(-2, 2, 3)
    rotation = helpers.rotation(rng.normal(size=3) * 2)
    translation = np.append(rng.uniform(-1, 1, 2), rng.uniform(3, 10)) - rotation @ points.mean(0)
    seen = points @ rotation.T + translation
    return points, rotation, translation, 1500 * seen[:, :2] / seen[:, 2:] + PRINCIPAL


def solved(points, pixels, weights):
    rotation, translation = cam.split(solve_camera(f32(points), f32(pixels), f32(weights), 1500.0, f32(PRINCIPAL)))
    return np.float64(rotation), np.float64(translation)


def degrees_between(a, b):
    return np.degrees(np.arccos(np.clip((np.trace(a @ b.T) - 1) / 2, -1, 1)))


@pytest.mark.parametrize("seed", range(8))
def test_solve_camera_is_exact_without_noise(seed):
    rng = np.random.default_rng(seed)
    points, rotation, translation, pixels = seen_by_chance(rng)
    weights = rng.uniform(0.1, 1, len(points))
    weights[:6], pixels[:6], points[:3] = 0, 1e5, 1e3  # left out, wherever they are
    found = solved(points, pixels, weights)
    assert degrees_between(found[0], rotation) < 0.2
    np.testing.assert_allclose(found[1], translation, atol=0.02)


@pytest.mark.parametrize("seed", range(8))
def test_solve_camera_passes_over_outliers(seed):
    rng = np.random.default_rng(seed)
    points, rotation, translation, pixels = seen_by_chance(rng, 100)
    pixels[:15] = pixels.mean(0) + rng.uniform(-400, 400, (15, 2))
    found = solved(points, pixels, np.ones(100))
    assert degrees_between(found[0], rotation) < 6
    np.testing.assert_allclose(found[1], translation, atol=0.1 * np.linalg.norm(translation))
    # Outliers as heavy as all others would be worse.
    heavy = cam.solve_camera(f32(points), f32(pixels), jnp.ones(100), 1500.0, f32(PRINCIPAL), robust=1e3)
    assert degrees_between(found[0], rotation) < degrees_between(np.float64(cam.split(heavy)[0]), rotation)


@pytest.mark.parametrize("case", ["in a plane", "on a line", "one point", "nothing", "far off"])
def test_solve_camera_is_finite(case):
    rng = np.random.default_rng(5)
    points, _, _, pixels = seen_by_chance(rng, 12)
    weights = np.ones(12)
    if case == "in a plane":
        points[:, 2] = 0.5
    elif case == "on a line":
        points[:, 1:] = 0.5
    elif case == "one point":
        points[:], pixels[:] = points[0], pixels[0]
    elif case == "nothing":
        weights[:], pixels[:] = 0, 0
    else:
        pixels += 1e6
    arguments = (f32(points), f32(pixels), f32(weights), jnp.asarray(1500.0), f32(PRINCIPAL))
    found = solve_camera(*arguments)
    assert jnp.isfinite(found).all()
    turn = np.float64(cam.split(found)[0])
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-5)
    # Of pixels that no camera sees, rounding leaves no slopes.
    assert case == "far off" or helpers.all_finite(slopes(*arguments))


def test_solve_camera_keeps_its_least_depth():
    points, _, _, pixels = seen_by_chance(np.random.default_rng(1))
    wide = PRINCIPAL + 1000 * (pixels - PRINCIPAL)
    camera = cam.solve_camera(f32(points), f32(wide), jnp.ones(len(points)), 1500.0, f32(PRINCIPAL), min_depth=2.0)
    depth = np.float64(cam.to_camera(camera, f32(points))).mean(0)[2]
    np.testing.assert_allclose(depth, 2.0, rtol=1e-3)


@pytest.mark.parametrize(("lens", "narrow"), [(0.7, 1.0), (1.0, 1.0), (4.0, 0.25)])
@pytest.mark.parametrize("depth", [0.3, 5.0, 40.0])
def test_steps_move_pictures_alike(lens, narrow, depth):
    sizes = np.asarray(cam.step_sizes(jnp.zeros((2, 9)).at[:, 2].set(depth), jnp.full(2, lens)))
    np.testing.assert_allclose(sizes[0], sizes[1])
    np.testing.assert_allclose(sizes[0, 3:], narrow)
    np.testing.assert_allclose(sizes[0, :3], max(depth, 1.0) * np.array([narrow, narrow, 1.0]))
