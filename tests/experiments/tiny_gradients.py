"""A tiny fit near its optimum for the tests of gradients: two clips whose detections are the model's own, and noise."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from experiments.gradients.inputs import existing_frames
from nemo_jax import camera_search, model, rotations, stages
from nemo_jax.laplace import Given
from nemo_jax.priors import Priors, published_limits


def as_float64(tree):
    """Floating leaves as float64; call under `jax.enable_x64(True)`."""
    floating = lambda x: jnp.issubdtype(jnp.result_type(x), jnp.floating)
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.float64) if floating(x) else x, tree)


def some_params(clips, num_betas, config, seed=0):
    """Parameters somewhere: bent joints, level cameras six metres away, phases off their kinks."""
    rng = np.random.default_rng(seed)
    num = clips.num_instances
    params = jax.jit(model.init, static_argnums=(1, 3))(jax.random.key(0), num, clips.image_size, num_betas, config)
    bare = dataclasses.replace(params, span=None)
    moved = jax.tree.map(lambda x: x + jnp.asarray(0.1 * rng.normal(size=x.shape), x.dtype), bare)
    cameras = np.tile([0.1, 0.8, 6.0, 1, 0, 0, -1, 0, 0], (num, 1)) + 0.03 * rng.normal(size=(num, 9))
    shifts = rng.uniform(0.05, 0.95, params.phase["shifts"].shape)
    return dataclasses.replace(
        moved,
        cameras=jnp.asarray(cameras, jnp.float32),
        phase={**moved.phase, "shifts": jnp.asarray(shifts, jnp.float32)},
        mirrored=jnp.asarray(np.arange(num) % 2, jnp.float32),
        log_focal=jnp.zeros(num),
        span=params.span,
    )


def make(dataset, body, config, pixels=3.0, priors=None):
    """A fit in float32 whose initial poses and detections, `pixels` off, are the model's own; clip 0 shows no left wrist."""
    clips = jax.tree.map(jnp.asarray, dataset.clips)
    rng = np.random.default_rng(1)
    params = some_params(clips, body.num_betas, config)
    priors = Priors(joint_limits=published_limits()) if priors is None else priors
    assets = jax.jit(model.prepare)(clips, body, priors, config)
    prediction = jax.jit(model.predict_clips)(params, assets, config, clips)
    seen = np.asarray(prediction.keypoints_2d)
    poses = np.asarray(jax.jit(rotations.matrix_to_axis_angle)(prediction.rotations))
    poses = jnp.asarray(poses + 0.01 * rng.normal(size=poses.shape), jnp.float32)
    confidence = np.where(np.asarray(clips.frame_mask)[..., None] > 0, rng.uniform(0.6, 1, seen.shape[:3]), 0)
    confidence[0, :, 7] = 0
    keypoints = jnp.asarray(seen + pixels * rng.normal(size=seen.shape), jnp.float32)
    clips = dataclasses.replace(
        clips, keypoints=keypoints, confidence=jnp.asarray(confidence, jnp.float32), init_pose=poses
    )
    return Given(
        params=params,
        assets=assets,
        config=config,
        clips=clips,
        targets=camera_search.targets_from(clips),
        batch=existing_frames(clips),
    )


def joint_problem(given):
    """The same as `fit` knows it, before its joint stage."""
    arguments = (given.clips, given.assets.body, given.assets.priors, given.config)
    problem, state = jax.jit(stages.start)(jax.random.key(0), *arguments)
    return problem, dataclasses.replace(state, params=given.params)
