"""Errors of motion in the world against their formulas written out in float64 NumPy, one frame and one chunk at a time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from nemo_jax import world_metrics

FPS = 24.0


def umeyama(source, target, scaled):
    """Umeyama 1991, equations 34 to 42: scale, rotation, translation."""
    a, b = source - source.mean(0), target - target.mean(0)
    u, d, vt = np.linalg.svd(b.T @ a / len(a))
    sign = np.diag([1, 1, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    rotation = u @ sign @ vt
    scale = np.trace(np.diag(d) @ sign) / (a**2).sum(1).mean() if scaled else 1.0
    return scale, rotation, target.mean(0) - scale * rotation @ source.mean(0)


def chunked(predicted, true, chunk, first):
    """W-MPJPE (`first` = 2) or WA-MPJPE (None) of frames that all exist, mm."""
    frames = len(true)
    starts = [i * chunk for i in range(max(frames // chunk, 1))]
    errors = []
    for start, end in zip(starts, [*starts[1:], frames], strict=True):
        p, t = predicted[start:end], true[start:end]
        scale, rotation, translation = umeyama(p[:first].reshape(-1, 3), t[:first].reshape(-1, 3), scaled=True)
        moved = scale * p @ rotation.T + translation
        errors += list(np.linalg.norm(moved - t, axis=-1).mean(-1))
    return 1000 * np.mean(errors)


def motions(frames, joints=15, seed=0):
    """A walk and a fit of it that lies elsewhere, drifts and trembles."""
    rng = np.random.default_rng(seed)
    path = np.cumsum(rng.normal([0.02, 0, 0.03], 0.02, (frames, 3)), 0)
    true = path[:, None] + rng.normal(0, 0.4, (1, joints, 3)) + np.cumsum(rng.normal(0, 0.01, (frames, joints, 3)), 0)
    turn = Rotation.from_rotvec([0.3, 1.9, -0.4]).as_matrix()
    wrong = true + np.cumsum(rng.normal(0.002, 0.004, (frames, 1, 3)), 0) + rng.normal(0, 0.01, true.shape)
    return 1.1 * wrong @ turn.T + [3.0, -1.0, 2.0], true


def padded(array, more=5):
    """With frames of nonsense behind."""
    return np.concatenate([array, np.full((more, *array.shape[1:]), 77.0)]).astype(np.float32)


def mask_of(frames, more=5):
    return np.concatenate([np.ones(frames), np.zeros(more)]).astype(np.float32)


@pytest.mark.parametrize(("function", "first"), [("w_mpjpe", 2), ("wa_mpjpe", None)])
@pytest.mark.parametrize("frames", [7, 10, 19, 20, 34])
def test_chunks_are_aligned_each_by_itself(function, first, frames):
    predicted, true = motions(frames)
    found = getattr(world_metrics, function)(padded(predicted), padded(true), mask_of(frames), chunk=10)
    assert float(found) == pytest.approx(chunked(predicted, true, 10, first), rel=1e-3)


def test_the_chunks_have_a_hundred_frames():
    predicted, true = motions(230)
    found = world_metrics.w_mpjpe(padded(predicted), padded(true), mask_of(230))
    assert float(found) == pytest.approx(chunked(predicted, true, 100, 2), rel=1e-3)
    assert float(found) > 1.5 * float(world_metrics.wa_mpjpe(padded(predicted), padded(true), mask_of(230)))


def test_a_fit_elsewhere_and_of_another_size_has_no_error():
    _, true = motions(30)
    turn = Rotation.from_rotvec([0.3, 1.9, -0.4]).as_matrix()
    moved = 0.8 * true @ turn.T + [3.0, -1.0, 2.0]
    for function in (world_metrics.w_mpjpe, world_metrics.wa_mpjpe):
        assert float(function(padded(moved), padded(true), mask_of(30), chunk=10)) < 0.02


def test_the_root_is_aligned_without_scale_and_measured_by_its_path():
    predicted, true = (joints[:, 0] for joints in motions(40))
    _, rotation, translation = umeyama(predicted, true, scaled=False)
    error = np.linalg.norm(predicted @ rotation.T + translation - true, axis=-1).mean()
    expected = 100 * error / np.linalg.norm(np.diff(true, axis=0), axis=-1).sum()
    found = world_metrics.root_translation_error(padded(predicted), padded(true), mask_of(40))
    assert float(found) == pytest.approx(expected, rel=1e-3)


def test_a_straight_path_is_aligned_and_a_point_has_no_path():
    straight = np.linspace(0, 1, 20)[:, None] * np.array([1.0, 0.0, 2.0])
    turned = straight @ Rotation.from_rotvec([0, 0.7, 0.2]).as_matrix().T + 5.0
    assert float(world_metrics.root_translation_error(padded(turned), padded(straight), mask_of(20))) < 1e-3
    still = np.zeros((20, 3))
    assert np.isnan(world_metrics.root_translation_error(padded(straight), padded(still), mask_of(20)))


def test_jitter_is_the_third_derivative_in_ten_metres():
    joints, _ = motions(25)
    third = np.diff(joints, n=3, axis=0) * FPS**3
    expected = np.linalg.norm(third, axis=-1).mean() / 10
    assert float(world_metrics.jitter(padded(joints), mask_of(25), FPS)) == pytest.approx(expected, rel=1e-3)
    seconds = np.arange(25)[:, None, None] / FPS
    # x = t^3 has the third derivative 6.
    cubic = np.broadcast_to(seconds**3 * np.array([1.0, 0.0, 0.0]), (25, 4, 3))
    assert float(world_metrics.jitter(padded(cubic), mask_of(25), FPS)) == pytest.approx(0.6, rel=1e-2)
    assert np.isnan(world_metrics.jitter(padded(joints), mask_of(3, more=27), FPS))


def test_feet_slide_while_the_true_ones_stand():
    rng = np.random.default_rng(2)
    # Half of the steps of a true foot are below 0.3 m/s.
    steps = rng.choice([0.004, 0.03], (30, 4, 1)) * np.array([1.0, 0, 0])
    true, predicted = np.cumsum(steps, 0), np.cumsum(rng.normal(0, 0.01, (30, 4, 3)), 0)
    stands = np.linalg.norm(np.diff(true, axis=0), axis=-1) * FPS < 0.3
    assert 20 < stands.sum() < 100
    moved = np.linalg.norm(np.diff(predicted, axis=0), axis=-1)[stands].mean()
    found = world_metrics.foot_slide(padded(predicted), padded(true), mask_of(30), FPS)
    assert float(found) == pytest.approx(1000 * moved * FPS / 30, rel=1e-3)
    runs = np.cumsum(np.full((30, 4, 3), 0.1), 0)
    assert np.isnan(world_metrics.foot_slide(padded(predicted), padded(runs), mask_of(30), FPS))


def test_all_of_them_take_clips_side_by_side():
    predicted, true = motions(30, joints=25)
    stack = lambda array: np.stack([padded(array)] * 2)
    errors = jax.vmap(world_metrics.world_errors)(
        stack(predicted), stack(true), np.stack([mask_of(30)] * 2), np.float32([FPS, 2 * FPS])
    )
    of_floor = {"floor_tilt_deg", "peak_height_error_cm"}
    assert set(errors) == {"w_mpjpe_mm", "wa_mpjpe_mm", "rte_percent", "jitter_10m_s3", "foot_slide_mm"} | of_floor
    assert float(errors["jitter_10m_s3"][1]) == pytest.approx(8 * float(errors["jitter_10m_s3"][0]), rel=1e-5)
    assert float(errors["w_mpjpe_mm"][0]) == pytest.approx(chunked(predicted[:, :15], true[:, :15], 100, 2), rel=1e-3)


def test_true_contact_is_slow_and_low():
    """A toe stands, walks off, hangs still in the air, and stands again; its heel and the other toe are always fast. The
    other heel stands 12 cm above where toes do."""
    frames = np.arange(40)
    x = np.where((frames > 10) & (frames <= 20), (frames - 10) * 0.05, np.where(frames > 20, 0.5, 0.0))
    y = np.where((frames > 20) & (frames <= 30), 0.3, 0.01)
    still = np.stack([x, y, 0 * x], -1)
    fast = np.stack([0.1 * frames, 0.5 + 0 * frames, 0 * frames], -1)
    standing = np.stack([0 * x, 0 * x + 0.12, 0 * x], -1)
    true = np.stack([still, fast, fast, standing], 1)
    speed = np.linalg.norm(np.diff(true, axis=0), axis=-1) * FPS
    expected = (np.concatenate([speed, speed[-1:]]) < 0.3) & (true[..., 1] < np.array([0.01, 0.12, 0.01, 0.12]) + 0.08)
    found = world_metrics.true_contact(padded(true), mask_of(40), FPS)
    np.testing.assert_array_equal(np.asarray(found)[:40] > 0, expected)
    assert not np.asarray(found)[40:].any() and expected[:10, 0].all() and not expected[22:29, :3].any()
    assert expected[:, 3].all()


def test_contact_f1():
    said = np.array([[0.9, 0.2], [0.8, 0.6], [0.1, 0.4]])
    there = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    assert world_metrics.contact_f1(padded(said), padded(there), mask_of(3)) == pytest.approx(2 * 2 / (3 + 3))
    assert np.isnan(world_metrics.contact_f1(padded(0 * said), padded(0 * there), mask_of(3)))


def test_standing():
    """A point slides by 2 mm a frame and floats at last; the other is in the air and dips below the floor once."""
    frames = np.arange(10)
    first = np.stack([0.002 * frames, np.where(frames > 7, 0.08, 0.05), 0 * frames], -1)
    second = np.stack([0.3 * frames, np.where(frames == 4, -0.05, 0.2), 0 * frames], -1)
    points, probability = np.stack([first, second], 1), np.tile([0.9, 0.1], (10, 1))
    found = world_metrics.standing(padded(points), np.array([0.05, 0.0]), padded(probability), mask_of(10), FPS)
    moves = np.linalg.norm(np.diff(first, axis=0), axis=-1)
    assert found["planted_slide_mm"] == pytest.approx(1000 * moves.mean() * FPS / 30, rel=1e-4)
    assert found["float_percent"] == pytest.approx(20) and found["below_percent"] == pytest.approx(10)
    assert found["planted_percent"] == pytest.approx(50)


def test_standing_heights():
    """Medians over contacts of both feet; a kind that never stands follows the other."""
    soles = np.array([0.01, 0.03, 0.01, 0.03])
    height = np.array([[0.11, 0.2, 0.5, 0.2], [0.13, 0.2, 0.12, 0.3], [0.9, 0.9, 0.9, 0.9]])
    points = jnp.float32(np.stack([0 * height, height, 0 * height], -1))
    contact = jnp.float32(np.array([[1, 0, 0, 0], [1, 1, 1, 0], [0, 0, 0, 0]]))
    np.testing.assert_allclose(
        world_metrics.standing_heights(points, contact, soles), [0.12, 0.2, 0.12, 0.2], atol=1e-6
    )
    no_heels = contact.at[:, 1::2].set(0)
    np.testing.assert_allclose(world_metrics.standing_heights(points, no_heels, soles)[1::2], 0.14, atol=1e-6)
    assert np.isnan(world_metrics.standing_heights(points, 0 * contact, soles)).all()


@pytest.mark.parametrize("degrees", [0.0, 3.0, 40.0])
def test_floor_tilt_is_that_of_a_leaning_world(degrees):
    rng = np.random.default_rng(5)
    true = rng.normal(0, 1, (6, 15, 3)).astype(np.float32)
    lean = Rotation.from_euler("zy", [degrees, 70], degrees=True)  # a turn about y is no tilt
    seen = (lean.inv().apply(true.reshape(-1, 3)) + [1, 2, 3]).reshape(true.shape).astype(np.float32)
    mask = np.array([1, 1, 1, 1, 1, 0], np.float32)
    seen[5] = 99
    assert world_metrics.floor_tilt(seen, true, mask) == pytest.approx(degrees, abs=0.02)


def test_peak_height_is_above_the_floor():
    joints = np.full((40, 25, 3), 0.7, np.float32)
    joints[:, [19, 21, 22, 24], 1] = 0.2
    joints[10, :, 1] += 0.5  # a jump
    joints[20, 19, 1] = -3  # one frame in forty is no floor
    joints[39, 8, 1] = 9
    mask = np.ones(40, np.float32)
    mask[39] = 0
    assert world_metrics.peak_height(joints, mask) == pytest.approx(1.0, abs=1e-5)
