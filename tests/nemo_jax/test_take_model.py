"""Takes: clips of one performance have one motion, and their clocks are found."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from body_models import smpl
from nemo_jax import camera_search, handedness, model, optim, rescue, stacking, stages, takes
from nemo_jax import clips as clips_lib
from nemo_jax.clips import Clips
from nemo_jax.instances import Instance
from nemo_jax.priors import Priors
from tests.nemo_jax import helpers

CONFIG = helpers.tiny_config()
SIZE, FOCAL = (1280.0, 720.0), 1500.0


@functools.cache
def filmed(yaws=(0.4, -1.1, 2.0), rates=(30.0, 50.0, 24.0), starts=(0.0, 0.12, -0.1), seconds=1.0):
    """Clips of one performance of 1.5 s that starts at -0.25 s, each from elsewhere, from `starts` on; and its poses."""
    keypoints = jax.jit(jax.vmap(smpl.keypoints, (None, 0, None, None)))
    instances, poses = [], []
    for yaw, fps, start in zip(yaws, rates, starts, strict=True):
        phases = (start + 0.25 + np.arange(int(seconds * fps)) / fps) / 1.5
        pose = np.stack([helpers.pitch_like_pose(phase) for phase in phases])
        turn = helpers.level_matrix(yaw)
        world = keypoints(
            helpers.body(), jnp.float32(helpers.rotation(pose)), jnp.zeros(helpers.NUM_BETAS), jnp.zeros(3)
        )
        seen = np.asarray(world, float) @ turn.T + [0.1, 0.2, 6.0]
        pixels = FOCAL * seen[..., :2] / seen[..., 2:] + np.array(SIZE) / 2
        initial = pose.copy()
        initial[:, 0] = helpers.Rotation.from_matrix(turn @ helpers.rotation(pose[:, 0])).as_rotvec()
        instances.append(Instance(pixels, np.ones(pixels.shape[:2]), SIZE, initial, focal_length=FOCAL, fps=fps))
        poses.append(pose)
    return jax.tree.map(jnp.asarray, Clips.from_instances(instances)), poses


def take_of(clips, take, offset=None):
    offset = None if offset is None else np.asarray(offset, np.float32)
    return dataclasses.replace(clips, take=np.asarray(take, np.float32), offset=offset)


def test_time_is_that_of_the_take():
    clips = filmed()[0]
    frames = [30, 50, 24]
    # Two of them form a take from 0 to 0.12 + 49 / 50 s; the third is by itself.
    raw = np.asarray(clips_lib.raw_phase(take_of(clips, [4, 4, 7], [0.0, 0.12, -3.0])))
    length = 0.12 + 49 / 50
    np.testing.assert_allclose(raw[0, :30], np.arange(30) / 30 / length, atol=1e-6)
    np.testing.assert_allclose(raw[1], (0.12 + np.arange(50) / 50) / length, atol=1e-6)
    np.testing.assert_allclose(raw[2, :24], np.arange(24) / 23, atol=1e-6)
    # Padding stays at the end of its clip.
    assert raw[0, 30:] == pytest.approx(29 / 30 / length, abs=1e-6)
    # Padded instances, which copy the last one, do not change it.
    padded = stacking.pad_instances(take_of(clips, [4, 7, 4], [0.0, 1.0, 0.5]), 5)
    again = np.asarray(clips_lib.raw_phase(padded))
    np.testing.assert_allclose(again[2, :24], (0.5 + np.arange(24) / 24) / (0.5 + 23 / 24), atol=1e-6)
    assert np.isfinite(again).all() and frames == list(clips.frame_mask.sum(1))


def test_without_takes_nothing_is_there():
    clips = filmed()[0]
    _, state = jax.eval_shape(lambda: stages.start(jax.random.key(0), clips, helpers.body(), Priors(), CONFIG))
    assert state.params.delay is None
    np.testing.assert_array_equal(clips_lib.raw_phase(clips), clips_lib.clip_phase(clips))


def test_steps_keep_what_is_shared_equal():
    """Two clips of a take beside a single one: after steps only cameras and clocks differ within the take."""
    config = dataclasses.replace(CONFIG, path_knots=4, contact_centres=4)
    clips = take_of(filmed()[0], [1, 2, 1], [0.0, 0.0, -0.1])
    joint = next(stage for stage in stages.stages(config) if stage.name == "joint")

    @jax.jit
    def run():
        problem, state = stages.start(jax.random.key(0), clips, helpers.body(), Priors(), config)
        return state.params, stages.run_steps(problem, joint, state, jnp.arange(4))[0].params

    before, found = run()
    for name in takes.TIED:
        every = zip(*(jax.tree.leaves(getattr(params, name)) for params in (before, found)), strict=True)
        for old, leaf in every:
            for each in (old, leaf):
                np.testing.assert_array_equal(each[0], each[2], err_msg=name)
            if name not in ("mirrored", "phase"):
                assert (leaf[0] != leaf[1]).any() and (leaf[0] != old[0]).any(), name
    assert (found.cameras[0] != found.cameras[2]).any()
    # The first clip of a take keeps its time, and so does a clip by itself.
    assert found.delay[0] == 0 and found.delay[1] == 0 and found.delay[2] != 0


def test_gradients_are_means_over_the_take():
    clips = take_of(filmed()[0], [1, 2, 1])
    problem, state = jax.jit(stages.start)(jax.random.key(0), clips, helpers.body(), Priors(), CONFIG)
    rng = np.random.default_rng(0)
    gradient = jax.tree.map(lambda leaf: jnp.float32(rng.normal(size=leaf.shape)), state.params)
    tied = takes.gradient(gradient, problem.assets)
    mean = (np.asarray(gradient.codes[0]) + np.asarray(gradient.codes[2])) / 2
    np.testing.assert_allclose(tied.codes, np.stack([mean, gradient.codes[1], mean]), rtol=1e-6)
    np.testing.assert_array_equal(tied.cameras, gradient.cameras)
    np.testing.assert_array_equal(tied.delay, [0, 0, gradient.delay[2]])
    # All that a fit learns of each clip is either shared by its take or its own.
    own = {"cameras", "log_focal", "delay"}
    every = {field.name for field in dataclasses.fields(model.Params)}
    assert own | set(takes.TIED) | set(model.SHARED) == every and own.isdisjoint(takes.TIED)
    assert every <= set(optim.GROUPS)


def test_roots_are_compared_at_the_same_moments():
    """A person who turns round while filmed: cameras that start at other times are turned as they stand."""
    clips = take_of(filmed(starts=(0.0, 0.3, -0.2))[0], [1, 1, 1], [0.0, 0.3, -0.2])
    frames, shown = camera_search.common_frames(clips, 16)
    raw = np.take_along_axis(np.asarray(clips_lib.raw_phase(clips)), np.asarray(frames), 1)
    at = np.linspace(0, 1, 16)
    assert np.abs(raw - at)[np.asarray(shown)].max() < 1 / 24 / 1.5 + 1e-6
    assert not shown[0, 0] and shown[2, 0] and shown[1, -1] and not shown[2, -1]
    yaws, _ = jax.jit(camera_search.align_roots)(helpers.targets_from(clips), clips, jnp.zeros(3))
    np.testing.assert_allclose(np.unwrap(np.asarray(yaws - yaws[0]))[1:], [-1.5, 1.6], atol=0.02)


def test_a_take_is_mirrored_as_one():
    clips = take_of(filmed()[0], [1, 2, 1])
    targets = helpers.targets_from(clips)
    problem, _ = jax.jit(stages.start)(jax.random.key(0), clips, helpers.body(), Priors(), CONFIG)
    found = handedness.mirrored_instances(targets, clips, same_take=problem.assets.same_take)
    assert found[0] == found[2]


def test_clocks_are_found():
    clips = filmed()[0]
    config = helpers.tiny_config(
        hidden=32, num_centres=12, batch_size=64, warmup_steps=100, camera_steps=60, joint_steps=400,
        weight_init=1.0, find_handedness=False, lr_field=3e-3, lr_delay=1e-3, weight_level=1.0, weight_depth=0.0,
    )  # fmt: skip

    @jax.jit
    def run(clips):
        problem, state = stages.start(jax.random.key(0), clips, helpers.body(), Priors(), config)
        for stage in stages.stages(config):
            carry, _ = stages.run_steps(problem, stage, stage.begin(problem, state), stages.numbers(stage))
            state = stage.end(problem, carry)
        return takes.offsets(state.params, clips)

    # The given clocks are wrong by two and three frames, and no frame of one was filmed when one of another was.
    found = np.asarray(run(take_of(clips, [1, 1, 1], [0.0, 0.06, -0.02])))
    assert np.abs(found - [0.0, 0.12, -0.1]).max() < 0.5 / 30, found


def test_a_lost_take_is_rescued_as_one():
    config = helpers.tiny_config(rescue_steps=2, rescue_frames=2)
    clips = take_of(filmed()[0], [1, 2, 1])

    @jax.jit
    def run():
        problem, state = stages.start(jax.random.key(0), clips, helpers.body(), Priors(), config)
        arguments = (problem.assets, config, problem.clips)
        readings = rescue.begin(state.params, *arguments)
        moved = rescue.step(readings, state.params, *arguments, state.targets, 1.0)[0]
        losses = rescue.losses(moved, moved.own, state.params, *arguments, state.targets)
        return (
            moved,
            takes.shared(losses.T, problem.assets).T,
            rescue.finish(moved, state.params, *arguments, state.targets),
        )

    readings, losses, (params, lost) = run()
    # Of a rest pose that fits nothing, cameras solved anew explain all that another reading could.
    best = np.asarray(losses)[: rescue.NUM_READINGS].argmin(0)
    assert lost.all() and best[0] == best[2] > 0
    for leaf in jax.tree.leaves([readings.own.phase, readings.own.span]):
        np.testing.assert_array_equal(leaf[:, 0], leaf[:, 2])
    np.testing.assert_array_equal(params.span[0], params.span[2])
    # What is by itself has no other motion than its own, and takes the best reading.
    np.testing.assert_array_equal(params.span[1], readings.own.span[best[1], 1])
    np.testing.assert_array_equal(params.cameras[::2], readings.own.cameras[-1, ::2])
    assert (params.cameras[0] != params.cameras[2]).any()
