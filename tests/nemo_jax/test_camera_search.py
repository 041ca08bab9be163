import dataclasses
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from nemo_jax import camera as cam
from nemo_jax import camera_search, model, rotations
from nemo_jax.priors import Priors
from tests.nemo_jax import helpers, points

CONFIG = helpers.tiny_config(camera_yaws=8, camera_frames=2)
align = jax.jit(
    lambda clips: camera_search.align_roots(camera_search.targets_from(clips), clips, jnp.zeros(clips.num_instances))
)


def test_key_frames_run_from_first_to_last():
    clips = helpers.scene(lengths=(1, 5, 9), yaws=(0.0, 1.0, 2.0)).clips
    np.testing.assert_array_equal(camera_search.key_frames(clips, 5), [[0] * 5, [0, 1, 2, 3, 4], [0, 2, 4, 6, 8]])
    np.testing.assert_array_equal(camera_search.key_frames(clips, 1), [[0], [0], [0]])


def test_nearest_known():
    mask, frames = jnp.asarray([0, 0, 1, 0, 0, 0, 1.0]), jnp.asarray([0, 2, 3, 5, 6])
    np.testing.assert_array_equal(camera_search.nearest_known(mask, frames), [2, 2, 2, 6, 6])
    np.testing.assert_array_equal(camera_search.nearest_known(jnp.zeros(7), frames), frames)


def difference(a, b):
    """Angles modulo a turn, in (-pi, pi]."""
    return (np.asarray(a) - np.asarray(b) + np.pi) % (2 * np.pi) - np.pi


@pytest.mark.parametrize("case", ["same speed", "own speeds", "gaps"])
def test_align_roots_finds_yaws_up_to_a_common_one(case):
    yaws, lengths = (0.3, 2.9, -1.4, -3.0), (9, 7, 9, 6) if case == "own speeds" else (9, 9, 9, 9)
    scene = helpers.scene(lengths=lengths, yaws=yaws)
    clips, mask = scene.clips, np.array(scene.clips.init_mask)
    if case == "gaps":
        mask[1, 2:4] = mask[2, ::2] = 0
        poses = jnp.where(mask[..., None, None] > 0, clips.init_pose, 1.0)
        clips = dataclasses.replace(clips, init_mask=jnp.asarray(mask), init_pose=poses)
    found, targets = align(clips)
    gauge = difference(found, yaws)
    # Frames that stand for others, across gaps or between frames, show another moment of the motion.
    assert np.abs(difference(gauge, gauge[0])).max() < (1e-4 if case == "same speed" else 0.1)
    for i, length in enumerate(lengths):
        # The world of the found cameras against the true one: level cameras see the same.
        turn = helpers.level_matrix(found[i]).T @ helpers.level_matrix(yaws[i])
        expected = turn @ helpers.rotation(scene.pose[i, :length, 0])
        kept = mask[i, :length] > 0
        np.testing.assert_allclose(targets.rotations[i, :length, 0][kept], expected[kept], atol=1e-4)
    np.testing.assert_array_equal(targets.root_mask, mask * np.asarray(clips.frame_mask))
    np.testing.assert_allclose(
        targets.rotations[:, :, 1:], jax.jit(camera_search.targets_from)(clips).rotations[:, :, 1:], atol=1e-6
    )


def test_the_first_instance_faces_the_world():
    _, targets = align(helpers.scene(lengths=(9, 7), yaws=(1.1, -2.0)).clips)
    front = np.asarray(targets.rotations)[0, :9, 0, :, 2].mean(0)
    assert front[2] > 0.7 and abs(np.arctan2(front[0], front[2])) < 0.35


def test_align_roots_without_any_is_finite():
    clips = helpers.scene(lengths=(9, 7), yaws=(1.1, -2.0)).clips
    clips = dataclasses.replace(clips, init_mask=jnp.zeros_like(clips.init_mask))
    yaws, targets = align(clips)
    assert jnp.isfinite(yaws).all() and helpers.all_finite(targets)
    one = dataclasses.replace(clips, init_mask=clips.frame_mask.at[0].set(0.0))
    yaws, _ = align(one)
    assert jnp.isfinite(yaws).all()


AZIMUTHS = tuple(np.linspace(-np.pi, np.pi, 7, endpoint=False) + 0.2)


@pytest.fixture(scope="module")
def search():
    """One unmoving asymmetric body, filmed from all round by cameras that look slightly down; the field holds its pose."""
    n = len(AZIMUTHS)
    clips = helpers.scene(lengths=(2,) * n, yaws=AZIMUTHS).clips
    params = points.at("zero", CONFIG, clips)
    six = rotations.matrix_to_rotation_6d(jnp.asarray(helpers.rotation(helpers.pitch_like_pose(0.7)), jnp.float32))
    field = {**params.field, "rotation": {**params.field["rotation"], "bias": six.reshape(-1)}}
    field["translation"] = jax.tree.map(jnp.zeros_like, field["translation"])
    params = dataclasses.replace(params, field=field)
    true_rotation = np.stack([helpers.rotation([0.15, 0, 0.05]) @ helpers.level_matrix(y) for y in AZIMUTHS])
    translation = np.tile([0.3, -0.2, 6.0], (n, 1)) + 0.1 * np.arange(n)[:, None]
    cameras = cam.join(jnp.asarray(true_rotation, jnp.float32), jnp.asarray(translation, jnp.float32))
    params = dataclasses.replace(params, cameras=cameras)
    assets = jax.jit(model.prepare)(clips, helpers.body(), Priors(), CONFIG)
    seen = jax.jit(model.predict_clips)(params, assets, CONFIG, clips)
    clips = dataclasses.replace(clips, keypoints=seen.keypoints_2d)
    assets = jax.jit(model.prepare)(clips, helpers.body(), Priors(), CONFIG)
    return SimpleNamespace(clips=clips, params=params, assets=assets, rotation=true_rotation, translation=translation)


@jax.jit
def stage(params, assets, config, clips, yaws):
    begun = camera_search.begin_search(params, assets, config, clips, yaws)
    rate = lambda i: 0.03 * 0.5 * (1 + jnp.cos(jnp.pi * i / 150))
    done, history = jax.lax.scan(
        lambda s, i: camera_search.search_step(s, assets, config, clips, rate(i)), begun, jnp.arange(150)
    )
    return (
        begun,
        history["keypoints"],
        camera_search.best(done, assets, config),
        camera_search.search_losses(begun, begun.cameras, assets, config),
    )


def test_the_search_finds_the_camera_from_any_azimuth(search):
    nowhere = np.tile([0, 0, 3.0, 1, 0, 0, 1, 0, 0], (len(AZIMUTHS), 1))
    lost = dataclasses.replace(search.params, cameras=jnp.asarray(nowhere, jnp.float32))
    _, history, (found, log_focal), _ = stage(lost, search.assets, CONFIG, search.clips, jnp.zeros(len(AZIMUTHS)))
    turn, translation = cam.split(found)
    angle = Rotation.from_matrix(np.asarray(turn, np.float64) @ search.rotation.transpose(0, 2, 1)).magnitude()
    assert np.degrees(angle).max() < 3, np.degrees(angle)
    np.testing.assert_allclose(translation, search.translation, atol=0.25)
    assert history[-1] < 0.05
    np.testing.assert_array_equal(log_focal, 0.0)


def test_a_camera_that_lies_on_its_side_is_found(search):
    middle, roll = np.array([640.0, 360.0]), helpers.rotation([0, 0, np.radians(80)])
    clips = search.clips
    keypoints = jnp.asarray((np.asarray(clips.keypoints) - middle) @ roll[:2, :2].T + middle, jnp.float32)
    rolled = dataclasses.replace(clips, keypoints=keypoints)
    yaws = jnp.asarray(AZIMUTHS, jnp.float32)
    found = cam.split(stage(search.params, search.assets, CONFIG, rolled, yaws)[2][0])[0]
    angle = Rotation.from_matrix(
        np.asarray(found, np.float64) @ (roll @ search.rotation).transpose(0, 2, 1)
    ).magnitude()
    assert np.degrees(angle).max() < 3, np.degrees(angle)


def test_a_level_camera_is_chosen_where_a_rolled_one_is_hardly_better(search):
    begun = jax.jit(camera_search.begin_search)(
        search.params, search.assets, CONFIG, search.clips, jnp.asarray(AZIMUTHS, jnp.float32)
    )
    # The films are rolled by 3 degrees. Beside the camera that sees them best, the same without its roll.
    best = begun.cameras[9]
    turn, translation = cam.split(best)
    roll = np.arctan2(turn[:, 0, 1], -turn[:, 1, 1])
    assert np.all(np.abs(np.degrees(roll)) > 1.5)
    back = jnp.asarray(helpers.rotation(np.stack([0 * roll, 0 * roll, -roll], -1)), jnp.float32)
    level = cam.join(back @ turn, jnp.einsum("nij,nj->ni", back, translation))
    two = dataclasses.replace(begun, cameras=jnp.stack([best, level]), log_focal=begun.log_focal[:2])
    chosen = jax.jit(camera_search.best)
    for weight, expected in ((0.0, best), (1e9, level)):
        config = dataclasses.replace(CONFIG, weight_level=weight)
        np.testing.assert_array_equal(chosen(two, search.assets, config)[0], expected)


def test_candidates_and_their_losses(search):
    yaws = jnp.asarray(AZIMUTHS, jnp.float32)
    begun, _, _, values = stage(search.params, search.assets, CONFIG, search.clips, yaws)
    turns, translations = cam.split(begun.cameras)
    assert turns.shape[:2] == (10, len(AZIMUTHS))
    # The aligned yaw first, then all round.
    np.testing.assert_allclose(turns[0], np.stack([helpers.level_matrix(y) for y in AZIMUTHS]), atol=1e-5)
    round_about = [helpers.level_matrix(2 * np.pi * i / 8) for i in range(8)]
    np.testing.assert_allclose(turns[1:9, 0], np.stack(round_about), atol=1e-5)
    # Last the camera that the points tell, as it looks down.
    apart = Rotation.from_matrix(np.asarray(turns[9], np.float64) @ search.rotation.transpose(0, 2, 1)).magnitude()
    assert np.degrees(apart).max() < 10, np.degrees(apart)
    # The loss of one candidate, by hand.
    seen = np.float64(begun.points[2]) @ np.float64(turns[0, 2]).T + np.float64(translations[0, 2])
    pixels = 1500 * seen[..., :2] / seen[..., 2:] + [640, 360]
    residual = (pixels - np.float64(begun.pixels[2])) * float(search.assets.pixel_scale[2])
    rho = 100.0**2 * residual**2 / (residual**2 + 100.0**2)
    expected = np.mean(np.float64(search.clips.confidence[2])[..., None] * rho)
    np.testing.assert_allclose(values[0, 2], expected, rtol=1e-3)


def test_without_a_search_the_camera_stays_the_only_candidate(search):
    config = dataclasses.replace(CONFIG, camera_search=False, camera_confidence=False, camera_frames=1)
    begun = jax.jit(camera_search.begin_search)(
        search.params, search.assets, config, search.clips, jnp.zeros(len(AZIMUTHS))
    )
    np.testing.assert_array_equal(begun.cameras, search.params.cameras[None])
    np.testing.assert_array_equal(begun.weight, (np.asarray(search.clips.confidence)[:, :1] > 0.5).astype(np.float32))


def test_unseen_joints_do_not_steer_the_search(search):
    clips = search.clips
    unseen = np.zeros(clips.confidence.shape, bool)
    unseen[:, :, 15:19] = True
    confidence = jnp.where(unseen, 0.0, clips.confidence)
    found = []
    for value in (0.0, np.nan):
        keypoints = jnp.where(unseen[..., None], value, clips.keypoints)
        changed = dataclasses.replace(clips, confidence=confidence, keypoints=keypoints)
        found.append(stage(search.params, search.assets, CONFIG, changed, jnp.zeros(len(AZIMUTHS)))[2][0])
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)
    assert jnp.isfinite(found[0]).all()
