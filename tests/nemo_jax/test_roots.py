import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from nemo_jax import camera as cam
from nemo_jax import model, roots
from tests.nemo_jax import helpers

INSTANCE, FRAME = jnp.array([0, 1, 1]), jnp.array([2, 0, 3])
residuals = jax.jit(roots.root_residuals)


@pytest.fixture(scope="module")
def scene():
    return helpers.scene(lengths=(4, 4), yaws=(0.4, -1.0))


def cameras_of(yaws):
    turns = np.stack([helpers.level_matrix(yaw) for yaw in yaws])
    return cam.join(jnp.asarray(turns, jnp.float32), jnp.zeros((len(yaws), 3)))


def seen(roots_in_world):
    zeros = jnp.zeros((len(roots_in_world), 1))
    rotation = jnp.asarray(roots_in_world, jnp.float32)[:, None]
    return model.Prediction(
        phase=zeros, rotations=rotation, translation=zeros, joints=zeros, keypoints=zeros, keypoints_2d=zeros
    )


def given(scene):
    """Roots (3, 3, 3) of the initial poses of the frames, in camera axes, float64."""
    return helpers.rotation(np.asarray(scene.clips.init_pose, np.float64)[INSTANCE, FRAME][:, 0])


def test_it_is_zero_where_the_camera_sees_the_given_turn(scene):
    yaws = np.array([0.4, -1.0])
    world = np.stack([helpers.level_matrix(yaw).T for yaw in yaws[INSTANCE]]) @ given(scene)
    np.testing.assert_allclose(residuals(seen(world), cameras_of(yaws), scene.clips, INSTANCE, FRAME), 0, atol=1e-6)
    # Another camera sees another turn: 2 sqrt(2) sin(a / 2) is the norm of the difference of rotations that are a apart.
    other = residuals(seen(world), cameras_of(yaws + 0.5), scene.clips, INSTANCE, FRAME)
    np.testing.assert_allclose(np.linalg.norm(other, axis=(1, 2)), 2 * np.sqrt(2) * np.sin(0.25), rtol=1e-5)


def test_frames_without_a_given_pose_do_not_count(scene):
    clips = dataclasses.replace(
        scene.clips,
        init_pose=scene.clips.init_pose.at[1, 3].set(jnp.nan),
        init_mask=scene.clips.init_mask.at[1, 3].set(0.0),
    )
    turned = seen(Rotation.random(3, random_state=np.random.default_rng(0)).as_matrix())

    @jax.jit
    def value(turned, cameras):
        found = roots.root_residuals(turned, cameras, clips, INSTANCE, FRAME)
        return jnp.sum(found**2), found

    (_, found), (by_body, by_cameras) = jax.value_and_grad(value, (0, 1), has_aux=True)(turned, cameras_of([0.1, 0.2]))
    assert np.abs(found[:2]).max() > 0.1 and not np.any(found[2])
    assert np.abs(by_body.rotations[:2]).max() > 0.1 and not np.any(by_body.rotations[2])
    # Cameras follow keypoints alone.
    assert not np.any(by_cameras)


def test_it_is_seen_by_the_camera_of_the_frame(scene):
    turns = np.tile(np.eye(3), (2, 4, 1, 1))
    turns[1, 3] = Rotation.from_euler("y", 0.7).as_matrix()
    clips = dataclasses.replace(scene.clips, camera_turn=jnp.asarray(turns, jnp.float32), zoom=jnp.ones((2, 4)))
    yaws = np.array([0.4, -1.0])
    world = np.stack([helpers.level_matrix(yaw).T for yaw in yaws[INSTANCE]]) @ given(scene)
    found = residuals(seen(world), cameras_of(yaws), clips, INSTANCE, FRAME)
    sizes = np.linalg.norm(found, axis=(1, 2))
    np.testing.assert_allclose(sizes, [0, 0, 2 * np.sqrt(2) * np.sin(0.35)], atol=1e-5)
