"""Every term against its definition, and every written-out derivative against differences."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from body_models import joints as jn
from body_models import smpl
from nemo_jax import ik, ik_terms
from nemo_jax import rotations as rot
from nemo_jax.priors import joint_limit_loss, published_limits
from tests.nemo_jax import helpers

IDS = np.array([1, 2, 4, 7, 16, 17, 18, 20, 24, 27, 28])
BONES = np.array([(0, 1), (0, 2), (2, 3), (4, 5), (0, 4), (4, 6), (6, 7), (9, 10), (4, 8)])
SD = np.array([0.03, 0.03, 0.08])
bone_term, limit_term, smoothness_term = map(
    jax.jit, (ik_terms.bone_term, ik_terms.limit_term, ik_terms.smoothness_term)
)


@functools.cache
def setting():
    rng = np.random.default_rng(3)
    body = helpers.body()
    markers = ik.markers_on(body, IDS, BONES, np.linspace(0.4, 1.0, len(BONES)))
    rest = smpl.rest_joints(body, jnp.zeros(body.num_betas))
    pose = 0.4 * rng.normal(size=(24, 3))
    target = rng.normal(size=(len(BONES), 3))
    target *= np.asarray(ik_terms.rest_lengths(markers, rest))[:, None] / np.linalg.norm(target, axis=1, keepdims=True)
    weight = rng.uniform(0.2, 1.0, len(BONES))
    weight[3] = 0
    return markers, rest, helpers.rotation(pose), target, weight


def turned(rotations, turn):
    """R exp([turn]) of every joint, in JAX."""
    return rotations @ rot.axis_angle_to_matrix(turn.reshape(*rotations.shape[:-2], 3))


def check_derivatives(cost, gradient, size):
    """`gradient` against the derivative of `cost`, a function of the turns, at 0; float64."""
    expected = jax.jit(jax.grad(cost))(jnp.zeros(size))
    scale = np.abs(expected).max()
    np.testing.assert_allclose(gradient.reshape(-1), expected.reshape(-1), atol=1e-7 * scale)
    # Automatic differentiation against plain differences, along one direction.
    along = np.random.default_rng(0).normal(size=size)
    step = 1e-5
    slope = (cost(jnp.asarray(step * along)) - cost(jnp.asarray(-step * along))) / (2 * step)
    np.testing.assert_allclose(np.sum(along * gradient.reshape(size)), slope, rtol=1e-5)


def test_ancestors():
    table = ik_terms.ANCESTORS
    assert table.sum(0)[0] == 24 and np.all(np.diag(table) == 1)
    wrist = jn.SMPL_JOINTS.index("left_wrist")
    chain = ["pelvis", "spine1", "spine2", "spine3", "left_collar", "left_shoulder", "left_elbow", "left_wrist"]
    assert [jn.SMPL_JOINTS[j] for j in np.flatnonzero(table[wrist])] == sorted(chain, key=jn.SMPL_JOINTS.index)


def test_bone_cost_is_what_it_says():
    markers, rest, rotations, target, weight = setting()
    world, posed = smpl.forward_kinematics(jnp.asarray(rotations, jnp.float32), rest)
    points = np.asarray(posed, np.float64)[markers.joint]
    points += np.einsum("mxy,my->mx", np.asarray(world)[markers.joint], markers.offset)
    bone = points[BONES[:, 1]] - points[BONES[:, 0]]
    length = np.linalg.norm(target, axis=1, keepdims=True)
    off = (((bone / np.linalg.norm(bone, axis=1, keepdims=True) * length - target) / SD) ** 2).sum(1)
    expected = 0.5 * np.sum(weight * off * 9 / (off + 9))
    arrays = (jnp.asarray(x, jnp.float32) for x in (target, weight, SD))
    found = bone_term(jnp.asarray(rotations, jnp.float32), rest, markers, *arrays, 3.0)
    np.testing.assert_allclose(found.cost, expected, rtol=1e-4)


@pytest.mark.parametrize("robust", [0.7, 1e4])
def test_bone_derivatives(robust):
    with jax.enable_x64(True):
        markers, rest, *arrays = helpers.as_float64(setting())
        rotations, target, weight = map(jnp.asarray, arrays)

        @jax.jit
        def term(turn):
            return bone_term(turned(rotations, turn), rest, markers, target, weight, jnp.asarray(SD), robust)

        found = term(jnp.zeros(ik_terms.DIM))
        check_derivatives(lambda turn: term(turn).cost, found.gradient, ik_terms.DIM)
        # Symmetric, semi-definite, and blind to what no bone shows: the hands.
        np.testing.assert_allclose(found.matrix, found.matrix.T, atol=1e-9)
        values = np.linalg.eigvalsh(found.matrix)
        assert values.min() > -1e-8 * values.max()
        assert np.all(found.matrix[-6:] == 0)


def test_gauss_newton_is_the_hessian_where_the_bones_fit():
    with jax.enable_x64(True):
        markers, rest, rotations, _, weight = helpers.as_float64(setting())
        world, posed = smpl.forward_kinematics(rotations, rest)
        points = ik_terms.place(markers, world, posed)
        bone = points[BONES[:, 1]] - points[BONES[:, 0]]
        length = ik_terms.rest_lengths(markers, rest)
        target = bone / jnp.linalg.norm(bone, axis=1, keepdims=True) * length[:, None]

        @jax.jit
        def cost(turn):
            sd = jnp.asarray(SD)
            return bone_term(turned(rotations, turn), rest, markers, target, jnp.asarray(weight), sd, 2.0)

        hessian = jax.jit(jax.hessian(lambda turn: cost(turn).cost))(jnp.zeros(ik_terms.DIM))
        found = cost(jnp.zeros(ik_terms.DIM)).matrix
        np.testing.assert_allclose(found, hessian, atol=1e-6 * np.abs(hessian).max())


def test_a_bone_without_length_is_no_danger():
    _, rest, rotations, *_ = setting()
    same = ik.markers_on(helpers.body(), np.array([7, 7]), np.array([(0, 1)]))
    found = bone_term(
        jnp.asarray(rotations, jnp.float32), rest, same, jnp.zeros((1, 3)), jnp.ones(1), jnp.asarray(SD), 3.0
    )
    assert helpers.all_finite(found) and np.all(found.gradient == 0)


def test_limit_term_is_the_prior():
    with jax.enable_x64(True):
        limits = helpers.as_float64(published_limits())
        rotations = jnp.asarray(helpers.rotation(0.8 * np.random.default_rng(5).normal(size=(24, 3))))

        @jax.jit
        def cost(turn):
            pose = rot.matrix_to_axis_angle(turned(rotations, turn)[1:])
            return joint_limit_loss(limits, pose, 0.3) / (2 * 0.05**2)

        found = limit_term(rotations, limits, 0.05, 0.3)
        np.testing.assert_allclose(found.cost, cost(jnp.zeros(ik_terms.DIM)), rtol=1e-9)
        check_derivatives(cost, found.gradient, ik_terms.DIM)
        assert np.linalg.eigvalsh(found.matrix)[3:].min() > 0 and np.all(found.matrix[:3] == 0)


@pytest.mark.parametrize("robust", [0.5, 1e4])
def test_smoothness_derivatives(robust):
    with jax.enable_x64(True):
        rotations = jnp.asarray(helpers.rotation(0.5 * np.random.default_rng(6).normal(size=(5, 24, 3))))
        mask = jnp.ones(5)

        @jax.jit
        def term(turn):
            return smoothness_term(turned(rotations, turn), mask, 0.2, robust)

        found = term(jnp.zeros((5, ik_terms.DIM)))
        check_derivatives(lambda turn: term(turn).cost, found.gradient, (5, ik_terms.DIM))


def test_smoothness_blocks_are_the_hessian_of_a_steady_turn():
    with jax.enable_x64(True):
        axis = np.random.default_rng(7).normal(size=(24, 3)) * 0.6
        steady = jnp.asarray(Rotation.from_rotvec(np.outer(np.arange(5), axis).reshape(-1, 3)).as_matrix())
        steady = steady.reshape(5, 24, 3, 3)
        found = smoothness_term(steady, jnp.ones(5), 0.2, 1.0)
        assert found.cost < 1e-20

        def elbow(turn):
            return smoothness_term(
                turned(steady, jnp.zeros((5, 24, 3)).at[:, 18].set(turn)), jnp.ones(5), 0.2, 1.0
            ).cost

        hessian = np.asarray(jax.jit(jax.hessian(elbow))(jnp.zeros((5, 3))))
        scale = np.abs(hessian).max()
        for t in range(5):
            np.testing.assert_allclose(found.diagonal[t, 18], hessian[t, :, t], atol=1e-7 * scale)
            for back, blocks in ((1, found.first), (2, found.second)):
                if t >= back:
                    np.testing.assert_allclose(blocks[t, 18], hessian[t, :, t - back], atol=1e-7 * scale)


def test_smoothness_leaves_the_padding_alone():
    rotations = jnp.asarray(helpers.rotation(np.random.default_rng(8).normal(size=(6, 24, 3))), jnp.float32)
    found = smoothness_term(rotations, jnp.array([1.0, 1, 1, 1, 0, 0]), 0.2, 3.0)
    alone = smoothness_term(rotations[:4], jnp.ones(4), 0.2, 3.0)
    np.testing.assert_allclose(found.cost, alone.cost, rtol=1e-6)
    np.testing.assert_allclose(found.gradient[:4], alone.gradient, rtol=1e-4, atol=1e-4)
    assert np.all(found.gradient[4:] == 0) and np.all(found.diagonal[4:] == 0)
    for num in (1, 2):
        short = smoothness_term(rotations[:num], jnp.ones(num), 0.2, 3.0)
        assert short.cost == 0 and short.diagonal.shape == (num, 24, 3, 3)


@pytest.mark.parametrize("angle", [0.0, 1e-4, 0.031, 0.032, 1.0, 3.1])
def test_inverse_right_jacobian(angle):
    with jax.enable_x64(True):
        turn = angle * jnp.array([2.0, -1.0, 2.0]) / 3
        matrix = rot.axis_angle_to_matrix(turn)
        expected = jax.jacobian(lambda d: rot.matrix_to_axis_angle(matrix @ rot.axis_angle_to_matrix(d)))(jnp.zeros(3))
        np.testing.assert_allclose(ik_terms.inverse_right_jacobian(turn), expected, atol=1e-6)
