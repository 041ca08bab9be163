import dataclasses
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from body_models import joints as jn
from nemo_jax import camera_search, lift, model, rotations
from nemo_jax.priors import Priors, published_limits
from tests.nemo_jax import helpers

CONFIG = helpers.tiny_config(lift=True, lift_steps=120, lift_frames=4, lift_yaws=6, lift_turned=4)
PRIORS = Priors(joint_limits=published_limits())
YAWS = (0.6, np.pi - 0.5, -1.2)  # from the front, from behind, from the side


@jax.jit
def lifted(clips):
    """The whole stage as `fit` runs it: losses of all starts before and after, and the targets."""
    config = CONFIG
    assets = model.prepare(clips, helpers.body(), PRIORS, config)
    begun = lift.begin(assets, config, clips)
    before = lift.lift_losses(begun, begun.variables, assets, config, clips)

    def one(state, i):
        rate = config.lift_lr * 0.5 * (1 + jnp.cos(jnp.pi * i / config.lift_steps))
        return lift.step(state, assets, config, clips, rate)

    done, history = jax.lax.scan(one, begun, jnp.arange(config.lift_steps))
    after = lift.lift_losses(done, done.variables, assets, config, clips)
    return (
        begun,
        before,
        after,
        history["lift"],
        lift.finish(done, assets, config, clips, camera_search.targets_from(clips)),
    )


@pytest.fixture(scope="module")
def case():
    scene = helpers.scene(lengths=(8, 8, 5), yaws=YAWS, num_frames=8)
    # The last brings its own initial poses; the others come with keypoints alone.
    alone = jnp.asarray([0.0, 0.0, 1.0])
    clips = dataclasses.replace(scene.clips, init_mask=scene.clips.init_mask * alone[:, None])
    begun, before, after, history, targets = lifted(clips)
    return SimpleNamespace(**locals())


def test_every_start_gets_better(case):
    assert case.before.shape == (10, 3)
    assert np.all(np.asarray(case.after) < np.asarray(case.before))
    assert case.history[-1] < 0.5 * case.history[0]


def test_bodies_start_upright_and_inside_the_picture(case):
    six, position = case.begun.variables
    assert six.shape == (10, 3, 4, 24, 6) and position.shape == (10, 3, 4, 3)
    up = np.asarray(rotations.rotation_6d_to_matrix(six))[:6][..., 0, :, 1]
    np.testing.assert_allclose(up, np.broadcast_to([0, -1, 0], up.shape), atol=1e-5)
    np.testing.assert_allclose(
        np.exp(position[..., 2]), np.broadcast_to(case.scene.translations[:, 2, None], (10, 3, 4)), rtol=0.35
    )


def test_the_body_faces_the_right_way(case):
    for i in (0, 1):
        # From its right hip to its left one, and to its front, in the camera.
        found = np.asarray(case.targets.rotations)[i, :, 0]
        true = case.scene.rotations[i] @ helpers.rotation(case.scene.pose[i, :, 0])
        assert np.all(np.einsum("ti,ti->t", found[..., 0], true[..., 0]) > 0.5), YAWS[i]
        assert np.all(np.einsum("ti,ti->t", found[..., 2], true[..., 2]) > 0.5), YAWS[i]


def test_left_and_right_do_not_swap(case):
    # The throwing arm is the right one: its shoulder moves, the left one hardly does.
    right, left = (jn.SMPL_JOINTS.index(f"{side}_shoulder") for side in ("right", "left"))
    for i in (0, 1):
        found = np.asarray(case.targets.rotations)[i]
        moved = [np.linalg.norm(found[4, joint] - found[0, joint]) for joint in (right, left)]
        assert moved[0] > moved[1]


def test_people_who_lie_or_stand_on_their_heads_are_found(case):
    turns = {0: 90.0, 1: 180.0}  # of the pictures, clockwise
    keypoints = np.array(case.clips.keypoints)
    middle = np.array([640.0, 360.0])
    rolls = {i: helpers.rotation([0, 0, np.radians(turn)]) for i, turn in turns.items()}
    for i, roll in rolls.items():
        keypoints[i] = (keypoints[i] - middle) @ roll[:2, :2].T + middle
    begun, _, after, _, targets = lifted(dataclasses.replace(case.clips, keypoints=jnp.asarray(keypoints)))
    roots = np.asarray(rotations.rotation_6d_to_matrix(begun.variables[0]))[..., 0, :, :]
    for i, roll in rolls.items():
        # Some start lies in the picture as the person does; the winner is turned as the person is.
        assert np.any(np.einsum("spc,c->sp", roots[6:, i, :, :2, 1], roll[:2] @ [0.0, -1.0, 0.0]).min(1) > 0.95)
        assert np.argmin(after[:, i]) >= 6
        found = np.asarray(targets.rotations)[i, :, 0]
        true = roll @ case.scene.rotations[i] @ helpers.rotation(case.scene.pose[i, :, 0])
        assert np.all(np.einsum("tij,tij->t", found, true) > 2.4), turns[i]


def test_a_turned_start_must_be_clearly_better(case):
    # Turned starts are the truth, upright ones are off; with a huge margin the upright ones win all the same.
    def winner(margin):
        config = dataclasses.replace(CONFIG, lift_margin=margin)
        begun, assets = case.begun, helpers.prepare(case.clips, helpers.body(), PRIORS, config)
        six, position = begun.variables
        upside_down = jnp.zeros((4, *six.shape[1:])) + rotations.matrix_to_rotation_6d(jnp.eye(3))
        lost = position.at[:6, ..., 0].add(0.1)
        state = dataclasses.replace(begun, variables=(six.at[6:].set(upside_down), lost))
        return lift.finish(state, assets, config, case.clips, camera_search.targets_from(case.clips)).rotations[
            :2, 0, 0
        ]

    ups = np.asarray(jax.jit(winner)(jnp.array(1e3)))[..., 1]
    np.testing.assert_allclose(ups, np.tile([0, -1, 0], (2, 1)), atol=1e-5)
    ups = np.asarray(jax.jit(winner)(jnp.array(-0.99)))[..., 1]
    np.testing.assert_allclose(ups, np.tile([0, 1, 0], (2, 1)), atol=1e-5)


def test_only_instances_without_poses_are_filled(case):
    given = helpers.targets_from(case.clips)
    np.testing.assert_array_equal(case.targets.pose[2], given.pose[2])
    np.testing.assert_array_equal(case.targets.mask[2], given.mask[2])
    np.testing.assert_array_equal(case.targets.mask[:2], case.clips.frame_mask[:2])
    np.testing.assert_allclose(case.targets.weight, [CONFIG.lift_trust, CONFIG.lift_trust, 1.0])
    turn = helpers.rotation(np.asarray(case.targets.pose[:2]))
    np.testing.assert_allclose(turn, case.targets.rotations[:2], atol=2e-5)


def test_standing_pose_is_symmetric_and_within_limits():
    pose = lift.standing_pose()
    np.testing.assert_array_equal(pose[jn.MIRROR_JOINTS] * [1, -1, -1], pose)
    limits = published_limits()
    assert np.all(pose[1:] <= limits.high) and np.all(pose[1:] >= limits.low)


def test_frames_without_keypoints_and_garbage_are_survived(case):
    clips, found = case.clips, []
    confidence = clips.confidence.at[0, :3].set(0.0).at[1, 5, 9:].set(0.0)
    for value in (0.0, np.nan):
        keypoints = jnp.where(confidence[..., None] > 0, clips.keypoints, value)
        _, _, after, _, targets = lifted(dataclasses.replace(clips, keypoints=keypoints, confidence=confidence))
        assert jnp.isfinite(after).all()
        found.append(targets.rotations)
    np.testing.assert_allclose(found[0], found[1], atol=1e-5)
