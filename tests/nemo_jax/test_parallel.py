"""Many fits at once against fits alone, on one device and on two."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nemo_jax import parallel, stacking
from nemo_jax.fit import fit, with_steps
from nemo_jax.priors import Priors, published_limits
from tests.nemo_jax import helpers

CONFIG = with_steps(helpers.tiny_config(), 2)
PRIORS = Priors(joint_limits=published_limits())
fit_many = jax.jit(parallel.fit_many)


def three(poison=None):
    """Keys, clips and configurations of three fits that differ in all of them; `poison` spoils one's focal lengths."""
    lengths, yaws = [(6, 9, 4), (5, 9, 7, 3, 6), (7, 8, 5)], (0.3, -0.7, 1.5, 2.0, 3.0)
    actions = [helpers.scene(own, yaws[: len(own)], seed=seed).clips for seed, own in enumerate(lengths)]
    if poison is not None:
        spoilt = actions[poison]
        actions[poison] = dataclasses.replace(spoilt, focal_length=spoilt.focal_length * jnp.inf)
    configs = [dataclasses.replace(CONFIG, lr_field=rate) for rate in (1e-3, 3e-3, 1e-3)]
    keys = jax.random.split(jax.random.key(3), 3)
    return keys, stacking.stack_clips(actions), stacking.stack_configs(configs), actions, configs


def leaves(result, index=None):
    chosen = jax.tree.leaves((result.params, result.history))
    return [np.asarray(leaf) if index is None else np.asarray(leaf[index]) for leaf in chosen]


@pytest.fixture(scope="module")
def together():
    keys, clips, configs, _, _ = three()
    return fit_many(keys, clips, helpers.body(), PRIORS, configs)


def test_each_is_the_fit_alone(together):
    keys, _, _, actions, configs = three()
    alone = jax.jit(fit)
    assert [clips.num_instances for clips in actions] == [3, 5, 3]
    for index, clips in enumerate(actions):
        # All of one size, for one program; `test_padded_instances` has fits with and without padding.
        padded = stacking.pad_instances(stacking.pad_frames(clips, 9), 5)
        whole = alone(keys[index], padded, helpers.body(), PRIORS, configs[index])
        expected = stacking.result_of(jax.tree.map(lambda leaf: leaf[None], whole), 0, clips)
        found = stacking.result_of(together, index, clips)
        assert found.targets.pose.shape == clips.init_pose.shape
        for a, b in zip(leaves(found), leaves(expected), strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-4)


def test_one_that_diverges_leaves_the_others_bit_for_bit(together):
    keys, clips, configs, _, _ = three(poison=1)
    spoilt = fit_many(keys, clips, helpers.body(), PRIORS, configs)
    assert not np.isfinite(np.asarray(spoilt.history["joint"]["total"][1])).all()
    for index in (0, 2):
        assert np.isfinite(np.asarray(spoilt.history["joint"]["total"][index])).all()
        for a, b in zip(leaves(spoilt, index), leaves(together, index), strict=True):
            np.testing.assert_array_equal(a, b)


def test_learning_rates_are_each_fits_own(together):
    keys, clips, _, _, configs = three()
    slow = stacking.stack_configs([dataclasses.replace(c, lr_field=0.0) for c in configs])
    found = fit_many(keys, clips, helpers.body(), PRIORS, slow)
    kernel = lambda result: np.asarray(result.params.field["hidden_1"]["kernel"])
    assert np.abs(kernel(found) - kernel(together)).max((1, 2)).min() > 1e-5


@pytest.mark.slow
def test_two_devices_give_what_one_gives(together, tmp_path):
    # The number of devices is fixed when a process starts; this one has one.
    assert len(jax.devices()) == 1
    program = """
import dataclasses, sys
import numpy as np, jax
from nemo_jax import parallel, stacking
from tests.nemo_jax import helpers, test_parallel as t
assert len(jax.devices()) == 2
keys, clips, configs, _, _ = t.three()
run = jax.jit(parallel.fit_many, static_argnames="devices")
both = run(keys, clips, helpers.body(), t.PRIORS, configs)
assert {len(leaf.sharding.device_set) for leaf in jax.tree.leaves(both)} == {2}
np.savez(sys.argv[1], *t.leaves(both))
short = dataclasses.replace(configs, camera_steps=0, joint_steps=0)
one = run.lower(keys, clips, helpers.body(), t.PRIORS, short, devices=tuple(jax.devices()[:1]))
assert "num_partitions = 1 " in one.as_text()
"""
    flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=2"
    environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    root, path = Path(__file__).parents[2], tmp_path / "both.npz"
    command = [sys.executable, "-c", program, str(path)]
    done = subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    with np.load(path) as file:
        for a, b in zip(file.values(), leaves(together), strict=True):
            assert a.shape == b.shape
            np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-4)
    assert together.params.codes.shape[0] == 3


def test_padding_keeps_frames_first():
    clips = helpers.scene(lengths=(4, 6)).clips
    padded = stacking.pad_frames(clips, 8)
    assert padded.num_frames == 8
    np.testing.assert_array_equal(padded.frame_mask.sum(-1), [4, 6])
    np.testing.assert_array_equal(padded.keypoints[:, :6], clips.keypoints)
    assert padded.focal_length is clips.focal_length


@pytest.mark.parametrize(("frames", "size"), [(1, 32), (32, 32), (33, 48), (1024, 1024), (1025, 2048)])
def test_buckets(frames, size):
    assert stacking.bucket(frames) == size


@pytest.mark.parametrize(("instances", "size"), [(1, 4), (5, 8), (16, 16), (17, 24), (129, 256)])
def test_buckets_of_instances(instances, size):
    assert stacking.bucket(instances, stacking.INSTANCE_BUCKETS) == size


def test_groups_are_what_one_program_can_run():
    short, long = (helpers.scene(lengths=lengths).clips for lengths in ((5, 6), (5, 40)))
    three, five = (helpers.scene(lengths=(5,) * n, yaws=(0.0,) * n).clips for n in (3, 5))
    wide = dataclasses.replace(CONFIG, hidden=24)
    faster = dataclasses.replace(CONFIG, lr_field=1.0)
    found = stacking.groups([short, long, short, short, three, five], [CONFIG, CONFIG, wide, faster, CONFIG, CONFIG])
    assert found == [[0, 3, 4], [1], [2], [5]]


def test_groups_go_by_the_steps_of_the_instances_there_are():
    several = [helpers.scene(lengths=(2,) * n, yaws=(0.0,) * n).clips for n in (27, 30)]
    assert stacking.groups(several, [CONFIG, CONFIG]) == [[0, 1]]
    assert stacking.groups(several, [dataclasses.replace(CONFIG, joint_steps=-1)] * 2) == [[0], [1]]


def test_batches_of_all_frames_go_with_their_equals():
    several = [helpers.scene(lengths=lengths).clips for lengths in ((5, 6), (5, 7), (6, 6))]
    several.append(helpers.scene(lengths=(6, 6, 6), yaws=(0.0, 0.1, 0.2)).clips)
    assert stacking.groups(several, [CONFIG] * 4) == [[0, 1, 2, 3]]
    assert stacking.groups(several, [dataclasses.replace(CONFIG, batch_size=-1)] * 4) == [[0, 2], [1], [3]]


def test_what_does_not_stack_is_named():
    with pytest.raises(ValueError, match="differ in hidden"):
        stacking.stack_configs([CONFIG, dataclasses.replace(CONFIG, hidden=24)])
    keys, clips, configs, _, _ = three()
    assert clips.real is not None
    with pytest.raises(ValueError, match="joint_steps is -1"):
        fit_many(keys, clips, helpers.body(), PRIORS, dataclasses.replace(configs, joint_steps=-1))
