import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from body_models import joints as jn
from nemo_jax import camera_search, handedness, mirror, rotations
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


def runners(num_instances: int, seed: int, turn: float = 0.0) -> Clips:
    """Five steps, the right foot first; each instance has errors that stay the same, and turns by `turn` radians."""
    rng = np.random.default_rng(seed)
    clips = one_handed(num_instances, seed, amplitude=0.0)
    pose = np.array(clips.init_pose)
    pose[:, :, 1:] += 0.2 * rng.normal(size=(num_instances, 1, jn.NUM_JOINTS - 1, 3))
    phase = np.linspace(0, 1, FRAMES)
    for side, sign in (("right", 1.0), ("left", -1.0)):
        swing = sign * np.sin(5 * np.pi * phase)
        pose[:, :, jn.SMPL_JOINTS.index(f"{side}_hip"), 0] -= 0.6 * swing
        pose[:, :, jn.SMPL_JOINTS.index(f"{side}_shoulder"), 0] += 0.3 * swing
    pose[:, :, 0] = np.stack([0 * phase, turn * phase, 0 * phase], -1)
    return dataclasses.replace(clips, init_pose=jnp.asarray(pose, jnp.float32))


@pytest.mark.parametrize("seed", range(5))
def test_who_begins_with_the_other_foot_is_mirrored(seed):
    flags = [0, 1, 0, 0, 1]
    clips = mirror.mirror_clips(runners(5, seed), jnp.array(flags))
    np.testing.assert_array_equal(found(clips), flags)


@pytest.mark.parametrize("turn", [-1.8, 1.8])
def test_whoever_turns_the_same_way_is_not_mirrored(turn):
    """Some begin with the other foot, but a mirrored turn would be one to the other side."""
    flags = jnp.array([0, 1, 0, 0, 1])
    others = mirror.mirror_clips(runners(5, 6, -turn), jnp.ones(5))
    clips = runners(5, 6, turn)
    pose = jnp.where(flags[:, None, None, None] > 0, others.init_pose, clips.init_pose)
    np.testing.assert_array_equal(found(dataclasses.replace(clips, init_pose=pose)), np.zeros(5))
    # The same feet, and each group turns to its own side: one is the mirror image of the other.
    np.testing.assert_array_equal(found(mirror.mirror_clips(clips, flags)), flags)


def test_turns_are_compared_whatever_the_cameras_see():
    """A turn of the world, or of the camera, is no difference between two turns; the other way round is one."""
    phase = jnp.linspace(0, 1, 24)
    turn = lambda angle: rotations.axis_angle_to_matrix(jnp.stack([0 * phase, angle * phase, 0 * phase], -1))
    tilted = rotations.axis_angle_to_matrix(jnp.array([0.4, 2.0, -0.3]))
    roots = jnp.stack([turn(1.5), tilted @ turn(1.5), turn(-1.5)])
    poses = jnp.broadcast_to(roots[:, :, None], (3, 24, jn.NUM_JOINTS, 3, 3))
    apart = handedness._turns_apart(poses, poses)
    # Angles from -1.5 to 1.5 radians, of which a chordal distance is 2/3 (1 - cos).
    expected = 2 / 3 * (1 - np.cos(np.linspace(-1.5, 1.5, 24)).mean())
    np.testing.assert_allclose(apart, expected * np.array([[0, 0, 1], [0, 0, 1], [1, 1, 0]]), atol=1e-5)
