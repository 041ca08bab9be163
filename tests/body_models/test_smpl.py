"""SMPL against a float64 NumPy version written from the formula, closed-form poses, and what `keypoints` computes."""

import functools
import math
import re

import chex
import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from absl.testing import parameterized
from hypothesis import given, settings
from hypothesis import strategies as st

from body_models import joints as jn
from body_models import smpl
from nemo_jax import rotations as rot
from tests.body_models import numpy_smpl, smpl_files
from tests.body_models.numpy_smpl import rotation

IDENTITY = np.tile(np.eye(3), (24, 1, 1))
ALL = tuple(range(54))
NUM_VERTICES = 61
TOLERANCE = 2e-6  # Metres, of float32 on a body of about 1 m.


@functools.cache
def arrays():
    return smpl_files.make_arrays(NUM_VERTICES)


@functools.cache
def body(keypoint_ids=tuple(jn.BODY_25)):
    return smpl.build(arrays(), keypoint_ids)


def random_pose(seed, angle=1.0):
    """Rotations (24, 3, 3), betas (10,), translation (3,), float64."""
    rng = np.random.default_rng(seed)
    rotations = np.stack([rotation(angle * rng.normal(size=3)) for _ in range(24)])
    return rotations, rng.normal(size=10), rng.normal(size=3)


def f32(*values):
    return [jnp.asarray(v, jnp.float32) for v in values]


@jax.jit
def _evaluate(model, rotations, betas, translation):
    args = (model, rotations, betas, translation)
    return smpl.vertices(*args), smpl.all_joints(*args), smpl.joints(*args), smpl.keypoints(*args)


def check_against_numpy(rotations, betas, translation, tolerance=TOLERANCE):
    vertices, all_joints, joints, keypoints = _evaluate(body(), *f32(rotations, betas, translation))
    expected_vertices, expected_joints = numpy_smpl.smpl(arrays(), rotations, betas, translation)
    np.testing.assert_allclose(vertices, expected_vertices, atol=tolerance)
    np.testing.assert_allclose(all_joints, expected_joints, atol=tolerance)
    np.testing.assert_allclose(joints, expected_joints[:24], atol=tolerance)
    np.testing.assert_allclose(keypoints, expected_joints[jn.BODY_25], atol=tolerance)


@pytest.mark.parametrize("seed", range(5))
def test_random_poses_and_shapes(seed):
    check_against_numpy(*random_pose(seed))


angles = st.lists(st.floats(-np.pi, np.pi), min_size=72, max_size=72)
shapes = st.lists(st.floats(-3, 3), min_size=10, max_size=10)


@settings(max_examples=25, deadline=None)
@given(angles, shapes, st.lists(st.floats(-5, 5), min_size=3, max_size=3))
def test_any_pose_and_shape(pose, betas, translation):
    rotations = np.stack([rotation(r) for r in np.reshape(pose, (24, 3))])
    check_against_numpy(rotations, np.array(betas), np.array(translation), 1e-5)


@pytest.mark.parametrize("ids", [(45,), tuple(range(45, 54)), (48, 0, 30, 48, 53), (3, 7), ALL])
def test_keypoints_of_any_choice_equal_those_of_the_mesh(ids):
    rotations, betas, translation = random_pose(7)
    found = jax.jit(smpl.keypoints)(body(ids), *f32(rotations, betas, translation))
    expected = numpy_smpl.smpl(arrays(), rotations, betas, translation)[1][list(ids)]
    np.testing.assert_allclose(found, expected, atol=TOLERANCE)


def test_regressor_weights_that_cancel_keep_their_anchor():
    # One vertex minus another, both moved by one joint alone: the weights sum to 0 and the point is not 0.
    data = dict(arrays())
    data["weights"] = np.eye(24)[np.arange(NUM_VERTICES) % 24]
    data["J_regressor_extra"] = np.zeros((9, NUM_VERTICES))
    data["J_regressor_extra"][0, [5, 29]] = 1, -1
    rotations, betas, translation = random_pose(1)
    found = smpl.keypoints(smpl.build(data, (45,)), *f32(rotations, betas, translation))
    vertices, joints = numpy_smpl.smpl(data, rotations, betas, translation)
    np.testing.assert_allclose(joints[45], vertices[5] - vertices[29] + translation)
    np.testing.assert_allclose(found, joints[45:46], atol=TOLERANCE)


def test_identity_pose_is_the_template():
    vertices = smpl.vertices(body(), *f32(IDENTITY, np.zeros(10), np.zeros(3)))
    np.testing.assert_allclose(vertices, arrays()["v_template"], atol=1e-6)
    betas = np.linspace(-1, 1, 10)
    vertices = smpl.vertices(body(), *f32(IDENTITY, betas, np.zeros(3)))
    np.testing.assert_allclose(vertices, arrays()["v_template"] + arrays()["shapedirs"] @ betas, atol=1e-6)


def test_root_orientation_and_translation_move_everything_rigidly_about_the_pelvis():
    rotations, betas, translation = random_pose(3)
    turn = rotation(np.array([0.3, -2.0, 1.0]))
    turned = np.concatenate([turn[None] @ rotations[:1], rotations[1:]])
    before = _evaluate(body(), *f32(rotations, betas, np.zeros(3)))
    after = _evaluate(body(), *f32(turned, betas, translation))
    pelvis = np.asarray(before[2][0])
    # The extra joints turn with the rest as far as their weights sum to 1, as those of these arrays do.
    for old, new in zip(before, after, strict=True):
        np.testing.assert_allclose(new, (np.asarray(old) - pelvis) @ turn.T + pelvis + translation, atol=TOLERANCE)


def test_elbow_bent_by_a_right_angle():
    elbow, wrist, hand = (jn.SMPL_JOINTS.index(f"left_{name}") for name in ("elbow", "wrist", "hand"))
    bend = IDENTITY.copy()
    bend[elbow] = rotation([0, 0, np.pi / 2])
    rest = np.asarray(smpl.rest_joints(body(), jnp.zeros(10)))
    found = np.asarray(smpl.joints(body(), *f32(bend, np.zeros(10), np.zeros(3))))
    for moved in (wrist, hand):
        x, y, z = rest[moved] - rest[elbow]
        np.testing.assert_allclose(found[moved] - rest[elbow], [-y, x, z], atol=1e-6)
    others = np.setdiff1d(np.arange(24), [wrist, hand])
    np.testing.assert_allclose(found[others], rest[others], atol=1e-6)


def test_forward_kinematics_returns_world_rotations():
    rotations, betas, _ = random_pose(4)
    world, _ = smpl.forward_kinematics(*f32(rotations, smpl.rest_joints(body(), jnp.asarray(betas, jnp.float32))))
    expected = []
    for joint, parent in enumerate(jn.PARENTS):
        expected.append(rotations[joint] if parent < 0 else expected[parent] @ rotations[joint])
    np.testing.assert_allclose(world, expected, atol=1e-6)


@pytest.mark.parametrize("function", [smpl.vertices, smpl.all_joints, smpl.joints, smpl.keypoints])
@pytest.mark.parametrize("seed", [0, 1])
def test_gradients_against_differences_of_the_numpy_version(function, seed):
    rng = np.random.default_rng(seed)
    pose = random_pose(seed)
    outputs = {
        smpl.vertices: lambda v, j: v,
        smpl.all_joints: lambda v, j: j,
        smpl.joints: lambda v, j: j[:24],
        smpl.keypoints: lambda v, j: j[jn.BODY_25],
    }[function]
    weight = rng.normal(size=outputs(*numpy_smpl.smpl(arrays(), *pose)).shape)
    gradient = jax.jit(jax.grad(lambda p: (weight * function(body(), *p)).sum()))(tuple(f32(*pose)))
    for _ in range(4):
        # Rotations are free 3x3 matrices here: the derivative of each of their entries is checked.
        step = tuple(rng.normal(size=p.shape) for p in pose)
        low, high = (
            (weight * outputs(*numpy_smpl.smpl(arrays(), *(p + h * s for p, s in zip(pose, step, strict=True))))).sum()
            for h in (-1e-5, 1e-5)
        )
        found = sum((np.asarray(g, np.float64) * s).sum() for g, s in zip(gradient, step, strict=True))
        scale = sum(np.abs(np.asarray(g) * s).sum() for g, s in zip(gradient, step, strict=True))
        assert abs(found - (high - low) / 2e-5) < 1e-5 * scale


@pytest.mark.parametrize("function", [smpl.vertices, smpl.keypoints])
def test_second_derivatives_against_differences_of_gradients(function):
    rng = np.random.default_rng(2)
    pose, step = ([jnp.asarray(x, jnp.float32) for x in random_pose(seed)] for seed in (2, 3))
    weight = jnp.asarray(rng.normal(size=function(body(), *pose).shape), jnp.float32)
    gradient = jax.grad(lambda p: (weight * function(body(), *p) ** 2).sum())
    product = jax.jit(lambda p, s: jax.jvp(gradient, (p,), (s,))[1])
    backward = jax.jit(lambda p, s: jax.grad(lambda p: sum(map(jnp.vdot, gradient(p), s)))(p))
    moved = lambda h: jax.jit(gradient)([x + h * s for x, s in zip(pose, step, strict=True)])
    found = product(pose, step)
    differences = jax.tree.map(lambda high, low: (high - low) / 0.04, moved(0.02), moved(-0.02))
    for one, other, expected in zip(found, backward(pose, step), differences, strict=True):
        scale = float(jnp.abs(expected).max())
        np.testing.assert_allclose(one, other, atol=1e-5 * scale)
        np.testing.assert_allclose(one, expected, atol=2e-3 * scale)


@pytest.mark.parametrize("angle", [0.0, np.pi])
def test_gradients_are_finite_at_no_turn_and_half_a_turn(angle):
    rotations = np.tile(rotation([angle, 0, 0]), (24, 1, 1))
    gradient_of_sum = jax.jit(jax.grad(lambda *p: smpl.keypoints(body(), *p).sum(), (0, 1, 2)))
    gradient = gradient_of_sum(*f32(rotations, np.zeros(10), np.zeros(3)))
    chex.assert_tree_all_finite(gradient)


class Transforms(chex.TestCase, parameterized.TestCase):
    @chex.variants(with_jit=True, without_jit=True)
    @parameterized.parameters("vertices", "all_joints", "joints", "keypoints")
    def test_vmap_over_poses_equals_one_pose_at_a_time(self, name):
        function = getattr(smpl, name)
        poses = [f32(*random_pose(seed)) for seed in range(3)]
        batch = [jnp.stack(part) for part in zip(*poses, strict=True)]
        found = self.variant(jax.vmap(function, (None, 0, 0, 0)))(body(), *batch)
        expected = jnp.stack([function(body(), *pose) for pose in poses])
        chex.assert_trees_all_close(found, expected, atol=1e-6)

    @chex.variants(with_jit=True, without_jit=True)
    def test_bodies_batch_too(self):
        bodies = [smpl.build(smpl_files.make_arrays(NUM_VERTICES, seed=seed)) for seed in range(2)]
        pose = f32(*random_pose(0))
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *[b.keypoint_anchors.template[:5] for b in bodies])
        chex.assert_shape(stacked, (2, 5, 3))
        found = self.variant(jax.vmap(lambda b: smpl.joints(b, *pose)))(
            jax.tree.map(lambda *leaves: jnp.stack(leaves), *[_without_extras(b) for b in bodies])
        )
        chex.assert_trees_all_close(found, jnp.stack([smpl.joints(b, *pose) for b in bodies]), atol=1e-6)


def _without_extras(model):
    """The numbers of anchors of the extra joints and of tiles' slots depend on the body; the rest stacks."""
    return model.replace(tiles=None, landmarks=None, landmark_sum=None, keypoint_anchors=None, keypoint_sum=None)


@pytest.mark.parametrize("function", [smpl.vertices, smpl.all_joints, smpl.joints, smpl.keypoints])
@pytest.mark.parametrize(
    "wrong", [((24, 3), (10,), (3,)), ((23, 3, 3), (10,), (3,)), ((24, 3, 3), (9,), (3,)), ((24, 3, 3), (10,), (4, 3))]
)
def test_wrong_shapes_are_named_at_the_door(function, wrong):
    with pytest.raises(AssertionError, match="shape"):
        function(body(), *(jnp.zeros(shape) for shape in wrong))


def test_forward_kinematics_names_wrong_shapes():
    with pytest.raises(AssertionError, match="shape"):
        smpl.forward_kinematics(jnp.zeros((24, 3, 3)), jnp.zeros((25, 3)))


def test_a_body_without_extra_joints():
    bare = {**arrays(), "J_regressor_extra": np.zeros((0, NUM_VERTICES))}
    model, pose = smpl.build(bare), f32(*random_pose(0))
    chex.assert_trees_all_close(smpl.keypoints(model, *pose), smpl.keypoints(body(), *pose))
    assert body().has_extra_joints
    assert not model.has_extra_joints
    with pytest.raises(ValueError, match="J_regressor_extra"):
        smpl.all_joints(model, *pose)
    with pytest.raises(ValueError, match="joints 0 to 44"):
        smpl.build(bare, (0, 45))


def _shapes(jaxpr, used):
    """Yields the shapes of all values a jaxpr computes, and marks the inputs it reads in `used`."""
    for equation in jaxpr.eqns:
        used.update(id(v) for v in equation.invars)
        yield from (v.aval.shape for v in equation.outvars)
        for parameter in equation.params.values():
            inner = getattr(parameter, "jaxpr", parameter)
            if hasattr(inner, "eqns"):
                yield from _shapes(inner, used)


def test_keypoints_touch_nothing_of_the_meshs_size():
    def mesh_sized(function):
        """Shapes with V among the values that the function reads, and among those that it computes."""
        jaxpr, used = jax.make_jaxpr(function)(body(), *f32(*random_pose(0))).jaxpr, set()
        computed = list(_shapes(jaxpr, used))
        read = [v.aval.shape for v in jaxpr.invars if id(v) in used]
        assert min(len(computed), len(read)) > 8
        return [[shape for shape in shapes if NUM_VERTICES in shape] for shapes in (read, computed)]

    assert all(mesh_sized(smpl.vertices))
    assert mesh_sized(smpl.keypoints) == [[], []]
    assert mesh_sized(jax.jit(smpl.keypoints))[1] == []
    assert mesh_sized(smpl.all_joints) == [[], []]


def test_a_batch_makes_nothing_larger_than_its_blended_transforms():
    """Neither do gradients, and every product keeps full precision: XLA for GPUs would round to TensorFloat-32."""
    poses = [jnp.stack([part] * 64) for part in f32(*random_pose(0))]
    batched = jax.vmap(smpl.vertices, (None, 0, 0, 0))
    for function in (batched, jax.grad(lambda *p: batched(*p).sum(), (1, 2, 3))):
        jaxpr = jax.make_jaxpr(function)(body(), *poses).jaxpr
        assert max(math.prod(shape) for shape in _shapes(jaxpr, set())) <= 64 * 12 * NUM_VERTICES
        assert set(re.findall(r"precision=([^\n]*)", str(jaxpr))) == {"(Precision.HIGHEST, Precision.HIGHEST)"}


@pytest.mark.parametrize("platform", ["tpu", "cuda"])
def test_vertices_and_their_gradient_lower_for_accelerators(platform):
    batched = jax.vmap(jax.value_and_grad(lambda r, b, t: smpl.vertices(body(), r, b, t).sum(), (0, 1, 2)))
    poses = [jnp.stack([part] * 2) for part in f32(*random_pose(0))]
    module = jax.export.export(jax.jit(batched), platforms=[platform])(*poses).mlir_module()
    assert len(re.findall(r"stablehlo.dot_general.*precision = \[HIGHEST, HIGHEST\]", module)) >= 6
    assert module.count("stablehlo.dot_general") == module.count("[HIGHEST, HIGHEST]")
    assert "f64" not in module


def test_the_mesh_in_a_model_files_layout():
    mesh, given = body().mesh, arrays()
    expected = [given[name] for name in ("v_template", "shapedirs", "posedirs", "weights")]
    found = [mesh.template, mesh.shapedirs, mesh.posedirs, mesh.rotation_weights]
    chex.assert_trees_all_equal(found, f32(*expected))
    stacked = jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf]), mesh)
    chex.assert_trees_all_equal(jax.vmap(lambda m: m.posedirs)(stacked)[1], 2 * mesh.posedirs)


def test_mesh_positions_by_name():
    model = body()
    assert model.num_betas == 10
    assert model.num_vertices == NUM_VERTICES
    assert model.faces.dtype == jnp.int32
    # BODY_25 rides on eleven vertices: nose, eyes, ears and six of the feet.
    assert model.keypoint_anchors.template.shape == (11, 3)
    chex.assert_type(jax.tree.leaves(model.replace(faces=None, tiles=None)), jnp.float32)


def test_both_walks_of_the_tree_agree(tiny_body):
    """Accelerators and CPUs pose the chain in different ways; values and derivatives along rotations are the same."""
    rng = np.random.default_rng(5)
    vectors, rest = rng.normal(0, 1, (2, 24, 3)), smpl.rest_joints(tiny_body, jnp.asarray(rng.normal(0, 1, 10)))
    angles, turning = (jnp.asarray(v, jnp.float32) for v in vectors)
    shift = jnp.asarray(rng.normal(0, 0.1, (24, 3)), jnp.float32)

    def along(walk):
        pose = lambda a, r: walk(rot.axis_angle_to_matrix(a), r)
        return jax.jvp(pose, (angles, rest), (turning, shift))

    chex.assert_trees_all_close(along(smpl._by_levels), along(smpl._by_doubling), atol=2e-5)
    pulled = [
        jax.grad(lambda a, walk=walk: sum(jnp.sum(jnp.sin(3 * x)) for x in walk(rot.axis_angle_to_matrix(a), rest)))
        for walk in (smpl._by_levels, smpl._by_doubling)
    ]
    chex.assert_trees_all_close(pulled[0](angles), pulled[1](angles), atol=3e-4)
