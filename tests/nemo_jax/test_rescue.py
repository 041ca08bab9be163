"""Lost clips are found again, and the others stay as they are, bit for bit."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nemo_jax import camera as cam
from nemo_jax import camera_search, model, rescue, stacking, variation
from nemo_jax.priors import Priors
from tests.nemo_jax import helpers, points

CONFIG = helpers.tiny_config(rescue_frames=4, rescue_steps=15)
YAWS = (0.3, -0.7, 2.0)


@pytest.fixture(scope="module")
def truth():
    """Clips of what a field shows in three cameras, the third with the other hand, and the parameters that say so."""
    clips = helpers.scene(lengths=(6, 8, 7), yaws=YAWS).clips
    start, moved = (points.at(where, CONFIG, clips) for where in ("start", "somewhere"))
    turns = jnp.asarray(np.stack([helpers.level_matrix(yaw) for yaw in YAWS]), jnp.float32)
    params = dataclasses.replace(
        start,
        field=moved.field,
        cameras=cam.join(turns, jnp.asarray([[0.1, -0.2, 6.0], [0.0, 0.1, 5.0], [-0.2, 0.0, 7.0]])),
        mirrored=jnp.asarray([0.0, 0.0, 1.0]),
    )
    seen = shown(params, clips)
    return dataclasses.replace(clips, keypoints=seen, init_mask=jnp.zeros_like(clips.init_mask)), params


@jax.jit
def shown(params, clips):
    assets = model.prepare(clips, helpers.body(), Priors(), CONFIG)
    return model.predict_clips(params, assets, CONFIG, clips).keypoints_2d


def rescued(params, clips, **changes):
    return run(params, clips, dataclasses.replace(CONFIG, **changes))


@jax.jit
def run(params, clips, config):
    """Parameters and which instances changed, and the losses (S, N) after the steps."""
    given = (
        params, model.prepare(clips, helpers.body(), Priors(), config), config, clips, camera_search.targets_from(clips)
    )  # fmt: skip
    begun = rescue.begin(*given[:4])
    factor = lambda i: 0.5 * (1 + jnp.cos(jnp.pi * i / config.rescue_steps))
    done, history = jax.lax.scan(
        lambda readings, i: rescue.step(readings, *given, factor(i)), begun, jnp.arange(config.rescue_steps)
    )
    return *rescue.finish(done, *given), rescue.losses(done, done.own, *given), history["rescue"]


@jax.jit
def one_step(params, clips):
    given = (params, model.prepare(clips, helpers.body(), Priors(), CONFIG), CONFIG, clips)
    begun = rescue.begin(*given)
    return begun, *rescue.step(begun, *given, camera_search.targets_from(clips), 1.0)


def broken(params, case):
    """The parameters with one instance lost, and which."""
    cameras, mirrored, lost = params.cameras, params.mirrored, 1
    if case == "turned":
        behind = cam.split(cameras[1])[0] @ jnp.diag(jnp.asarray([-1.0, 1.0, -1.0]))
        cameras = cameras.at[1].set(cam.join(behind, cameras[1, :3]))
    elif case == "the other hand":
        lost, mirrored = 2, mirrored.at[2].set(0.0)
    elif case == "both":
        lost, mirrored = 0, mirrored.at[0].set(1.0)
        behind = cam.split(cameras[0])[0] @ jnp.diag(jnp.asarray([-1.0, 1.0, -1.0]))
        cameras = cameras.at[0].set(cam.join(behind, cameras[0, :3]))
    return dataclasses.replace(params, cameras=cameras, mirrored=mirrored), lost


def others_equal(found, params, lost):
    def same(path, a, b):
        rows = np.arange(len(a)) != lost
        np.testing.assert_array_equal(a[rows], b[rows], err_msg=jax.tree_util.keystr(path))

    bare = lambda p: dataclasses.replace(p, field=None)
    jax.tree_util.tree_map_with_path(same, bare(found), bare(params))
    jax.tree.map(np.testing.assert_array_equal, found.field, params.field)


def test_nothing_changes_where_all_is_well(truth):
    clips, params = truth
    found, lost, losses, _ = rescued(params, clips)
    assert losses.shape == (rescue.NUM_READINGS, 3)
    np.testing.assert_array_equal(lost, [0, 0, 0])
    jax.tree.map(np.testing.assert_array_equal, found, params)


@pytest.mark.parametrize("case", ["turned", "the other hand", "both"])
def test_a_lost_clip_is_found(truth, case):
    clips, params = truth
    wrong, which = broken(params, case)
    found, lost, losses, history = rescued(wrong, clips)
    np.testing.assert_array_equal(lost, np.arange(3) == which)
    others_equal(found, wrong, which)
    np.testing.assert_array_equal(found.mirrored, params.mirrored)
    turn, true_turn = (np.float64(cam.split(p.cameras[which])[0]) for p in (found, params))
    assert np.degrees(np.arccos((np.trace(turn @ true_turn.T) - 1) / 2)) < 10
    off = lambda p: np.abs(np.float64(shown(p, clips) - clips.keypoints))[which, :6].mean()
    assert off(found) < 12 and off(wrong) > 3 * off(found)
    assert losses[:, which].min() < 0.5 * losses[0, which]
    assert np.isfinite(history).all()


@jax.jit
def some_rescued(params, clips):
    return run(params, clips, CONFIG)


@pytest.fixture(scope="module")
def take(truth):
    """The first two clips as cameras on one performance, beside the third, with a path and a code of their own."""
    clips, params = truth
    clips = dataclasses.replace(clips, take=jnp.asarray([1.0, 1.0, 2.0]), offset=jnp.asarray([0.0, 0.02, 0.0]))
    codes = params.codes.at[:2].set(jnp.asarray([0.4, -0.3]))
    params = dataclasses.replace(params, codes=codes, delay=jnp.zeros(3))
    return dataclasses.replace(clips, keypoints=shown(params, clips)), params


def test_one_wrong_camera_of_a_take_is_found(take):
    clips, params = take
    wrong, which = broken(params, "turned")
    found, lost, losses, _ = some_rescued(wrong, clips)
    assert losses.shape == (rescue.NUM_READINGS + 2, 3)
    np.testing.assert_array_equal(lost, [0, 1, 0])
    others_equal(found, wrong, which)
    # Nothing of it changes but its camera.
    rest = lambda p: dataclasses.replace(p, cameras=None)
    jax.tree.map(np.testing.assert_array_equal, rest(found), rest(wrong))
    turn, true_turn = (np.float64(cam.split(p.cameras[which])[0]) for p in (found, params))
    assert np.degrees(np.arccos((np.trace(turn @ true_turn.T) - 1) / 2)) < 3
    found, lost, *_ = some_rescued(params, clips)
    np.testing.assert_array_equal(lost, [0, 0, 0])
    jax.tree.map(np.testing.assert_array_equal, found, params)


def test_a_clip_of_a_part_of_the_action_is_found(truth):
    clips, params = truth
    part = dataclasses.replace(params, span=params.span.at[0].set(jnp.asarray([0.3, 1.0])))
    clips = dataclasses.replace(clips, keypoints=shown(part, clips))
    _, _, losses, _ = rescued(params, clips, weight_span=0.0)
    # Readings: the present one, then the spans with one hand and with the other.
    assert rescue.SPANS[np.argmin(losses[1:5, 0])].tolist() == pytest.approx([0.3, 1.0])


def test_a_small_gain_changes_nothing(truth):
    clips, params = truth
    wrong, _ = broken(params, "turned")
    found, lost, _, _ = rescued(wrong, clips, rescue_margin=1.0)
    np.testing.assert_array_equal(lost, [0, 0, 0])
    jax.tree.map(np.testing.assert_array_equal, found, wrong)


def test_what_is_good_already_stays_though_steps_lead_away_from_it(truth):
    clips, params = truth
    found, lost, losses, _ = rescued(params, clips, rescue_steps=3)
    # After three long steps without an end every reading is worse than the truth, the first among them.
    assert losses.min(0).min() > 1
    np.testing.assert_array_equal(lost, [0, 0, 0])
    jax.tree.map(np.testing.assert_array_equal, found, params)


def test_a_clip_that_its_variation_explains_is_not_lost(truth):
    """Another reading is better for the shared motion, but explains little beside what the clip's own variation does."""
    clips, params = truth
    code = 8 * np.random.default_rng(0).normal(size=params.codes.shape[1]).astype(np.float32)
    own = dataclasses.replace(params, codes=params.codes.at[1].set(code))
    clips = dataclasses.replace(clips, keypoints=shown(own, clips))
    found, lost, losses, _ = rescued(own, clips, rescue_share=0.5)
    np.testing.assert_array_equal(lost, [0, 0, 0])
    jax.tree.map(np.testing.assert_array_equal, found, own)
    assert losses[:, 1].min() < 0.7 * losses[0, 1]
    # The same readings, of which it is not asked how much they explain, or of a clip without a variation.
    for params, share in ((own, 0.0), (variation.without(own), 0.5)):
        _, lost, same, _ = rescued(params, clips, rescue_share=share)
        np.testing.assert_array_equal(lost, [0, 1, 0])
        np.testing.assert_array_equal(same, losses)


def test_instances_that_do_not_exist_are_never_rescued(truth):
    clips, params = truth
    wrong, which = broken(params, "turned")
    wide = stacking.pad_instances(clips, 5)
    more = jax.tree.map(lambda leaf: jnp.concatenate([leaf, leaf[:2]]), dataclasses.replace(wrong, field=None))
    # A span that costs something, so that another reading looks better.
    more = dataclasses.replace(more, field=params.field, span=more.span.at[3:].set(jnp.array([0.5, 0.6])))
    found, lost, losses, history = rescued(more, jax.tree.map(jnp.asarray, wide))
    np.testing.assert_array_equal(lost, [0, 1, 0, 0, 0])
    assert (losses[1:, 3:].min(0) < 0.5 * losses[0, 3:]).all()
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[2:], b[2:]), found.span, more.span)
    plain = rescued(wrong, clips)
    np.testing.assert_allclose(found.cameras[which], plain[0].cameras[which], rtol=1e-3, atol=1e-3)
    # Adam leads two programs apart a little.
    np.testing.assert_allclose(history, plain[3], rtol=0.1)


def test_steps_move_only_what_is_an_instance_s_own(truth):
    clips, params = truth
    begun, moved, _ = one_step(params, clips)
    changed = {
        jax.tree_util.keystr(path)
        for (path, a), b in zip(jax.tree_util.tree_leaves_with_path(begun.own), jax.tree.leaves(moved.own), strict=True)
        if (np.asarray(a) != np.asarray(b)).any()
    }
    # No codes: readings are judged by the shared motion.
    assert changed == {".cameras", ".span", ".phase['scales']", ".phase['shifts']"}
    assert begun.own.field is None
    np.testing.assert_array_equal(moved.own.betas, begun.own.betas)


def test_codes_do_not_decide(truth):
    clips, params = truth
    wrong, _ = broken(params, "turned")
    other = dataclasses.replace(wrong, codes=wrong.codes + 0.7)
    a, b = rescued(wrong, clips), rescued(other, clips)
    np.testing.assert_array_equal(a[1], b[1])
    np.testing.assert_array_equal(a[2], b[2])
    # Instances that stay keep their variation.
    np.testing.assert_array_equal(b[0].codes[np.asarray(b[1]) == 0], other.codes[np.asarray(b[1]) == 0])


def test_nobody_is_mirrored_where_hands_are_not_looked_for(truth):
    clips, params = truth
    wrong, which = broken(params, "the other hand")
    found, lost, *_ = rescued(wrong, clips)
    assert lost[which] == 1
    assert found.mirrored[which] != wrong.mirrored[which]
    found, *_ = rescued(wrong, clips, find_handedness=False)
    np.testing.assert_array_equal(found.mirrored, wrong.mirrored)
