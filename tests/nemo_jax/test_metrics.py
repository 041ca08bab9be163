import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from nemo_jax import metrics

T, K = 6, 15
ONES = jnp.ones(T)
seeds = st.integers(0, 2**31 - 1)


def f32(x):
    return jnp.asarray(x, jnp.float32)


def motion(seed=0):
    return np.random.default_rng(seed).normal(size=(T, K, 3)) * 0.4


@jax.jit
def errors(predicted, true, mask):
    return {
        "mpjpe": metrics.mpjpe(predicted, true, mask),
        "root": metrics.root_aligned_mpjpe(predicted, true, mask),
        "pa": metrics.pa_mpjpe(predicted, true, mask),
        "global": metrics.global_mpjpe(predicted, true, mask),
        "acceleration": metrics.acceleration_error(predicted, true, mask, 30.0),
    }


def test_a_constant_offset():
    true = motion()
    found = errors(f32(true + [0.03, 0, 0.04]), f32(true), ONES)
    np.testing.assert_allclose(found["mpjpe"], 50, rtol=1e-4)
    for name in ("root", "pa", "global", "acceleration"):
        assert found[name] < 0.05 * (1 if name != "acceleration" else 100), name


def test_one_joint_off():
    true = motion()
    moved = true.copy()
    moved[2, 3, 1] += 0.3
    found = errors(f32(moved), f32(true), ONES)
    np.testing.assert_allclose(found["mpjpe"], 300 / (T * K), rtol=1e-4)
    np.testing.assert_allclose(found["root"], 300 / (T * K), rtol=1e-4)
    # Second differences of one spike: 1, -2, 1 over the four inner frames.
    np.testing.assert_allclose(found["acceleration"], 300 * 900 * 4 / (4 * K), rtol=1e-4)
    moved = true.copy()
    moved[1, 8] += [0, 0.15, 0]
    # The root itself moved: all the others are off by as much.
    np.testing.assert_allclose(errors(f32(moved), f32(true), ONES)["root"], 150 * (K - 1) / (T * K), rtol=1e-4)


@given(seed=seeds)
@settings(max_examples=15, deadline=None)
def test_alignments_see_what_they_should(seed):
    rng = np.random.default_rng(seed)
    true = motion(seed)
    turns = Rotation.random(T, random_state=rng.integers(1 << 30)).as_matrix()
    scales = rng.uniform(0.5, 2, (T, 1, 1))
    each = scales * np.einsum("tij,tkj->tki", turns, true) + rng.normal(size=(T, 1, 3))
    found = errors(f32(each), f32(true), ONES)
    assert found["pa"] < 0.02
    assert found["global"] > 50
    whole = np.einsum("ij,tkj->tki", turns[0], true) + rng.normal(size=3)
    found = errors(f32(whole), f32(true), ONES)
    assert found["global"] < 0.02
    # A global alignment has no scale.
    assert errors(f32(1.5 * whole), f32(true), ONES)["global"] > 50


@given(seed=seeds)
@settings(max_examples=15, deadline=None)
def test_rigid_alignment_is_that_of_scipy(seed):
    rng = np.random.default_rng(seed)
    source, target, weights = rng.normal(size=(20, 3)), rng.normal(size=(20, 3)), rng.uniform(0, 1, 20)
    a = source - np.average(source, axis=0, weights=weights)
    b = target - np.average(target, axis=0, weights=weights)
    turn = Rotation.align_vectors(b, a, weights=weights)[0].as_matrix()
    found = align(f32(source), f32(target), f32(weights))
    np.testing.assert_allclose(found, a @ turn.T + np.average(target, axis=0, weights=weights), atol=2e-3)
    assert np.linalg.det(turn) > 0


align = jax.jit(lambda s, t, w: metrics.similarity_align(s, t, w, with_scale=False))


def test_a_reflection_is_not_a_rotation():
    true = motion()
    found = errors(f32(true * [-1, 1, 1]), f32(true), ONES)
    assert found["pa"] > 50 and found["global"] > 50


def test_masked_frames_do_not_count():
    true, predicted = motion(), motion(1)
    mask = np.array([1, 1, 0, 1, 1, 1.0])
    wild = predicted.copy()
    wild[2] = 1e3
    a, b = errors(f32(predicted), f32(true), f32(mask)), errors(f32(wild), f32(true), f32(mask))
    for name in a:
        np.testing.assert_allclose(a[name], b[name], rtol=1e-4, err_msg=name)
    kept = mask > 0
    np.testing.assert_allclose(a["mpjpe"], 1000 * np.linalg.norm(predicted - true, axis=-1)[kept].mean(), rtol=1e-5)
    second = lambda x: 900 * np.diff(x, 2, axis=0)
    inner = np.linalg.norm(second(predicted) - second(true), axis=-1)[[3]]  # the one triple without frame 2
    np.testing.assert_allclose(a["acceleration"], 1000 * inner.mean(), rtol=1e-4)


def test_nothing_to_average_is_nan():
    found = errors(f32(motion()), f32(motion(1)), jnp.zeros(T))
    for name in ("mpjpe", "root", "pa", "global", "acceleration"):
        assert np.isnan(found[name]), name
    assert np.isnan(metrics.masked_median(jnp.ones(3), jnp.zeros(3)))


def test_medians_and_distances():
    distances = metrics.reprojection_errors(f32([[[3, 4], [0, 0]]]), jnp.zeros((1, 2, 2)))
    np.testing.assert_allclose(distances, [[5, 0]])
    assert metrics.masked_median(f32([1, 9, 2, 100]), f32([1, 1, 1, 0])) == 2


def test_pck_and_the_area_under_it():
    distances, diagonal = f32([[1, 5, 6], [0, 20, 7]]), f32([100, 200])
    mask = f32([[1, 1, 1], [1, 1, 0]])
    # Within 5% of the diagonal: 1 and 5 of the first frame, 0 of the second.
    np.testing.assert_allclose(metrics.pck(distances, diagonal, mask, 0.05), 3 / 5)
    # A curve that steps from 0 to 1 between two thresholds: the trapezoid rule by hand.
    one = metrics.pck_auc(f32([[5.2]]), f32([100]), f32([[1]]), largest=0.1, steps=11)
    np.testing.assert_allclose(one, (0.5 + 4) / 10, rtol=1e-5)
    assert metrics.pck_auc(f32([[0.0]]), f32([100]), f32([[1]])) == pytest.approx(1.0)
    assert metrics.pck_auc(f32([[50.0]]), f32([100]), f32([[1]])) == 0


def test_shapes_must_agree():
    with pytest.raises(AssertionError):
        metrics.mpjpe(jnp.zeros((T, K, 3)), jnp.zeros((T, K + 1, 3)), ONES)
