import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from body_models import smpl
from nemo_jax import camera as cam
from nemo_jax import depth, model
from nemo_jax.priors import Priors
from tests.nemo_jax import helpers

CONFIG = helpers.tiny_config()
unseen = jax.jit(depth.unseen)


def cameras(yaws):
    turns = np.stack([helpers.level_matrix(yaw) for yaw in yaws])
    return cam.join(jnp.asarray(turns, jnp.float32), jnp.tile(jnp.array([0.0, 0.0, 6.0]), (len(yaws), 1)))


def test_an_axis_is_unseen_where_all_look_along_it():
    clips = helpers.scene(lengths=(2, 2, 2), yaws=(0.0, 0.0, 0.0)).clips
    np.testing.assert_allclose(unseen(cameras([0.3, 0.3, 0.3 + np.pi]), clips), 1, atol=1e-5)
    np.testing.assert_allclose(unseen(cameras([0.0, 0.2, 0.1]), clips), np.cos([0.2, 0.2, 0.1]) ** 4, rtol=1e-4)
    np.testing.assert_allclose(unseen(cameras([0.0, 0.2, np.pi / 2]), clips)[:1], 0, atol=1e-5)
    # Padded instances film nothing.
    padded = dataclasses.replace(clips, real=jnp.array([1.0, 1.0, 0.0]))
    np.testing.assert_allclose(unseen(cameras([0.0, 0.2, np.pi / 2]), padded)[:2], np.cos(0.2) ** 4, rtol=1e-4)


@pytest.fixture(scope="module")
def residual():
    """Residuals of the true motion of a scene seen from one side, the body turned by `turn` in camera axes."""
    scene = helpers.scene(lengths=(4, 4), yaws=(0.4, 0.4))
    instance, frame = jnp.repeat(jnp.arange(2), 4), jnp.tile(jnp.arange(4), 2)
    truth = cameras([0.4, 0.4])

    @jax.jit
    def joints(clips, turn):
        assets = model.prepare(clips, helpers.body(), Priors(), CONFIG)
        root = turn @ jnp.asarray(helpers.rotation(scene.pose[..., 0, :]), jnp.float32)
        rotation = jnp.asarray(helpers.rotation(scene.pose), jnp.float32).at[:, :, 0].set(root).reshape(8, 24, 3, 3)
        posed = jax.vmap(smpl.joints, (None, 0, None, None))(assets.body, rotation, jnp.zeros(3), jnp.zeros(3))
        zeros = jnp.zeros((8, 1))
        seen = model.Prediction(
            phase=zeros, rotations=rotation, translation=zeros, joints=posed, keypoints=zeros, keypoints_2d=zeros
        )
        ahead = depth.with_given(assets, clips, CONFIG)
        made = [depth.depth_residuals(seen, truth, each, clips, instance, frame) for each in (assets, ahead)]
        return jnp.stack(made), jnp.stack([
            depth.depth_loss(seen, where, assets, clips, instance, frame, least)
            for where in (truth, cameras([0.4, 0.4 + np.pi / 2]))
            for least in (0.0, 0.25, 1.0)
        ])  # fmt: skip

    level = helpers.level_matrix(0.4)

    def of(clips, turn, losses=False):
        found, each = joints(clips, jnp.asarray(level.T @ turn @ level, jnp.float32))
        # What is made ahead of all steps is what a step would make.
        np.testing.assert_allclose(found[1], found[0], atol=1e-6)
        return np.asarray(each if losses else found[0])

    return scene.clips, of


def test_only_depth_counts(residual):
    clips, of = residual
    assert of(clips, np.eye(3)).shape == (8, 14)
    np.testing.assert_allclose(of(clips, np.eye(3)), 0, atol=1e-5)
    np.testing.assert_allclose(of(clips, helpers.rotation([0, 0, 0.5])), 0, atol=1e-5)
    # A trunk that leans towards the camera by half a radian.
    leaning = of(clips, helpers.rotation([0.5, 0, 0]))
    assert np.all(np.abs(leaning[:, 0]) > 0.3)


def test_frames_without_a_given_pose_do_not_count(residual):
    clips, of = residual
    turn = helpers.rotation([0.5, 0, 0])
    mask = clips.init_mask.at[0, 1].set(0.0)
    pose = clips.init_pose.at[0, 1].set(jnp.nan)
    found = of(dataclasses.replace(clips, init_mask=mask, init_pose=pose), turn)
    np.testing.assert_array_equal(found[1], 0)
    np.testing.assert_allclose(np.delete(found, 1, 0), np.delete(of(clips, turn), 1, 0), atol=1e-6)


def test_the_least_weight_holds_where_another_camera_looks_across(residual):
    clips, of = residual
    turn = helpers.rotation([0.5, 0, 0])
    squares = (of(clips, turn) ** 2).sum(-1)
    along, across = of(clips, turn, losses=True).reshape(2, 3, 8)[..., :4]
    # Where all look along the axis its weight is 1, and a smaller one changes nothing.
    np.testing.assert_allclose(along, np.tile(squares[:4], (3, 1)), rtol=1e-5)
    np.testing.assert_allclose(across, np.outer([0.0, 0.25, 1.0], squares[:4]), rtol=1e-4, atol=1e-6)


def test_the_published_fit_needs_nothing_made_ahead():
    clips = helpers.scene(lengths=(2, 3), yaws=(0.0, 0.4)).clips
    published = helpers.tiny_config(init_space="axis_angle")
    assets = jax.jit(model.prepare)(clips, helpers.body(), Priors(), CONFIG)
    assert depth.with_given(assets, clips, published).given_depth is None
    pose = jnp.asarray(clips.init_pose).at[0, 1].set(jnp.nan)
    untold = dataclasses.replace(clips, init_pose=pose, init_mask=clips.init_mask.at[0, 1].set(0.0))
    found = depth.with_given(assets, untold, CONFIG).given_depth
    assert found.shape == (2, 3, 14) and np.isfinite(found).all()
