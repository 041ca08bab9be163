"""Rigs: cameras that are known against each other are learned as one."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from nemo_jax import camera as cam
from nemo_jax import camera_search, model, rig, stacking, stages
from nemo_jax.priors import Priors
from tests.nemo_jax import helpers
from tests.nemo_jax.test_take_model import filmed, take_of

CONFIG = helpers.tiny_config()


def camera_of(turn, translation):
    return np.concatenate([translation, np.asarray(turn)[:, :2].reshape(-1)])


def transform(turn, translation):
    found = np.eye(4)
    found[:3, :3], found[:3, 3] = turn, translation
    return found


def as_transforms(cameras):
    turns, translations = (np.float64(part) for part in cam.split(jnp.asarray(cameras, jnp.float32)))
    return [transform(*each) for each in zip(turns, translations, strict=True)]


@functools.cache
def scene():
    """Five clips: a rig of three, one clip of its take whose camera is unknown, one known camera by itself."""
    rng = np.random.default_rng(0)
    turns = Rotation.random(5, random_state=1).as_matrix()
    known = np.stack([camera_of(turn, rng.uniform(-4, 4, 3)) for turn in turns]).astype(np.float32)
    known[1] = np.nan
    clips = helpers.scene(lengths=(2,) * 5, yaws=(0.0,) * 5).clips
    clips = take_of(clips, [3, 3, 3, 3, 1])
    return dataclasses.replace(clips, camera_known=jnp.asarray(known)), known


# As programs, not operation by operation.
put, pulled_to, of_clips = jax.jit(rig.held), jax.jit(rig.pulled), jax.jit(rig.of_clips)


def some_cameras(seed=2):
    rng = np.random.default_rng(seed)
    turns = Rotation.random(5, random_state=seed).as_matrix()
    return np.stack([camera_of(turn, rng.uniform(-3, 3, 3)) for turn in turns]).astype(np.float32)


def test_nothing_known_is_no_rig():
    clips, _ = scene()
    assert rig.of_clips(dataclasses.replace(clips, camera_known=None)) is None
    assert rig.of_clips(dataclasses.replace(clips, take=None)) is None
    cameras = some_cameras()
    assert rig.held(None, cameras) is cameras and rig.pulled(None, cameras, cameras) is cameras


def test_cameras_follow_the_first_of_their_rig():
    clips, known = scene()
    found = of_clips(clips)
    cameras = some_cameras()
    held = np.asarray(put(found, jnp.asarray(cameras)))
    np.testing.assert_array_equal(rig.in_rig(found), [1, 0, 1, 1, 0])
    np.testing.assert_array_equal(rig.follows(found), [0, 0, 1, 1, 0])
    # The leader, who is unknown, and who is by itself.
    np.testing.assert_array_equal(held[[0, 1, 4]], cameras[[0, 1, 4]])
    true = as_transforms(np.where(np.isnan(known), cameras, known))
    leader = as_transforms(cameras)[0]
    for n in (2, 3):
        expected = true[n] @ np.linalg.inv(true[0]) @ leader
        np.testing.assert_allclose(as_transforms(held)[n], expected, atol=5e-6)
    back = rig.leading(found, jnp.asarray(held))
    for n in (0, 2, 3):
        np.testing.assert_allclose(as_transforms(back)[n], leader, atol=5e-6)
    # Over any leading axes.
    both = put(found, jnp.stack([cameras, some_cameras(3)]))
    np.testing.assert_allclose(both[0], held, atol=1e-6)


def test_padding_leads_no_rig():
    clips, _ = scene()
    # The last one, which padding repeats, is of the rig.
    clips = jax.tree.map(lambda leaf: leaf[jnp.asarray([4, 0, 2, 3])], clips)
    found = rig.of_clips(jax.tree.map(jnp.asarray, stacking.pad_instances(clips, 6)))
    np.testing.assert_array_equal(np.argmax(found.leader, 1)[:4], [0, 1, 1, 1])


def test_gradients_are_those_of_the_leaders():
    clips, known = scene()
    weights = np.random.default_rng(4).normal(size=(5, 3, 4))

    def value(cameras, found):
        turn, translation = cam.split(rig.held(found, cameras))
        return jnp.sum(weights * jnp.concatenate([turn, translation[..., None]], -1) ** 2)

    with jax.enable_x64(True):
        wide = dataclasses.replace(clips, camera_known=jnp.asarray(known, jnp.float64))
        found = helpers.as_float64(of_clips(wide))
        cameras = np.float64(some_cameras())
        held = put(found, jnp.asarray(cameras))
        plain = jax.jit(jax.grad(lambda c: value(c, None)))(held)
        pulled = np.asarray(pulled_to(found, held, plain))
        numbers = helpers.numerical_gradient(jax.jit(lambda c: value(c, found)), np.asarray(held))
    np.testing.assert_allclose(pulled, numbers, atol=1e-6)
    assert (pulled[2:4] == 0).all() and (pulled[[0, 1, 4]] != 0).all()


def test_the_principal_point_is_where_it_is_said_to_be():
    clips = helpers.scene().clips
    principal = np.array([[610.0, 400.0], [np.nan, np.nan]], np.float32)
    moved = dataclasses.replace(clips, principal=jnp.asarray(principal))
    before, after = (helpers.prepare(c, helpers.body(), Priors(), CONFIG).principal for c in (clips, moved))
    np.testing.assert_array_equal(before, [[640.0, 360.0]] * 2)
    np.testing.assert_array_equal(after, [[610.0, 400.0], [640.0, 360.0]])
    params = helpers.init(jax.random.key(0), 2, jnp.asarray(clips.image_size), helpers.NUM_BETAS, CONFIG)
    params = dataclasses.replace(params, cameras=jnp.asarray(some_cameras()[:2]).at[:, 2].set(6.0))
    assets = helpers.prepare(moved, helpers.body(), Priors(), CONFIG)
    found = jax.jit(model.predict)(params, assets, CONFIG, jnp.asarray(0), jnp.asarray(0.3))
    points, seen = np.asarray(found.keypoints, float), np.asarray(found.keypoints_2d)
    inside = as_transforms(params.cameras)[0] @ np.concatenate([points, np.ones((len(points), 1))], 1).T
    pixels = 1500.0 * inside[:2] / np.maximum(inside[2], CONFIG.near) + principal[0, :, None]
    np.testing.assert_allclose(seen, pixels.T, rtol=1e-4, atol=0.05)


@pytest.fixture(scope="module")
def fitted():
    """A take of three clips whose cameras are known in another world, z up and far away, and its fit, with the truth."""
    clips, _ = filmed()
    clips = take_of(clips, [1, 1, 1], [0.0, 0.12, -0.1])
    true = [transform(helpers.level_matrix(yaw), [0.1, 0.2, 6.0]) for yaw in (0.4, -1.1, 2.0)]
    world = transform(Rotation.from_rotvec([1.2, 0.3, -0.5]).as_matrix(), [3.0, -20.0, 1.0])
    known = np.stack([camera_of(t[:3, :3], t[:3, 3]) for t in (each @ world for each in true)]).astype(np.float32)
    clips = dataclasses.replace(clips, camera_known=jnp.asarray(known))
    config = helpers.tiny_config(
        hidden=32, num_centres=12, batch_size=64, warmup_steps=100, camera_steps=40, joint_steps=150,
        weight_init=1.0, find_handedness=False, lr_field=3e-3, weight_level=1.0, weight_depth=0.0,
    )  # fmt: skip

    @jax.jit
    def run(clips):
        problem, state = stages.start(jax.random.key(0), clips, helpers.body(), Priors(), config)
        found, history = {}, {}
        for stage in stages.stages(config):
            carry, history[stage.name] = stages.run_steps(
                problem, stage, stage.begin(problem, state), stages.numbers(stage)
            )
            state = stage.end(problem, carry)
            found[stage.name] = state.params.cameras
        return found, history

    found, history = run(clips)
    return true, found, history


@pytest.mark.parametrize("stage", ["camera", "joint"])
def test_a_fit_keeps_known_cameras_as_they_stand(fitted, stage):
    true, found, _ = fitted
    cameras = as_transforms(found[stage])
    for n in (1, 2):
        relative, expected = (each[n] @ np.linalg.inv(each[0]) for each in (cameras, true))
        np.testing.assert_allclose(relative, expected, atol=2e-5)


def test_a_fit_finds_where_a_rig_stands(fitted):
    true, found, history = fitted

    # The person, at the origin of the world, is seen where the true cameras see him; directions of the world are free.
    for camera, expected in zip(as_transforms(found["joint"]), true, strict=True):
        np.testing.assert_allclose(camera[:3, 3], expected[:3, 3], atol=0.06)
    assert history["joint"]["keypoints"][-20:].mean() < 0.2 * history["joint"]["keypoints"][0]


def test_the_search_judges_a_rig_by_all_its_clips():
    """A camera that one clip alone would take, turned half round, is not where its rig stands."""
    clips, _ = filmed()
    true = np.stack([camera_of(helpers.level_matrix(yaw), [0.1, 0.2, 6.0]) for yaw in (0.4, -1.1, 2.0)])
    clips = dataclasses.replace(take_of(clips, [1, 1, 1]), camera_known=jnp.asarray(true, jnp.float32))
    config = helpers.tiny_config(camera_steps=1, lr_camera_stage=0.0, weight_level=0.0)
    assets = helpers.prepare(clips, helpers.body(), Priors(), config)
    rng = np.random.default_rng(0)
    points, yaws = rng.normal(scale=0.5, size=(3, 3, 25, 3)), (0.4, -1.1, 2.0)
    seen = [
        1500.0 * inside[..., :2] / inside[..., 2:] + np.array([640.0, 360.0])
        for inside in (p @ helpers.level_matrix(yaw).T + [0.1, 0.2, 6.0] for p, yaw in zip(points, yaws, strict=True))
    ]
    wrong = true.copy()
    wrong[:, :3] += rng.normal(scale=0.3, size=(3, 3))
    # Of the second clip the right one is the second candidate, of the others there is none.
    candidates = np.stack([wrong, wrong + 0.1])
    candidates[1, 1] = true[1]
    search = camera_search.Search(
        cameras=jnp.asarray(candidates, jnp.float32), adam=None, log_focal=jnp.zeros((2, 3)),
        points=jnp.asarray(points, jnp.float32), pixels=jnp.asarray(seen, jnp.float32), weight=jnp.ones((3, 3, 25)),
        box=jnp.ones((3, 3)),
    )  # fmt: skip
    found, _ = camera_search.best(search, assets, config)
    np.testing.assert_allclose(found, true, atol=1e-4)
