"""Rotations, camera, features, phases, field and losses against recorded values and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nemo_jax import camera as cam
from nemo_jax import losses, rotations
from nemo_jax.clips import raw_phase
from nemo_jax.field import KERNELS, MotionField, RadialBasis
from nemo_jax.phase import MonotonicPhase
from tests.reference import convert
from tests.reference.convert import deviation

VALUE, GRADIENT = 1e-5, 1e-4
# Generators of the rotations about x, y and z.
_TURNS = np.asarray(rotations.hat(jnp.eye(3)))


def value_and_pullback(function, cotangent, *arguments):
    """Values, and gradients of sum(cotangent * function) with respect to every argument, compiled."""

    def run(cotangent, *arguments):
        value, pullback = jax.vjp(function, *arguments)
        return value, pullback(cotangent)

    return jax.jit(run)(*jax.tree.map(jnp.asarray, (cotangent, *arguments)))


class TestGeometry:
    @pytest.fixture(scope="class")
    def data(self, load):
        return load("geometry.npz")

    def test_6d(self, data):
        value, (gradient,) = value_and_pullback(rotations.rotation_6d_to_matrix, data["rot6d_cot"], data["rot6d"])
        assert deviation(value, data["rot6d_rotmat"]) < VALUE
        assert deviation(gradient, data["rot6d_grad"]) < GRADIENT
        # The recorded code crosses over the batch when it has three rows; ours must not.
        three = rotations.rotation_6d_to_matrix(jnp.asarray(data["rot6d_B3"]))
        assert deviation(three, data["rot6d_B3_rotmat_correct"]) < VALUE

    def test_logarithm(self, data):
        value, (gradient,) = value_and_pullback(rotations.matrix_to_axis_angle, data["rotmat_aa_cot"], data["rotmat"])
        assert deviation(value, data["rotmat_aa"]) < VALUE
        # Recorded: NaN at the identity, row 16.
        recorded = np.isfinite(data["rotmat_aa_grad"]).all((1, 2))
        assert recorded.sum() == 63 and np.isfinite(gradient).all()
        # Along rotations alone: beside them, where no logarithm is defined, the two go on differently.
        along = lambda g: np.einsum("nij,kil,nlj->nk", g, _TURNS, data["rotmat"])
        rows = np.abs(data["rotmat_aa_grad"]).max((1, 2))[recorded]
        error = np.abs(along(gradient) - along(data["rotmat_aa_grad"])).max(1)[recorded]
        assert np.all(error < 2e-3 * rows + 2e-3)

    def test_chain_to_axis_angle(self, data):
        chain = lambda x: rotations.matrix_to_axis_angle(rotations.rotation_6d_to_matrix(x))
        value, (gradient,) = value_and_pullback(chain, data["rotmat_aa_cot"], data["rot6d"])
        assert deviation(value, data["chain_aa"]) < VALUE
        recorded = np.isfinite(data["chain_grad"]).all(1)
        assert recorded.sum() == 63 and np.isfinite(gradient).all()
        assert deviation(gradient[recorded], data["chain_grad"][recorded]) < GRADIENT

    def test_quaternion(self, data):
        found = np.asarray(rotations.matrix_to_quaternion(jnp.asarray(data["rotmat"])))
        sign = np.sign((found * data["rotmat_quat_wxyz"]).sum(-1, keepdims=True))
        assert deviation(found * sign, data["rotmat_quat_wxyz"]) < VALUE

    def test_exponential(self, data):
        kept = np.arange(40) != 12  # recorded NaN at (-1e-8,) * 3
        value, (gradient,) = value_and_pullback(rotations.axis_angle_to_matrix, data["aa_cot"], data["aa"])
        assert np.isfinite(value).all() and np.isfinite(gradient).all()
        assert deviation(value[kept], data["aa_rotmat"][kept]) < VALUE
        assert deviation(value[kept], data["aa_rotmat_smplx"][kept]) < VALUE
        assert deviation(gradient[kept], data["aa_grad"][kept]) < GRADIENT

    def test_projection(self, data):
        def pixels(points, rotation, translation):
            camera_points = jnp.einsum("bij,bpj->bpi", rotation, points, precision="highest") + translation[:, None]
            one = jax.vmap(cam.project, (0, None, 0))
            return one(camera_points, jnp.asarray(data["proj_focal"]), jnp.asarray(data["proj_center_xy"]))

        arguments = (data["proj_points"], data["proj_R"], data["proj_t"])
        value, gradients = value_and_pullback(pixels, data["proj_cot"], *arguments)
        assert deviation(value, data["proj_out"]) < VALUE
        for name, gradient in zip(("points", "R", "t"), gradients, strict=True):
            assert deviation(gradient, data[f"proj_grad_{name}"]) < GRADIENT, name

    def test_camera_axes(self, data):
        camera = cam.join(jnp.asarray(data["proj_R"]), jnp.asarray(data["proj_t"]))
        assert deviation(jax.vmap(cam.to_camera)(camera, jnp.asarray(data["proj_points"])), data["extr_out"]) < VALUE


@pytest.mark.parametrize("kernel", KERNELS)
def test_radial_basis(load, kernel):
    data = load("rbf.npz")
    module = RadialBasis(num_centres=12, kernel=kernel)
    features = lambda x, scales: jax.vmap(lambda p: module.apply({"params": {"log_scales": scales}}, p))(x)
    value, (by_x, by_scales) = value_and_pullback(features, data["cot"], data["x"][:, 0], data["log_sigmas"])
    assert deviation(value, data[f"{kernel}_out"]) < VALUE
    assert deviation(features(jnp.asarray(data["x"][:, 0]), jnp.zeros(12)), data[f"{kernel}_out_init"]) < VALUE
    assert deviation(by_x, data[f"{kernel}_grad_x"][:, 0]) < GRADIENT
    assert deviation(by_scales, data[f"{kernel}_grad_log_sigmas"]) < GRADIENT
    np.testing.assert_allclose(np.linspace(0, 1, 12), data["centres"][:, 0], atol=1e-7)


@pytest.mark.parametrize("name", ["linear8", "linear200", "rand16", "odd9"])
def test_monotonic_phase(load, name):
    data = load("monotonic.npz")
    shifts, scales = data[f"{name}_shifts"], data[f"{name}_scales"]
    module = MonotonicPhase(num_nodes=len(shifts))
    warp = lambda x, s, c: module.apply({"params": {"shifts": s, "scales": c}}, x)
    value, gradients = value_and_pullback(warp, data[f"{name}_cot"][:, 0], data["x"][:, 0], shifts, scales)
    assert deviation(value, data[f"{name}_out"][:, 0]) < VALUE
    for key, gradient in zip(("x", "shifts", "scales"), gradients, strict=True):
        assert deviation(gradient, data[f"{name}_grad_{key}"].reshape(gradient.shape)) < GRADIENT, key


@pytest.mark.parametrize("frames", [1, 2, 12, 100, 257])
def test_raw_phase(load, frames):
    from types import SimpleNamespace

    clips = SimpleNamespace(frame_mask=jnp.ones((1, frames)), num_frames=frames, take=None)
    assert deviation(raw_phase(clips)[0], load("phase.npz")[f"raw_phase_F{frames}"]) < VALUE  # pyright: ignore


@pytest.mark.parametrize("name", ["init", "hot"])
def test_motion_network(load, name):
    data = load("motionnet.npz")
    weights = convert.field({k.removeprefix(f"{name}/"): v for k, v in data.items() if k.startswith(f"{name}/")})
    # Ten recorded features and a code of five: here both are given as the code, behind an absent phase.
    module = MotionField(hidden=16, features="none")

    def run(x, weights):
        # The first input takes the place of the phase.
        six, translation = jax.vmap(lambda row: module.apply({"params": weights}, row[0], row[1:]))(x)
        matrix = rotations.rotation_6d_to_matrix(six)
        turn = rotations.matrix_to_axis_angle(matrix)
        flat = lambda a: a.reshape(len(x), -1)
        return {
            "pose_rot6d": flat(six[:, 1:]), "pose_rotmat": matrix[:, 1:], "pose_aa": flat(turn[:, 1:]),
            "orient_rot6d": six[:, 0], "orient_rotmat": matrix[:, :1], "orient_aa": turn[:, 0], "trans": translation,
        }  # fmt: skip

    cotangents = {
        "pose_rot6d": "rot6d", "pose_rotmat": "rotmat", "pose_aa": "pose", "orient_rot6d": "orient6d",
        "orient_rotmat": "orientmat", "orient_aa": "orientaa", "trans": "trans",
    }  # fmt: skip
    cotangent = {ours: data[f"{name}_cot_{theirs}"] for ours, theirs in cotangents.items()}
    value, (by_x, by_weights) = value_and_pullback(run, cotangent, data["x"], weights)
    for key in cotangents:
        # Axis-angle near zero is relative to the unit it is measured in: 1e-5 rad at most.
        scale = max(np.abs(data[f"{name}_{key}"]).max(), 1e-1)
        assert np.abs(value[key] - data[f"{name}_{key}"]).max() / scale < VALUE, key
    assert deviation(by_x, data[f"{name}_grad_x"]) < GRADIENT
    expected = convert.field(
        {k.removeprefix(f"{name}_grad/"): v for k, v in data.items() if k.startswith(f"{name}_grad/")}
    )
    jax.tree.map(lambda a, b: np.testing.assert_array_less(deviation(a, b), GRADIENT), by_weights, expected)


class TestLosses:
    @pytest.fixture(scope="class")
    def data(self, load):
        return load("losses.npz")

    @pytest.mark.parametrize("kind", losses.KEYPOINT_LOSSES)
    def test_kinds_and_their_reduction(self, data, kind):
        confidence, instance = data["weight"][..., 0], jnp.asarray(data["view_idx"])
        gate = losses.gate(jnp.asarray(confidence), 0.5)

        def step(predicted):
            each = gate[..., None] * losses.keypoint_loss(
                kind, predicted - data["gt"], 100.0, jnp.asarray(data["gt_size"])
            )
            values = jnp.mean(each * confidence[..., None], (1, 2))
            return losses.mean_per_instance(values, instance, 16), each

        (total, each), gradient = jax.jit(jax.value_and_grad(step, has_aux=True))(jnp.asarray(data["pred"]))
        assert deviation(each, data[kind]) < VALUE
        assert deviation(each.mean(), data[f"{kind}_mean"]) < VALUE
        assert deviation(total, data[f"{kind}_step_loss"]) < VALUE
        expected = data[f"{kind}_step_grad_pred"]
        # Recorded: NaN where rmse_robust's residual is 0; there it is 0 here.
        known = np.isfinite(expected)
        assert known.mean() > 0.9 and np.isfinite(gradient).all()
        assert deviation(np.where(known, gradient, 0), np.where(known, expected, 0)) < GRADIENT

    def test_camera_stage(self, data):
        gate = losses.gate(jnp.asarray(data["weight"][..., 0]), 0.5)
        total = lambda predicted: jnp.mean(gate[..., None] * losses.robust(predicted - data["gt"], 100.0))
        value, gradient = jax.value_and_grad(total)(jnp.asarray(data["pred"]))
        assert deviation(value, data["cam_loss"]) < VALUE
        assert deviation(gradient, data["cam_grad_pred"]) < GRADIENT

    def test_robust_form(self, data):
        assert (
            deviation(losses.robust(jnp.asarray(data["gmof_in"]), float(data["gmof_rho"])), data["gmof_sqrt_false"])
            < VALUE
        )
        rooted = losses.keypoint_loss(
            "rmse_robust", jnp.asarray(data["gmof_in"]), float(data["gmof_rho"]), jnp.ones(())
        )
        assert deviation(rooted, data["gmof_sqrt_true"]) < VALUE

    def test_warmup(self, data):
        total = lambda pose: losses.initial_pose_loss(pose, data["warm_gt"], data["warm_weight"][:, 0], 100.0).mean()
        value, gradient = jax.value_and_grad(total)(jnp.asarray(data["warm_pred"]))
        assert deviation(value, data["warm_loss"]) < VALUE
        assert deviation(gradient, data["warm_grad"]) < GRADIENT


def test_collated_boxes(load):
    data = load("collate.npz")
    for name in ("op", "gt", "intersection"):
        points = jnp.asarray(data[f"{name}_points"])
        found = losses.box_diagonal(points[..., :2], points[..., 2], visible_only=False)
        assert deviation(found, data[f"{name}_bbox_size"]) < VALUE, name
