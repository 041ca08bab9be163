import dataclasses
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from body_models import joints as jn
from nemo_jax import model
from nemo_jax.priors import Priors
from tests.body_models import numpy_smpl
from tests.nemo_jax import helpers, points

CONFIG = helpers.tiny_config()
prepare = jax.jit(model.prepare)


def hot(params, seed=0):
    """Parameters far from their start, mirrored in the second instance."""
    rng = np.random.default_rng(seed)
    moved = jax.tree.map(lambda x: x + jnp.asarray(0.2 * rng.normal(size=x.shape), x.dtype), params)
    return dataclasses.replace(moved, mirrored=jnp.asarray([0.0, 1.0]))


@pytest.fixture(scope="module")
def case():
    clips = helpers.scene().clips
    params = points.init(jax.random.key(0), 2, clips.image_size, helpers.NUM_BETAS, CONFIG)
    assets = prepare(clips, helpers.body(), Priors(), CONFIG)
    return SimpleNamespace(clips=clips, params=params, hot=hot(params), assets=assets, predict=jax.jit(model.predict))


def oracle(params, assets, instance, raw, noise=0.0):
    """One frame in float64 NumPy, from the formulas: phase, rotations, translation, joints, keypoints, pixels."""
    p = jax.tree.map(np.float64, params)
    shifts, scales = (np.maximum(p.phase[k][instance], 0) for k in ("shifts", "scales"))
    g = lambda x: np.mean(1 / (1 + np.exp(-scales * (x - shifts))))
    start, end = np.clip(p.span[instance], 0, 1)
    phase = start + (end - start) * (g(raw) - g(0)) / (g(1) - g(0) + 1e-6)

    def field(phase, code):
        d = (phase - np.linspace(0, 1, CONFIG.num_centres)) ** 2 / np.exp(p.field["features"]["log_scales"])
        x = np.concatenate([np.exp(-(d**2)), code])
        for layer in range(3):
            x = np.maximum(x @ p.field[f"hidden_{layer}"]["kernel"] + p.field[f"hidden_{layer}"]["bias"], 0)
        rotation, translation = (x @ p.field[h]["kernel"] + p.field[h]["bias"] for h in ("rotation", "translation"))
        return rotation, translation + np.array([phase, phase**2, phase**3]) @ p.field["way"]

    six, translation = field(phase, p.codes[instance] + noise)
    translation = translation - field(0.0, np.zeros(CONFIG.code_size))[1]

    def matrix(six):
        a = six.reshape(3, 2)
        b1 = a[:, 0] / np.linalg.norm(a[:, 0])
        b2 = a[:, 1] - b1 @ a[:, 1] * b1
        b2 /= np.linalg.norm(b2)
        return np.stack([b1, b2, np.cross(b1, b2)], 1)

    rotations = np.stack([matrix(s) for s in six.reshape(24, 6)])
    if p.mirrored[instance] > 0.5:
        rotations = helpers.MIRROR[:, None] * rotations[jn.MIRROR_JOINTS] * helpers.MIRROR
        translation = helpers.MIRROR * translation
    _, joints = numpy_smpl.smpl(helpers.body_arrays(), rotations, p.betas[instance], translation)
    skeleton, keypoints = joints[: jn.NUM_JOINTS], joints[jn.BODY_25]
    camera = p.cameras[instance]
    seen = keypoints @ matrix(camera[3:]).T + camera[:3]
    focal = float(assets.focal[instance]) * np.exp(p.log_focal[instance])
    return (
        phase,
        rotations,
        translation,
        skeleton,
        keypoints,
        focal * seen[:, :2] / seen[:, 2:] + np.float64(assets.principal[instance]),
    )


@pytest.mark.parametrize("instance", [0, 1])
def test_a_prediction_is_the_paper_written_out(case, instance):
    for params in (case.params, case.hot):
        found = case.predict(
            params, case.assets, CONFIG, jnp.asarray(instance), jnp.asarray(0.37), jnp.asarray([0.1, -0.3])
        )
        expected = oracle(params, case.assets, instance, 0.37, np.array([0.1, -0.3]))
        names = ("phase", "rotations", "translation", "joints", "keypoints", "keypoints_2d")
        for name, value in zip(names, expected, strict=True):
            np.testing.assert_allclose(
                getattr(found, name), value, atol=1e-5 if name != "keypoints_2d" else 0.02, err_msg=name
            )


def test_the_initial_motion_rests(case):
    found = case.predict(case.params, case.assets, CONFIG, jnp.asarray(0), jnp.asarray(0.5), 0.0)
    np.testing.assert_allclose(found.rotations, np.tile(np.eye(3), (24, 1, 1)), atol=1e-4)
    # Against phase 0 and the zero code: nothing at all there.
    noise = -case.params.codes[0]
    found = case.predict(case.params, case.assets, CONFIG, jnp.asarray(0), jnp.asarray(0.0), noise)
    np.testing.assert_allclose(found.translation, np.zeros(3), atol=1e-6)
    # The subtracted term uses the zero code, not the instance's: with a real code even phase 0 moves.
    found = case.predict(case.hot, case.assets, CONFIG, jnp.asarray(0), jnp.asarray(0.0), 0.0)
    assert np.abs(found.translation).max() > 1e-3


def test_predictions_of_whole_clips(case):
    found = jax.jit(model.predict_clips)(case.hot, case.assets, CONFIG, case.clips)
    assert found.keypoints_2d.shape == (2, 9, 25, 2) and found.rotations.shape == (2, 9, 24, 3, 3)
    one = case.predict(case.hot, case.assets, CONFIG, jnp.asarray(1), jnp.asarray(3 / 8), 0.0)
    np.testing.assert_allclose(found.keypoints[1, 3], one.keypoints, atol=1e-6)
    # Padding repeats the last frame.
    np.testing.assert_allclose(found.keypoints[0, 6:], np.tile(found.keypoints[0, 5], (3, 1, 1)), atol=1e-6)


def test_starting_parameters(case):
    p = case.params
    assert p.cameras.shape == (2, 9) and p.codes.shape == (2, 2) and p.betas.shape == (2, helpers.NUM_BETAS)
    np.testing.assert_allclose(p.cameras, np.tile([0, 0, 2 * 5000 / 720, 1, 0, 0, 1, 0, 0], (2, 1)), atol=1e-3)
    assert 0 < np.abs(p.codes).max() < 1e-3
    assert np.abs(p.cameras[0] - p.cameras[1]).max() > 0
    np.testing.assert_array_equal(p.betas, np.zeros_like(p.betas))
    np.testing.assert_array_equal(p.span, [[0, 1], [0, 1]])
    again = points.init(jax.random.key(0), 2, case.clips.image_size, helpers.NUM_BETAS, CONFIG)
    jax.tree.map(np.testing.assert_array_equal, p, again)
    # Uniform phases differ between instances.
    other = dataclasses.replace(CONFIG, phase_init="uniform")
    shifts = points.init(jax.random.key(0), 2, case.clips.image_size, 3, other).phase["shifts"]
    assert np.abs(shifts[0] - shifts[1]).min() > 0


def test_intrinsics(case):
    clips = dataclasses.replace(case.clips, focal_length=jnp.asarray([900.0, jnp.nan]))
    given = lambda **changes: prepare(clips, helpers.body(), Priors(), dataclasses.replace(CONFIG, **changes))
    guess = 1.5 * np.hypot(1280, 720)
    np.testing.assert_allclose(given().focal, [900, guess], rtol=1e-6)
    np.testing.assert_allclose(given(focal_fixed=5000.0).focal, [5000, 5000])
    np.testing.assert_array_equal(given().lens_known, [1, 0])
    np.testing.assert_array_equal(given(focal_fixed=5000.0).lens_known, [1, 1])
    np.testing.assert_allclose(given().diagonal, [np.hypot(1280, 720)] * 2, rtol=1e-6)
    np.testing.assert_allclose(given().principal, [[640, 360]] * 2)
    np.testing.assert_allclose(given(principal_swapped=True).principal, [[360, 640]] * 2)
    np.testing.assert_array_equal(given(person_size=0.0).pixel_scale, [1, 1])


def test_residuals_are_scaled_by_the_median_box(case):
    keypoints, confidence = np.zeros((2, 9, 25, 2)), np.zeros((2, 9, 25))
    for frame, size in enumerate((100, 300, 200)):
        confidence[0, frame, :8] = 1
        keypoints[0, frame, :4] = (0.6 * size, 0.8 * size)
    confidence[0, 3, :2], keypoints[0, 3, 0] = 1, 5000  # two joints tell no size
    keypoints[0, 4:] = np.nan
    arrays = {"keypoints": keypoints, "confidence": confidence}
    clips = dataclasses.replace(case.clips, **{k: jnp.asarray(v, jnp.float32) for k, v in arrays.items()})
    assets = prepare(clips, helpers.body(), Priors(), CONFIG)
    np.testing.assert_allclose(assets.pixel_scale[0], 800 / 200, rtol=1e-5)
    # Nobody seen at all: whatever it is, it is a number.
    assert jnp.isfinite(assets.pixel_scale).all()


def test_a_span_is_the_part_of_the_action_that_a_clip_shows(case):
    raw = jnp.linspace(0.0, 1.0, 11)
    warp = jax.jit(lambda span: model.warp(dataclasses.replace(case.hot, span=span), CONFIG, jnp.asarray(1), raw))
    of = lambda start, end: warp(jnp.asarray([[0.0, 1.0], [start, end]]))
    whole = of(0.0, 1.0)
    np.testing.assert_allclose(whole[jnp.array([0, -1])], [0, 1], atol=1e-5)
    np.testing.assert_allclose(of(0.2, 0.8), 0.2 + 0.6 * np.float64(whole), atol=1e-6)
    # What lies outside of the action is none of it.
    np.testing.assert_array_equal(of(-0.3, 1.7), whole)
    np.testing.assert_allclose(of(-0.3, 0.5), 0.5 * np.float64(whole), atol=1e-6)


@pytest.mark.parametrize("span", [(0.0, 1.0), (0.2, 0.8), (-0.1, 1.1), (0.5, 0.5)])
def test_slopes_of_a_span(case, span):
    total = lambda own: model.warp(
        dataclasses.replace(case.hot, span=case.hot.span.at[0].set(own)), CONFIG, jnp.asarray(0), jnp.linspace(0, 1, 5)
    ).sum()
    found = jax.jit(jax.grad(total))(jnp.asarray(span))
    part = (np.float64(total(jnp.asarray([0.2, 0.8]))) - 5 * 0.2) / 0.6
    inside = np.array([0 < each < 1 for each in span])
    expected = np.where(inside, [5 - part, part], 0.0)
    if span == (0.0, 1.0):
        # At its bounds a span still feels where it should go.
        assert (np.sign(found) == 1).all() and jnp.isfinite(found).all()
    else:
        np.testing.assert_allclose(found, expected, atol=1e-4)
