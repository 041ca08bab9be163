"""A clip that a field has not seen: the field stays, the rest finds the clip, in either hand and whatever the padding."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from body_models import smpl
from nemo_jax import mirror, model, stacking
from nemo_jax.clips import Clips
from nemo_jax.config import FitConfig
from nemo_jax.priors import Priors
from nemo_jax.unseen import fit_unseen
from tests.nemo_jax import helpers

CONFIG = FitConfig(
    lift=False, hidden=8, num_centres=4, phase_nodes=4, batch_size=64, warmup_steps=5, camera_steps=40, joint_steps=80,
    camera_yaws=4, camera_frames=6, weight_limits=0.0, lr_camera=0.01, rescue_steps=0,
    exchange_price=0, contact_centres=0, find_travel=False,
)  # fmt: skip
FRAMES = 12


@pytest.fixture(scope="module")
def known(tiny_arrays):
    """A field with some motion in it, learned from three clips, and the body."""
    body = smpl.build(tiny_arrays)
    key = jax.random.key(1)
    params = helpers.init(key, 3, jnp.full((3, 2), 1000.0), body.num_betas, CONFIG)
    noise = lambda leaf, n: leaf + 0.1 * jax.random.normal(jax.random.fold_in(key, n), leaf.shape)
    leaves, tree = jax.tree.flatten(params.field)
    moving = jax.tree.unflatten(tree, [noise(leaf, n) for n, leaf in enumerate(leaves)])
    return dataclasses.replace(params, field=moving, codes=params.codes + 0.2), body


def clips_of(params, body, mirrored=0.0):
    """What a camera sees of the field, by the mean code."""
    phases = jnp.linspace(0, 1, FRAMES)

    def joints(phase):
        rotation, translation = model.motion(params, CONFIG, phase, params.codes.mean(0))
        rotation, translation = mirror.mirror_motion(rotation, translation, jnp.asarray(mirrored))
        return smpl.keypoints(body, rotation, jnp.zeros(body.num_betas), translation)

    points = np.asarray(jax.vmap(joints)(phases)) * [1, -1, -1] + [0.1, 0.2, 4.0]
    pixels = 1000 * points[..., :2] / points[..., 2:] + 500
    zeros = np.zeros((1, FRAMES, 24, 3), np.float32)
    return Clips(
        keypoints=pixels[None].astype(np.float32),
        confidence=np.ones((1, FRAMES, 25), np.float32),
        frame_mask=np.ones((1, FRAMES), np.float32),
        init_pose=zeros,
        init_mask=zeros[..., 0, 0],
        image_size=np.full((1, 2), 1000, np.float32),
        focal_length=np.full(1, 1000, np.float32),
        fps=np.full(1, 30, np.float32),
    )


fitted = jax.jit(fit_unseen)


@pytest.mark.parametrize("mirrored", [0.0, 1.0])
def test_the_field_stays_and_its_own_motion_is_found(known, mirrored):
    params, body = known
    clips = clips_of(params, body, mirrored)
    found, loss = fitted(jax.random.key(0), clips, body, Priors(), CONFIG, params)
    for before, after in zip(jax.tree.leaves(params.field), jax.tree.leaves(found.field), strict=True):
        np.testing.assert_array_equal(before, after)
    assert float(found.mirrored[0]) == mirrored
    assets = helpers.prepare(clips, body, Priors(), CONFIG)
    seen = jax.jit(model.predict_clips)(found, assets, CONFIG, clips).keypoints_2d
    # The person is 400 pixels tall.
    assert float(jnp.abs(seen - clips.keypoints).max()) < 5
    assert float(loss[0]) < 1
    assert found.codes.shape == (1, CONFIG.code_size)


def test_padding_changes_nothing(known):
    params, body = known
    clips = clips_of(params, body)
    found, loss = fitted(jax.random.key(0), clips, body, Priors(), CONFIG, params)
    padded, same = fitted(jax.random.key(0), stacking.pad_frames(clips, FRAMES + 5), body, Priors(), CONFIG, params)
    np.testing.assert_allclose(loss, same, rtol=1e-3)
    np.testing.assert_allclose(found.cameras, padded.cameras, atol=1e-4)
