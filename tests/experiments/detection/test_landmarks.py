import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from body_models import joints as jn
from body_models import smpl
from experiments.detection import landmarks
from experiments.simulation import pitch
from nemo_jax.priors import published_limits

NUM = 40
SCORED = np.array([1, 2, 4, 5, 7, 8, 12, 15, 16, 17, 18, 19, 20, 21])
# As a level camera sees someone who faces it: y down, z away.
FACING = np.diag([1.0, -1.0, -1.0])


@jax.jit
def all_joints(body, rotations):
    return jax.vmap(smpl.all_joints, (None, 0, None, None))(body, rotations, jnp.zeros(body.num_betas), jnp.zeros(3))


def joints_of(body, pose):
    matrices = Rotation.from_rotvec(np.asarray(pose).reshape(-1, 3)).as_matrix().reshape(len(pose), 24, 3, 3)
    return np.asarray(all_joints(body, jnp.asarray(matrices, jnp.float32)))


def world_landmarks(joints):
    """The 33 landmarks (F, 33, 3) that a perfect detector would find on joints (F, 54, 3), hips at the origin."""
    world = np.zeros((len(joints), 33, 3))
    for row, name in enumerate(landmarks.LANDMARKS):
        plain = name.replace("_inner", "").replace("_outer", "").replace("foot_index", "big_toe")
        if plain.startswith("mouth"):
            plain = "nose"
        if plain.split("_")[-1] in ("pinky", "index", "thumb"):
            plain = plain.split("_")[0] + "_hand"
        world[:, row] = joints[:, jn.ALL_JOINTS.index(plain)]
    return (world - world[:, 23:25].mean(1, keepdims=True)).astype(np.float32)


def pitch_poses(num, turn=FACING, begin=0.3, seconds=2.4):
    """Axis-angle (F, 24, 3) of a pitch at 30 frames a second, root in the camera; also its last part and beyond."""
    rotations = pitch.sample(begin + np.arange(num) / 30 / seconds)
    pose = rotations.as_rotvec().reshape(num, 24, 3)
    pose[:, 0] = (Rotation.from_matrix(turn) * Rotation.from_rotvec(pose[:, 0])).as_rotvec()
    return pose


def errors(body, pose, truth):
    a, b = joints_of(body, pose), joints_of(body, truth)
    return 1000 * np.linalg.norm((a - a[:, :1] - b + b[:, :1])[:, SCORED], axis=-1)


@pytest.fixture
def short_windows(monkeypatch):
    """Windows that clips of `NUM` frames just fill, with the overlap of the long ones: padding takes most of the time."""
    monkeypatch.setattr(landmarks, "_WINDOW", 48)


@pytest.fixture(scope="module")
def seen(tiny_body):
    truth = pitch_poses(NUM)
    return truth, world_landmarks(joints_of(tiny_body, truth)), np.ones((NUM, 33), np.float32)


def test_the_names():
    assert len(landmarks.LANDMARKS) == len(set(landmarks.LANDMARKS)) == 33
    # MediaPipe's published numbers of some of them.
    expected = {
        0: "nose",
        7: "left_ear",
        12: "right_shoulder",
        16: "right_wrist",
        23: "left_hip",
        32: "right_foot_index",
    }
    assert {k: landmarks.LANDMARKS[k] for k in expected} == expected
    assert set(landmarks.POINTS) <= set(jn.ALL_JOINTS)
    assert {name for start, end, _ in landmarks.BONES for name in (start, end)} == set(landmarks.POINTS)


@pytest.mark.usefixtures("short_windows")
def test_poses_are_found_again(tiny_body, seen):
    truth, world, visibility = seen
    pose, mask = landmarks.initial_pose(tiny_body, world, visibility)
    assert pose.shape == (NUM, 24, 3) and pose.dtype == mask.dtype == np.float32
    np.testing.assert_array_equal(mask, 1)
    assert errors(tiny_body, pose, truth).mean() < 20
    between = Rotation.from_rotvec(pose[:, 0]).inv() * Rotation.from_rotvec(truth[:, 0])
    assert np.degrees(between.magnitude()).mean() < 10


@pytest.mark.usefixtures("short_windows")
def test_noise_depth_and_lost_points(tiny_body, seen):
    truth, world, visibility = seen
    rng = np.random.default_rng(0)
    # Depth is three times as uncertain, a tenth of the points are elsewhere, a fifth not seen.
    noisy = world + rng.normal(size=world.shape) * [0.02, 0.02, 0.06]
    out = rng.random(visibility.shape) < 0.1
    noisy[out] += 0.3 * rng.normal(size=(out.sum(), 3))
    pose, _ = landmarks.initial_pose(tiny_body, noisy, visibility * (rng.random(visibility.shape) > 0.2))
    assert errors(tiny_body, pose, truth).mean() < 50


@pytest.mark.usefixtures("short_windows")
def test_frames_without_a_person(tiny_body, seen):
    truth, world, visibility = seen
    world, visibility = world.copy(), visibility.copy()
    world[:3], visibility[:3] = np.nan, 0
    world[20:23] = np.nan  # a detector that says nothing of how visible nothing is
    visibility[30] = 0.1
    pose, mask = landmarks.initial_pose(tiny_body, world, visibility)
    assert np.flatnonzero(mask == 0).tolist() == [0, 1, 2, 20, 21, 22, 30]
    assert np.isfinite(pose).all()
    wrong = errors(tiny_body, pose, truth).mean(1)
    assert wrong[mask == 1].mean() < 20 and wrong[[20, 21, 22, 30]].max() < 80


@pytest.mark.usefixtures("short_windows")
def test_nobody_at_all(tiny_body):
    pose, mask = landmarks.initial_pose(tiny_body, np.full((5, 33, 3), np.nan), np.zeros((5, 33)))
    assert np.isfinite(pose).all() and not mask.any()
    pose, mask = landmarks.initial_pose(tiny_body, np.zeros((0, 33, 3)), np.zeros((0, 33)))
    assert pose.shape == (0, 24, 3) and mask.shape == (0,)


@pytest.mark.usefixtures("short_windows")
def test_what_is_not_visible_does_not_count(tiny_body, seen):
    _, world, visibility = seen
    hidden = visibility.copy()
    arm = [landmarks.LANDMARKS.index(f"left_{name}") for name in ("elbow", "wrist", "pinky", "index")]
    hidden[:, arm] = 0
    wild = world.copy()
    wild[:, arm] = 5.0
    wild[:, arm[0]] = np.nan
    a, _ = landmarks.initial_pose(tiny_body, world, hidden)
    b, _ = landmarks.initial_pose(tiny_body, wild, hidden)
    np.testing.assert_array_equal(a, b)
    pose, limits = a[:, jn.SMPL_JOINTS.index("left_elbow")], published_limits()
    assert np.all(pose < limits.high[17] + 0.1) and np.all(pose > limits.low[17] - 0.1)


@pytest.mark.parametrize("num", [1, 2, 128, 129, 224, 225, 1000])
def test_windows_tile_every_clip(num):
    windows = landmarks._windows(num)
    assert [w[1] for w in windows] == [0, *(w[2] for w in windows[:-1])] and windows[-1][2] == num
    for first, begin, end in windows:
        assert first <= begin < end <= first + 128
    # Everything but the clip's ends is taken well inside a window.
    assert all(begin - first >= 16 for first, begin, _ in windows[1:])
    assert all(first + 128 - end >= 16 for first, _, end in windows[:-1])


@pytest.mark.usefixtures("short_windows")
def test_a_long_clip_has_no_seams(tiny_body):
    num = 60
    truth = pitch_poses(num, begin=0.0, seconds=2.0)
    world = world_landmarks(joints_of(tiny_body, truth))
    pose, _ = landmarks.initial_pose(tiny_body, world, np.ones((num, 33)))
    steps = np.linalg.norm(np.diff(joints_of(tiny_body, pose)[:, SCORED], axis=0), axis=-1).max(1)
    cut = landmarks._windows(num)[0][2]
    true = np.linalg.norm(np.diff(joints_of(tiny_body, truth)[:, SCORED], axis=0), axis=-1).max(1)
    assert steps[cut - 1] < true[cut - 1] + 0.01


def test_wrong_arguments_are_named(tiny_body):
    with pytest.raises(ValueError, match=r"shape \(4, 17, 3\).*expected \(F, 33, 3\)"):
        landmarks.initial_pose(tiny_body, np.zeros((4, 17, 3)), np.zeros((4, 17)))
    with pytest.raises(ValueError, match="frame rate is 0"):
        landmarks.initial_pose(tiny_body, np.zeros((4, 33, 3)), np.zeros((4, 33)), fps=0)


@pytest.mark.skipif("NEMO_DATA_DIR" not in os.environ, reason="NEMO_DATA_DIR, with recorded motions, is not set")
@pytest.mark.usefixtures("short_windows")
@pytest.mark.parametrize("name", ["kick.1", "punch_left.0", "guide.0", "bow.3"])
def test_recorded_motions(tiny_body, name):
    truth = np.load(Path(os.environ["NEMO_DATA_DIR"]) / "mocap" / f"{name}.npz")["poses"].reshape(-1, 24, 3)[:NUM]
    truth[:, 0] = (Rotation.from_rotvec([np.pi / 2, 0, 0]) * Rotation.from_rotvec(truth[:, 0])).as_rotvec()
    world = world_landmarks(joints_of(tiny_body, truth))
    pose, _ = landmarks.initial_pose(tiny_body, world, np.ones((len(truth), 33)))
    assert errors(tiny_body, pose, truth).mean() < 30
