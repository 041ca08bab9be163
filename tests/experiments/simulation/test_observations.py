"""The observation model: geometry against closed forms, noise against its stated statistics."""

import dataclasses

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from body_models import joints as jn
from body_models import loaders
from experiments.data.camera import Camera
from experiments.simulation import observations

CLEAN = observations.ObservationModel(
    noise_px=0.0, noise_motion=0.0, lost_fraction=0.0, swapped_fraction=0.0,
    pull=0.0, bias_sd=0.0, drift_sd=0.0, jitter_sd=0.0, missing_fraction=0.0,
)  # fmt: skip


@pytest.fixture(scope="module")
def body():
    return loaders.load_body()


def _motion(rng, frames=40):
    pose = rng.normal(0, 0.3, (1, jn.NUM_JOINTS, 3)) + np.cumsum(rng.normal(0, 0.02, (frames, jn.NUM_JOINTS, 3)), 0)
    translation = np.cumsum(rng.normal(0, 0.01, (frames, 3)), 0) + [3.0, 1.0, -2.0]
    return observations.Motion(pose=pose, translation=translation, betas=rng.normal(0, 1, 10))


def _camera(**changes):
    camera = Camera(
        world_from_camera=np.diag([1.0, -1.0, -1.0]),
        position=np.array([0.0, 1.0, 5.0]),
        focal=1000.0,
        image_size=(640, 480),
    )
    return dataclasses.replace(camera, **changes)


def test_projection_of_known_points():
    # From +z, looking along -z: the world's left (+x) is on the right of the image, up is up.
    points = np.array([[0.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 2.0, 0.0], [0.0, 1.0, 2.5]])
    expected = [[320.0, 240.0], [520.0, 240.0], [320.0, 40.0], [320.0, 240.0]]
    np.testing.assert_allclose(_camera().project(points), expected)


def test_points_behind_the_camera_have_no_pixel():
    assert np.isnan(_camera().project(np.array([0.0, 1.0, 6.0]))).all()


@pytest.mark.parametrize("seed", range(5))
def test_cameras_obey_their_ranges(seed):
    rng = np.random.default_rng(seed)
    model = observations.ObservationModel(aim_sd=0.0, roll_sd=0.0)
    joints = rng.uniform([-1, 0, -1], [1, 1.8, 1], (50, 25, 3))
    camera = observations.draw_camera(rng, joints, model)
    middle = (joints.min((0, 1)) + joints.max((0, 1))) / 2
    np.testing.assert_allclose(camera.world_from_camera @ camera.world_from_camera.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(camera.world_from_camera) == pytest.approx(1.0)
    assert model.focal_range[0] <= camera.focal <= model.focal_range[1]
    assert model.distance_range[0] <= np.hypot(*(camera.position - middle)[[0, 2]]) <= model.distance_range[1]
    # Aimed without error and level: the middle is the principal point, and what is above is above.
    np.testing.assert_allclose(camera.project(middle), [960.0, 540.0], atol=1e-9)
    above = camera.project(middle + [0.0, 0.1, 0.0])
    assert above[1] < 540.0
    assert above[0] == pytest.approx(960.0)


def test_azimuth_zero_looks_from_plus_z():
    model = observations.ObservationModel(azimuth_range=(0.0, 0.0))
    camera = observations.draw_camera(np.random.default_rng(0), np.zeros((2, 25, 3)), model)
    assert camera.position[2] > 4.0
    assert abs(camera.position[0]) < 1e-9


def test_without_noise_the_observation_is_the_truth(body):
    rng = np.random.default_rng(1)
    motion = _motion(rng)
    seen = observations.observe(rng, body, motion, CLEAN)
    instance = seen.instance
    visible = instance.confidence > 0
    assert visible.mean() > 0.9
    np.testing.assert_allclose(instance.keypoints[visible], seen.clean[visible])
    np.testing.assert_allclose(seen.camera.project(seen.joints), seen.clean)
    np.testing.assert_allclose(instance.init_pose[:, 1:], motion.pose[:, 1:], atol=1e-9)
    assert instance.focal_length == seen.camera.focal
    # The initial root maps the body into the camera: the posed skeleton agrees with the projected one up to translation.
    posed = observations.body_keypoints(body, instance.init_pose, motion.betas)
    true = seen.camera.to_camera(seen.joints)
    np.testing.assert_allclose(posed - posed[:, 8:9], true - true[:, 8:9], atol=1e-5)


def test_equal_generators_give_equal_observations(body):
    motion = _motion(np.random.default_rng(2))
    model = observations.ObservationModel()
    first, second, other = (observations.observe(np.random.default_rng(s), body, motion, model) for s in (3, 3, 4))
    np.testing.assert_array_equal(first.instance.keypoints, second.instance.keypoints)
    np.testing.assert_array_equal(first.instance.init_pose, second.instance.init_pose)
    assert not np.array_equal(first.instance.keypoints, other.instance.keypoints)


def test_unknown_focal_length_is_nan(body):
    model = observations.ObservationModel(focal_known=False)
    seen = observations.observe(np.random.default_rng(0), body, _motion(np.random.default_rng(0)), model)
    assert np.isnan(seen.instance.focal_length)


def test_detector_noise_has_its_stated_spread():
    model = dataclasses.replace(CLEAN, noise_px=5.0, noise_motion=0.12)
    clean = np.full((4000, 25, 2), 500.0)
    clean[:, 4, 0] += 40.0 * (np.arange(4000) % 2)  # this joint moves 40 px a frame
    keypoints, confidence = observations.detect(np.random.default_rng(0), clean, model)
    spread = (keypoints - clean)[1:].std((0, 2))
    np.testing.assert_allclose(np.delete(spread, 4), 5.0, rtol=0.05)
    assert spread[4] == pytest.approx(5.0 + 0.12 * 40.0, rel=0.05)
    assert confidence[1:, 4].mean() < confidence[1:, 3].mean() - 0.05
    assert confidence.min() > 0
    assert confidence.max() <= 1


def test_lost_joints_are_zero_and_as_many_as_stated():
    model = dataclasses.replace(CLEAN, lost_fraction=0.08, lost_burst=5.0)
    keypoints, confidence = observations.detect(np.random.default_rng(0), np.full((4000, 25, 2), 100.0), model)
    lost = confidence == 0
    assert lost.mean() == pytest.approx(0.08, abs=0.01)
    np.testing.assert_array_equal(keypoints[lost], 0.0)
    starts = (lost[1:] & ~lost[:-1]).sum()
    assert lost.sum() / starts == pytest.approx(5.0, rel=0.1)


def test_joints_outside_the_image_are_not_seen():
    clean = np.tile([[100.0, 100.0], [-1.0, 100.0], [100.0, 1080.0], [np.nan, np.nan], [1919.0, 0.0]], (3, 5, 1))
    keypoints, confidence = observations.detect(np.random.default_rng(0), clean, CLEAN)
    np.testing.assert_array_equal(confidence[0, :5] > 0, [True, False, False, False, True])
    assert np.isfinite(keypoints).all()


def test_swaps_exchange_the_legs_and_nothing_else():
    model = dataclasses.replace(CLEAN, swapped_fraction=0.02)
    clean = np.zeros((5000, 25, 2)) + np.arange(25)[:, None] * 10.0
    keypoints, _ = observations.detect(np.random.default_rng(0), clean, model)
    seen = np.round(keypoints[:, :, 0] / 10).astype(int)
    swapped = (seen != np.arange(25)).any(1)
    assert swapped.mean() == pytest.approx(0.02, abs=0.01)
    expected = np.arange(25)
    legs = [9, 10, 11, 12, 13, 14, 19, 20, 21, 22, 23, 24]
    expected[legs] = jn.MIRROR_BODY_25[legs]
    np.testing.assert_array_equal(seen[swapped], np.tile(expected, (swapped.sum(), 1)))


def test_a_share_of_the_frames_has_its_sides_exchanged(body):
    draw = lambda share: (
        observations.observe(
            np.random.default_rng(0),
            body,
            _motion(np.random.default_rng(1)),
            dataclasses.replace(CLEAN, exchanged_share=share),
        ).instance
    )
    plain, some, all_of_it = draw(0.0), draw(0.35), draw(1.0)
    for joints in (observations.LEGS, observations.ARMS):
        joints = list(joints)
        differ = (some.keypoints[:, joints] != plain.keypoints[:, joints]).any((1, 2))
        assert differ.sum() == 14 and np.abs(np.diff(differ.astype(int))).sum() <= 2
        np.testing.assert_array_equal(
            some.keypoints[differ][:, joints], plain.keypoints[differ][:, jn.MIRROR_BODY_25[joints]]
        )
    np.testing.assert_array_equal(all_of_it.keypoints, plain.keypoints[:, jn.MIRROR_BODY_25])
    left, right = (jn.SMPL_JOINTS.index(f"{side}_elbow") for side in ("left", "right"))
    np.testing.assert_allclose(all_of_it.init_pose[:, left], plain.init_pose[:, right] * [1, -1, -1], atol=1e-6)
    np.testing.assert_array_equal(all_of_it.init_pose[:, 0], plain.init_pose[:, 0])


@pytest.mark.parametrize("field", ["bias_sd", "drift_sd", "jitter_sd"])
def test_initial_pose_errors_have_their_stated_spread(field):
    model = dataclasses.replace(CLEAN, **{field: 0.1})
    rng = np.random.default_rng(5)
    errors = []
    for _ in range(40):
        estimate, mask = observations.estimate_pose(rng, np.zeros((60, 24, 3)), _camera(), model)
        assert mask.all()
        errors.append(estimate[:, 1:])
    errors = np.stack(errors)
    assert errors.std() == pytest.approx(0.1, rel=0.1)
    within = errors.std(1).mean()  # over time
    assert within == pytest.approx({"bias_sd": 0.0, "jitter_sd": 0.1}.get(field, within), abs=0.01)
    if field == "drift_sd":
        assert np.abs(np.diff(errors, axis=1)).mean() < 0.02


def test_pull_moves_a_joint_towards_the_mean_pose():
    pose = np.zeros((11, 24, 3))
    pose[:, 18, 1] = np.linspace(-1, 1, 11)
    estimate, _ = observations.estimate_pose(
        np.random.default_rng(0), pose, _camera(), dataclasses.replace(CLEAN, pull=0.25)
    )
    np.testing.assert_allclose(estimate[:, 18, 1], 0.75 * pose[:, 18, 1], atol=1e-9)


def test_missing_estimates_are_masked():
    model = dataclasses.replace(CLEAN, missing_fraction=0.04)
    estimate, mask = observations.estimate_pose(np.random.default_rng(0), np.full((5000, 24, 3), 0.3), _camera(), model)
    assert 1 - mask.mean() == pytest.approx(0.04, abs=0.01)
    np.testing.assert_array_equal(estimate[mask == 0], 0.0)


@pytest.mark.parametrize(("fraction", "length"), [(0.0, 1.0), (0.08, 5.0), (0.5, 2.0)])
def test_bursts(fraction, length):
    on = observations.bursts(np.random.default_rng(0), 20000, 4, fraction, length)
    assert on.mean() == pytest.approx(fraction, abs=0.02)
    if fraction:
        assert on.sum() / (on[1:] & ~on[:-1]).sum() == pytest.approx(length, rel=0.1)


@pytest.mark.parametrize(("fraction", "length"), [(1.0, 2.0), (-0.1, 2.0), (0.1, 0.5)])
def test_impossible_bursts_are_refused(fraction, length):
    with pytest.raises(ValueError, match="bursts need"):
        observations.bursts(np.random.default_rng(0), 10, 1, fraction, length)


def test_smooth_noise_has_unit_variance_and_its_width():
    noise = observations.smooth_noise(np.random.default_rng(0), 300, (400,), 10.0)
    assert noise.var() == pytest.approx(1.0, rel=0.1)
    # White noise through a Gaussian of sd w is correlated as exp(-d^2 / 4 w^2).
    assert (noise[:-20] * noise[20:]).mean() == pytest.approx(np.exp(-1.0), abs=0.07)


def test_body_keypoints_do_not_depend_on_the_batch(body):
    rng = np.random.default_rng(0)
    pose = rng.normal(0, 0.5, (130, 24, 3))
    betas = rng.normal(0, 1, 10)
    together = observations.body_keypoints(body, pose, betas)
    alone = observations.body_keypoints(body, pose[129:], betas)
    np.testing.assert_allclose(together[129:], alone, atol=1e-6)
    # Turning the root turns the body rigidly.
    turned = pose.copy()
    turn = Rotation.from_rotvec([0.3, -0.8, 0.2])
    turned[:, 0] = (turn * Rotation.from_rotvec(pose[:, 0])).as_rotvec()
    moved = observations.body_keypoints(body, turned, betas)
    centred = together - together[:, 8:9]
    expected = turn.apply(centred.reshape(-1, 3)).reshape(centred.shape)
    np.testing.assert_allclose(moved - moved[:, 8:9], expected, atol=1e-5)
