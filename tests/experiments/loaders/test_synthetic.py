"""The synthetic pitch: it looks like a pitch by the numbers, its truth is true, and it depends on its seed alone."""

import jax
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from body_models import joints as jn
from body_models import loaders
from experiments.data.dataset import DatasetError
from experiments.loaders import synthetic
from experiments.simulation import observations, pitch
from nemo_jax import clips as clips_lib


@pytest.fixture(scope="module")
def body():
    return loaders.load_body()


@pytest.fixture(scope="module")
def dataset(body):
    return synthetic.load(body, seed=0)


def _frames(dataset, n):
    return int(dataset.clips.frame_mask[n].sum())


def test_fields_fit_together(dataset):
    clips_lib.check(dataset.clips)
    lengths = [_frames(dataset, n) for n in range(8)]
    assert len(set(lengths)) > 4
    assert min(lengths) >= 70
    assert max(lengths) <= 130
    assert max(lengths) == dataset.clips.keypoints.shape[1]
    assert dataset.truth.joints.shape == (*dataset.clips.keypoints.shape[:3], 3)
    assert dataset.synthetic
    assert "synthetic" in dataset.notes[0]
    assert len(set(dataset.names)) == 8
    for array in jax.tree.leaves(dataset.clips):
        assert array.dtype == np.float32
        assert np.isfinite(array).all()


def test_padding_is_empty(dataset):
    padding = dataset.clips.frame_mask == 0
    assert padding.any()
    for array in (dataset.clips.confidence, dataset.clips.keypoints, dataset.clips.init_mask, dataset.box_size):
        assert not np.asarray(array)[padding].any()


def test_truth_reprojects_to_the_keypoints(dataset):
    for n, camera in enumerate(dataset.cameras):
        frames = _frames(dataset, n)
        exact = camera.project(dataset.truth.joints[n, :frames].astype(float))
        seen = dataset.clips.confidence[n, :frames] > 0.5
        error = np.linalg.norm(dataset.clips.keypoints[n, :frames] - exact, axis=-1)[seen]
        assert np.median(error) < 10.0
        assert dataset.clips.focal_length[n] == pytest.approx(camera.focal, rel=1e-6)


def test_truth_is_posed_by_the_body(body, dataset):
    truth = dataset.truth
    for n in (0, 5):
        frames = _frames(dataset, n)
        posed = observations.body_keypoints(body, truth.pose[n, :frames].astype(float), truth.betas[n].astype(float))
        np.testing.assert_allclose(posed + truth.translation[n, :frames, None], truth.joints[n, :frames], atol=1e-4)


def _mpjpe(body, pose, other):
    """Millimetres, body pose alone: identity root, zero shape, pelvis at the origin, first 15 joints."""
    joints = []
    for poses in (pose, other):
        poses = poses.astype(float)
        poses[:, 0] = 0.0
        posed = observations.body_keypoints(body, poses, np.zeros(10))[:, :15]
        joints.append(posed - posed[:, 8:9])
    return 1000 * np.linalg.norm(joints[0] - joints[1], axis=-1).mean()


@pytest.mark.parametrize("seed", range(3))
def test_initial_error_is_100_to_130_mm(body, seed):
    dataset = synthetic.load(body, seed=seed)
    errors = []
    for n in range(8):
        there = dataset.clips.init_mask[n] > 0
        errors.append(_mpjpe(body, dataset.truth.pose[n][there], dataset.clips.init_pose[n][there]))
    assert 100 <= np.mean(errors) <= 130


def test_seed_decides_everything(body, dataset):
    again, other = synthetic.load(body, seed=0, num_instances=2), synthetic.load(body, seed=1, num_instances=2)
    frames = again.clips.keypoints.shape[1]
    np.testing.assert_array_equal(again.clips.keypoints, dataset.clips.keypoints[:2, :frames])
    assert not np.array_equal(again.truth.betas, other.truth.betas)


def test_no_instances_is_an_error(body):
    with pytest.raises(DatasetError, match="at least 1"):
        synthetic.load(body, num_instances=0)


@pytest.mark.parametrize("seed", range(4))
def test_timing_rises_from_0_to_1(seed):
    phases = synthetic.draw_timing(np.random.default_rng(seed), 90, synthetic.StyleModel())
    assert phases[0] == 0
    assert phases[-1] == pytest.approx(1.0)
    assert (np.diff(phases) > 0).all()


# --- the pitch itself, in its key frames' own style ---


@pytest.fixture(scope="module")
def plain(body):
    """Phases (101,), local rotations (101, 24, 3, 3) and joints (101, 25, 3) in the world."""
    phases = np.linspace(0, 1, 101)
    rotations = pitch.sample(phases)
    keypoints = observations.body_keypoints(body, rotations.as_rotvec().reshape(101, 24, 3), np.zeros(10))
    translation = pitch.ground_translation(phases, keypoints)
    return phases, rotations.as_matrix().reshape(101, 24, 3, 3), keypoints + translation[:, None]


def _joint(name):
    return jn.BODY_25_NAMES.index(name)


def test_the_body_stands_on_the_ground(plain):
    soles = plain[2][:, 19:25, 1].min(1)
    assert soles.min() > -0.005
    assert soles.max() < 0.03


def test_the_standing_foot_stays_where_it_is(plain):
    phases, _, joints = plain
    right = joints[phases < pitch.PLANT[0], _joint("right_big_toe")]
    left = joints[phases > pitch.PLANT[1], _joint("left_big_toe")]
    assert np.ptp(right, axis=0)[[0, 2]].max() < 0.005
    assert np.ptp(left, axis=0)[[0, 2]].max() < 0.005


def test_it_strides_towards_the_target_and_turns_to_face_it(plain):
    _, rotations, joints = plain
    travelled = joints[-1, 8] - joints[0, 8]
    assert 1.0 < travelled[2] < 1.7
    forward = rotations[:, 0, :, 2]
    assert forward[0, 0] < -0.9  # closed: faces -x, the left shoulder to the target
    assert forward[-1, 2] > 0.9


def test_the_throwing_hand_is_the_fastest_joint_near_release(plain):
    phases, _, joints = plain
    speed = np.linalg.norm(np.diff(joints, axis=0), axis=-1)
    frame, joint = np.unravel_index(speed.argmax(), speed.shape)
    assert jn.BODY_25_NAMES[joint] == "right_wrist"
    assert 0.6 < phases[frame] < 0.72
    assert speed[frame, _joint("right_wrist")] > 2 * speed[:, _joint("left_wrist")].max()


def test_knees_and_elbows_bend_the_way_they_can(plain):
    flat = plain[1].reshape(-1, 24, 3, 3)
    for name, axis, sign in (
        ("left_knee", 0, 1), ("right_knee", 0, 1), ("left_elbow", 1, -1), ("right_elbow", 1, 1)
    ):  # fmt: skip
        bend = Rotation.from_matrix(flat[:, jn.SMPL_JOINTS.index(name)]).as_rotvec()
        assert (sign * bend[:, axis]).min() > 0.0, name
        assert np.degrees(sign * bend[:, axis]).max() < 150.0, name
        assert np.abs(np.delete(bend, axis, 1)).max() < 1e-6, name


def test_the_leg_lift_is_the_left_knee_at_hip_height(plain):
    phases, _, joints = plain
    frame = np.argmin(np.abs(phases - 0.25))
    assert joints[frame, _joint("left_knee"), 1] > joints[frame, _joint("left_hip"), 1] - 0.05
    assert joints[frame, _joint("right_knee"), 1] < 0.6


def test_the_motion_is_smooth(plain):
    steps = np.swapaxes(plain[1][:-1], -1, -2) @ plain[1][1:]
    angles = np.degrees(Rotation.from_matrix(steps.reshape(-1, 3, 3)).magnitude())
    assert angles.max() < 45.0
