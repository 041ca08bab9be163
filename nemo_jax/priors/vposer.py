"""VPoser: a variational autoencoder of body poses, and the two terms a fit takes from it.

Source: Pavlakos et al., Expressive Body Capture, CVPR 2019; the network is that of version 2, `V02_05`, in evaluation
mode: batch norm uses its running statistics, and dropout, which then does nothing, is left out.
"""

from collections.abc import Mapping
from typing import cast

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from body_models import joints as jn
from body_models import smpl
from body_models.kernels import vertex_gap
from body_models.pytree import Tree, pytree
from nemo_jax import rotations as rot

Array = jax.Array

# Joints 1 to 21: all but the root and the two hands.
NUM_JOINTS = 21
_SLOPE = 0.01
_SMALLEST_SCALE = 1e-30


class Encoder(nn.Module):
    """Body pose (63,) axis-angle -> mean (latent,) and scale (latent,) of the latent code's normal distribution."""

    hidden: int = 512
    latent: int = 32

    @nn.compact
    def __call__(self, pose: Array) -> tuple[Array, Array]:
        x = nn.BatchNorm(use_running_average=True, name="norm_pose")(pose)
        x = nn.leaky_relu(nn.Dense(self.hidden, name="dense_1")(x), _SLOPE)
        x = nn.BatchNorm(use_running_average=True, name="norm_hidden")(x)
        # The published network has nothing between these two.
        x = nn.Dense(self.hidden, name="dense_2")(x)
        x = nn.Dense(self.hidden, name="dense_3")(x)
        mean = nn.Dense(self.latent, name="mean")(x)
        scale = nn.softplus(nn.Dense(self.latent, name="scale")(x))
        return mean, scale


class Decoder(nn.Module):
    """Latent code (latent,) -> rotations (21, 6) in the 6D representation."""

    hidden: int = 512

    @nn.compact
    def __call__(self, code: Array) -> Array:
        x = nn.leaky_relu(nn.Dense(self.hidden, name="dense_1")(code), _SLOPE)
        x = nn.leaky_relu(nn.Dense(self.hidden, name="dense_2")(x), _SLOPE)
        return nn.Dense(6 * NUM_JOINTS, name="rotations")(x).reshape(NUM_JOINTS, 6)


@pytree
class VPoser:
    """encoder, decoder: Flax variables of `Encoder` and `Decoder`, all of them constants of a fit."""

    encoder: Tree
    decoder: Tree

    @property
    def hidden(self) -> int:
        return self.decoder["params"]["dense_1"]["kernel"].shape[1]

    @property
    def latent(self) -> int:
        return self.decoder["params"]["dense_1"]["kernel"].shape[0]


def encode(vposer: VPoser, body_pose: Array) -> tuple[Array, Array]:
    """Posterior of ONE body pose.

    Args:
      vposer: the network.
      body_pose: (21, 3) or (63,) axis-angle of joints 1 to 21, radians.

    Returns:
      mean (32,) and scale (32,) > 0, a standard deviation.
    """
    chex.assert_size(body_pose, 3 * NUM_JOINTS)
    module = Encoder(hidden=vposer.hidden, latent=vposer.latent)
    return cast(tuple[Array, Array], module.apply(vposer.encoder, body_pose.reshape(-1)))


def decode(vposer: VPoser, code: Array) -> Array:
    """Rotations (21, 3, 3) of joints 1 to 21 of ONE latent code (32,)."""
    chex.assert_shape(code, (vposer.latent,))
    rotation_6d = Decoder(hidden=vposer.hidden).apply(vposer.decoder, code)
    return rot.rotation_6d_to_matrix(cast(Array, rotation_6d))


def kl(mean: Array, scale: Array) -> Array:
    """KL divergence () of N(mean, scale^2) from N(0, 1), summed over the latent dimensions (L,)."""
    chex.assert_equal_shape([mean, scale])
    # A softplus can underflow to zero.
    return jnp.sum(0.5 * (scale**2 + mean**2 - 1) - jnp.log(jnp.maximum(scale, _SMALLEST_SCALE)))


def reconstruct(vposer: VPoser, pose: Array) -> Array:
    """Rotations (23, 3, 3) of ONE body pose (23, 3), axis-angle, encoded and decoded; the two hands are kept."""
    chex.assert_shape(pose, (jn.NUM_JOINTS - 1, 3))
    mean, _ = encode(vposer, pose[:NUM_JOINTS])
    return jnp.concatenate([decode(vposer, mean), rot.axis_angle_to_matrix(pose[NUM_JOINTS:])])


def vposer_terms(body: smpl.SMPL, vposer: VPoser, rotations: Array, betas: Array) -> tuple[Array, Array]:
    """Both VPoser terms of ONE pose, from one encoding.

    The vertex term's gradient goes through the vertices of the pose alone, as published: the reconstruction, its body and
    what they depend on (pose, root, shape) are constants of a step.

    Args:
      body: the body model. vposer: the network.
      rotations: (24, 3, 3), of each joint against its parent, root first.
      betas: (S,), shape.

    Returns:
      vertices (), metres: mean over vertices and coordinates of |v(reconstruction) - v(pose)|, both with the given root.
      kl (): of the posterior from the standard normal distribution.
    """
    chex.assert_shape(rotations, (jn.NUM_JOINTS, 3, 3))
    skeleton = smpl.pose_skeleton(body, rotations, betas)
    target, divergence = _target(body, vposer, rotations, rot.matrix_to_axis_angle(rotations[1:]), betas)
    return vertex_gap.plain_gap(body, skeleton, target), divergence


def batch_terms(
    body: smpl.SMPL,
    vposer: VPoser,
    rotations: Array,
    pose: Array,
    skeletons: smpl.Skeleton,
    rows: vertex_gap.Table | None,
) -> tuple[Array, Array]:
    """`vposer_terms` of B poses, from what a fit has computed of them already.

    Args:
      body: the body model. vposer: the network.
      rotations: (B, 24, 3, 3). pose: (B, 23, 3), the axis-angle of joints 1 to 23. skeletons: leaves (B, ...), posed.
      rows: the body's `skin_gap.table` for `skin_gap.fused_gap`, which is rounded on GPUs; None for the plain one.

    Returns:
      vertices (B,), metres, and kl (B,).
    """
    targets, divergence = jax.vmap(_target, (None, None, 0, 0, 0))(body, vposer, rotations, pose, skeletons.betas)
    if rows is None:
        return jax.vmap(vertex_gap.plain_gap, (None, 0, 0))(body, skeletons, targets), divergence
    return vertex_gap.fused_gap(body, rows, skeletons, targets), divergence


def _target(
    body: smpl.SMPL, vposer: VPoser, rotations: Array, pose: Array, betas: Array
) -> tuple[smpl.Skeleton, Array]:
    """The skeleton of ONE reconstruction, a constant, and the divergence () of the encoding that it comes from."""
    mean, scale = encode(vposer, pose[:NUM_JOINTS])
    kept = jax.lax.stop_gradient(rotations)
    decoded = decode(vposer, jax.lax.stop_gradient(mean))
    reconstruction = jnp.concatenate([kept[:1], decoded, kept[1 + NUM_JOINTS :]])
    return smpl.pose_skeleton(body, reconstruction, jax.lax.stop_gradient(betas)), kl(mean, scale)


def vertex_term(body: smpl.SMPL, vposer: VPoser, rotations: Array, betas: Array) -> Array:
    """The first of `vposer_terms`, alone."""
    return vposer_terms(body, vposer, rotations, betas)[0]


# Our layers by the published network's names, and the arrays of each.
_LAYERS = {
    "encoder": {
        "norm_pose": "encoder_net.1",
        "dense_1": "encoder_net.2",
        "norm_hidden": "encoder_net.4",
        "dense_2": "encoder_net.6",
        "dense_3": "encoder_net.7",
        "mean": "encoder_net.8.mu",
        "scale": "encoder_net.8.logvar",
    },
    "decoder": {"dense_1": "decoder_net.0", "dense_2": "decoder_net.3", "rotations": "decoder_net.5"},
}
_ARRAYS = {"kernel": "weight", "scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}


def state_names() -> tuple[str, ...]:
    """Names of the arrays that `from_state_dict` needs, such as `encoder_net.1.weight`."""
    return tuple(state_shapes())


def state_shapes(hidden: int = 512, latent: int = 32) -> dict[str, tuple[int, ...]]:
    """Shapes of the arrays of `state_names`, in the published layout."""
    leaves = jax.tree_util.tree_leaves_with_path(_variables(hidden, latent))
    return {_published(path): leaf.shape[::-1] for path, leaf in leaves}


def from_state_dict(state: Mapping[str, np.ndarray]) -> VPoser:
    """The network from the published one's arrays; sizes of hidden layers and latent code are read off them.

    Args:
      state: the arrays of `state_names`, of Dense layers as (out, in); others are ignored.

    Raises:
      ValueError: arrays that are missing, of another shape, not finite or, of a variance, negative.
    """
    missing = [name for name in state_names() if name not in state]
    if missing:
        raise ValueError(f"it lacks {len(missing)} of the arrays of VPoser version 2 (V02_05), such as {missing[0]}")
    sizes = np.shape(state["decoder_net.0.weight"])
    if len(sizes) != 2 or 0 in sizes:
        raise ValueError(f"decoder_net.0.weight has shape {sizes}, (512, 32) was expected")

    def array(path: tuple, ours: jax.ShapeDtypeStruct) -> Array:
        name = _published(path)
        found = np.asarray(state[name])
        shape = ours.shape[::-1]
        if found.dtype.kind not in "iuf" or found.shape != shape:
            raise ValueError(f"{name} is {found.dtype} of shape {found.shape}, numbers of shape {shape} were expected")
        bad = int(found.size - np.isfinite(found).sum())
        if bad:
            raise ValueError(f"{name} has {bad} numbers that are NaN or infinite")
        if name.endswith("running_var") and found.min() < 0:
            raise ValueError(f"{name} is a variance and has {found.min():.3g}")
        return jnp.asarray(found.T, jnp.float32)

    return VPoser(**jax.tree_util.tree_map_with_path(array, _variables(*sizes)))


def _variables(hidden: int, latent: int) -> dict[str, Tree]:
    """Shapes of both modules' variables."""
    key = jax.random.key(0)
    return {
        "encoder": jax.eval_shape(Encoder(hidden=hidden, latent=latent).init, key, jnp.zeros(3 * NUM_JOINTS)),
        "decoder": jax.eval_shape(Decoder(hidden=hidden).init, key, jnp.zeros(latent)),
    }


def _published(path: tuple) -> str:
    """The published name of the array at (module, collection, layer, array) of `_variables`."""
    module, _, layer, array = (key.key for key in path)
    return f"{_LAYERS[module][layer]}.{_ARRAYS[array]}"
