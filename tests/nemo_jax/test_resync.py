"""Clips get the phases that their own poses show, and stay where they are."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nemo_jax import model, resync
from nemo_jax.phase import MonotonicPhase
from nemo_jax.priors import Priors
from tests.nemo_jax import helpers, points

CONFIG = helpers.tiny_config(path_knots=8, sync_frames=8, sync_gain=0.0)


def by_trial(cost, raw, price):
    """The best of all phases that never fall, float64."""
    grid = np.linspace(0.0, 1.0, cost.shape[1])
    waits = np.maximum(np.diff(raw), 1e-6)

    def total(each):
        uneven = 2 * (np.sqrt(np.diff(grid[list(each)]) / waits) - 1)
        return cost[np.arange(len(each)), list(each)].sum() + (price * waits * uneven**2).sum()

    return min(map(total, itertools.combinations_with_replacement(range(cost.shape[1]), len(cost)))), total


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 5), st.integers(2, 6), st.sampled_from([0.0, 0.3, 20.0]), st.integers(0, 2**31))
def test_a_warp_is_the_best_of_all(moments, places, price, seed):
    rng = np.random.default_rng(seed)
    cost = rng.uniform(size=(moments, places)).astype(np.float32)
    raw = np.linspace(0.0, 1.0, moments).astype(np.float32)
    found = np.asarray(resync.warped(jnp.asarray(cost), jnp.asarray(raw), price))
    least, total = by_trial(np.float64(cost), np.float64(raw), price)
    assert (np.diff(found) >= 0).all()
    assert total(np.round(found * (places - 1)).astype(int)) == pytest.approx(least, rel=1e-4, abs=1e-5)


def test_moments_of_one_time_stay_together():
    # Three moments in one frame, as key frames of a short clip are; only the last would rather be elsewhere.
    cost = jnp.asarray([[0.0, 1.0, 1.0], [0.0, 1.0, 1.0], [0.2, 1.0, 0.0]])
    found = resync.warped(cost, jnp.asarray([0.5, 0.5, 0.5]), 1.0)
    np.testing.assert_array_equal(found, [0.0, 0.0, 0.0])


WARPS = {"even": lambda x: x, "late": lambda x: x**1.6, "early": lambda x: 1 - (1 - x) ** 1.6}


@pytest.mark.parametrize("warp", WARPS)
def test_parameters_pass_through_the_phases(warp):
    raw = jnp.linspace(0.0, 1.0, 32)
    phases = 0.1 + 0.8 * WARPS[warp](raw)
    params, span = resync.parameters(raw, phases, 200)
    part = MonotonicPhase(num_nodes=200).apply({"params": params}, raw)
    np.testing.assert_allclose(span, [phases[0], phases[-1]], atol=1e-6)
    np.testing.assert_allclose(span[0] + (span[1] - span[0]) * part, phases, atol=0.03)


def test_time_may_stand():
    raw = jnp.linspace(0.0, 1.0, 12)
    for phases in (jnp.full(12, 0.4), jnp.clip(3 * raw - 1, 0.0, 1.0)):
        params, span = resync.parameters(raw, phases, 50)
        part = MonotonicPhase(num_nodes=50).apply({"params": params}, raw)
        assert np.isfinite(np.concatenate([params["shifts"], part, span])).all()
        assert (np.diff(part) >= 0).all()


def shown(phases, seed=0):
    """Bodies (N, P, 3, 3) that bend in several ways with the phase (N, P)."""
    rng = np.random.default_rng(seed)
    waves = np.stack([np.sin(2.5 * np.pi * (phases + shift)) for shift in rng.uniform(size=9)], -1)
    return jnp.asarray(0.2 * waves.reshape(*phases.shape, 3, 3), jnp.float32)


RAW = np.tile(np.linspace(0.0, 1.0, 40), (4, 1)).astype(np.float32)


def out_of_step():
    """True phases (4, 40) of four clips that are all held to be even, which is wrong for the last one."""
    truth = RAW.copy()
    truth[3] = WARPS["late"](RAW[3])
    return truth


def aligned(truth, counted=(1, 1, 1, 1), free=(1, 1, 1, 1), gain=0.25):
    some = slice(0, len(counted))
    masks = jnp.asarray(counted, jnp.float32), jnp.asarray(free) > 0
    found, closer = resync.aligned(shown(truth[some]), *[jnp.asarray(RAW[some])] * 2, *masks, gain, 0.02)
    return np.asarray(found), np.asarray(closer)


def test_a_clip_out_of_step_is_brought_back():
    truth = out_of_step()
    found, closer = aligned(truth)
    apart = lambda phases: np.abs((phases - phases[:3].mean(0)) - (truth - truth[:3].mean(0))).mean(1)
    assert closer[3] and apart(RAW)[3] > 0.1
    assert apart(found).max() < 0.025
    np.testing.assert_array_equal(found[~closer], RAW[~closer])


def test_those_who_stay_are_what_the_others_are_aligned_to():
    truth = out_of_step()
    found, closer = aligned(truth, free=(0, 0, 0, 1))
    np.testing.assert_array_equal(closer, [False, False, False, True])
    np.testing.assert_array_equal(found[:3], RAW[:3])
    # They say where the phases are, so that the truth itself is found.
    assert np.abs(found[3] - truth[3]).mean() < 0.03
    found, closer = aligned(truth, gain=1.0)
    assert not closer.any()
    np.testing.assert_array_equal(found, RAW)


def test_a_clip_that_does_not_count_says_nothing():
    truth = out_of_step()
    without, _ = aligned(truth, counted=(1, 1, 1, 0), gain=0.0)
    alone, _ = aligned(truth, counted=(1, 1, 1), free=(1, 1, 1), gain=0.0)
    np.testing.assert_allclose(without[:3], alone, atol=1e-6)


@jax.jit
def run(params, clips, config):
    assets = model.prepare(clips, helpers.body(), Priors(), config)
    return resync.synchronised(params, assets, config, clips)


def translations(params, clips, config):
    assets = model.prepare(clips, helpers.body(), Priors(), config)
    return np.asarray(model.predict_clips(params, assets, config, clips).translation)


@pytest.fixture(scope="module")
def scene():
    clips = helpers.scene(lengths=(8, 8, 8), yaws=(0.0, 1.0, 2.0)).clips
    return clips, points.at("somewhere", CONFIG, clips)


def test_only_phases_spans_and_paths_change_and_people_stay_where_they_are(scene):
    clips, params = scene
    found = run(params, clips, CONFIG)
    bare = lambda p: dataclasses.replace(p, phase=None, span=None, path=None)
    jax.tree.map(np.testing.assert_array_equal, bare(found), bare(params))
    assert np.abs(found.phase["shifts"] - params.phase["shifts"]).max() > 0.01
    before, after = (translations(p, clips, CONFIG) for p in (params, found))
    held = dataclasses.replace(found, path=params.path)
    unheld = np.abs(translations(held, clips, CONFIG) - before).max()
    assert unheld > 1e-3
    assert np.abs(after - before).max() < 0.25 * unheld


def test_clips_that_gain_too_little_stay_bit_for_bit(scene):
    clips, params = scene
    found = run(params, clips, dataclasses.replace(CONFIG, sync_gain=1.0))
    jax.tree.map(np.testing.assert_array_equal, found, params)


def test_whole_spans_stay_whole(scene):
    clips, params = scene
    found = run(params, clips, dataclasses.replace(CONFIG, lr_span=0.0))
    np.testing.assert_array_equal(found.span, params.span)


def test_clips_of_a_take_keep_their_common_phases(scene):
    clips, params = scene
    taken = dataclasses.replace(clips, take=np.array([0, 0, 1]))
    found = run(params, taken, CONFIG)
    for name in ("phase", "span", "path"):
        jax.tree.map(
            lambda a, b: np.testing.assert_array_equal(a[:2], b[:2]), getattr(found, name), getattr(params, name)
        )
    assert not np.array_equal(found.phase["shifts"][2], params.phase["shifts"][2])
