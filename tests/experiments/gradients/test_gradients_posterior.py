"""Influence and uncertainty of a tiny fit, in float64: against refits by differences, and against the dense covariance."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_gradients

from body_models import joints as jn
from experiments.gradients import influence, inputs, uncertainty
from nemo_jax import laplace

# Damped so strongly that the exact curvature, which depth bends down, is positive definite too.
SPREAD, DIRECTIONS = 0.01, 100
WRIST, ELBOW, LOST = (jn.BODY_25_NAMES.index(name) for name in ("right_wrist", "right_elbow", "left_wrist"))
TARGET = influence.Target(0, 5, WRIST)
OWN, OTHER = (0, 4, WRIST), (1, 6, ELBOW)


@pytest.fixture(scope="module")
def pulled(tiny_dataset, tiny_body, tiny_config):
    """Slopes by the exact and the Gauss-Newton curvature, and by central differences of refits."""
    given = tiny_gradients.make(tiny_dataset, tiny_body, tiny_config, pixels=1.0)
    with jax.enable_x64(True):
        given = tiny_gradients.as_float64(given)
        exact, gauss = (inputs.posterior(given, SPREAD, DIRECTIONS, exact=e) for e in (True, False))
        slopes, found = [influence.influence(p, TARGET) for p in (exact, gauss)], {}
        for at, step in ((OWN, 0.01), (OTHER, 0.01), (OWN, 4.0)):
            ends = [
                influence.displacement(exact, TARGET, given.clips.keypoints.at[*at, 1].add(s), iterations=40)
                for s in (step, -step)
            ]
            found[at, step] = (ends[0][0] - ends[1][0]) / (2 * step), max(end[1] for end in ends)
    return given, slopes, found


@pytest.mark.parametrize("at", [OWN, OTHER], ids=["own clip", "other clip"])
def test_influence_is_the_slope_of_refits(pulled, at):
    _, (exact, _), found = pulled
    differences, left = found[at, 0.01]
    assert left < 1e-6
    assert np.abs(differences).max() > 1e-9
    np.testing.assert_allclose(exact[:, *at, 1], differences, rtol=2e-3, atol=2e-3 * np.abs(differences).max())


def test_gauss_newton_is_close_to_the_exact_curvature(pulled):
    _, (exact, gauss), found = pulled
    assert 0 < np.linalg.norm(gauss - exact) / np.linalg.norm(exact) < 0.2
    # And for four pixels, not only for the smallest movements.
    differences, left = found[OWN, 4.0]
    assert left < 1e-4
    np.testing.assert_allclose(gauss[:, *OWN, 1], differences, atol=0.25 * np.linalg.norm(differences))


def test_detections_that_are_not_used_have_no_influence(pulled):
    given, (_, gauss), _ = pulled
    used = np.asarray(given.clips.confidence) > given.config.confidence_threshold
    assert not used[0, :, LOST].any()
    assert (gauss[:, ~used] == 0).all()
    assert np.isfinite(gauss).all()
    size = influence.millimetres_per_pixel(gauss)
    assert (size[used] > 0).mean() > 0.95
    instance, _, _ = influence.strongest(size)
    assert instance == TARGET.instance


def test_nothing_moves_without_a_change(pulled):
    given, _, _ = pulled
    with jax.enable_x64(True):
        posterior = inputs.posterior(given, SPREAD, DIRECTIONS)
        moved, _ = influence.displacement(posterior, TARGET, given.clips.keypoints)
    np.testing.assert_allclose(moved, 0, atol=1e-12)


@pytest.fixture(scope="module")
def spread_out(tiny_dataset, tiny_body, tiny_config):
    """Without initial poses and limits, so that a clip's own camera is nearly all there is: samples, and the covariance."""
    config = dataclasses.replace(tiny_config, weight_init=1e-4, weight_limits=1e-4)
    given = tiny_gradients.make(tiny_dataset, tiny_body, config)
    posterior = inputs.posterior(given, 1.0, DIRECTIONS)
    found = uncertainty.uncertainty(posterior, seed=0, samples=1000)
    lines, bases = posterior.lines, found.bases
    where = lambda z: inputs.from_mid_hip(laplace.frame_points(given, z)).reshape(z.shape[0], -1)
    slopes = jax.jit(lambda z: laplace.frame_jacobian(where, z))(lines.z)
    num = given.clips.num_instances

    def row(frame, joint):
        """Derivative (3, D) of one keypoint of one of the B frames in its base."""
        dz = jnp.zeros((3, *lines.z.shape)).at[:, frame].set(slopes[frame].reshape(25, 3, -1)[joint])
        at = int(given.batch.instance[frame]), int(given.batch.frame[frame]), joint
        pulled = jax.vmap(lambda x: laplace.pull(lines, given.batch.instance, x, num))(dz)
        return at, bases[at] @ np.asarray(pulled, np.float64)

    expected = {}
    for frame in (1, 9, 14):
        for joint in (WRIST, LOST, ELBOW, 0, 11):
            at, rows = row(frame, joint)
            expected[at] = np.sqrt(np.diag(rows @ posterior.solve(rows.T)))
    trace = np.trace(posterior.solve(np.eye(len(posterior.lower))))
    return given, found, expected, len(posterior.lower) - trace


def test_samples_have_the_dense_covariance(spread_out):
    _, found, expected, determined = spread_out
    ratio = np.concatenate([found.deviation[at] / deviation for at, deviation in expected.items()])
    # 1,000 samples: a standard deviation is off by 1 / sqrt(2000), 2.2%.
    assert np.abs(ratio - 1).max() < 0.1
    assert ratio.mean() == pytest.approx(1, abs=0.03)
    assert found.determined == pytest.approx(determined, abs=0.05 * len(found.bases[0]) + 10)
    assert determined > 50


def test_depth_is_less_sure_than_what_a_camera_sees(spread_out):
    given, found, _, _ = spread_out
    exists = np.asarray(given.clips.frame_mask[0]) > 0
    deviation = found.deviation[0, exists]
    across, along = np.sqrt((deviation[..., :2] ** 2).mean(-1)), deviation[..., 2]
    moving = [k for k, name in enumerate(jn.BODY_25_NAMES) if name != "mid_hip"]
    assert np.median(along[:, moving] / across[:, moving]) > 1.5
    assert (along[:, moving] > across[:, moving]).mean() > 0.8
    # The left wrist was never detected in this clip; the other clips and the broad features of the phase tell of it too.
    assert across[:, LOST].mean() > 1.1 * across[:, WRIST].mean()


def test_ray_bases():
    points = np.random.default_rng(0).normal(size=(50, 3)) + [0, 0, 5]
    bases = np.asarray(uncertainty.ray_bases(jnp.asarray(points, jnp.float32)))
    np.testing.assert_allclose(bases @ bases.swapaxes(1, 2), np.broadcast_to(np.eye(3), (50, 3, 3)), atol=1e-6)
    np.testing.assert_allclose(np.linalg.det(bases), 1, atol=1e-5)
    np.testing.assert_allclose(bases[:, 2], points / np.linalg.norm(points, axis=1, keepdims=True), atol=1e-6)
    np.testing.assert_allclose(bases[:, 0, 1], 0, atol=1e-6)
    assert (bases[:, 1, 1] > 0).all()


def test_calibration_of_a_normal_law():
    rng = np.random.default_rng(0)
    deviation = rng.uniform(0.5, 2, (4, 500, 25, 3))
    errors = 1.7 * deviation * rng.normal(size=deviation.shape)
    mask = np.ones((4, 500, 25), bool)
    mask[:, :, 3], errors[:, :, 3] = False, 1e9
    found = uncertainty.calibrate(errors, deviation, mask)
    assert found.scale == pytest.approx(1.7, rel=0.02)
    assert found.within_1 == pytest.approx(0.6827, abs=1e-3)
    assert found.within_2 == pytest.approx(0.9545, abs=0.005)
    stated = uncertainty.calibrate(errors, deviation, mask, 1.0)
    assert stated.within_1 == pytest.approx(0.4436, abs=0.01)
