import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from body_models import joints as jn
from nemo_jax import camera_search, handedness, mirror
from nemo_jax.clips import Clips

FRAMES = 40


def one_handed(num_instances: int, seed: int, amplitude: float = 0.7) -> Clips:
    """A right-handed wave and a left step, with noise and a little of each instance's own timing."""
    rng = np.random.default_rng(seed)
    pose = 0.08 * rng.normal(size=(num_instances, FRAMES, jn.NUM_JOINTS, 3))
    for n in range(num_instances):
        phase = np.linspace(0, 1, FRAMES) ** rng.uniform(0.8, 1.25)
        pose[n, :, jn.SMPL_JOINTS.index("right_shoulder"), 2] += amplitude * np.sin(2 * np.pi * phase)
        pose[n, :, jn.SMPL_JOINTS.index("right_elbow"), 1] += amplitude * (1 + np.cos(2 * np.pi * phase))
        pose[n, :, jn.SMPL_JOINTS.index("left_hip"), 0] -= amplitude * np.sin(np.pi * phase)
    return Clips(
        keypoints=jnp.zeros((num_instances, FRAMES, jn.NUM_KEYPOINTS, 2)),
        confidence=jnp.zeros((num_instances, FRAMES, jn.NUM_KEYPOINTS)),
        frame_mask=jnp.ones((num_instances, FRAMES)),
        init_pose=jnp.asarray(pose, jnp.float32),
        init_mask=jnp.ones((num_instances, FRAMES)),
        image_size=jnp.full((num_instances, 2), 100.0),
        focal_length=jnp.full(num_instances, 100.0),
        fps=jnp.full(num_instances, 30.0),
    )


@jax.jit
def found(clips: Clips) -> jax.Array:
    return handedness.mirrored_instances(camera_search.targets_from(clips), clips)


@pytest.mark.parametrize("flags", [[0, 0, 0, 0, 0], [0, 1, 0, 0, 1], [1, 0, 0, 0, 0], [1, 1, 1, 0, 1]])
def test_the_smaller_group_is_mirrored(flags):
    clips = mirror.mirror_clips(one_handed(5, seed=0), jnp.array(flags))
    expected = flags if sum(flags) < 3 else [1 - flag for flag in flags]
    np.testing.assert_array_equal(found(clips), expected)


def test_a_symmetric_action_is_left_alone():
    clips = mirror.mirror_clips(one_handed(5, seed=1, amplitude=0.0), jnp.array([0, 1, 0, 1, 0]))
    np.testing.assert_array_equal(found(clips), np.zeros(5))


def test_instances_without_poses_of_their_own_are_left_alone():
    clips = mirror.mirror_clips(one_handed(5, seed=2), jnp.array([0, 1, 0, 0, 1]))
    clips = dataclasses.replace(clips, init_mask=clips.init_mask.at[1].set(0))
    np.testing.assert_array_equal(found(clips), [0, 0, 0, 0, 1])


@pytest.mark.parametrize("num_instances", [1, 2])
def test_too_few_to_tell(num_instances):
    flags = found(one_handed(num_instances, seed=3))
    np.testing.assert_array_equal(flags, np.zeros(num_instances))


def test_where_a_body_faces_does_not_tell_its_hand():
    clips = mirror.mirror_clips(one_handed(5, seed=4), jnp.array([0, 1, 0, 0, 1]))
    turned = clips.init_pose.at[:, :, 0].set(jnp.array([0.3, 1.0, -2.0]))
    np.testing.assert_array_equal(found(dataclasses.replace(clips, init_pose=turned)), [0, 1, 0, 0, 1])


def test_gaps_may_hold_anything():
    clips = mirror.mirror_clips(one_handed(5, seed=5), jnp.array([0, 1, 0, 0, 0]))
    mask = clips.init_mask.at[0, 2:9].set(0).at[1, ::3].set(0)
    pose = jnp.where(mask[..., None, None] > 0, clips.init_pose, jnp.nan)
    np.testing.assert_array_equal(found(dataclasses.replace(clips, init_mask=mask, init_pose=pose)), [0, 1, 0, 0, 0])
