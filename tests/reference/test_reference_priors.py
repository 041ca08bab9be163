"""The mixture and VPoser against recorded values and gradients."""

import pickle
import runpy

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.fitting import prior_files
from nemo_jax import rotations
from nemo_jax.priors import gmm, vposer
from tests.reference.convert import deviation

VALUE, GRADIENT = 1e-5, 1e-4


def test_mixture(load, reference_dir, tmp_path):
    data = load("gmm.npz")
    make = runpy.run_path(str(reference_dir / "make_models.py"))["make_gmm"]
    (tmp_path / prior_files.GMM_FILE).write_bytes(pickle.dumps(make(seed=2), 2))
    prior = prior_files.load_gmm(tmp_path)
    precisions = np.swapaxes(prior.whitening, 1, 2) @ np.asarray(prior.whitening)
    assert deviation(precisions, data["precisions"]) < VALUE
    assert deviation(prior.log_weights, np.log(data["nll_weights"][0])) < VALUE

    def each(poses):
        return jax.vmap(gmm.gmm_prior_loss, (None, 0))(prior, poses)

    values, gradient = jax.jit(lambda poses: (each(poses), jax.grad(lambda p: each(p).mean())(poses)))(data["poses"])
    assert deviation(values, data["nll"]) < VALUE
    assert deviation(values.mean(), data["loss"]) < VALUE
    assert deviation(gradient, data["grad_poses"]) < GRADIENT


class TestVPoser:
    @pytest.fixture(scope="class")
    def network(self, load):
        return vposer.from_state_dict(load("vposer_weights.npz"))

    @pytest.fixture(scope="class")
    def data(self, load):
        return load("vposer.npz")

    def test_encoder(self, network, data):
        mean, scale = jax.jit(jax.vmap(vposer.encode, (None, 0)))(network, data["poses"][:, :63])
        assert deviation(mean, data["q_mean"]) < VALUE
        assert deviation(scale, data["q_scale"]) < VALUE

    def test_decoder(self, network, data):
        decode = jax.jit(jax.vmap(vposer.decode, (None, 0)))
        for code, name in (("z", "z_pose_body"), ("q_mean", "dec_pose_body")):
            found = decode(network, data[code])
            assert deviation(found.reshape(-1, 21, 9), data[f"{name}_matrot"]) < VALUE
            assert deviation(rotations.matrix_to_axis_angle(found), data[name]) < VALUE

    def test_reconstruction(self, network, data):
        poses = data["poses"].reshape(-1, 23, 3)
        found = jax.jit(jax.vmap(vposer.reconstruct, (None, 0)))(network, poses)
        assert deviation(found[:, :21].reshape(-1, 21, 9), data["dec_pose_body_matrot"]) < VALUE
        assert deviation(rotations.matrix_to_axis_angle(found[:, 21:]), poses[:, 21:]) < VALUE

    def test_terms(self, network, data, bodies):
        def means(poses, orient):
            root = rotations.rotation_6d_to_matrix(orient)[:, None]
            matrices = jnp.concatenate([root, rotations.axis_angle_to_matrix(poses.reshape(-1, 23, 3))], 1)
            terms = jax.vmap(vposer.vposer_terms, (None, None, 0, None))
            return jnp.stack(terms(bodies[4], network, matrices, data["betas"][0])).mean(1)

        @jax.jit
        def evaluate(*inputs):
            return means(*inputs), jax.jacrev(means, (0, 1))(*inputs)

        values, (poses, orient) = evaluate(data["poses"], data["orient_rot6d"])
        for i, name in enumerate(("v2v", "kl")):
            assert deviation(values[i], data[name]) < VALUE
            assert deviation(poses[i], data[f"grad_poses_{name}"]) < GRADIENT
        assert deviation(orient[0], data["grad_orient_v2v"]) < GRADIENT
        assert not orient[1].any() and not data["grad_orient_kl"].any()
