"""Hypergradients through the unrolled joint stage: the same steps as a fit's, and the slopes of differences."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_gradients

from experiments.base.errors import UserError
from experiments.gradients import hypergradients
from nemo_jax import camera_search, model, stages, unroll
from nemo_jax.fit import fit

NAMES = ("weight_init", "weight_limits", "weight_betas", "lr_field", "lr_camera", "lr_phase")
# A block of three, another, and one step over.
STEPS = 7


@pytest.fixture(scope="module")
def start(tiny_dataset, tiny_body, tiny_config):
    """Before a joint stage, in float64: detections hidden from the fit and others, and gradients of both kinds."""
    config = dataclasses.replace(tiny_config, joint_steps=STEPS, batch_size=8)
    # Its directions count as given, so that the slope of the fit leaves out how they move.
    config = dataclasses.replace(config, weight_depth=0.0)
    given = tiny_gradients.make(tiny_dataset, tiny_body, config, pixels=15.0)
    problem, state = tiny_gradients.joint_problem(given)
    rng = np.random.default_rng(0)
    part = rng.uniform(size=given.clips.confidence.shape)
    validation, test = part < 0.2, (part >= 0.2) & (part < 0.4)
    seen = jnp.where(jnp.asarray(part < 0.4), 0.0, given.clips.confidence)
    problem = dataclasses.replace(problem, clips=dataclasses.replace(given.clips, confidence=seen))
    hidden = hypergradients.Hidden(given.clips.keypoints, *(jnp.asarray(m, jnp.float32) for m in (validation, test)))
    return hypergradients.Start(problem, state, hidden)


@pytest.fixture(scope="module")
def measured(start):
    """Value and slopes, and central differences of the value, at hyperparameters where a stage of 7 steps feels them."""
    with jax.enable_x64(True):
        wide = tiny_gradients.as_float64(start)
        logarithms = tiny_gradients.as_float64(hypergradients.logarithms(wide, NAMES))
        compiled = hypergradients.compile_gradient(wide, logarithms, STEPS)
        (value, judged), slope = compiled(logarithms, *wide)
        step, differences = 1e-5, {}
        for name in NAMES:
            ends = [compiled({**logarithms, name: logarithms[name] + s}, *wide)[0][0] for s in (step, -step)]
            differences[name] = float(ends[0] - ends[1]) / (2 * step)
        stage = next(s for s in stages.stages(wide.problem.config) if s.name == "joint")
        run = lambda problem, state: stages.run_steps(problem, stage, state, jnp.arange(STEPS))
        plain, losses = jax.jit(run)(wide.problem, wide.state)
        error = jax.jit(hypergradients.error)
        errors = [error(plain.params, wide.problem, wide.hidden.keypoints, mask) for mask in wide.hidden[1:]]
    return float(value), float(judged), jax.device_get(slope), differences, [float(e) for e in errors], losses["total"]


def test_slopes_are_those_of_differences(measured):
    slope, differences = measured[2], measured[3]
    assert min(abs(value) for value in differences.values()) > 1e-7
    for name in NAMES:
        # Differences of values near 25 carry 16 digits of them over a step of 1e-5.
        assert float(slope[name]) == pytest.approx(differences[name], rel=1e-4, abs=2e-9), name


def test_unrolled_steps_are_those_of_a_fit(measured):
    value, judged, _, _, (validation, test), losses = measured
    assert value == pytest.approx(validation, rel=1e-6)
    assert judged == pytest.approx(test, rel=1e-6)
    assert validation != pytest.approx(test, rel=1e-3)
    assert losses.shape == (STEPS,)


def test_the_error_of_known_pixels(start):
    exact = dataclasses.replace(start.problem.config, robust_scale=1e6)
    problem = dataclasses.replace(start.problem, config=exact)
    ones = jnp.ones_like(problem.assets.pixel_scale)
    problem = dataclasses.replace(problem, assets=dataclasses.replace(problem.assets, pixel_scale=ones))
    mask = start.hidden.test

    @jax.jit
    def apart(params):
        seen = model.predict_clips(params, problem.assets, exact, problem.clips).keypoints_2d
        return hypergradients.error(params, problem, seen + jnp.array([3.0, 4.0]), mask)

    found = apart(start.state.params)
    assert float(found) == pytest.approx(5, rel=1e-4)


def test_what_has_no_gradient_is_refused(tiny_config):
    hypergradients.check(tiny_config, ("lr_field", "weight_init"))
    for name in ("hidden", "nonsense", "robust_scale"):
        with pytest.raises(UserError, match=f"--hyper={name} cannot be tuned"):
            hypergradients.check(tiny_config, (name,))
    with pytest.raises(UserError, match="lr_focal is 0"):
        hypergradients.check(dataclasses.replace(tiny_config, lr_focal=0.0), ("lr_focal",))


def test_no_steps_are_refused(start):
    with pytest.raises(ValueError, match="0 steps"):
        unroll.joint_stage(start.problem, start.state, 0)


def test_descent_lowers_a_bowl(start):
    bowl = lambda log_hyper, *_: jax.value_and_grad(lambda h: ((h["lr_field"] + 5) ** 2 + 1, 2.0), has_aux=True)(
        log_hyper
    )

    class Quiet:
        def print(self, *_):
            pass

    rounds = hypergradients.descend(bowl, start, ("lr_field",), 6, 0.1, Quiet())
    values = [r["validation"] for r in rounds]
    assert len(values) == 7
    assert all(b < a for a, b in itertools.pairwise(values))
    assert rounds[0]["hyper"]["lr_field"] == pytest.approx(1e-3)
    # Adam's first step has the size of its rate.
    assert rounds[1]["hyper"]["lr_field"] == pytest.approx(1e-3 * np.exp(0.1), rel=1e-3)


def test_idle_weights_have_finite_slopes(start):
    """Adam's root has no slope at zero, where every entry without a gradient stands."""
    problem = start.problem
    search = jax.jit(camera_search.begin_search)(
        start.state.params, problem.assets, problem.config, problem.clips, start.state.yaws
    )
    # Nothing is seen of the second clip: its cameras have no gradient.
    search = dataclasses.replace(search, weight=search.weight.at[1].set(0.0))

    @jax.jit
    @jax.grad
    def slope(pixels):
        moved = dataclasses.replace(search, pixels=pixels)
        return camera_search.search_step(moved, problem.assets, problem.config, problem.clips, 0.01)[0].cameras.sum()

    found = slope(search.pixels)
    assert jnp.isfinite(found).all()
    assert (found[0] != 0).any() and (found[1] == 0).all()


@pytest.mark.slow
def test_a_whole_fit_has_finite_slopes(tiny_dataset, tiny_body, tiny_config):
    """From keypoints through warm-up, camera search and joint stage to the motion."""
    given = tiny_gradients.make(tiny_dataset, tiny_body, tiny_config, pixels=15.0)
    config = dataclasses.replace(tiny_config, warmup_steps=2, camera_steps=2, joint_steps=2)

    @jax.jit
    @jax.grad
    def slope(keypoints):
        clips = dataclasses.replace(given.clips, keypoints=keypoints)
        params = fit(jax.random.key(0), clips, tiny_body, given.assets.priors, config).params
        return model.predict_clips(params, given.assets, config, clips).keypoints.sum()

    found = np.asarray(slope(given.clips.keypoints))
    assert np.isfinite(found).all()
    used = np.asarray(given.clips.confidence) > config.confidence_threshold
    assert (found[used] != 0).mean() > 0.5
    assert (found[~used] == 0).all()
