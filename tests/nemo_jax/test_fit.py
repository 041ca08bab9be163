import dataclasses
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nemo_jax import batches as batches_lib
from nemo_jax import objective, stages
from nemo_jax.fit import fit as plain_fit
from nemo_jax.fit import for_clips, needs_lift
from nemo_jax.priors import open_priors
from tests.nemo_jax import helpers

pytestmark = pytest.mark.slow

CONFIG = helpers.tiny_config(
    warmup_steps=40, camera_steps=30, joint_steps=50, lr_warmup=3e-3, lr_field=3e-3, lr_phase=1e-3,
    rescue_steps=10, rescue_frames=3, path_knots=4,
)  # fmt: skip
CHUNK = 5
KEY = jax.random.key(0)
PRIORS = open_priors()
fit = jax.jit(plain_fit)
start = jax.jit(stages.start)


@pytest.fixture(scope="module")
def clips():
    return helpers.scene(lengths=(5, 8), num_frames=8).clips


@pytest.fixture(scope="module")
def whole(clips):
    return fit(KEY, clips, helpers.body(), PRIORS, CONFIG)


def pieces(config):
    """Stages by name: begin, steps and end, each compiled once."""
    found, runs = {}, {}
    for stage in stages.stages(config):
        run = jax.jit(lambda problem, carry, steps, stage=stage: stages.run_steps(problem, stage, carry, steps))
        # Stages of the same steps run the same program.
        run = runs.setdefault(stage.step, run)
        found[stage.name] = SimpleNamespace(
            begin=jax.jit(stage.begin), run=run, end=jax.jit(stage.end), numbers=stages.numbers(stage)
        )
    return found


PIECES = pieces(CONFIG)


def in_pieces(clips):
    """The fit, every stage cut in two or more: the states after each stage, and the losses."""
    problem, state = start(KEY, clips, helpers.body(), PRIORS, CONFIG)
    states, history = {"start": state}, {}
    for name, stage in PIECES.items():
        carry, parts = stage.begin(problem, state), []
        # All of one length, so that stages of the same steps are one program.
        for steps in stage.numbers.reshape(-1, CHUNK):
            carry, values = stage.run(problem, carry, steps)
            parts.append(values)
        history[name] = jax.tree.map(lambda *x: np.concatenate(x), *parts)
        states[name] = state = stage.end(problem, carry)
    return states, history


@pytest.fixture(scope="module")
def cut(clips):
    return in_pieces(clips)


def close(found, history, expected, tolerance=2e-3):
    for name in expected.history:
        for term, values in expected.history[name].items():
            np.testing.assert_allclose(history[name][term], values, rtol=tolerance, atol=1e-5, err_msg=f"{name} {term}")
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance), found, expected.params)


def test_pieces_make_the_whole(cut, whole):
    # Another program, so to rounding.
    close(cut[0]["joint"].params, cut[1], whole)


def test_pieces_repeat_bit_for_bit(cut, clips):
    states, _ = in_pieces(clips)
    jax.tree.map(np.testing.assert_array_equal, states, cut[0])


def test_the_result(whole):
    steps = {name: len(jax.tree.leaves(terms)[0]) for name, terms in whole.history.items()}
    assert steps == {"warmup": 40, "camera": 30, "early": 20, "rescue": 10, "joint": 30}
    assert whole.rescued.shape == (2,) and set(np.asarray(whole.rescued)) <= {0, 1}
    assert helpers.all_finite(whole)
    assert whole.params.cameras.shape == (2, 9)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(whole.params))


def test_every_stage_lowers_its_loss(whole):
    joint = np.concatenate([whole.history[name]["total"] for name in ("early", "joint")])
    each = {"warmup": whole.history["warmup"]["total"], "camera": whole.history["camera"]["keypoints"], "joint": joint}
    for name, values in each.items():
        assert np.mean(values[-8:]) < 0.8 * np.mean(values[:3]), name


def test_the_key_decides(clips, whole):
    other = fit(jax.random.key(1), clips, helpers.body(), PRIORS, CONFIG)
    again = fit(KEY, clips, helpers.body(), PRIORS, CONFIG)
    jax.tree.map(np.testing.assert_array_equal, whole, again)
    assert np.any(np.asarray(whole.params.codes) != np.asarray(other.params.codes))


def test_padding_does_not_change_a_fit(cut):
    # Three more slots, filled with what must never be looked at.
    padded = helpers.scene(lengths=(5, 8), num_frames=11, garbage=np.nan).clips
    states, history = in_pieces(padded)
    close(states["joint"].params, history, SimpleNamespace(params=cut[0]["joint"].params, history=cut[1]))


def test_each_stage_moves_what_it_should(cut):
    def moved(before, after):
        same = jax.tree.map(lambda a, b: bool((a == b).all()), cut[0][before].params, cut[0][after].params)
        return {jax.tree_util.keystr(path) for path, equal in jax.tree_util.tree_leaves_with_path(same) if not equal}

    everything = {jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(cut[0]["joint"].params)}
    warmup = moved("start", "warmup")
    assert ".codes" not in warmup and ".cameras" not in warmup and not any("translation" in name for name in warmup)
    assert {".field['hidden_0']['kernel']", ".field['features']['log_scales']", ".phase['shifts']"} <= warmup
    # The field is set to go where the clips say; its poses stay.
    assert moved("warmup", "camera") == {".cameras", ".field['translation']['kernel']"}
    # The bias of the translation head has no gradient: translations are against phase 0. The lenses are known.
    still = {".log_focal", ".mirrored", ".field['translation']['bias']"}
    # Clips find ways of their own when it is known which are lost.
    assert everything - moved("camera", "early") == still | {".path"}
    assert everything - moved("rescue", "joint") == still
    # The rescue holds what all clips share, and shapes and lenses.
    assert not any(name.startswith((".field", ".betas", ".log_focal")) for name in moved("early", "rescue"))


def test_given_batches_replace_random_ones(clips):
    problem, state = start(KEY, clips, helpers.body(), PRIORS, CONFIG)
    stage = next(s for s in stages.stages(CONFIG) if s.name == "warmup")
    rng = np.random.default_rng(0)
    batches = batches_lib.Batch(
        instance=jnp.asarray(rng.integers(0, 2, (4, 16))), frame=jnp.asarray(rng.integers(0, 5, (4, 16)))
    )
    run = jax.jit(lambda carry, steps, given: stages.run_steps(problem, stage, carry, steps, given))
    _, history = run(state, jnp.arange(4), batches)
    value, _ = jax.jit(objective.warmup_loss)(
        state.params, CONFIG, clips, state.targets, jax.tree.map(lambda x: x[0], batches)
    )
    np.testing.assert_allclose(history["total"][0], value, rtol=1e-5)


def test_a_clip_of_one_frame():
    clips = helpers.scene(lengths=(1, 8), num_frames=8).clips
    assert helpers.all_finite(fit(KEY, clips, helpers.body(), PRIORS, CONFIG))


def test_one_instance():
    clips = helpers.scene(lengths=(4,), yaws=(0.3,)).clips
    found = fit(KEY, clips, helpers.body(), PRIORS, dataclasses.replace(CONFIG, rescue_steps=0))
    assert helpers.all_finite(found)
    assert found.params.codes.shape == (1, 2)
    assert found.history["joint"]["total"][-5:].mean() < 0.8 * found.history["joint"]["total"][0]


def test_stages_of_a_configuration():
    names = lambda config: [stage.name for stage in stages.stages(config)]
    plain = dataclasses.replace(CONFIG, rescue_steps=0)
    assert names(plain) == ["warmup", "camera", "joint"]
    assert names(CONFIG) == ["warmup", "camera", "early", "rescue", "joint"]
    assert names(dataclasses.replace(plain, exchange_price=4)) == ["warmup", "camera", "early", "joint"]
    assert names(dataclasses.replace(plain, lift=True)) == ["lift", "warmup", "camera", "joint"]
    assert names(dataclasses.replace(plain, warmup_steps=0)) == ["camera", "joint"]


@pytest.mark.parametrize(("changes", "before"), [({}, 20), ({"rescue_steps": 0}, 0)])
def test_the_two_parts_of_the_joint_stage_are_one(changes, before):
    config = dataclasses.replace(CONFIG, **changes)
    parts = [stage for stage in stages.stages(config) if stage.name in ("early", "joint")]
    numbers = np.concatenate([stages.numbers(stage) for stage in parts])
    np.testing.assert_array_equal(numbers, np.arange(50))
    assert parts[-1].first == before
    assert len({(stage.step, stage.draws) for stage in parts}) == 1


def test_lifting_is_asked_for_where_a_pose_is_missing(clips):
    assert not needs_lift(clips)
    # Poses that stand in padding only are none.
    mask = clips.init_mask.at[0].set(0.0).at[0, 7].set(1.0)
    bare = dataclasses.replace(clips, init_mask=mask)
    assert needs_lift(bare)
    assert for_clips(CONFIG, bare).lift and not for_clips(CONFIG, clips).lift
