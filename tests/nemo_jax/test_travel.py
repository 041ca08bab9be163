"""Where the body goes before cameras are searched: closed forms against known paths, and the field that is set to them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nemo_jax import camera as cam
from nemo_jax import camera_search, model, travel
from nemo_jax.config import FitConfig
from nemo_jax.moving import View
from nemo_jax.priors import Priors
from tests.nemo_jax import helpers, points

RNG = np.random.default_rng(0)
CONFIG = FitConfig(hidden=64, num_centres=20)
FOCAL, PRINCIPAL = 1400.0, np.array([640.0, 360.0])


@pytest.mark.parametrize("yaw", [0.0, 1.2, -2.5])
def test_a_clip_tells_where_its_body_is(yaw):
    body = RNG.uniform(-0.8, 0.8, (6, 25, 3)).astype(np.float32)
    path = np.stack([np.linspace(-1.5, 1.5, 6), 0.2 * np.arange(6) % 0.5, np.linspace(1, -1, 6)], -1)
    rotation, translation = helpers.level_matrix(yaw), np.array([0.3, -0.1, 7.0])
    seen = (body + path[:, None]) @ rotation.T + translation
    pixels = FOCAL * seen[..., :2] / seen[..., 2:] + PRINCIPAL
    weights = np.ones((6, 25), np.float32)
    weights[2, :5] = 0
    pixels[2, :5] = 1e4
    given, lens = map(jnp.float32, (body, pixels, weights)), map(jnp.float32, (FOCAL, PRINCIPAL, yaw))
    found = np.asarray(jax.jit(travel.path_of_clip)(*given, None, *lens))
    np.testing.assert_allclose(found - found[0], path - path[0], atol=2e-3)


def test_a_camera_that_pans_and_zooms_sees_the_same_path():
    body = RNG.uniform(-0.8, 0.8, (6, 25, 3))
    path = np.linspace(-1.5, 1.5, 6)[:, None] * [1.0, 0.0, 0.3]
    seen = (body + path[:, None]) @ helpers.level_matrix(0.4).T + [0.3, -0.1, 7.0]
    turn = helpers.rotation(np.linspace(0, 0.3, 6)[:, None] * [0.1, 1.0, 0.0])
    zoom = np.linspace(1, 1.4, 6)
    turned = np.einsum("pij,pkj->pki", turn, seen)
    pixels = (FOCAL * zoom)[:, None, None] * turned[..., :2] / turned[..., 2:] + PRINCIPAL
    views = View(turn=jnp.float32(turn), zoom=jnp.float32(zoom))
    given, lens = map(jnp.float32, (body, pixels, np.ones((6, 25)))), map(jnp.float32, (FOCAL, PRINCIPAL, 0.4))
    found = np.asarray(jax.jit(travel.path_of_clip)(*given, views, *lens))
    np.testing.assert_allclose(found - found[0], path - path[0], atol=2e-3)


def test_paths_become_cubic_polynomials():
    phases, at = np.sort(RNG.uniform(0, 1, 20)), np.linspace(0, 1, 9)
    coefficients = RNG.normal(0, 1, (3, 3))
    powers = lambda x: x[:, None] ** np.arange(1, 4)
    weights = RNG.uniform(0.5, 2, 20)
    path = powers(phases) @ coefficients + [4.0, 5.0, 6.0]
    found = np.asarray(travel.smoothed(*map(jnp.float32, (phases, path, weights, at))))
    np.testing.assert_allclose(found, powers(at) @ coefficients, atol=0.1)
    np.testing.assert_allclose(found[0], 0, atol=1e-6)
    # A frame that shows nobody does not count, wherever it says the body is.
    path[3], weights[3] = 1e3, 0
    again = np.asarray(travel.smoothed(*map(jnp.float32, (phases, path, weights, at))))
    np.testing.assert_allclose(again, found, atol=0.1)


def test_one_frame_or_none_stays_in_place():
    for weights in (np.zeros(4), np.array([0.0, 1, 0, 0])):
        found = travel.smoothed(*map(jnp.float32, (np.linspace(0, 1, 4), RNG.normal(size=(4, 3)), weights, [0.0, 1.0])))
        np.testing.assert_allclose(found, 0, atol=1e-4)


def test_the_common_path_is_what_clips_agree_on():
    way = np.linspace(0, 1, 12)[:, None] * [3.0, 0.0, 1.0]
    paths = np.stack([way, way, way, -5 * way])
    known = jnp.ones(4)
    np.testing.assert_allclose(travel.common(jnp.float32([way] * 4), known), way, rtol=1e-5)
    # One that goes another way does not turn the others; it makes the sum less sure.
    found = np.asarray(travel.common(*map(jnp.float32, (paths, [1, 1, 1, 0]))))
    np.testing.assert_allclose(found, way, rtol=1e-5)
    alone = np.asarray(travel.common(*map(jnp.float32, (paths, [1, 0, 0, 0]))))
    np.testing.assert_allclose(alone, way, rtol=1e-5)
    apart = np.stack([way, -way, way[:, ::-1], -way[:, ::-1]])
    np.testing.assert_allclose(travel.common(*map(jnp.float32, (apart, known))), 0, atol=1e-6)
    np.testing.assert_array_equal(travel.common(jnp.float32(paths) * jnp.nan, jnp.zeros(4)), 0)


def test_a_field_goes_the_way_it_is_told():
    clips = helpers.scene(lengths=(5, 4), yaws=(0.2, 1.0)).clips
    params = points.at("random", CONFIG, clips)
    goal = jnp.stack([2 * jnp.sin(travel.grid() * k) for k in (1.0, 2.0, 3.0)], -1)
    found = jax.jit(travel.going)(params, CONFIG, goal)
    np.testing.assert_allclose(travel.of_field(found, CONFIG), goal, atol=0.1)
    code = jnp.zeros(CONFIG.code_size)
    before, after = (model.motion(each, CONFIG, jnp.float32(0.4), code)[0] for each in (params, found))
    np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize(("metres", "told"), [(0.0, 0.0), (1.4, 0.0), (2.25, 0.5), (4.0, 1.0), (30.0, 1.0)])
def test_the_polynomial_tells_long_ways(metres, told):
    clips = helpers.scene(lengths=(5, 4), yaws=(0.2, 1.0)).clips
    params = points.at("zero", CONFIG, clips)
    phases = travel.grid()[:, None]
    goal = metres * jnp.concatenate([0.6 * phases, jnp.zeros_like(phases), 0.8 * phases**2], 1)
    found = jax.jit(travel.going)(params, CONFIG, goal)
    np.testing.assert_allclose(
        found.field["way"], told * metres * np.array([[0.6, 0, 0], [0, 0, 0.8], [0, 0, 0]]), atol=2e-3 * metres
    )
    # The layers go the rest, nearly.
    np.testing.assert_allclose(travel.of_field(found, CONFIG), goal, atol=0.06 * (1 - told) * metres + 0.01)
    slope = jax.jit(jax.grad(lambda path: jnp.sum(travel.going(params, CONFIG, path).field["way"] ** 2)))(goal)
    assert np.isfinite(slope).all() and (told in (0.0,)) == (not slope.any())


def test_a_body_that_crosses_all_pictures_is_found():
    """A field that stays in place, films of one that walks 2 m, and cameras all round."""
    yaws = (0.3, 1.8, -2.0)
    clips = helpers.scene(lengths=(9, 9, 9), yaws=yaws).clips
    params = points.at("zero", CONFIG, clips)
    way = travel.grid()[:, None] * jnp.array([2.0, 0.0, 0.5])
    walking = travel.going(params, CONFIG, way)
    turn = jnp.stack([jnp.asarray(helpers.level_matrix(yaw), jnp.float32) for yaw in yaws])
    walking = dataclasses.replace(walking, cameras=cam.join(turn, jnp.tile(jnp.array([0.0, 0.0, 8.0]), (3, 1))))
    assets = jax.jit(model.prepare)(clips, helpers.body(), Priors(), CONFIG)
    pixels = jax.jit(model.predict_clips)(walking, assets, CONFIG, clips).keypoints_2d
    clips = dataclasses.replace(clips, keypoints=pixels)
    assets = jax.jit(model.prepare)(clips, helpers.body(), Priors(), CONFIG)
    sight = jax.jit(camera_search.look)(params, assets, CONFIG, clips)
    found = jax.jit(travel.find)(sight, params, assets, jnp.asarray(yaws))
    np.testing.assert_allclose(found[-1] - found[0], way[-1], atol=0.15)
