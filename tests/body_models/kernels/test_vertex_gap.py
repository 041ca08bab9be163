"""The gap between two poses: the kernel, run step by step without a GPU, and the plain path, value and gradient."""

import dataclasses
import functools

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

from body_models import smpl
from body_models.kernels import vertex_gap, vertex_gap_gpu
from tests.body_models import smpl_files
from tests.nemo_jax import helpers

TILING = vertex_gap_gpu.Tiling(poses=16)
LEAVES = ("world", "offsets", "feature", "betas")


@functools.cache
def case(batch=5, vertices=700, seed=0):
    """A body of SMPL's format, skeletons of `batch` poses and of targets near them with the same roots."""
    body = smpl.build(smpl_files.make_arrays(vertices))
    rng = np.random.default_rng(seed)
    turns = helpers.rotation(0.5 * rng.normal(size=(batch, 24, 3)))
    near = helpers.rotation(0.2 * rng.normal(size=(batch, 24, 3))) @ turns
    near[:, 0] = turns[:, 0]
    betas = jnp.asarray(rng.normal(size=(batch, body.num_betas)), jnp.float32)
    pose = jax.jit(jax.vmap(smpl.pose_skeleton, (None, 0, 0)))
    return body, *(pose(body, jnp.asarray(r, jnp.float32), betas) for r in (turns, near))


def plain(body, skeletons, targets):
    return jax.vmap(jax.value_and_grad(vertex_gap.plain_gap, 1), (None, 0, 0))(body, skeletons, targets)


def norm_error(found, expected):
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


def test_plain_gap_is_the_mean_distance_of_two_meshes():
    body, skeletons, targets = case()
    one = jax.tree.map(lambda leaf: leaf[0], (skeletons, targets))
    meshes = [np.asarray(smpl.skin(body.mesh, skeleton), np.float64) for skeleton in one]
    np.testing.assert_allclose(vertex_gap.plain_gap(body, *one), np.abs(meshes[0] - meshes[1]).mean(), rtol=1e-6)


@pytest.mark.parametrize("batch", [1, 5, 16, 19])
def test_kernel_equals_the_plain_path(batch):
    body, skeletons, targets = case(batch)
    value, gradient = vertex_gap._on_gpu(
        body, vertex_gap.table(body), skeletons, targets, tiling=TILING, interpret=True
    )
    expected, expected_gradient = plain(body, skeletons, targets)
    np.testing.assert_allclose(value, expected, rtol=2e-4)
    # Of 700 vertices with random blend shapes; rounding averages out over SMPL's 6,890 (docs/speed.md).
    for name, tolerance in zip(LEAVES, (1e-2, 1e-2, 4e-2, 4e-2), strict=True):
        assert norm_error(getattr(gradient, name), getattr(expected_gradient, name)) < tolerance, name
    np.testing.assert_array_equal(gradient.posed, 0)


def test_kernel_under_vmap_is_the_kernel_of_each():
    body, skeletons, targets = case(6)
    rows = vertex_gap.table(body)
    run = functools.partial(vertex_gap._on_gpu, tiling=TILING, interpret=True)
    pairs = jax.tree.map(lambda leaf: leaf.reshape(2, 3, *leaf.shape[1:]), (skeletons, targets))
    value, gradient = jax.vmap(run, (None, None, 0, 0))(body, rows, *pairs)
    expected, expected_gradient = run(body, rows, skeletons, targets)
    np.testing.assert_allclose(value.reshape(6), expected, rtol=1e-5)
    np.testing.assert_allclose(
        gradient.world.reshape(expected_gradient.world.shape), expected_gradient.world, atol=1e-7
    )


def test_equal_poses_have_no_gap_and_no_gradient():
    body, skeletons, _ = case()
    value, gradient = vertex_gap._on_gpu(
        body, vertex_gap.table(body), skeletons, skeletons, tiling=TILING, interpret=True
    )
    np.testing.assert_array_equal(value, 0)
    assert all(not np.asarray(leaf).any() for leaf in jax.tree.leaves(gradient))


def test_fused_gap_differentiates_in_both_modes_as_the_plain_one():
    body, skeletons, targets = case()
    rows = vertex_gap.table(body)
    weight = jnp.arange(1.0, 6.0)
    fused = lambda s: weight @ vertex_gap.fused_gap(body, rows, s, targets)
    straight = lambda s: weight @ jax.vmap(vertex_gap.plain_gap, (None, 0, 0))(body, s, targets)
    value, gradient = jax.jit(jax.value_and_grad(fused))(skeletons)
    expected, expected_gradient = jax.jit(jax.value_and_grad(straight))(skeletons)
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    for name in LEAVES:
        assert norm_error(getattr(gradient, name), getattr(expected_gradient, name)) < 1e-5, name
    direction = jax.tree.map(jnp.cos, skeletons)
    slopes = [jax.jit(lambda s, d, f=f: jax.jvp(f, (s,), (d,))[1])(skeletons, direction) for f in (fused, straight)]
    np.testing.assert_allclose(*slopes, rtol=1e-4)


def test_it_lowers_for_tpu_without_the_kernel():
    body, skeletons, targets = case()
    total = lambda s: vertex_gap.fused_gap(body, vertex_gap.table(body), s, targets).sum()
    text = jax.export.export(jax.jit(jax.grad(total)), platforms=["tpu"])(skeletons).mlir_module()
    assert "triton" not in text


def test_batches_of_different_sizes_are_named():
    body, skeletons, targets = case()
    fewer = jax.tree.map(lambda leaf: leaf[:3], targets)
    with pytest.raises(AssertionError, match="prefix"):
        vertex_gap.fused_gap(body, vertex_gap.table(body), skeletons, fewer)


def test_skeletons_carry_what_vertices_need():
    _, skeletons, _ = case()
    assert {field.name for field in dataclasses.fields(skeletons)} == {*LEAVES, "posed"}
