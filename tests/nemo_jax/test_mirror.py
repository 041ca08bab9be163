import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from body_models import joints as jn
from body_models import smpl
from nemo_jax import camera as cam
from nemo_jax import mirror
from tests.nemo_jax import helpers

M = np.diag(helpers.MIRROR)
seeds = st.integers(0, 2**31 - 1)


def f32(x):
    return jnp.asarray(x, jnp.float32)


def random_pose(seed, *shape):
    return np.random.default_rng(seed).normal(size=(*shape, 24, 3))


mirror_motion = jax.jit(mirror.mirror_motion)


@given(seed=seeds)
@settings(max_examples=15, deadline=None)
def test_reflecting_twice_changes_nothing(seed):
    pose = f32(random_pose(seed, 2, 3))
    np.testing.assert_array_equal(mirror.mirror_pose(mirror.mirror_pose(pose)), pose)
    rotation, translation = f32(helpers.rotation(random_pose(seed))), f32([0.1, 0.2, 0.3])
    one = jnp.ones(())
    twice = mirror_motion(*mirror_motion(rotation, translation, one), one)
    np.testing.assert_array_equal(twice[0], rotation)
    np.testing.assert_array_equal(twice[1], translation)


@given(seed=seeds)
@settings(max_examples=15, deadline=None)
def test_axis_angle_and_matrices_reflect_alike(seed):
    pose = random_pose(seed)
    found, moved = mirror_motion(f32(helpers.rotation(pose)), f32([1, 2, 3]), jnp.ones(()))
    np.testing.assert_allclose(found, helpers.rotation(mirror.mirror_pose(f32(pose))), atol=2e-6)
    np.testing.assert_array_equal(moved, [-1, 2, 3])
    # From the definition: the left knee turns as the reflection of the right knee's turn.
    i, j = jn.SMPL_JOINTS.index("left_knee"), jn.SMPL_JOINTS.index("right_knee")
    np.testing.assert_allclose(found[i], M @ helpers.rotation(pose[j]) @ M, atol=2e-6)


def test_a_flag_of_zero_leaves_everything():
    rotation, translation = f32(helpers.rotation(random_pose(0))), f32([1, 2, 3])
    found = mirror_motion(rotation, translation, jnp.zeros(()))
    np.testing.assert_array_equal(found[0], rotation)
    np.testing.assert_array_equal(found[1], translation)


posed = jax.jit(lambda r, b, t: smpl.keypoints(helpers.body(), r, b, t))


@given(seed=seeds)
@settings(max_examples=10, deadline=None)
def test_a_reflected_pose_on_a_symmetric_body_is_the_reflected_body(seed):
    rng = np.random.default_rng(seed)
    rotation, translation = f32(helpers.rotation(rng.normal(size=(24, 3)) * 0.5)), f32(rng.normal(size=3))
    betas = f32(rng.normal(size=helpers.NUM_BETAS))
    expected = np.asarray(posed(rotation, betas, translation))[jn.MIRROR_BODY_25] * helpers.MIRROR
    found = posed(*_reordered(betas, *mirror_motion(rotation, translation, jnp.ones(()))))
    np.testing.assert_allclose(found, expected, atol=2e-6)


def _reordered(betas, rotation, translation):
    return rotation, betas, translation


def test_mirrored_clips_show_the_mirrored_person():
    scene = helpers.scene()
    clips = mirror.mirror_clips(scene.clips, jnp.asarray([True, False]))
    # The untouched instance is the same, bit for bit.
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[1], b[1]), clips, scene.clips)
    # Seen by the reflected camera, M R M and M t, the reflected pose stands on the reflected pixels.
    camera = cam.join(f32(M @ scene.rotations[0] @ M), f32(M @ scene.translations[0]))
    pose = mirror.mirror_pose(f32(scene.pose[0]))
    points = jax.vmap(posed, (0, None, None))(f32(helpers.rotation(pose)), jnp.zeros(helpers.NUM_BETAS), jnp.zeros(3))
    pixels = jax.vmap(lambda x: cam.project(cam.to_camera(camera, x), clips.focal_length[0], clips.image_size[0] / 2))(
        points
    )
    np.testing.assert_allclose(pixels[:6], clips.keypoints[0, :6], atol=0.02)
    # And the initial pose, root included, is that of the reflected person before the reflected camera.
    root = M @ scene.rotations[0] @ M @ helpers.rotation(np.asarray(pose)[:6, 0])
    np.testing.assert_allclose(helpers.rotation(clips.init_pose[0, :6, 0]), root, atol=1e-5)
    np.testing.assert_allclose(clips.init_pose[0, :6, 1:], pose[:6, 1:], atol=1e-6)
    wrist = [jn.BODY_25_NAMES.index(name) for name in ("left_wrist", "right_wrist")]
    np.testing.assert_array_equal(clips.confidence[0][:, wrist], scene.clips.confidence[0][:, wrist[::-1]])


def test_reflecting_clips_twice():
    clips = helpers.scene().clips
    twice = mirror.mirror_clips(mirror.mirror_clips(clips, jnp.ones(2)), jnp.ones(2))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-4), twice, clips)


def test_the_body_of_these_tests_is_symmetric():
    identity = jnp.tile(jnp.eye(3), (24, 1, 1))
    points = np.asarray(posed(identity, jnp.ones(helpers.NUM_BETAS), jnp.zeros(3)))
    np.testing.assert_allclose(points[jn.MIRROR_BODY_25] * helpers.MIRROR, points, atol=1e-6)
    assert np.ptp(points[:, 1]) > 1.5
