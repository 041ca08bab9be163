"""The open learned prior against SciPy, and what it says of poses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import multivariate_t

from body_models import joints as jn
from body_models import smpl
from nemo_jax.priors import limb_loss, limb_residuals, limbs, open_limbs
from tests.nemo_jax import helpers

NAME = jn.SMPL_JOINTS.index
PRIOR = open_limbs()
loss = jax.jit(limb_loss)
slope = jax.jit(jax.grad(limb_loss, argnums=(1, 2)))

# Limbs by joints, written out: the order of the file.
LIMBS = [("pelvis", "neck"), ("neck", "head")]
for side in ("left", "right"):
    LIMBS += [("neck", f"{side}_shoulder"), (f"{side}_shoulder", f"{side}_elbow"), (f"{side}_elbow", f"{side}_wrist")]
    LIMBS += [(f"{side}_hip", f"{side}_knee"), (f"{side}_knee", f"{side}_ankle"), (f"{side}_ankle", f"{side}_foot")]


def numbers(joints, root):
    joints, root = np.float64(joints), np.float64(root)
    each = [joints[NAME(end)] - joints[NAME(start)] for start, end in LIMBS]
    return np.concatenate([root.T @ (limb / np.linalg.norm(limb)) for limb in each])


def parts(prior=PRIOR):
    """Components of SciPy, and the logarithm that each is multiplied by to have the file's height at its mean."""
    inverse = np.linalg.inv(np.float64(prior.whitening))
    for mean, root, height in zip(prior.means, inverse, prior.log_weights, strict=True):
        part = multivariate_t(np.float64(mean), root @ root.T, df=float(prior.freedom))
        yield part, float(height) - part.logpdf(np.float64(mean))


def surprise(joints, root, prior=PRIOR):
    """Float64, by SciPy."""
    x = numbers(joints, root)
    return -logsumexp([part.logpdf(x) + factor for part, factor in parts(prior)])


def posed(pose):
    """Joints (24, 3) and root orientation of an axis-angle pose (24, 3)."""
    rotation = jnp.asarray(helpers.rotation(pose), jnp.float32)
    return smpl.joints(helpers.body(), rotation, jnp.zeros(helpers.NUM_BETAS), jnp.zeros(3)), rotation[0]


def pose_of(**turns):
    pose = np.zeros((24, 3))
    for name, turn in turns.items():
        pose[NAME(name)] = turn
    return pose


STANDING = pose_of(
    left_shoulder=(0.1, 0, -1.25), right_shoulder=(0.1, 0, 1.25), left_elbow=(0, -0.3, 0), right_elbow=(0, 0.3, 0)
)  # fmt: skip
# Thighs back and across each other, and the knees bent forward.
CROSSED = pose_of(
    left_shoulder=(0.1, 0, -1.25), right_shoulder=(0.1, 0, 1.25), left_elbow=(0, -0.3, 0), right_elbow=(0, 0.3, 0),
    left_hip=(0.9, 0, -0.7), right_hip=(0.9, 0, 0.7), left_knee=(-1.5, 0, 0), right_knee=(-1.5, 0, 0),
)  # fmt: skip


def test_the_file():
    m, d = len(PRIOR.means), 42
    assert PRIOR.means.shape == (m, d) and PRIOR.whitening.shape == (m, d, d) and PRIOR.log_weights.shape == (m,)
    assert PRIOR.freedom.shape == () and PRIOR.freedom > 2 and m > 1
    assert PRIOR.log_weights.max() == 0
    assert helpers.all_finite(PRIOR)
    # Lower triangles with positive diagonals, as the factors are inverses of Cholesky's.
    np.testing.assert_allclose(np.triu(PRIOR.whitening, 1), 0.0, atol=1e-9)
    assert np.diagonal(PRIOR.whitening, axis1=1, axis2=2).min() > 0
    # Means of unit vectors are not longer than these.
    assert np.linalg.norm(PRIOR.means.reshape(m, 14, 3), axis=-1).max() < 1 + 1e-5


def test_loss_is_the_mixture_of_scipy():
    for pose in (STANDING, CROSSED, helpers.pitch_like_pose(0.4), helpers.pitch_like_pose(1.0)):
        joints, root = posed(pose)
        np.testing.assert_allclose(loss(PRIOR, joints, root), surprise(joints, root), rtol=1e-4, atol=1e-2)


def test_the_likeliest_mean_costs_about_nothing():
    best = int(np.argmax(PRIOR.log_weights))
    x = np.float64(PRIOR.means[best])
    at_mean = -logsumexp([part.logpdf(x) + factor for part, factor in parts()])
    assert -np.log(len(PRIOR.means)) < at_mean <= 1e-6


def test_a_rigid_motion_changes_nothing():
    joints, root = posed(helpers.pitch_like_pose(0.6))
    turn = helpers.rotation([0.7, -2.0, 0.4])
    moved = jnp.asarray(np.float64(joints) @ turn.T + [3.0, -1.0, 8.0], jnp.float32)
    turned = jnp.asarray(turn @ np.float64(root), jnp.float32)
    np.testing.assert_allclose(loss(PRIOR, moved, turned), loss(PRIOR, joints, root), rtol=1e-4)
    # Turning the joints alone is another pose.
    assert abs(loss(PRIOR, moved, root) - loss(PRIOR, joints, root)) > 1


def test_squares_of_the_residuals_sum_to_twice_the_loss():
    for pose in (STANDING, CROSSED, helpers.pitch_like_pose(0.3)):
        joints, root = posed(pose)
        found = jax.jit(limb_residuals)(PRIOR, joints, root)
        assert found.shape == (42,)
        np.testing.assert_allclose(np.sum(np.float64(found) ** 2), 2 * loss(PRIOR, joints, root), rtol=1e-4)
        # The gradient is that of the squares too, up to how components mix.
        assert helpers.all_finite(jax.jit(jax.jacobian(limb_residuals, argnums=(1, 2)))(PRIOR, joints, root))


@pytest.mark.parametrize("case", ["T-pose", "a limb of no length", "everything in one point"])
def test_gradients_are_finite(case):
    joints, root = posed(np.zeros((24, 3)))
    if case == "a limb of no length":
        joints = joints.at[NAME("left_wrist")].set(joints[NAME("left_elbow")])
    if case == "everything in one point":
        joints = jnp.zeros_like(joints)
    assert jnp.isfinite(loss(PRIOR, joints, root))
    assert helpers.all_finite(slope(PRIOR, joints, root))


def test_the_gradient_is_that_of_scipy():
    joints, root = posed(helpers.pitch_like_pose(0.5))
    expected = helpers.numerical_gradient(lambda x: surprise(x, root), joints, 1e-5)
    found = slope(PRIOR, joints, root)[0]
    np.testing.assert_allclose(found, expected, atol=1e-3 * np.abs(expected).max())


def test_people_stand_rather_than_cross_their_legs_backwards():
    standing, stiff, crossed = (float(loss(PRIOR, *posed(pose))) for pose in (STANDING, np.zeros((24, 3)), CROSSED))
    assert standing + 10 < stiff
    assert standing + 40 < crossed


def test_a_pose_and_its_mirror_image_cost_about_the_same():
    for phase in (0.2, 0.8):
        pose = helpers.pitch_like_pose(phase)
        mirrored = pose[jn.MIRROR_JOINTS] * [1, -1, -1]
        one, other = (float(loss(PRIOR, *posed(each))) for each in (pose, mirrored))
        assert abs(one - other) < 10


def test_directions_are_unit_vectors_of_the_limbs():
    joints, root = posed(helpers.pitch_like_pose(0.9))
    np.testing.assert_allclose(limbs.directions(joints, root).reshape(-1), numbers(joints, root), atol=1e-5)
