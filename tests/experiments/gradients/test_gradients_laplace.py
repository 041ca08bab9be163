"""The posterior around a fit: its loss as a sum of squares, and its precision against automatic differentiation."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_gradients

from experiments.gradients import inputs
from nemo_jax import laplace, objective, residuals
from nemo_jax.priors import Priors, gmm, open_priors, published_limits

NOISE, SPREAD = 0.05, 0.3


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"keypoint_loss": "mse_robust_resized", "init_space": "axis_angle", "weight_betas": 0.0, "person_size": 0.0},
    ],
    ids=["default", "others"],
)
def test_the_loss_is_the_sum_of_squares(tiny_dataset, tiny_body, tiny_config, changes):
    config = dataclasses.replace(tiny_config, **changes)
    # One lens is known, and one clip shows a part of the action.
    clips = dataclasses.replace(tiny_dataset.clips, focal_length=np.array([1500, np.nan], np.float32))
    dataset = dataclasses.replace(tiny_dataset, clips=clips)
    given = tiny_gradients.make(dataset, tiny_body, config, pixels=20.0, priors=open_priors())
    part = {"span": given.params.span.at[1].set(jnp.array([0.1, 0.7])), "log_focal": jnp.array([0.0, 0.3])}
    given = dataclasses.replace(given, params=dataclasses.replace(given.params, **part))
    assert given.batch.instance.size == int(np.asarray(given.clips.frame_mask).sum())
    arguments = (given.assets, given.config, given.clips, given.targets, given.batch)

    @jax.jit
    def both(params):
        squares = lambda p: residuals.total(residuals.residuals(p, *arguments))
        total = lambda p: objective.joint_loss(p, *arguments)[0]
        return jax.value_and_grad(squares)(params), jax.value_and_grad(total)(params)

    (value, gradient), (expected, slope) = both(given.params)
    assert {"limbs", "span", "lens"} <= set(jax.eval_shape(lambda: residuals.residuals(given.params, *arguments)))
    assert float(value) == pytest.approx(float(expected), rel=1e-5)
    largest = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(slope))
    for (path, found), leaf in zip(jax.tree_util.tree_leaves_with_path(gradient), jax.tree.leaves(slope), strict=True):
        # The phases' are small differences of large sums.
        np.testing.assert_allclose(found, leaf, rtol=2e-3, atol=2e-5 * largest, err_msg=jax.tree_util.keystr(path))


def test_losses_that_are_no_squares_are_refused(tiny_config):
    kind = dataclasses.replace(tiny_config, keypoint_loss="rmse_robust")
    assets = dataclasses.make_dataclass("Assets", ["priors"])
    free = assets(Priors(joint_limits=published_limits()))
    with pytest.raises(ValueError, match="no sum of squares"):
        residuals.check(free, kind)
    mixture = gmm.mixture(np.zeros((1, 69)), np.eye(69)[None], np.ones(1))
    with pytest.raises(ValueError, match="joint limits"):
        residuals.check(assets(Priors(gmm=mixture)), tiny_config)
    residuals.check(free, tiny_config)


@pytest.fixture(scope="module")
def linearised(tiny_dataset, tiny_body, tiny_config):
    """In float64: the fit, its tangents, per-frame Jacobians, and the Jacobian of all residuals by the whole parameters."""
    given = tiny_gradients.make(tiny_dataset, tiny_body, tiny_config)
    with jax.enable_x64(True):
        wide = tiny_gradients.as_float64(given)
        lines = laplace.tangents(wide, directions=100, spread=SPREAD)
        frames = jax.jit(lambda g, z: laplace.frame_jacobian(lambda z: laplace.frame_residuals(g, z), z))(wide, lines.z)
        arguments = (wide.assets, wide.config, wide.clips, wide.targets, wide.batch)
        names = ("cameras", "betas", "codes")

        def all_residuals(part):
            heads, own = part
            field = {
                **wide.params.field,
                "rotation": heads[0],
                "translation": {**wide.params.field["translation"], **heads[1]},
            }
            params = dataclasses.replace(wide.params, field=field, **dict(zip(names, own, strict=True)))
            found = residuals.residuals(params, *arguments)
            return jnp.concatenate([value.reshape(-1) for value in found.values()])

        heads = (wide.params.field["rotation"], {"kernel": wide.params.field["translation"]["kernel"]})
        part = (heads, [getattr(wide.params, name) for name in names])
        values, jacobian = jax.jit(lambda p: (all_residuals(p), jax.jacfwd(all_residuals)(p)))(part)
        frame_values = jax.jit(laplace.frame_residuals)(wide, lines.z)
    return wide, lines, np.asarray(frames), part, jax.device_get(jacobian), np.asarray(values), np.asarray(frame_values)


def test_frames_have_the_residuals_of_the_whole(linearised):
    given, *_, values, frame_values = linearised
    own = sum(getattr(given.params, name).size for name in ("codes", "betas", "span", "log_focal"))
    np.testing.assert_allclose(np.sum(frame_values**2), np.sum(values[:-own] ** 2), rtol=1e-10)


def test_the_precision_is_that_of_the_whole_jacobian(linearised):
    """Eigenvalues do not depend on the basis that the features are turned into."""
    given, lines, frames, part, jacobian, *_ = linearised
    curvature = frames.swapaxes(1, 2) @ frames
    with jax.enable_x64(True):
        found = laplace.precision(given, lines, curvature, NOISE, SPREAD)
    scaled = []
    for leaf, slopes in zip(jax.tree.leaves(part), jax.tree.leaves(jacobian), strict=True):
        scaled.append(SPREAD * np.sqrt(np.mean(np.asarray(leaf) ** 2)) * slopes.reshape(len(slopes), -1))
    whole = np.concatenate(scaled, 1)
    expected = np.linalg.eigvalsh(np.eye(whole.shape[1]) + whole.T @ whole / NOISE**2)
    np.testing.assert_allclose(found, found.T, rtol=1e-9, atol=1e-9 * np.abs(found).max())
    eigenvalues = np.linalg.eigvalsh(found)
    assert eigenvalues[0] > 0.999
    # What is left out on either side, and the translation's ones, are ones.
    large = expected[expected > 1.001][::-1]
    assert len(large) > 100
    np.testing.assert_allclose(eigenvalues[::-1][: len(large)], large, rtol=1e-5)
    np.testing.assert_allclose(eigenvalues[::-1][len(large) :], 1, atol=2e-3)


def test_push_is_the_change_of_the_frames(linearised):
    """Along one camera's, one shape's and one code's number: against differences of the model itself."""
    given, lines, *_ = linearised
    with jax.enable_x64(True):
        each = lines.own.shape[2]
        size = 147 * lines.rotation.shape[1]
        step = 1e-6
        for name, number in (("cameras", 4), ("betas", 9 + 1), ("codes", each - 1)):
            u = np.zeros(size + each * given.params.codes.shape[0])
            u[size + each + number] = 1.0
            moved = np.asarray(laplace.push(lines, given.batch.instance, jnp.asarray(u)))
            values = getattr(given.params, name)
            column = number - {"cameras": 0, "betas": 9, "codes": 9 + given.params.betas.shape[1]}[name]
            amount = step * SPREAD * float(jnp.sqrt(jnp.mean(values**2)))
            changed = dataclasses.replace(given.params, **{name: values.at[1, column].add(amount)})
            after = laplace.tangents(dataclasses.replace(given, params=changed), 100, SPREAD).z
            np.testing.assert_allclose(moved, (after - lines.z) / step, rtol=1e-4, atol=1e-6)
            assert np.abs(moved).max() > 1e-4
            assert (moved[np.asarray(given.batch.instance) == 0] == 0).all()


def test_pull_is_the_transpose_of_push(linearised):
    given, lines, *_ = linearised
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        num = given.params.codes.shape[0]
        u = rng.normal(size=147 * lines.rotation.shape[1] + num * lines.own.shape[2])
        dz = rng.normal(size=lines.z.shape)
        forward = np.sum(dz * np.asarray(laplace.push(lines, given.batch.instance, jnp.asarray(u))))
        backward = np.sum(u * np.asarray(laplace.pull(lines, given.batch.instance, jnp.asarray(dz), num)))
    assert forward == pytest.approx(backward, rel=1e-10)


def test_frames_go_back_to_their_places(linearised):
    given = linearised[0]
    values = np.arange(given.batch.instance.size) + 1.0
    placed = np.asarray(laplace.in_clips(given.clips, given.batch, jnp.asarray(values)))
    mask = np.asarray(given.clips.frame_mask) > 0
    np.testing.assert_array_equal(placed[mask], values)
    assert (placed[~mask] == 0).all()
    assert inputs.existing_frames(given.clips).frame.shape == values.shape
