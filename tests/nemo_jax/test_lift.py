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

CONFIG = helpers.tiny_config(lift=True, lift_steps=120, lift_frames=4, lift_yaws=6)
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
    assert case.before.shape == (6, 3)
    assert np.all(np.asarray(case.after) < np.asarray(case.before))
    assert case.history[-1] < 0.5 * case.history[0]


def test_bodies_start_upright_and_inside_the_picture(case):
    six, position = case.begun.variables
    assert six.shape == (6, 3, 4, 24, 6) and position.shape == (6, 3, 4, 3)
    up = np.asarray(rotations.rotation_6d_to_matrix(six))[..., 0, :, 1]
    np.testing.assert_allclose(up, np.broadcast_to([0, -1, 0], up.shape), atol=1e-5)
    np.testing.assert_allclose(
        np.exp(position[..., 2]), np.broadcast_to(case.scene.translations[:, 2, None], (6, 3, 4)), rtol=0.35
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


def test_only_instances_without_poses_are_filled(case):
    given = camera_search.targets_from(case.clips)
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
