"""Whole models against recorded runs: predictions, losses, gradients, warm-up, camera stage, and the joint stage's cameras.

The recorded totals include the mixture and VPoser terms. What those do not touch is compared: every term by itself, the
gradients of cameras and translation head, which come from the keypoints alone, and all gradients of the camera stage.
"""

import dataclasses
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nemo_jax import fit as fitting
from nemo_jax import losses, model, objective, rotations
from nemo_jax.objective import Batch
from nemo_jax.priors import Priors
from tests.reference import convert
from tests.reference.convert import deviation

VALUE, GRADIENT, STEPS = 1e-5, 1e-4, 1e-4
RUNS = {"model_v1_V4_hot": 1, "model_v2_V4": 2, "model_v2_V4_hot": 2, "model_v3_V4_hot": 3, "model_v4_V4_hot": 4}
# Only the keypoint term reaches these.
FROM_KEYPOINTS = ("learned_cameras", "learned_motion.linear_out.weight")
KEY = jax.random.key(0)

# Compiled once for all runs of one architecture: everything that differs is an argument.
prepare = jax.jit(fitting.start)
run_steps = jax.jit(fitting.run_steps, static_argnums=1)
begin = jax.jit(lambda stage, problem, state: stage.begin(problem, state), static_argnums=0)
end = jax.jit(lambda stage, problem, carry: stage.end(problem, carry), static_argnums=0)
predict_batch = jax.jit(objective.predict_batch)
predict_clips = jax.jit(model.predict_clips)
joint = jax.jit(jax.value_and_grad(objective.joint_loss, has_aux=True))
warmup = jax.jit(jax.value_and_grad(objective.warmup_loss, has_aux=True))


@jax.jit
@jax.value_and_grad
def camera_stage_loss(params, assets, config, clips):
    """First frames of all instances, gate without the confidence factor, as a function of every parameter."""
    n = clips.num_instances
    batch = Batch(instance=jnp.arange(n), frame=jnp.zeros(n, jnp.int32))
    prediction = objective.predict_batch(params, assets, config, clips, batch)
    return jnp.mean(objective.keypoint_term(prediction, assets, config, clips, batch, with_confidence=False))


@pytest.fixture(scope="module", params=RUNS)
def run(request, load, bodies):
    data = load(f"{request.param}.npz")
    config, clips = convert.config(data), convert.clips(data)
    problem, state = prepare(KEY, clips, bodies[RUNS[request.param]], Priors(), config)
    state = dataclasses.replace(state, params=convert.params(data, "param_init"))
    index = lambda name: jnp.asarray(data[name], jnp.int32)
    batch = {
        stage: Batch(instance=index(f"{stage}/view_idx"), frame=index(f"{stage}/frame_idx"))
        for stage in ("warmup", "step")
    }
    stages = {stage.name: stage for stage in fitting.stages(config)}
    return SimpleNamespace(
        name=request.param, version=RUNS[request.param], data=data, config=config, clips=clips, problem=problem, state=state,
        assets=problem.assets, batch=batch, first=jax.tree.map(lambda x: x[0], batch["step"]), stages=stages,
    )  # fmt: skip


def steps(run, name, state, batches=None):
    stage = run.stages[name]
    count = stage.steps if batches is None else batches.instance.shape[0]
    carry, history = run_steps(run.problem, stage, begin(stage, run.problem, state), jnp.arange(count), batches)
    return end(stage, run.problem, carry), history


def check(found, data, group, tolerance, names=None):
    """Compares a tree like `Params` with the recorded arrays of a group, each by its largest value."""
    named = convert.torch_names(found)
    recorded = {n.removeprefix(f"{group}/"): v for n, v in data.items() if n.startswith(f"{group}/")}
    assert recorded
    compared = [n for n in recorded if names is None or n in names]
    assert compared
    for name in compared:
        value = named[name]
        if "betas" in name and "param" in group:
            value = value / 4  # every instance holds the one shape
        # At phase 0, g(x) - g(0) cancels: recorded zeros are rounding here, of gradients whose size is 1.
        assert deviation(value, recorded[name], floor=0.1 if "grad" in group else 0.0) < tolerance, f"{group}/{name}"


def test_the_input(run):
    assert deviation(run.assets.principal, np.tile([540.0, 960.0], (4, 1))) == 0
    box = losses.box_diagonal(run.clips.keypoints, run.clips.confidence, run.config.visible_box)
    assert deviation(box, run.data["gt/bbox_size"]) < VALUE
    assert (
        deviation(
            run.state.targets.pose[:, :, 1:].reshape(4, 12, 69), run.data["gt/hmr_theta"] * run.data["gt/hmr_mask"]
        )
        < VALUE
    )
    assert deviation(run.state.targets.mask, run.data["gt/hmr_mask"][..., 0]) == 0


def test_predictions_at_the_start(run):
    found = predict_batch(run.state.params, run.assets, run.config, run.clips, run.first)
    pose = rotations.matrix_to_axis_angle(found.rotations)
    orient = rotations.matrix_to_rotation_6d(found.rotations[:, 0])
    expected = {
        "poses": pose[:, 1:].reshape(24, 69), "orient_aa": pose[:, 0], "trans": found.translation, "j": found.keypoints,
        "points2d": found.keypoints_2d, "phase": found.phase[:, None],
    }  # fmt: skip
    for key, value in expected.items():
        recorded = run.data[f"pred_init/{key}"]
        # Angles near zero come out of cancellation: measured in radians, not in their own size.
        scale = max(np.abs(recorded).max(), 0.1 if key in ("poses", "orient_aa", "trans") else 0)
        assert np.abs(np.asarray(value) - recorded).max() < VALUE * scale, key
    matrix = rotations.rotation_6d_to_matrix(jnp.asarray(run.data["pred_init/orient_6d"]))
    assert deviation(orient, rotations.matrix_to_rotation_6d(matrix)) < VALUE


def test_losses_at_the_start(run):
    (total, terms), gradient = joint(run.state.params, run.assets, run.config, run.clips, run.state.targets, run.first)
    assert deviation(terms["keypoints"], run.data["init_loss/kp_loss"]) < VALUE
    if run.version > 2:
        assert deviation(terms["init_pose"], run.data["init_loss/loss_3d"]) < VALUE
        assert deviation(terms["code"], run.data["init_loss/instance_loss"]) < VALUE
        recorded = run.data["init_loss/total_loss"]
        others = [
            run.data[f"init_loss/{k}"] * w for k, w in (("gmm_loss", 1), ("vp_recon_loss", 10), ("vp_kl_loss", 1))
        ]
        assert deviation(total + sum(others), recorded) < VALUE
    check(gradient, run.data, "init_grad", GRADIENT, FROM_KEYPOINTS)


def test_warmup(run):
    first = jax.tree.map(lambda x: x[0], run.batch["warmup"])
    _, gradient = warmup(run.state.params, run.config, run.clips, run.state.targets, first)
    check(gradient, run.data, "warmup0_grad", GRADIENT)
    state, history = steps(run, "warmup", run.state, run.batch["warmup"])
    assert deviation(history["total"], run.data["warmup/loss"]) < VALUE
    # In the plain run some gradients are rounding alone, and Adam makes steps of them: 2e-4 by the record's own account.
    check(state.params, run.data, "param_after_warmup", STEPS if run.name.endswith("hot") else 3 * STEPS)
    # Adam's moments and counters go on into the joint stage.
    inner = state.opt_state.inner_states
    assert int(inner["field"].inner_state[1].count) == 10 and int(inner["translation"].inner_state[1].count) == 0
    merged = jax.tree.map(
        lambda param, *group: next((g for g in group if hasattr(g, "shape")), jnp.zeros_like(param)),
        run.state.params,
        *(inner[name].inner_state[1].mu for name in ("field", "phase")),
        is_leaf=lambda x: hasattr(x, "shape"),
    )
    check(merged, run.data, "adam_after_warmup_m", GRADIENT)


def test_camera_stage(run):
    state = dataclasses.replace(run.state, params=convert.params(run.data, "param_after_warmup"))
    if run.version == 4:
        pytest.skip("version 4 moves every parameter in its camera stage, which the fit does not offer yet")
    value, gradient = camera_stage_loss(state.params, run.assets, run.config, run.clips)
    assert deviation(value, run.data["cam/loss"][0]) < VALUE
    # The whole chain, field to pixel. The translation head's is a small difference of large terms, good to 1e-2 as recorded.
    recorded = [n.removeprefix("cam0_grad/") for n in run.data if n.startswith("cam0_grad/")]
    # At the start of the plain run so are those of the hidden layers, which only the translation reaches.
    tolerance = GRADIENT if run.name.endswith("hot") else 10 * GRADIENT
    check(gradient, run.data, "cam0_grad", tolerance, [n for n in recorded if "linear_out" not in n])
    after, history = steps(run, "camera", state)
    assert deviation(history["keypoints"], run.data["cam/loss"]) < VALUE
    check(after.params, run.data, "param_after_cam", STEPS)


def test_first_joint_step(run):
    state, _ = steps(run, "warmup", run.state, run.batch["warmup"])
    state = dataclasses.replace(state, params=convert.params(run.data, "param_after_cam"))
    one = jax.tree.map(lambda x: x[:1], run.batch["step"])
    (_, terms), gradient = joint(state.params, run.assets, run.config, run.clips, state.targets, run.first)
    assert deviation(terms["keypoints"], run.data["step/kp_loss"][0]) < VALUE
    if run.version > 2:
        assert deviation(terms["init_pose"], run.data["step/loss_3d"][0]) < VALUE
    check(gradient, run.data, "step0_grad", GRADIENT, FROM_KEYPOINTS)
    if run.version == 4:
        return  # its camera stage has moved the other groups' Adam states too
    after, _ = steps(run, "joint", state, one)
    # The translation head's bias has no gradient, and moves by its decay alone.
    check(after.params, run.data, "param_after_step1", STEPS, (*FROM_KEYPOINTS, "learned_motion.linear_out.bias"))


def test_predictions_at_the_end(run):
    params = convert.params(run.data, "param_final")
    found = predict_clips(params, run.assets, run.config, run.clips)
    pose = rotations.matrix_to_axis_angle(found.rotations)
    expected = {
        "poses": pose[:, :, 1:].reshape(4, 12, 69), "orient_aa": pose[:, :, 0], "trans": found.translation,
        "joints": found.keypoints, "points2d": found.keypoints_2d, "phases": found.phase,
    }  # fmt: skip
    for key, value in expected.items():
        assert deviation(value, run.data[f"pred_final/{key}"]) < 2 * VALUE, key
    # The full batch in two halves of the size that is compiled already; every instance has half its frames in each.
    halves = [
        Batch(instance=jnp.repeat(jnp.arange(4), 6), frame=jnp.tile(jnp.arange(6), 4) + first) for first in (0, 6)
    ]
    found = [joint(params, run.assets, run.config, run.clips, run.state.targets, half)[0][1] for half in halves]
    terms = jax.tree.map(lambda *x: np.mean(x), *found)
    if run.version > 2:
        assert deviation(terms["init_pose"], run.data["full_batch_final/loss_3d"]) < VALUE
        assert deviation(terms["code"], run.data["full_batch_final/instance_loss"]) < VALUE
