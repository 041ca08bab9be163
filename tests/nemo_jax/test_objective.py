import dataclasses
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from nemo_jax import batches, model, objective
from nemo_jax import camera as cam
from nemo_jax.batches import Batch
from nemo_jax.priors import joint_limit_loss, open_priors
from tests.nemo_jax import helpers, points, test_lens, test_limbs

CONFIG = helpers.tiny_config()
KEYPOINTS_ALONE = {
    f"weight_{term}": 0.0 for term in ("init", "limits", "limbs", "code", "betas", "lens", "span", "level", "depth")
}  # fmt: skip
PRIORS = open_priors()


def chordal(apart, times):
    """Half the squared differences of each joint (..., 24), and of SMPL's hips, 1 and 2, where the thigh (-y) points."""
    each = 0.5 * (apart**2).sum((-2, -1))
    thighs = (apart @ (0.0, -1.0, 0.0))[..., 1:3, 1:]
    each[..., 1:3] += times * (thighs**2).sum(-1)
    return each


prepare = jax.jit(model.prepare)
sample = jax.jit(batches.sample_batch, static_argnums=2)


def loss(params, clips, batch, config=CONFIG):
    """Total and terms, with the gradient; everything of the clips computed inside."""
    return compiled_loss(params, clips, batch, config)


@jax.jit
def compiled_loss(params, clips, batch, config):
    assets = helpers.prepare(clips, helpers.body(), PRIORS, config)
    run = jax.value_and_grad(objective.joint_loss, has_aux=True)
    return run(params, assets, config, clips, helpers.targets_from(clips), batch)


@pytest.fixture(scope="module")
def case():
    clips = helpers.scene(lengths=(4, 6), num_frames=6).clips
    params = points.at("somewhere", CONFIG, clips)
    batch = Batch(instance=jnp.asarray([0, 1, 1, 0, 1]), frame=jnp.asarray([3, 0, 5, 0, 0]))
    assets = prepare(clips, helpers.body(), PRIORS, CONFIG)
    return SimpleNamespace(clips=clips, params=params, batch=batch, assets=assets, found=loss(params, clips, batch))


def test_samples_are_uniform_and_never_padding():
    clips = helpers.scene(lengths=(1, 3, 5), yaws=(0.0, 1.0, 2.0), num_frames=6).clips
    size = 30_000
    batch = sample(jax.random.key(0), clips, size)
    counts = np.zeros((3, 6))
    np.add.at(counts, (np.asarray(batch.instance), np.asarray(batch.frame)), 1)
    exists = np.asarray(clips.frame_mask) > 0
    assert counts[~exists].sum() == 0
    expected = size / exists.sum()
    # Chi-square with eight degrees of freedom: 26 is its 99.9% quantile.
    assert np.sum((counts[exists] - expected) ** 2 / expected) < 26
    again, other = sample(jax.random.key(0), clips, size), sample(jax.random.key(1), clips, size)
    np.testing.assert_array_equal(batch.frame, again.frame)
    assert np.any(batch.frame != other.frame)


def test_the_total_is_its_terms_written_out(case):
    # One lens is known and the other is not.
    clips = dataclasses.replace(case.clips, focal_length=jnp.asarray([1500.0, jnp.nan]))
    assets = prepare(clips, helpers.body(), PRIORS, CONFIG)
    (total, terms), _ = loss(case.params, clips, case.batch)
    one = jax.jit(jax.vmap(model.predict, (None, None, None, 0, 0)))
    raw = np.asarray([1.0, 0.0, 1.0, 0.0, 0.0], np.float32)
    prediction = one(case.params, assets, CONFIG, case.batch.instance, jnp.asarray(raw))
    at = (np.asarray(case.batch.instance), np.asarray(case.batch.frame))
    pixels, confidence = np.float64(case.clips.keypoints)[at], np.float64(case.clips.confidence)[at]
    residual = (np.float64(prediction.keypoints_2d) - pixels) * np.float64(case.assets.pixel_scale)[at[0], None, None]
    rho = 100.0**2 * residual**2 / (residual**2 + 100.0**2)
    frames = ((confidence > 0.5) * confidence)[..., None] * rho
    by_instance = [frames[at[0] == i].mean() for i in (0, 1)]
    np.testing.assert_allclose(terms["keypoints"], np.mean(by_instance), rtol=1e-4)
    rotations = np.float64(prediction.rotations)
    target = helpers.rotation(np.asarray(case.clips.init_pose)[at])
    apart = chordal(rotations - target, CONFIG.init_hips)[:, 1:].sum(1)
    np.testing.assert_allclose(terms["init_pose"], np.mean(apart) / 69, rtol=1e-4)
    seen = np.float64(cam.split(case.params.cameras)[0])[at[0]] @ rotations[:, 0]
    turned = (seen - helpers.rotation(np.asarray(case.clips.init_pose, np.float64)[at][:, 0])) ** 2
    np.testing.assert_allclose(terms["root"], np.mean(turned.sum((-2, -1))) / 69, rtol=1e-4)
    rotations = rotations[:, 1:]
    np.testing.assert_allclose(terms["code"], np.mean(np.float64(case.params.codes) ** 2), rtol=1e-5)
    np.testing.assert_allclose(terms["betas"], np.mean(np.float64(case.params.betas) ** 2), rtol=1e-5)
    pose = Rotation.from_matrix(rotations.reshape(-1, 3, 3)).as_rotvec().reshape(5, 23, 3)
    limits = jax.jit(jax.vmap(joint_limit_loss, (None, 0)))(PRIORS.joint_limits, jnp.asarray(pose, jnp.float32))
    np.testing.assert_allclose(terms["limits"], np.mean(limits), rtol=1e-4)
    up = np.float64(cam.split(case.params.cameras)[0])[:, :2, 1]
    length = np.linalg.norm(up, axis=-1)
    np.testing.assert_allclose(terms["level"], np.mean(length * (length + up[:, 1])), rtol=1e-4)
    np.testing.assert_allclose(terms["span"], np.mean((np.float64(case.params.span) - [0, 1]) ** 2), rtol=1e-5)
    surprise = test_lens.surprise(np.log(CONFIG.focal_guess) + np.float64(case.params.log_focal[1]))
    np.testing.assert_allclose(terms["lens"], surprise / 2, rtol=1e-4)
    likely = [test_limbs.surprise(*each) for each in zip(prediction.joints, prediction.rotations[:, 0], strict=True)]
    np.testing.assert_allclose(terms["limbs"], np.mean(likely), rtol=1e-4)
    weights = {"keypoints": 1.0, "init_pose": CONFIG.weight_init}
    weights |= {
        key: getattr(CONFIG, f"weight_{key}")
        for key in ("code", "betas", "limits", "limbs", "lens", "span", "level", "depth")
    }
    weights["root"] = CONFIG.weight_init * CONFIG.init_root
    assert set(terms) == set(weights)
    np.testing.assert_allclose(total, sum(weights[k] * float(v) for k, v in terms.items()), rtol=1e-5)


def test_weights_scale_their_terms(case):
    changed = dataclasses.replace(CONFIG, **KEYPOINTS_ALONE)
    (total, terms), _ = loss(case.params, case.clips, case.batch, changed)
    np.testing.assert_allclose(total, terms["keypoints"], rtol=1e-6)


def same(found, expected, rtol=2e-5):
    np.testing.assert_allclose(found[0][0], expected[0][0], rtol=1e-6)
    assert helpers.all_finite(found)

    def close(a, b):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * max(float(np.abs(b).max()), 1e-6))

    jax.tree.map(close, found[1], expected[1])


def test_what_stands_at_an_undetected_joint_does_not_matter(case):
    unseen = np.zeros((2, 6, 25), bool)
    unseen[0, 3, 4:9] = unseen[1, 0, :] = True
    confidence = jnp.where(unseen, 0.0, case.clips.confidence)
    results = []
    for value in (0.0, np.nan, -1e6):
        keypoints = jnp.where(unseen[..., None], value, case.clips.keypoints)
        clips = dataclasses.replace(case.clips, keypoints=keypoints, confidence=confidence)
        results.append(loss(case.params, clips, case.batch))
    same(results[1], results[0])
    same(results[2], results[0])
    assert results[0][0][0] != case.found[0][0]


@pytest.mark.parametrize("garbage", [0.0, 1e4, np.nan])
def test_padding_does_not_matter(case, garbage):
    clips = helpers.scene(lengths=(4, 6), num_frames=9, garbage=garbage).clips
    same(loss(case.params, clips, case.batch), case.found)


def test_a_padding_slot_counts_and_costs_nothing(case):
    # As in a full batch of clips of different lengths: frame 4 of the first instance does not exist.
    def keypoints(instance, frame):
        batch = Batch(instance=jnp.asarray(instance), frame=jnp.asarray(frame))
        return float(loss(case.params, case.clips, batch)[0][1]["keypoints"])

    first = keypoints([0] * 5, [3] * 5)
    both = keypoints([0, 0, 1, 1, 1], [3, 4, 0, 5, 0])
    three = keypoints([0, 0, 1, 1, 1], [3, 3, 0, 5, 0])
    assert three - both == pytest.approx(first / 4, rel=1e-4)


def test_missing_initial_poses_do_not_pull(case):
    mask = np.ones((2, 6))
    mask[0, 3] = mask[1, 5] = 0
    results = []
    for value in (0.0, 1.7, np.nan):
        poses = jnp.where(mask[..., None, None] > 0, case.clips.init_pose, value)
        clips = dataclasses.replace(case.clips, init_mask=jnp.asarray(mask, jnp.float32), init_pose=poses)
        results.append(loss(case.params, clips, case.batch))
    same(results[1], results[0])
    same(results[2], results[0])


def test_a_confidence_at_the_threshold_is_not_used(case):
    def with_confidence(value):
        return dataclasses.replace(case.clips, confidence=jnp.full_like(case.clips.confidence, value))

    alone = dataclasses.replace(CONFIG, weight_level=0.0)
    (_, terms), gradient = loss(case.params, with_confidence(0.5), case.batch, alone)
    assert terms["keypoints"] == 0
    np.testing.assert_array_equal(gradient.cameras, np.zeros_like(gradient.cameras))
    half = loss(case.params, with_confidence(0.6), case.batch)[0][1]["keypoints"]
    full = loss(case.params, with_confidence(1.0), case.batch)[0][1]["keypoints"]
    np.testing.assert_allclose(half, 0.6 * full, rtol=1e-5)


def test_a_perfect_prediction_costs_nothing(case):
    prediction = jax.jit(model.predict_clips)(case.params, case.assets, CONFIG, case.clips)
    clips = dataclasses.replace(case.clips, keypoints=prediction.keypoints_2d)
    for kind in ("mse_robust", "rmse_robust"):
        config = dataclasses.replace(CONFIG, keypoint_loss=kind, **KEYPOINTS_ALONE)
        (_, terms), gradient = loss(case.params, clips, case.batch, config)
        assert terms["keypoints"] < 1e-2
        assert helpers.all_finite(gradient)


def test_an_instance_absent_from_the_batch_has_no_gradient(case):
    batch = Batch(instance=jnp.zeros(5, jnp.int32), frame=jnp.asarray([0, 1, 2, 3, 3]))
    _, gradient = loss(case.params, case.clips, batch, dataclasses.replace(CONFIG, weight_level=0.0))
    np.testing.assert_array_equal(gradient.cameras[1], np.zeros(9))
    # Its code has only its own regulariser, which looks at all codes.
    np.testing.assert_allclose(gradient.codes[1], CONFIG.weight_code * case.params.codes[1] / 2, rtol=1e-5)
    np.testing.assert_array_equal(gradient.phase["shifts"][1], np.zeros(5))
    assert np.abs(gradient.cameras[0]).max() > 0


def test_the_limb_prior_looks_at_a_part_of_a_large_batch(case):
    batch = batches.full_batch(case.clips)
    times = 2 * batches.PART // len(batch.frame) + 1
    instance, frame = np.tile(batch.instance, times), np.tile(batch.frame, times)
    assert batches.part_of(Batch(instance=instance, frame=frame)) == 2 and batches.part_of(case.batch) == 1
    # What the frames between hold does not reach the term, but reaches the others.
    other = np.where(np.arange(len(frame)) % 2 == 1, 0, frame)
    run = lambda frame: loss(case.params, case.clips, Batch(instance=jnp.asarray(instance), frame=jnp.asarray(frame)))
    (_, plain), (_, changed) = run(frame)[0], run(other)[0]
    np.testing.assert_allclose(plain["limbs"], changed["limbs"], rtol=1e-6)
    assert abs(plain["init_pose"] - changed["init_pose"]) > 1e-4


def test_code_noise_enters_the_motion_alone(case):
    run = jax.jit(objective.joint_loss)
    arguments = (case.params, case.assets, CONFIG, case.clips, helpers.targets_from(case.clips), case.batch)
    quiet, noisy = run(*arguments, jnp.zeros((5, 2)))[1], run(*arguments, jnp.full((5, 2), 0.5))[1]
    np.testing.assert_allclose(quiet["keypoints"], case.found[0][1]["keypoints"], rtol=1e-5)
    assert noisy["code"] == quiet["code"] and noisy["keypoints"] != quiet["keypoints"]


def test_warmup_follows_the_initial_pose():
    clips = helpers.scene(lengths=(4, 6), num_frames=6).clips
    targets = dataclasses.replace(helpers.targets_from(clips), root_mask=clips.frame_mask)
    params = points.at("zero", CONFIG, clips)
    batch = Batch(instance=jnp.asarray([0, 1, 0]), frame=jnp.asarray([0, 5, 2]))
    run = jax.jit(objective.warmup_loss)
    value = lambda config: run(params, dataclasses.replace(config, warmup_tempo=0.0), clips, targets, batch)[0]
    at = (np.asarray(batch.instance), np.asarray(batch.frame))
    # A body at rest: the distance of each joint from the identity.
    each = chordal(helpers.rotation(np.asarray(clips.init_pose)[at]) - np.eye(3), CONFIG.init_hips)
    np.testing.assert_allclose(value(CONFIG), each.sum(1).mean() / 69, rtol=1e-5)
    without_root = dataclasses.replace(CONFIG, warmup_root=False)
    np.testing.assert_allclose(value(without_root), each[:, 1:].sum(1).mean() / 69, rtol=1e-5)
    published = dataclasses.replace(CONFIG, init_space="axis_angle")
    angles = np.asarray(clips.init_pose)[at][:, 1:].reshape(3, 69)
    expected = np.mean(100.0**2 * angles**2 / (angles**2 + 100.0**2))
    np.testing.assert_allclose(value(published), expected, rtol=1e-5)


def test_bent_hips_of_initial_poses_count_as_often_as_told(case):
    turned = Rotation.random(5 * 24, random_state=np.random.default_rng(0)).as_matrix().reshape(5, 24, 3, 3)
    targets = helpers.targets_from(case.clips)
    at = (np.asarray(case.batch.instance), np.asarray(case.batch.frame))
    apart = turned - helpers.rotation(np.asarray(case.clips.init_pose, np.float64)[at])
    mask = np.asarray(targets.mask)[at]
    expected = np.mean(mask * chordal(apart, 7)[:, 1:].sum(1)) / 69
    config = dataclasses.replace(CONFIG, init_hips=7.0)
    value = lambda rotation: objective.init_term(rotation, targets, config, case.batch)
    found, slope = jax.jit(jax.value_and_grad(value))(jnp.asarray(turned, jnp.float32))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    derivative = apart.copy()
    derivative[:, 0] = 0
    derivative[:, 1:3, 1:, 1] *= 1 + 2 * 7
    np.testing.assert_allclose(slope, mask[:, None, None, None] * derivative / (69 * 5), atol=1e-6)


def test_full_batch_takes_every_frame_and_no_padding():
    clips = helpers.scene().clips
    lengths = np.asarray(clips.frame_mask.sum(-1), int)
    batch = batches.full_batch(clips)
    for n, length in enumerate(lengths):
        frames = np.asarray(batch.frame)[np.asarray(batch.instance) == n]
        assert len(frames) == clips.num_frames
        assert set(frames) == set(range(length))
