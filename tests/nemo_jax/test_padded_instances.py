"""Instances that do not exist change nothing of those that do: in fits, in every stage's loss and in its gradients."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nemo_jax import batches, camera_search, mirror, model, objective, stacking
from nemo_jax import clips as clips_lib
from nemo_jax.fit import fit, for_clips
from nemo_jax.priors import Priors, published_limits
from tests.nemo_jax import helpers, points
from tests.nemo_jax.test_handedness import found as hands
from tests.nemo_jax.test_handedness import one_handed

PRIORS = Priors(joint_limits=published_limits())
PUBLISHED = {
    "keypoint_loss": "rmse_robust",
    "init_space": "axis_angle",
    "near": 0.0,
    "visible_box": False,
    "person_size": 0.0,
    "principal_swapped": True,
}


def three():
    """Clips of three instances of 5, 9 and 7 frames in images of two sizes, the second without initial poses."""
    clips = helpers.scene(lengths=(5, 9, 7), yaws=(0.3, -0.7, 1.5)).clips
    size = clips.image_size.at[1].set(jnp.array([1000.0, 900.0]))
    focal = clips.focal_length.at[0].set(jnp.nan)
    return dataclasses.replace(clips, init_mask=clips.init_mask.at[1].set(0), image_size=size, focal_length=focal)


def padded(clips, instances=5, frames=12):
    return stacking.pad_instances(stacking.pad_frames(clips, frames), instances)


def close(found, expected, rtol=2e-4):
    """Arrays to `rtol` of the largest number of each."""
    for (path, b), a in zip(jax.tree_util.tree_leaves_with_path(expected), jax.tree.leaves(found), strict=True):
        scale = max(float(np.abs(b).max()), 1e-3)
        np.testing.assert_allclose(a, b, rtol=0, atol=rtol * scale, err_msg=jax.tree_util.keystr(path))


def cut(tree, like):
    """What of a padded problem's arrays an unpadded one's has."""
    return jax.tree.map(lambda a, b: a[tuple(map(slice, b.shape))], tree, like)


def test_what_is_added():
    clips = three()
    more = padded(clips)
    clips_lib.check(more)
    np.testing.assert_array_equal(clips_lib.which_real(more), [1, 1, 1, 0, 0])
    assert clips_lib.which_real(clips) is None
    np.testing.assert_array_equal(clips_lib.num_frames(more), [5, 9, 7, 0, 0])
    jax.tree.map(np.testing.assert_array_equal, cut(dataclasses.replace(more, real=None), clips), clips)
    # The largest image decides where published cameras start.
    np.testing.assert_array_equal(more.image_size.max(0), clips.image_size.max(0))
    twice = stacking.pad_instances(stacking.pad_instances(stacking.pad_frames(clips, 12), 4), 5)
    jax.tree.map(np.testing.assert_array_equal, twice, more)
    np.testing.assert_array_equal(stacking.pad_instances(clips, 3).real, [1, 1, 1])


def test_random_numbers_do_not_depend_on_the_padding():
    clips, more = three(), padded(three())
    config = helpers.tiny_config(phase_init="uniform")
    init = jax.jit(model.init, static_argnums=(1, 3))
    few, many = (init(jax.random.key(5), c.num_instances, c.image_size, 3, config) for c in (clips, more))
    jax.tree.map(np.testing.assert_array_equal, cut(many, few), few)
    draw = jax.jit(batches.sample_batch, static_argnums=2)
    few, many = (draw(jax.random.key(6), c, 1000) for c in (clips, more))
    jax.tree.map(np.testing.assert_array_equal, many, few)


def test_full_batches_go_round_the_instances_there_are():
    batch = batches.full_batch(padded(three()))
    np.testing.assert_array_equal(batch.instance.reshape(5, 12), np.tile([[0], [1], [2], [0], [1]], 12))
    assert (batch.frame < np.array([5, 9, 7])[batch.instance]).all()


def test_the_loss_and_its_gradient():
    config = helpers.tiny_config(**PUBLISHED)
    batch = batches.sample_batch(jax.random.key(0), three(), 40)

    @jax.jit
    def loss(params, clips):
        def total(params, keypoints):
            own = dataclasses.replace(clips, keypoints=keypoints)
            assets = model.prepare(own, helpers.body(), PRIORS, config)
            return objective.joint_loss(params, assets, config, own, camera_search.targets_from(own), batch)

        return jax.value_and_grad(total, (0, 1), has_aux=True)(params, clips.keypoints)

    # In padded rows of the parameters stands anything.
    params = points.at("somewhere", config, padded(three()))
    value, (slope, pixels) = loss(params, padded(three()))
    wanted, (slope_wanted, pixels_wanted) = loss(cut(params, points.at("somewhere", config, three())), three())
    close(value, wanted, 2e-6)
    close(cut(slope, slope_wanted), slope_wanted, 1e-5)
    close(cut(pixels, pixels_wanted), pixels_wanted, 1e-5)
    assert helpers.all_finite(slope) and helpers.all_finite(pixels)
    for leaf in jax.tree.leaves((dataclasses.replace(slope, field=None), pixels)):
        np.testing.assert_array_equal(leaf[3:], 0.0)


def test_cameras_are_aligned_without_what_stands_in_padded_rows():
    """There a fit that goes on from a checkpoint has copies."""
    clips, more = three(), padded(three())
    targets = helpers.targets_from(clips)
    copies = jax.tree.map(
        lambda own, wide: jnp.pad(own, [(0, b - a) for a, b in zip(own.shape, wide.shape, strict=True)], "edge"),
        targets,
        helpers.targets_from(more),
    )
    mirrored = jnp.array([0.0, 1.0, 0.0, 1.0, 0.0])
    expected = camera_search.align_roots(targets, clips, mirrored[:3])
    close(cut(camera_search.align_roots(copies, more, mirrored), expected), expected, 1e-5)


@pytest.mark.parametrize("flags", [[0, 1, 0, 0], [0, 1, 1, 0]], ids=["the smaller group", "two of one size"])
def test_hands(flags):
    clips = mirror.mirror_clips(one_handed(4, seed=0), jnp.array(flags))
    few, many = hands(clips), hands(stacking.pad_instances(clips, 6))
    assert sum(few) == sum(flags)
    np.testing.assert_array_equal(many, [*few, 0, 0])


@pytest.mark.slow
def test_a_fit():
    """Lifting included. It ends within 2e-4 of the largest number of each array, and its losses within 2e-5."""
    clips = three()
    config = for_clips(helpers.tiny_config(), clips)
    assert config.lift
    run = jax.jit(fit)
    expected = run(jax.random.key(3), clips, helpers.body(), PRIORS, config)
    wide = run(jax.random.key(3), padded(clips, 4, 32), helpers.body(), PRIORS, config)
    assert helpers.all_finite(wide)
    found = stacking.result_of(jax.tree.map(lambda leaf: leaf[None], wide), 0, clips)
    assert jax.tree.map(jnp.shape, found) == jax.tree.map(jnp.shape, expected)
    close((found.params, found.targets), (expected.params, expected.targets))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5), found.history, expected.history)
