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
