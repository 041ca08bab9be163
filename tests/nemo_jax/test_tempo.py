import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nemo_jax import batches, camera_search, model, objective, tempo
from tests.nemo_jax import helpers

CONFIG = helpers.tiny_config(warmup_tempo=0.5)


@pytest.fixture(scope="module")
def scene():
    return helpers.scene(lengths=(4, 4))


@pytest.fixture(scope="module")
def params(scene):
    return model.init(jax.random.key(0), 2, jnp.asarray(scene.clips.image_size), helpers.body().num_betas, CONFIG)


def with_phase(params, shifts, scales):
    return dataclasses.replace(params, phase={"shifts": jnp.asarray(shifts), "scales": jnp.asarray(scales)})


def by_formula(shifts, scales):
    """float64, of one instance."""
    times = np.linspace(0, 1, 33)
    shifts, scales = (np.maximum(np.asarray(x, np.float64), 0) for x in (shifts, scales))
    g = (1 / (1 + np.exp(-scales * (times[:, None] - shifts)))).mean(-1)
    phases = (g - g[0]) / (g[-1] - g[0] + 1e-6)
    return 2 * (np.sqrt(32 * np.diff(phases) + 1e-3) - 1)


def test_it_is_that_of_the_formula(params):
    rng = np.random.default_rng(0)
    nodes = CONFIG.phase_nodes
    shifts = rng.uniform(0, 1, (2, nodes)).astype(np.float32)
    scales = rng.uniform(5, 60, (2, nodes)).astype(np.float32)
    found = jax.jit(tempo.unevenness)(with_phase(params, shifts, scales), CONFIG)
    assert found.shape == (2, 32)
    np.testing.assert_allclose(found, [by_formula(*each) for each in zip(shifts, scales, strict=True)], atol=2e-4)
    assert np.abs(found).max() > 0.3


def test_who_goes_evenly_pays_little_and_who_waits_much(params):
    nodes = CONFIG.phase_nodes
    even = np.linspace(0, 1, nodes), np.full(nodes, 2.0)
    # All of the action passes in the middle of the clip.
    late = np.full(nodes, 0.5), np.full(nodes, 200.0)
    shifts, scales = (np.stack(each).astype(np.float32) for each in zip(even, late, strict=True))
    fair, waits = np.mean(np.square(tempo.unevenness(with_phase(params, shifts, scales), CONFIG)), -1)
    assert fair < 0.1 and 3 < waits < 6


def test_its_slope_is_finite_where_the_phase_stands(params):
    nodes = CONFIG.phase_nodes
    still = with_phase(params, np.full((2, nodes), 0.5, np.float32), np.zeros((2, nodes), np.float32))
    slope = jax.grad(lambda p: jnp.mean(tempo.unevenness(p, CONFIG) ** 2))(still)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slope))


def test_the_warm_up_has_it_and_only_phases_feel_it(scene, params):
    clips = scene.clips
    targets, batch = camera_search.targets_from(clips), batches.full_batch(clips)

    @jax.jit
    def run(params, config):
        return jax.value_and_grad(lambda p: objective.warmup_loss(p, config, clips, targets, batch), has_aux=True)(
            params
        )

    rng = np.random.default_rng(1)
    nodes = CONFIG.phase_nodes
    moved = with_phase(params, rng.uniform(0, 1, (2, nodes)).astype(np.float32), np.full((2, nodes), 30.0, np.float32))
    value = float(np.mean(np.square(tempo.unevenness(moved, CONFIG))))
    assert value > 0.01
    (priced, terms), slope = run(moved, CONFIG)
    (free, _), other = run(moved, dataclasses.replace(CONFIG, warmup_tempo=0.0))
    assert terms["tempo"] == pytest.approx(value, rel=1e-4)
    assert priced - free == pytest.approx(0.5 * value, rel=1e-3)
    assert not np.allclose(slope.phase["shifts"], other.phase["shifts"])
    chex.assert_trees_all_close(slope.field, other.field, rtol=1e-5, atol=1e-7)


def test_clips_that_are_padding_do_not_count(scene, params):
    clips, targets = scene.clips, camera_search.targets_from(scene.clips)
    empty = dataclasses.replace(clips, real=jnp.array([1.0, 0.0]))
    nodes = CONFIG.phase_nodes
    shifts = np.stack([np.linspace(0, 1, nodes), np.full(nodes, 0.5)]).astype(np.float32)
    moved = with_phase(params, shifts, np.full((2, nodes), 30.0, np.float32))
    first, second = np.mean(np.square(tempo.unevenness(moved, CONFIG)), -1)
    assert second > 2 * first
    for each, expected in ((clips, (first + second) / 2), (empty, first)):
        _, terms = objective.warmup_loss(moved, CONFIG, each, targets, batches.full_batch(clips))
        assert terms["tempo"] == pytest.approx(expected, rel=1e-4)
