"""Exchanged left and right are found and put right; what is as it should be stays, bit for bit."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from body_models import joints as jn
from nemo_jax import batches, exchange, model, objective, stacking, stages, variation
from nemo_jax import camera as cam
from nemo_jax.fit import fit as plain_fit
from nemo_jax.parallel import fit_many as plain_fit_many
from nemo_jax.priors import Priors
from tests.nemo_jax import helpers, points

pytestmark = pytest.mark.slow

CONFIG = helpers.tiny_config(exchange_price=2)
OFF = dataclasses.replace(CONFIG, exchange_price=0)
LENGTHS, YAWS = (16, 13), (0.4, -1.1)
# Each operation by itself would be compiled by itself.
fit, fit_many = jax.jit(plain_fit), jax.jit(plain_fit_many)
cheapest, decide = jax.jit(jax.vmap(exchange.cheapest, (0, None))), jax.jit(exchange.decide)
ARMS, LEGS = (np.flatnonzero(row) for row in exchange.MEMBERS)


# --- the cheapest path ---


def by_brute_force(cost, price):
    """The least cost of all 2^T paths."""
    paths = np.array(list(itertools.product([0, 1], repeat=len(cost))))
    return price_of(cost, paths, price).min()


def price_of(cost, paths, price):
    return cost[np.arange(len(cost)), paths].sum(-1) + price * np.abs(np.diff(paths, axis=-1)).sum(-1)


@pytest.mark.parametrize("frames", [1, 2, 9])
@pytest.mark.parametrize("price", [0.0, 0.3, 2.0])
def test_no_path_is_cheaper(frames, price):
    costs = np.random.default_rng(frames).random((20, frames, 2))
    found = np.asarray(cheapest(jnp.asarray(costs, jnp.float32), price))
    assert set(np.unique(found)) <= {0, 1}
    for cost, path in zip(costs, found.astype(int), strict=True):
        assert price_of(cost, path, price) == pytest.approx(by_brute_force(cost, price), abs=1e-5)


def test_a_higher_price_never_gives_more_changes():
    costs = jnp.asarray(np.random.default_rng(0).random((30, 2)), jnp.float32)
    changes = [int(jnp.abs(jnp.diff(exchange.cheapest(costs, price))).sum()) for price in (0.0, 0.1, 0.3, 1.0, 30.0)]
    assert changes == sorted(changes, reverse=True) and changes[0] > 5 and changes[-1] == 0


def test_of_equal_readings_the_given_one_stays():
    np.testing.assert_array_equal(exchange.cheapest(jnp.ones((7, 2)), 0.0), np.zeros(7))


def losses_of(*stretches):
    """Losses (T,) as given, exchanged and with its variation, of (frames, given, other, varied) one after another; without
    the last it explains nothing."""
    rows = [(*s, s[1]) if len(s) == 3 else s for s in stretches]
    return tuple(jnp.asarray(np.repeat([s[i] for s in rows], [s[0] for s in rows]), jnp.float32) for i in (1, 2, 3))


def decided(*stretches, price=4.0, exists=None, jumps=()):
    """Frames that are exchanged; jumps: pairs of a frame and how much less moves if names change after it."""
    found = losses_of(*stretches)
    frames = jnp.arange(len(found[0]))
    jump = -jnp.ones(len(frames))
    for frame, value in jumps:
        jump = jump.at[frame].set(value)
    return np.asarray(decide(*found, jump, price, (frames < (exists or len(frames))).astype(jnp.float32)))


def test_a_long_stretch_is_exchanged_and_a_flicker_is_not():
    found = decided((20, 1, 9), (12, 9, 1), (10, 1, 9), (1, 9, 1), (10, 1, 9))
    np.testing.assert_array_equal(np.flatnonzero(found), np.arange(20, 32))


def test_frames_in_which_nothing_is_seen_part_no_stretch():
    found = decided((20, 1, 9), (6, 9, 1), (3, 0, 0), (6, 9, 1), (10, 1, 9))
    np.testing.assert_array_equal(np.flatnonzero(found), np.arange(20, 35))


def test_what_is_hardly_better_stays():
    assert not decided((20, 1, 9), (12, 5, 4.9), (10, 1, 9)).any()
    assert not decided((20, 100, 104), (12, 100, 96), (10, 100, 104)).any()
    assert decided((20, 20, 24), (12, 20, 16), (10, 20, 24)).sum() == 12


def test_what_its_variation_explains_far_better_stays():
    """Who turns his back for a while looks exchanged, and yet is not explained by that."""
    turned = (20, 1, 5, 1), (20, 9, 6, 1), (20, 1, 5, 1)
    assert not decided(*turned).any()
    assert decided(*[stretch[:3] for stretch in turned]).sum() == 20
    assert decided(turned[0], (20, 9, 4, 1), turned[2]).sum() == 20
    # A variation that follows wrong names does not speak for them, and elsewhere in the clip it says nothing.
    assert decided((20, 9, 13, 0), (20, 9, 6, 9), (20, 9, 13, 0)).sum() == 20
    # Where names are seen to change, near enough, it has followed wrong ones.
    assert decided(*turned, jumps=[(18, 5.0)]).sum() == 20
    assert not decided(*turned, jumps=[(18, 0.5)]).any()
    assert not decided(*turned, jumps=[(15, 5.0), (30, 5.0)]).any()


def test_what_is_better_throughout_stays():
    assert not decided((20, 9, 1), (5, 1, 9)).any()


def test_padding_does_not_count():
    alone = decided((20, 1, 9), (12, 9, 1))
    padded = decided((20, 1, 9), (12, 9, 1), (40, 9, 1), exists=32)
    np.testing.assert_array_equal(padded[:32], alone)
    assert not padded[32:].any() and alone.sum() == 12


# --- clips ---


@pytest.fixture(scope="module")
def truth():
    """Clips of what a field shows in two cameras, and the parameters that say so."""
    clips = helpers.scene(lengths=LENGTHS, yaws=YAWS).clips
    start, moved = (points.at(where, CONFIG, clips) for where in ("start", "somewhere"))
    turns = jnp.asarray(np.stack([helpers.level_matrix(yaw) for yaw in YAWS]), jnp.float32)
    cameras = cam.join(turns, jnp.asarray([[0.1, -0.2, 6.0], [0.0, 0.1, 5.0]]))
    params = dataclasses.replace(start, field=moved.field, cameras=cameras)
    assets = helpers.prepare(clips, helpers.body(), Priors(), CONFIG)
    seen = jax.jit(model.predict_clips)(params, assets, CONFIG, clips).keypoints_2d
    return dataclasses.replace(clips, keypoints=seen), params


def flags(clips, *stretches):
    """Flags (N, T, 2) of (instance, frames, group)."""
    found = np.zeros((clips.num_instances, clips.num_frames, 2), np.float32)
    for instance, frames, group in stretches:
        found[instance, frames, exchange.GROUPS.index(group)] = 1
    return found


@jax.jit
def found_in(params, clips):
    assets = model.prepare(clips, helpers.body(), Priors(), CONFIG)
    return exchange.find(params, assets, CONFIG, clips)


def test_the_groups_are_closed_and_leave_out_the_middle():
    for members in exchange.MEMBERS:
        np.testing.assert_array_equal(members[jn.MIRROR_BODY_25], members)
    middle = [name for name, member in zip(jn.BODY_25_NAMES, exchange.MEMBERS.sum(0), strict=True) if not member]
    assert middle == ["nose", "neck", "mid_hip"] and exchange.MEMBERS.max() == exchange.MEMBERS.sum(0).max() == 1


def test_swapping_trades_twins_of_a_group_alone(truth):
    clips, _ = truth
    clips = dataclasses.replace(clips, confidence=np.random.default_rng(0).random(clips.confidence.shape))
    which = flags(clips, (0, slice(3, 6), "legs"))
    read = exchange.swapped(clips, which)
    expected, sure = np.array(clips.keypoints), np.array(clips.confidence)
    for joint in LEGS:
        expected[0, 3:6, joint] = np.asarray(clips.keypoints)[0, 3:6, jn.MIRROR_BODY_25[joint]]
        sure[0, 3:6, joint] = np.asarray(clips.confidence)[0, 3:6, jn.MIRROR_BODY_25[joint]]
    np.testing.assert_array_equal(read.keypoints, expected)
    np.testing.assert_array_equal(read.confidence, np.float32(sure))
    lost = np.asarray(clips.init_mask) - np.asarray(read.init_mask)
    assert lost[0, 3:6].all() and lost.sum() == 3
    back = exchange.swapped(read, which)
    np.testing.assert_array_equal(back.keypoints, clips.keypoints)


def test_stretches_are_found_in_the_right_limbs(truth):
    clips, params = truth
    given = flags(clips, (0, slice(9, 16), "legs"), (1, slice(2, 7), "arms"))
    broken = exchange.swapped(clips, given)
    np.testing.assert_array_equal(found_in(params, broken), given)
    np.testing.assert_array_equal(found_in(params, clips), flags(clips))


def test_a_clip_that_is_exchanged_throughout_is_left_to_handedness(truth):
    clips, params = truth
    everywhere = flags(clips, (1, slice(None), "arms"), (1, slice(None), "legs"))
    assert not np.asarray(found_in(params, exchange.swapped(clips, everywhere))).any()
    # A left-hander, who is shown as the mirror image, is as any other clip.
    lefty = dataclasses.replace(params, mirrored=jnp.asarray([0.0, 1.0]))
    assets = helpers.prepare(clips, helpers.body(), Priors(), CONFIG)
    seen = jax.jit(model.predict_clips)(lefty, assets, CONFIG, clips).keypoints_2d
    shown, given = dataclasses.replace(clips, keypoints=seen), flags(clips, (1, slice(2, 7), "arms"))
    np.testing.assert_array_equal(found_in(lefty, shown), flags(clips))
    np.testing.assert_array_equal(found_in(lefty, exchange.swapped(shown, given)), given)


def test_what_is_not_seen_says_nothing(truth):
    """Pixels of hidden joints, whatever they are, decide nothing: held-out joints do not leak."""
    clips, params = truth
    given = flags(clips, (0, slice(9, 16), "legs"))
    broken = exchange.swapped(clips, given)
    hidden = np.isin(np.arange(25), [10, 11])
    confidence = np.where(hidden, 0.0, broken.confidence).astype(np.float32)
    blind = dataclasses.replace(broken, confidence=jnp.asarray(confidence))
    other = dataclasses.replace(blind, keypoints=jnp.where(hidden[:, None], jnp.nan, broken.keypoints))
    np.testing.assert_array_equal(found_in(params, other), found_in(params, blind))
    np.testing.assert_array_equal(found_in(params, blind), given)
    # What is hidden moves along: its twin is not seen where the two are exchanged.
    sure = np.asarray(exchange.swapped(blind, given).confidence)
    assert not sure[0, 9:16][:, [13, 14]].any() and sure[0, 9:16][:, [10, 11]].all()
    assert sure[0, :9][:, [13, 14]].all() and not sure[0, :9][:, [10, 11]].any()


def test_codes_do_not_follow_wrong_names(truth):
    clips, params = truth
    broken = exchange.swapped(clips, flags(clips, (0, slice(9, 16), "legs")))
    other = dataclasses.replace(params, codes=params.codes + 3.0)
    np.testing.assert_array_equal(found_in(other, broken), found_in(params, broken))


def test_what_the_variation_explains_is_looked_at_beside_the_shared_motion(truth):
    clips, params = truth
    assets = helpers.prepare(clips, helpers.body(), Priors(), CONFIG)
    costs = jax.jit(lambda p, c: exchange.costs(p, assets, CONFIG, c))
    own = dataclasses.replace(params, codes=params.codes + 3.0)
    seen = jax.jit(model.predict_clips)(own, assets, CONFIG, clips).keypoints_2d
    given, other, varied = costs(own, dataclasses.replace(clips, keypoints=seen))
    assert varied.max() < 0.01 and given.max() > 1 and other.max() > 1
    # Without one both are the same but for rounding.
    given, _, varied = costs(variation.without(own), dataclasses.replace(clips, keypoints=seen))
    np.testing.assert_allclose(varied, given, rtol=1e-3, atol=1e-2)


def test_names_that_change_are_seen(truth):
    clips, _ = truth
    broken = exchange.swapped(clips, flags(clips, (0, slice(5, 9), "legs")))
    found = np.asarray(jax.jit(lambda c: exchange.jumps(c, CONFIG))(broken))
    legs = found[0, :, exchange.GROUPS.index("legs")]
    np.testing.assert_array_equal(np.flatnonzero(legs > 0), [4, 8])
    assert not (found[0, :, exchange.GROUPS.index("arms")] > 0).any() and not (found[1] > 0).any()
    # Between the last frame of a clip and what is padded there is nothing.
    assert not found[1, LENGTHS[1] - 1 :].any()
    unseen = dataclasses.replace(broken, confidence=jnp.asarray(broken.confidence).at[0, 5, LEGS].set(0.0))
    unseen = dataclasses.replace(unseen, keypoints=jnp.asarray(unseen.keypoints).at[0, 5, LEGS].set(jnp.nan))
    hidden = np.asarray(jax.jit(lambda c: exchange.jumps(c, CONFIG))(unseen))
    assert np.isfinite(hidden).all() and not hidden[0, 4:6, exchange.GROUPS.index("legs")].any()


# --- fits ---


def test_the_loss_is_that_of_the_clips_put_right(truth):
    clips, params = truth
    which = flags(clips, (0, slice(9, 16), "legs"), (1, slice(2, 7), "arms"))
    broken = exchange.swapped(clips, which)
    assets = helpers.prepare(clips, helpers.body(), Priors(), CONFIG)
    batch, targets = batches.full_batch(clips), helpers.targets_from(clips)

    def loss(clips, targets):
        value = lambda p: objective.joint_loss(p, assets, CONFIG, clips, targets, batch)[0]
        return jax.value_and_grad(value)(params)

    read = exchange.as_read(broken, targets, jnp.asarray(which), CONFIG)
    expected = exchange.without(targets, jnp.asarray(which))
    assert float(expected.mask.sum()) == float(targets.mask.sum()) - 12
    kept = dataclasses.replace(clips, init_mask=read[0].init_mask)
    jax.tree.map(np.testing.assert_array_equal, jax.jit(loss)(*read), jax.jit(loss)(kept, expected))
    assert exchange.as_read(broken, targets, jnp.asarray(which), OFF) == (broken, targets)


def test_without_a_price_nothing_is_looked_for():
    names = lambda config: [stage.name for stage in stages.stages(dataclasses.replace(config, lift=False))]
    assert "early" not in names(dataclasses.replace(OFF, rescue_steps=0))
    assert names(dataclasses.replace(CONFIG, rescue_steps=0)) == ["warmup", "camera", "early", "joint"]


SHORT = dataclasses.replace(
    CONFIG, warmup_steps=60, camera_steps=30, joint_steps=60, rescue_steps=0, lift=False, find_travel=False
)


@pytest.fixture(scope="module")
def broken():
    """Four clips of one motion, one of them with its legs exchanged for a third of its frames; and where."""
    clips = helpers.scene(lengths=(12, 15, 12, 14), yaws=(0.0, 0.9, -0.8, 2.5)).clips
    which = flags(clips, (1, slice(5, 10), "legs"))
    init_mask = clips.init_mask
    return dataclasses.replace(exchange.swapped(clips, which), init_mask=init_mask), which


@pytest.fixture(scope="module")
def fitted(broken):
    return fit(jax.random.key(0), broken[0], helpers.body(), Priors(), SHORT)


def test_a_fit_finds_the_stretch(broken, fitted):
    np.testing.assert_array_equal(fitted.exchanged, broken[1])


def test_fits_side_by_side_find_the_same(broken, fitted):
    clips, which = broken
    straight = exchange.swapped(clips, which)
    keys = jnp.stack([jax.random.key(0)] * 2)
    both = stacking.stack_clips([clips, dataclasses.replace(straight, init_mask=clips.init_mask)])
    both = stacking.stack_clips([jax.tree.map(lambda leaf, row=row: leaf[row], both) for row in (0, 1)])
    padded = jax.vmap(lambda c: stacking.pad_frames(c, 20))(both)
    results = fit_many(keys, padded, helpers.body(), Priors(), stacking.stack_configs([SHORT] * 2))
    own = [stacking.result_of(results, index, clips) for index in (0, 1)]
    np.testing.assert_array_equal(own[0].exchanged, fitted.exchanged)
    assert not np.asarray(own[1].exchanged).any() and own[1].exchanged.shape == which.shape
