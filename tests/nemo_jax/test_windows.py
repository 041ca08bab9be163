"""The open learned prior over short motions against SciPy, what it says of motions, and its windows in a batch."""

import dataclasses
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import multivariate_t

from nemo_jax import batches, windows
from nemo_jax.priors import limbs, motion, motion_loss, open_limbs, open_motion, open_priors
from tests.nemo_jax import helpers
from tests.nemo_jax.test_limbs import posed

PRIOR, POSES = open_motion(), open_limbs()


def moments(speed=1.0, jerk=0.0):
    """Directions, orientations and places of three moments of a pitch, whose middle is bent aside by `jerk`."""
    phases = 0.5 + speed * np.array([-0.05, jerk, 0.05])
    each = [posed(helpers.pitch_like_pose(phase)) for phase in phases]
    joints, roots = (jnp.stack(part) for part in zip(*each, strict=True))
    shift = jnp.array([[0.0, 0, 0], [0.1, 0.02, 0], [0.2, 0.0, 0.03]])
    return jax.vmap(limbs.directions)(joints, roots), roots, joints[:, 0] + shift


def moved(directions, roots, places, spacing):
    """`motion.moving` in float64, from formulas of a moment each."""
    directions, roots, places = (np.float64(x) for x in (directions, roots, places))

    def velocity(first):
        turn = roots[first].T @ roots[first + 1]
        sine = [turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]]
        step = roots[1].T @ (places[first + 1] - places[first])
        change = (directions[first + 1] - directions[first]).reshape(-1)
        return np.concatenate([change, 0.5 * np.array(sine), step]) / spacing

    early, late = velocity(0), velocity(1)
    return np.concatenate([(early + late) / 2, (late - early) / spacing / 15])


def surprise(directions, motions, prior=PRIOR):
    """Float64, by SciPy."""
    pose, parts = np.float64(directions).reshape(-1), []
    for number, inverse in enumerate(np.linalg.inv(np.float64(prior.whitening))):
        gate = multivariate_t(np.float64(POSES.means[number]), _scale(POSES, number), df=float(POSES.freedom))
        share = gate.logpdf(pose) - gate.logpdf(np.float64(POSES.means[number])) + float(POSES.log_weights[number])
        expected = np.float64(prior.slopes[number]) @ pose + np.float64(prior.offsets[number])
        part = multivariate_t(expected, inverse @ inverse.T, df=float(prior.freedom))
        parts.append((share, part.logpdf(motions) - part.logpdf(expected) + float(prior.log_weights[number])))
    shares, surprises = np.array(parts).T
    return -logsumexp(shares - logsumexp(shares) + surprises)


def _scale(prior, number):
    root = np.linalg.inv(np.float64(prior.whitening[number]))
    return root @ root.T


@jax.jit
def found(directions, roots, places, spacing):
    return motion_loss(PRIOR, POSES, directions[1], motion.moving(directions, roots, places, spacing))


slope = jax.jit(jax.grad(found, argnums=(0, 1, 2)))


def test_the_file():
    m, v = len(PRIOR.offsets), motion.NUM_MOVING
    assert m == len(POSES.means) and PRIOR.slopes.shape == (m, v, limbs.NUM_DIMENSIONS)
    assert PRIOR.offsets.shape == PRIOR.log_weights.shape + (v,) and PRIOR.whitening.shape == (m, v, v)
    assert PRIOR.log_weights.max() == 0 and PRIOR.freedom > 0 and helpers.all_finite(PRIOR)
    np.testing.assert_allclose(np.triu(PRIOR.whitening, 1), 0.0, atol=1e-9)
    assert motion.OPEN_MOTION.stat().st_size < 5e6


@pytest.mark.parametrize("given", [moments(), moments(0.3, 0.02), moments(3.0)])
def test_the_loss_is_that_of_scipy(given):
    expected = surprise(given[0][1], moved(*given, 0.1))
    np.testing.assert_allclose(found(*given, 0.1), expected, rtol=1e-3, atol=1e-2)


def test_what_moves_in_float64():
    given = moments()
    np.testing.assert_allclose(jax.jit(motion.moving)(*given, 0.07), moved(*given, 0.07), atol=2e-4)


def test_a_motion_that_jumps_is_unlikely():
    assert found(*moments(), 0.1) + 50 < found(*moments(1.0, 0.3), 0.1)


def test_where_the_world_stands_does_not_matter():
    directions, roots, places = moments()
    turn = jnp.asarray(helpers.rotation([0.7, -2.0, 0.4]), jnp.float32)
    other = found(directions, turn @ roots, places @ turn.T + 3.0, 0.1)
    np.testing.assert_allclose(other, found(directions, roots, places, 0.1), rtol=1e-3)


@pytest.mark.parametrize("case", ["nothing moves", "half a turn", "no directions", "far away"])
def test_gradients_are_finite(case):
    directions, roots, places = moments()
    if case == "nothing moves":
        directions, roots, places = (jnp.stack([x[0]] * 3) for x in (directions, roots, places))
    if case == "half a turn":
        roots = roots.at[1].set(roots[0] @ jnp.diag(jnp.array([1.0, -1.0, -1.0])))
    if case == "no directions":
        directions = jnp.zeros_like(directions)
    if case == "far away":
        places = places.at[2].add(1e6)
    assert jnp.isfinite(found(directions, roots, places, 0.1))
    assert helpers.all_finite(slope(directions, roots, places, 0.1))


def clips(lengths=(4, 9), fps=30.0):
    return dataclasses.replace(helpers.scene(lengths=lengths).clips, fps=jnp.full(len(lengths), fps))


def test_batches_hold_windows_a_fifteenth_of_a_second_wide():
    scene = clips(lengths=(4, 9))
    config = helpers.tiny_config(batch_size=64, contact_centres=3, motion_windows=20)
    pairs, count = batches.num_pairs(config), windows.count(config)
    assert (pairs, count) == (16, 8)
    batch, plain = (batches.sample_batch(jax.random.key(3), scene, 64, pairs, each) for each in (count, 0))
    # Frames and the frames after them are those of a batch without windows, and so is the rest.
    kept = np.r_[:32, 48:64]
    np.testing.assert_array_equal(batch.frame[kept], plain.frame[kept])
    found = windows.of_batch(config, scene, batch.instance, batch.frame, pairs)
    frame, instance = np.asarray(batch.frame)[found.rows], np.asarray(batch.instance)[found.rows]
    inside = (frame[:, 1] >= 2) & (frame[:, 1] + 2 < np.array([4, 9])[instance[:, 1]])
    np.testing.assert_array_equal(found.exists, inside)
    assert 0 < inside.sum() < len(inside)
    np.testing.assert_array_equal(np.diff(frame[inside], axis=1), 2)
    np.testing.assert_array_equal(instance, instance[:, 1:2].repeat(3, 1))
    np.testing.assert_allclose(found.spacing, 2 / 30)


def test_windows_without_contacts_and_of_all_frames():
    scene = clips()
    config = helpers.tiny_config(batch_size=64, motion_windows=6)
    batch = batches.sample_batch(jax.random.key(3), scene, 64, 0, windows.count(config))
    found = windows.of_batch(config, scene, batch.instance, batch.frame, 0)
    np.testing.assert_array_equal(np.asarray(found.rows), np.arange(6)[:, None] + [6, 0, 12])
    assert found.exists.any()
    config = helpers.tiny_config(batch_size=-1, motion_windows=100)
    every = batches.full_batch(scene)
    found = windows.of_batch(config, scene, every.instance, every.frame, 0)
    # Of nine frames five have neighbours two frames away on both sides; of four none.
    assert found.exists.sum() == 5
    frame = np.asarray(every.frame)[np.asarray(found.rows)[np.asarray(found.exists) > 0]]
    np.testing.assert_array_equal(frame, np.arange(5)[:, None] + [0, 2, 4])


@pytest.mark.parametrize(("fps", "frames"), [(5.0, 1), (15.0, 1), (25.0, 2), (30.0, 2), (60.0, 4), (240.0, 16)])
def test_moments_are_as_far_apart_at_every_frame_rate(fps, frames):
    assert windows.reach(jnp.float32(fps)) == frames


def test_the_term_is_the_mean_over_windows_that_exist():
    each = [posed(helpers.pitch_like_pose(phase)) for phase in (0.4, 0.5, 0.62)]
    joints, roots = (jnp.stack(part) for part in zip(*each, strict=True))
    rows = jnp.array([[0, 1, 2], [3, 4, 5]])

    def value(exists):
        given = windows.Windows(rows=rows, exists=jnp.array(exists), spacing=jnp.array([0.1, 0.05]))
        return windows.loss(PRIOR, POSES, jnp.tile(joints, (2, 1, 1)), jnp.tile(roots, (2, 1, 1)), given)

    seen = jax.vmap(limbs.directions)(joints, roots)
    one, other = (found(seen, roots, joints[:, 0], spacing) for spacing in (0.1, 0.05))
    np.testing.assert_allclose(value([1.0, 1.0]), (one + other) / 2, rtol=1e-4)
    np.testing.assert_allclose(value([0.0, 1.0]), other, rtol=1e-4)
    assert value([0.0, 0.0]) == 0


def test_a_fit_without_windows_does_not_have_the_term():
    scene = clips()
    seen = SimpleNamespace(joints=jnp.zeros((64, 24, 3)), rotations=jnp.zeros((64, 24, 3, 3)))
    for count, expected in ((0, set()), (4, {"motion"})):
        config = helpers.tiny_config(batch_size=64, motion_windows=count)
        batch = batches.sample_batch(jax.random.key(0), scene, 64, 0, windows.count(config))
        given = (open_priors(), config, scene, batch.instance, batch.frame, 0)
        assert set(windows.terms(seen, *given)) == expected


def test_rows_that_are_known_are_picked_as_all_others():
    each = [posed(helpers.pitch_like_pose(phase)) for phase in (0.4, 0.5, 0.62, 0.7, 0.75, 0.8)]
    joints, roots = (jnp.stack(part) for part in zip(*each, strict=True))
    known = np.array([[2, 0, 4], [3, 1, 5]])

    def value(joints, rows):
        given = windows.Windows(rows=rows, exists=jnp.ones(2), spacing=jnp.array([0.1, 0.05]))
        return windows.loss(PRIOR, POSES, joints, roots, given)

    found, gradient = jax.value_and_grad(value)(joints, known)
    expected, right = jax.value_and_grad(value)(joints, jnp.asarray(known))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    np.testing.assert_allclose(gradient, right, rtol=1e-3, atol=1e-4)
