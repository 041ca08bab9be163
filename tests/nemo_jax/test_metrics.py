"""Closed forms, and oracles in float64 NumPy that share nothing with the code but the definitions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from nemo_jax import losses, metrics

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
        # The vertices that align are the joints themselves.
        "global": metrics.global_errors(predicted, true, predicted, true, mask)[0],
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


def test_a_clip_is_moved_as_a_whole_by_the_frames_that_count():
    rng = np.random.default_rng(5)
    source, turn, shift = rng.normal(size=(6, 4, 3)), Rotation.random(random_state=1).as_matrix(), rng.normal(size=3)
    target, mask = source @ turn.T + shift, np.array([1, 1, 0, 1, 1, 0])
    target[mask == 0] = 100 * rng.normal(size=(2, 4, 3))
    rotation, translation = jax.jit(metrics.clip_transform)(f32(source), f32(target), f32(mask))
    np.testing.assert_allclose(rotation, turn, atol=1e-5)
    np.testing.assert_allclose(metrics.move(f32(source), rotation, translation)[0], target[0], atol=1e-5)


def test_errors_of_single_joints():
    rng = np.random.default_rng(6)
    a, b, mask = rng.normal(size=(5, 4, 3)), rng.normal(size=(5, 4, 3)), np.array([1, 0, 1, 1, 0])
    found = metrics.joint_errors(f32(a), f32(b), f32(mask))
    np.testing.assert_allclose(found, 1e3 * np.linalg.norm(a - b, axis=-1)[mask > 0].mean(0), rtol=1e-5)
    np.testing.assert_allclose(found.mean(), metrics.mpjpe(f32(a), f32(b), f32(mask)), rtol=1e-5)
    assert np.isnan(metrics.joint_errors(f32(a), f32(b), f32(0 * mask))).all()


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


# --- the paper's metrics: oracles with loops, in float64 ---


def oracle_global(joints, true_joints, vertices, true_vertices, mask):
    kept = np.flatnonzero(mask)
    a, b = (np.concatenate([x[t] for t in kept]) for x in (vertices, true_vertices))
    turn = Rotation.align_vectors(b - b.mean(0), a - a.mean(0))[0].as_matrix()
    shift = b.mean(0) - turn @ a.mean(0)
    errors = []
    for points, true in ((joints, true_joints), (vertices, true_vertices)):
        distances = [
            np.linalg.norm(turn @ p + shift - q) for t in kept for p, q in zip(points[t], true[t], strict=True)
        ]
        errors.append(1000 * np.mean(distances))
    return errors


def oracle_dynamic(true, mask, rate):
    fast = [
        t
        for t in range(len(true) - 1)
        if mask[t] and mask[t + 1] and max(np.linalg.norm(true[t + 1, k] - true[t, k]) for k in range(K)) * rate >= 2
    ]
    out = np.zeros(len(true))
    if fast:
        out[min(fast) : max(fast)] = 1
    return out * mask


global_errors = jax.jit(metrics.global_errors)
dynamic_range = jax.jit(metrics.dynamic_range)


@given(seed=seeds, frames_there=st.integers(2, T))
@settings(max_examples=15, deadline=None)
def test_global_errors_against_the_oracle(seed, frames_there):
    rng = np.random.default_rng(seed)
    mask = rng.permutation(np.arange(T) < frames_there).astype(float)
    # Metres from the origin, where float32 moments would cancel.
    true, seen = rng.normal(size=(2, T, 40, 3)) * 0.5 + rng.normal(size=(2, 1, 1, 3)) * 5
    seen += 0.7 * true
    joints, true_joints = rng.normal(size=(2, T, K, 3))
    found = global_errors(*map(f32, (joints, true_joints, seen, true, mask)))
    np.testing.assert_allclose(found, oracle_global(joints, true_joints, seen, true, mask), rtol=2e-4)


def test_global_alignment_is_by_vertices():
    true_vertices, true_joints = np.random.default_rng(0).normal(size=(T, 40, 3)), motion()
    turn = Rotation.from_euler("xyz", [30, 100, -50], degrees=True).as_matrix()
    there = lambda x: x @ turn.T + [3, -1, 2]
    # Joints that are off by 0.1 m stay so: they have no say in the alignment.
    joints, vertices = global_errors(
        f32(there(true_joints + [0.1, 0, 0])), f32(true_joints), f32(there(true_vertices)), f32(true_vertices), ONES
    )
    np.testing.assert_allclose(joints, 100, rtol=1e-4)
    assert vertices < 0.02


def test_moments_of_parts_add_up():
    rng = np.random.default_rng(0)
    source, target, weights = rng.normal(size=(30, 3)), rng.normal(size=(30, 3)), rng.uniform(size=30)
    origins = f32([1, 2, 3]), f32([-1, 0, 2])
    parts = [
        metrics.moments(f32(source[i]) - origins[0], f32(target[i]) - origins[1], f32(weights[i]))
        for i in (slice(0, 12), slice(12, 30))
    ]
    rotation, translation = metrics.rigid_transform(jax.tree.map(jnp.add, *parts), *origins)
    moved = metrics.move(f32(source), rotation, translation)
    np.testing.assert_allclose(moved, align(f32(source), f32(target), f32(weights)), atol=1e-4)
    np.testing.assert_allclose(jnp.linalg.det(rotation), 1, atol=1e-5)


def test_vertex_error_of_known_offsets():
    true = np.random.default_rng(0).normal(size=(T, 7, 3))
    offsets = np.zeros_like(true)
    offsets[2, :, 2] = 0.07
    found = metrics.mpvpe(f32(true + offsets), f32(true), f32([1, 1, 1, 0, 0, 0]))
    np.testing.assert_allclose(found, 70 / 3, rtol=1e-4)
    np.testing.assert_allclose(metrics.point_errors(f32(true + offsets), f32(true))[2], 70, rtol=1e-4)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        # Steps of one joint in metres; at rate 10 a step of 0.2 is 2 m/s. The last fast frame itself is out.
        ([0.0, 0.3, 0.0, 0.0, 0.25], [0, 1, 1, 1, 0, 0]),
        ([0.3, 0.3, 0.0, 0.0, 0.0], [1, 0, 0, 0, 0, 0]),
        ([0.0, 0.3, 0.0, 0.0, 0.0], [0, 0, 0, 0, 0, 0]),
        ([0.1, 0.1, 0.1, 0.1, 0.1], [0, 0, 0, 0, 0, 0]),
        ([0.25, 0.19, 0.19, 0.19, 0.25], [1, 1, 1, 1, 0, 0]),
    ],
)
def test_dynamic_range_by_hand(steps, expected):
    true = np.zeros((T, K, 3))
    true[1:, 4, 1] = np.cumsum(steps)
    np.testing.assert_array_equal(dynamic_range(f32(true), ONES, 10.0), expected)
    # Frames that move together are as fast as one joint.
    np.testing.assert_array_equal(dynamic_range(f32(true) * 2, ONES, 5.0), expected)


@given(seed=seeds, rate=st.floats(0.5, 4.0))
@settings(max_examples=25, deadline=None)
def test_dynamic_range_against_the_oracle(seed, rate):
    rng = np.random.default_rng(seed)
    true, mask = motion(seed), (rng.uniform(size=T) < 0.8).astype(float)
    np.testing.assert_array_equal(dynamic_range(f32(true), f32(mask), rate), oracle_dynamic(true, mask, rate))


def test_an_empty_dynamic_range_gives_nan():
    still = f32(np.zeros((T, K, 3)))
    assert np.isnan(metrics.mpjpe(still, still, dynamic_range(still, ONES, 30.0)))
    assert dynamic_range(still[:1], ONES[:1], 30.0) == 0


def test_a_batch_is_a_vmap():
    true = f32(np.stack([motion(seed) for seed in range(3)]))
    masks = f32([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0], [0, 1, 1, 1, 1, 0]])
    batch = jax.vmap(metrics.dynamic_range)(true, masks, f32([1.0, 2.0, 3.0]))
    for row, one, mask, rate in zip(batch, true, masks, (1.0, 2.0, 3.0), strict=True):
        np.testing.assert_array_equal(row, dynamic_range(one, mask, rate))


@given(seed=seeds)
@settings(max_examples=15, deadline=None)
def test_the_papers_2d_numbers_against_the_oracle(seed):
    rng = np.random.default_rng(seed)
    keypoints = rng.uniform(100, 400, (T, 25, 2))
    confidence = rng.uniform(size=(T, 25))
    keypoints[confidence < 0.2], confidence[confidence < 0.2] = 0, 0
    predicted = keypoints + rng.normal(size=keypoints.shape) * 20
    mask = np.array([1, 1, 1, 1, 0, 0.0])
    total, near, near_visible, seen = 0.0, 0, 0, 0
    for t in range(4):
        diagonal = lambda points: np.linalg.norm(points.max(0) - points.min(0)) + 1e-4
        box, visible_box = diagonal(keypoints[t]), diagonal(keypoints[t][confidence[t] > 0])
        for k in range(K):
            if confidence[t, k] > 0.5:
                distance = np.linalg.norm(predicted[t, k] - keypoints[t, k])
                total, seen = total + distance, seen + 1
                near, near_visible = near + (distance < 0.05 * box), near_visible + (distance < 0.05 * visible_box)
    errors = metrics.reprojection_errors(f32(predicted), f32(keypoints))[:, :K]
    gate = f32(confidence > 0.5)[:, :K] * f32(mask)[:, None]
    np.testing.assert_allclose(metrics.reprojection_mean(errors, gate, f32(mask)), total / (4 * K), rtol=1e-4)
    for visible_only, count in ((False, near), (True, near_visible)):
        box = losses.box_diagonal(f32(keypoints), f32(confidence), visible_only)
        np.testing.assert_allclose(metrics.pck(errors, box, gate, 0.05), count / seen, rtol=1e-5)


def test_unseen_joints_are_zeros_in_the_papers_mean():
    errors, seen = f32([[10, 500, 4], [2, 7, 7]]), f32([[1, 0, 1], [1, 0, 0]])
    np.testing.assert_allclose(metrics.reprojection_mean(errors, seen, f32([1, 1])), 16 / 6)
    np.testing.assert_allclose(metrics.reprojection_mean(errors, seen, f32([1, 0])), 14 / 3)
    assert np.isnan(metrics.reprojection_mean(errors, jnp.zeros((2, 3)), f32([1, 1])))


def test_shapes_must_agree():
    with pytest.raises(AssertionError):
        metrics.mpjpe(jnp.zeros((T, K, 3)), jnp.zeros((T, K + 1, 3)), ONES)
